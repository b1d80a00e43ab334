//! Dockerfile instructions that change an image's config: `--change` of commit and import.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// Applies instructions, one after the other, to the `config` of an image's config.
pub(crate) fn apply_all(config: &mut Value, changes: &[String]) -> Result<()> {
    if !config.is_object() {
        *config = json!({});
    }
    let Value::Object(config) = config else { return Ok(()) };
    changes.iter().try_for_each(|change| {
        apply(config, change.trim()).map_err(|problem| Error::invalid("change", change, problem))
    })
}

fn apply(config: &mut Map<String, Value>, change: &str) -> Result<(), String> {
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err("it says no value".into());
    }
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => set(config, "Cmd", command(rest)),
        "ENTRYPOINT" => set(config, "Entrypoint", command(rest)),
        "ENV" => env(config, rest)?,
        "LABEL" => {
            for (name, value) in pairs(rest)? {
                object(config, "Labels").insert(name, value.into());
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                object(config, "ExposedPorts").insert(port_of(port)?, json!({}));
            }
        }
        "VOLUME" => {
            for path in list(rest).unwrap_or(words(rest)?) {
                object(config, "Volumes").insert(path, json!({}));
            }
        }
        "USER" => set(config, "User", json!(rest)),
        "WORKDIR" => workdir(config, rest),
        "STOPSIGNAL" => set(config, "StopSignal", json!(rest)),
        "HEALTHCHECK" => set(config, "Healthcheck", health_check(rest)?),
        "ONBUILD" => array(config, "OnBuild").push(json!(rest)),
        _ => {
            return Err("the instructions are CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, \
                        STOPSIGNAL, USER, VOLUME and WORKDIR"
                .into());
        }
    }
    Ok(())
}

fn set(config: &mut Map<String, Value>, key: &str, value: Value) {
    config.insert(key.into(), value);
}

/// A part of the config as an object; `null` and nothing are an empty one.
fn object<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = config.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object just now"),
    }
}

fn array<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Vec<Value> {
    let value = config.entry(key).or_insert(Value::Null);
    if !value.is_array() {
        *value = json!([]);
    }
    match value {
        Value::Array(list) => list,
        _ => unreachable!("it was made an array just now"),
    }
}

/// A list as JSON, or a line for the shell.
fn command(text: &str) -> Value {
    match list(text) {
        Some(list) => json!(list),
        None => json!(["/bin/sh", "-c", text]),
    }
}

fn list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// `NAME=value …`, or the old `NAME value`.
fn env(config: &mut Map<String, Value>, text: &str) -> Result<(), String> {
    for (name, value) in pairs(text)? {
        let entry = format!("{name}={value}");
        let begins = format!("{name}=");
        let env = array(config, "Env");
        match env.iter_mut().find(|old| old.as_str().is_some_and(|old| old.starts_with(&begins))) {
            Some(old) => *old = json!(entry),
            None => env.push(json!(entry)),
        }
    }
    Ok(())
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("it says no value")?;
        return Ok(vec![(name.into(), words(value)?.join(" "))]);
    }
    let pair = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{word}` is not NAME=VALUE")),
    };
    words(text)?.into_iter().map(pair).collect()
}

/// Words as a Dockerfile has them: quotes hold blanks, a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', None | Some('"')) => word.push(characters.next().ok_or("it ends with a backslash")?),
            (character, Some(open)) if character == open => quote = None,
            (character, Some(_)) => word.push(character),
            ('"' | '\'', None) => quote = Some(character),
            (blank, None) if blank.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
                continue;
            }
            (character, None) => word.push(character),
        }
        begun = true;
    }
    if quote.is_some() {
        return Err("a quote isn't closed".into());
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

fn port_of(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let known = ["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str());
    let numbers: Option<Vec<u16>> = number.splitn(2, '-').map(|number| number.parse().ok()).collect();
    match numbers {
        Some(_) if known => Ok(format!("{number}/{}", protocol.to_ascii_lowercase())),
        _ => Err(format!("`{text}` is not a port: give `80` or `53/udp`")),
    }
}

/// A relative one goes on from the one before.
fn workdir(config: &mut Map<String, Value>, path: &str) {
    let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
    let joined = std::path::Path::new("/").join(before).join(path);
    set(config, "WorkingDir", json!(joined.to_string_lossy()));
}

/// `NONE`, or options and `CMD …`.
fn health_check(text: &str) -> Result<Value, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(json!({ "Test": ["NONE"] }));
    }
    let mut check = json!({});
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = option.split_once(char::is_whitespace).ok_or("it has no CMD")?;
        let (name, value) = option.split_once('=').ok_or_else(|| format!("`--{option}` has no value"))?;
        match name {
            "interval" => check["Interval"] = json!(nanoseconds(value)?),
            "timeout" => check["Timeout"] = json!(nanoseconds(value)?),
            "start-period" => check["StartPeriod"] = json!(nanoseconds(value)?),
            "start-interval" => check["StartInterval"] = json!(nanoseconds(value)?),
            "retries" => {
                let retries: u32 = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
                check["Retries"] = json!(retries);
            }
            _ => return Err(format!("`--{name}` isn't an option of HEALTHCHECK")),
        }
        rest = behind.trim_start();
    }
    let command = rest.strip_prefix("CMD").filter(|command| command.starts_with([' ', '\t', '[']));
    let command = command.ok_or("after its options it says NONE or CMD")?.trim();
    check["Test"] = match list(command) {
        Some(list) => json!([vec!["CMD".to_owned()], list].concat()),
        None => json!(["CMD-SHELL", command]),
    };
    Ok(check)
}

/// Go's durations, of one unit: `500ms`, `30s`, `5m`, `1h`.
fn nanoseconds(text: &str) -> Result<u64, String> {
    let units = [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*factor)
    });
    parsed.ok_or_else(|| format!("`{text}` is not a duration: give `30s` or `5m`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(config: Value, changes: &[&str]) -> Result<Value> {
        let mut config = config;
        apply_all(&mut config, &changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>())?;
        Ok(config)
    }

    #[test]
    fn every_instruction() {
        for (change, expected) in [
            ("CMD [\"a\", \"b c\"]", json!({ "Cmd": ["a", "b c"] })),
            ("cmd echo hi", json!({ "Cmd": ["/bin/sh", "-c", "echo hi"] })),
            ("ENTRYPOINT [\"/x\"]", json!({ "Entrypoint": ["/x"] })),
            ("ENV A=b C=\"d e\" F=g\\ h", json!({ "Env": ["A=b", "C=d e", "F=g h"] })),
            ("ENV A b c", json!({ "Env": ["A=b c"] })),
            ("EXPOSE 80 53/UDP", json!({ "ExposedPorts": { "80/tcp": {}, "53/udp": {} } })),
            ("LABEL a=b \"c d\"=e", json!({ "Labels": { "a": "b", "c d": "e" } })),
            ("USER app:staff", json!({ "User": "app:staff" })),
            ("VOLUME [\"/a\", \"/b\"]", json!({ "Volumes": { "/a": {}, "/b": {} } })),
            ("VOLUME /a /b", json!({ "Volumes": { "/a": {}, "/b": {} } })),
            ("WORKDIR /srv", json!({ "WorkingDir": "/srv" })),
            ("STOPSIGNAL SIGINT", json!({ "StopSignal": "SIGINT" })),
            ("HEALTHCHECK NONE", json!({ "Healthcheck": { "Test": ["NONE"] } })),
            (
                "HEALTHCHECK --interval=5m --retries=3 CMD curl x",
                json!({ "Healthcheck": { "Interval": 300_000_000_000_u64, "Retries": 3, "Test": ["CMD-SHELL", "curl x"] } }),
            ),
            ("ONBUILD RUN make", json!({ "OnBuild": ["RUN make"] })),
        ] {
            assert_eq!(changed(json!({}), &[change]).unwrap(), expected, "{change}");
        }
    }

    #[test]
    fn what_was_there_stays_or_is_replaced() {
        let before = json!({ "Env": ["A=1", "AB=2"], "Labels": null, "WorkingDir": "/a", "Unknown": [1] });
        let after = changed(before, &["ENV A=3", "LABEL x=y", "WORKDIR b"]).unwrap();
        let expected =
            json!({ "Env": ["A=3", "AB=2"], "Labels": { "x": "y" }, "WorkingDir": "/a/b", "Unknown": [1] });
        assert_eq!(after, expected);
        assert_eq!(changed(Value::Null, &["USER a"]).unwrap(), json!({ "User": "a" }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for change in [
            "",
            "CMD",
            "RUN make",
            "ENV A",
            "ENV =b",
            "EXPOSE web",
            "EXPOSE 80/x",
            "LABEL \"a=b",
            "COPY a b",
            "HEALTHCHECK --interval=x CMD a",
            "HEALTHCHECK --interval=5s",
            "HEALTHCHECK curl",
        ] {
            assert!(changed(json!({}), &[change]).is_err(), "{change}");
        }
    }
}
