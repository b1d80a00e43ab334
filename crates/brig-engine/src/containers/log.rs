//! What each record of a container's log says of the container: docker's `--log-opt labels`, `labels-regex`, `env`,
//! `env-regex` and `tag`.
//!
//! Made once, at the start, so that the supervisor has nothing to do for it but to copy bytes.

use std::collections::BTreeMap;
use std::fs;

use brig_runtime::plan::LogPlan;
use brig_runtime::{ContainerSpec, LogConfig, LogConfigError};
use regex::Regex;

use crate::error::Result;

/// What all attributes of a record may have, in bytes: they are in every one of them.
const MAX_ATTRS: usize = 64 * 1024;
/// What a tag may be made of.
const PLACES: &str = "{{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, {{.Command}}, \
                      {{.Hostname}} and {{.DaemonName}}";

/// Where the container's output is kept, and what is said with it.
pub(super) fn plan(spec: &ContainerSpec) -> Result<Option<LogPlan>> {
    let mut plan = spec.log.plan()?;
    match &mut plan {
        Some(LogPlan::File { attrs: json, .. }) => *json = attributes_as_json(spec)?,
        Some(LogPlan::Journald { tag, fields, .. }) => {
            *tag = self::tag(spec)?;
            let attributes = bounded(attributes(spec)?)?;
            *fields = attributes.into_iter().filter_map(|(key, value)| Some((field(&key)?, value))).collect();
        }
        None => {}
    }
    Ok(plan)
}

fn attributes_as_json(spec: &ContainerSpec) -> Result<String> {
    let mut attributes = attributes(spec)?;
    if let Some(tag) = tag(spec)? {
        attributes.insert("tag".into(), tag);
    }
    let attributes = bounded(attributes)?;
    Ok(if attributes.is_empty() { String::new() } else { serde_json::json!(attributes).to_string() })
}

/// The labels and variables that are asked for, as far as the container has them. A variable hides a label.
fn attributes(spec: &ContainerSpec) -> Result<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    let labels = spec.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    choose(&spec.log, ["labels", "labels-regex"], labels, &mut attributes)?;
    let variables = spec.env.iter().filter_map(|variable| variable.split_once('='));
    choose(&spec.log, ["env", "env-regex"], variables, &mut attributes)?;
    Ok(attributes)
}

fn choose<'a>(
    log: &LogConfig,
    [names, pattern]: [&str; 2],
    there: impl Iterator<Item = (&'a str, &'a str)>,
    chosen: &mut BTreeMap<String, String>,
) -> Result<()> {
    let names: Vec<&str> = log.option(names).unwrap_or("").split(',').collect();
    let expression = log.option(pattern).map(|value| regex(pattern, value)).transpose()?;
    for (key, value) in there {
        if names.contains(&key) || expression.as_ref().is_some_and(|expression| expression.is_match(key)) {
            chosen.insert(key.into(), value.into());
        }
    }
    Ok(())
}

fn regex(name: &str, value: &str) -> Result<Regex> {
    Regex::new(value).map_err(|error| invalid(name, value, error.to_string()))
}

fn bounded(attributes: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes <= MAX_ATTRS {
        return Ok(attributes);
    }
    let problem =
        format!("they have {bytes} bytes, and every record would have them: {MAX_ATTRS} is the most");
    Err(invalid("labels and env", "…", problem))
}

/// What the option `tag` makes of the container.
fn tag(spec: &ContainerSpec) -> Result<Option<String>> {
    let Some(template) = spec.log.option("tag") else { return Ok(None) };
    let wrong = |problem: &str| invalid("tag", template, format!("{problem}: use {PLACES}"));
    let mut tag = String::new();
    let mut rest = template;
    while let Some((before, action)) = rest.split_once("{{") {
        let (field, after) = action.split_once("}}").ok_or_else(|| wrong("a `{{` has no `}}`"))?;
        tag.push_str(before);
        let field = field.trim().trim_start_matches("- ").trim_end_matches(" -").trim();
        tag.push_str(&place(spec, field).ok_or_else(|| wrong(&format!("`{field}` isn't known")))?);
        rest = after;
    }
    tag.push_str(rest);
    Ok(Some(tag))
}

fn place(spec: &ContainerSpec, field: &str) -> Option<String> {
    let short = |id: &str| id.chars().take(12).collect();
    Some(match field {
        ".ID" => short(&spec.id),
        ".FullID" => spec.id.clone(),
        ".Name" => spec.name.clone(),
        // With its algorithm, as docker has it.
        ".ImageID" => short(&spec.image.id),
        ".ImageFullID" => spec.image.id.clone(),
        ".ImageName" => spec.image.reference.clone(),
        ".Command" => spec.args.join(" "),
        ".DaemonName" => "brig".into(),
        ".Hostname" => fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim_end().into(),
        _ => return None,
    })
}

/// A key as journald takes it: capital letters, digits and underlines, none of these first. docker's rule.
fn field(key: &str) -> Option<String> {
    let character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let field: String = key.chars().map(character).collect();
    let field = field.trim_start_matches('_');
    (!field.is_empty()).then(|| field.to_owned())
}

fn invalid(name: &str, value: &str, problem: String) -> crate::Error {
    LogConfigError::Value { name: name.into(), value: value.into(), problem }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &[(&str, &str)]) -> ContainerSpec {
        let options: BTreeMap<_, _> = options.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "version": brig_runtime::record::RECORD_VERSION,
            "id": "0123456789abcdef", "name": "web", "kind": "linux", "kind_reason": "",
            "image": { "reference": "docker.io/library/busybox:latest", "manifest": "", "id": "sha256:fedcba98",
                       "platform": "linux/amd64" },
            "created_at": "2026-01-02T03:04:05Z",
            "args": ["sh", "-c", "x"], "env": ["A=1", "AB=two", "B"], "cwd": "/", "user": "",
            "hostname": "h", "tty": false, "stdin_open": false, "read_only": false, "auto_remove": false,
            "network": "none", "isolation": "namespaces", "mounts": [],
            "labels": { "com.example.a": "x y", "com.example.b": "\"", "other": "z" },
            "limits": {}, "stop_signal": 15, "security_opt": [], "layers": [],
            "log": { "driver": "json-file", "options": options },
        }))
        .unwrap()
    }

    fn json(options: &[(&str, &str)]) -> String {
        attributes_as_json(&spec(options)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn labels_and_variables_that_the_container_has() {
        for (options, expected) in [
            (&[][..], ""),
            (&[("labels", "")], ""),
            (&[("labels", "missing")], ""),
            (&[("labels", "other,missing,com.example.a")], r#"{"com.example.a":"x y","other":"z"}"#),
            (&[("labels-regex", "^com\\.")], r#"{"com.example.a":"x y","com.example.b":"\""}"#),
            (&[("env", "A,B")], r#"{"A":"1"}"#),
            (&[("env-regex", "^A"), ("labels", "other")], r#"{"A":"1","AB":"two","other":"z"}"#),
            (&[("tag", "t"), ("env", "A")], r#"{"A":"1","tag":"t"}"#),
        ] {
            assert_eq!(json(options), expected, "{options:?}");
        }
    }

    #[test]
    fn tags_name_the_container() {
        for (template, expected) in [
            ("plain", "plain"),
            ("{{.Name}}/{{ .ID }}", "web/0123456789ab"),
            ("{{.FullID}}", "0123456789abcdef"),
            ("{{.ImageName}} {{.ImageID}}", "docker.io/library/busybox:latest sha256:fedcb"),
            ("{{.Command}}-{{.DaemonName}}", "sh -c x-brig"),
        ] {
            assert_eq!(tag(&spec(&[("tag", template)])).unwrap().as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (options, says) in [
            (&[("labels-regex", "(")][..], "invalid log opt `labels-regex=(`"),
            (&[("tag", "{{.Nam}}")], "`.Nam` isn't known: use {{.ID}}"),
            (&[("tag", "{{.Name")], "has no `}}`"),
        ] {
            let error = json(options);
            assert!(error.contains(says), "{error}");
        }
        let mut long = spec(&[("env", "LONG")]);
        long.env.push(format!("LONG={}", "x".repeat(MAX_ATTRS)));
        assert!(attributes_as_json(&long).unwrap_err().to_string().contains("is the most"));
    }

    #[test]
    fn fields_of_a_journal() {
        for (key, expected) in [("com.example.a", Some("COM_EXAMPLE_A")), ("_x-1", Some("X_1")), ("__", None)]
        {
            assert_eq!(field(key).as_deref(), expected);
        }
        let mut spec = spec(&[("env", "A"), ("tag", "{{.Name}}")]);
        spec.log.driver = "journald".into();
        let expected = LogPlan::Journald {
            tag: Some("web".into()),
            fields: vec![("A".into(), "1".into())],
            max_buffer: None,
        };
        assert_eq!(plan(&spec).unwrap(), Some(expected));
    }
}
