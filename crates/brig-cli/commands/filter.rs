//! `--filter` of lists, in docker's words: of several values for one key one must hold, of labels all.

use std::str::FromStr;

use brig_engine::{ContainerInfo, ImageSummary};

/// A filter of `ps`.
#[derive(Clone, Debug)]
pub(crate) enum ContainerFilter {
    Name(String),
    Id(String),
    Status(String),
    Label(String),
    Ancestor(String),
    Exited(u8),
}

impl FromStr for ContainerFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = key_and_value(text)?;
        match key {
            "name" => Ok(Self::Name(value.replacen("^/", "^", 1).trim_start_matches('/').into())),
            "id" => Ok(Self::Id(value.into())),
            "label" => Ok(Self::Label(value.into())),
            "ancestor" => Ok(Self::Ancestor(value.into())),
            "status" if ["created", "running", "paused", "exited", "dead"].contains(&value) => {
                Ok(Self::Status(value.into()))
            }
            "status" => Err("the states are created, running, paused, exited and dead".into()),
            "exited" => {
                value.parse().map(Self::Exited).map_err(|_| "an exit code is a number up to 255".into())
            }
            _ => Err("the filters are name, id, status, label, ancestor and exited".into()),
        }
    }
}

impl ContainerFilter {
    /// Whether it asks for containers that don't run, so that `-a` needn't be given.
    pub(crate) fn is_of_all_states(&self) -> bool {
        matches!(self, Self::Status(_))
    }

    fn admits(&self, container: &ContainerInfo) -> bool {
        let (spec, state) = (&container.spec, &container.state);
        match self {
            Self::Name(pattern) => has_part(&spec.name, pattern),
            Self::Id(beginning) => spec.id.starts_with(beginning.as_str()),
            Self::Status(status) => state.state.docker() == status,
            Self::Label(label) => match label.split_once('=') {
                Some((key, value)) => spec.labels.get(key).is_some_and(|have| have == value),
                None => spec.labels.contains_key(label),
            },
            Self::Ancestor(image) => is_of_image(container, image),
            Self::Exited(code) => {
                !state.state.is_active() && state.exit.as_ref().is_some_and(|exit| exit.code == *code)
            }
        }
    }
}

/// Whether a container passes all filters.
pub(crate) fn admit(filters: &[ContainerFilter], container: &ContainerInfo) -> bool {
    filters.iter().all(|filter| match filter {
        ContainerFilter::Label(_) => filter.admits(container),
        _ => filters.iter().any(|other| {
            std::mem::discriminant(other) == std::mem::discriminant(filter) && other.admits(container)
        }),
    })
}

/// docker's names are regular expressions; what is used of them are the ends.
fn has_part(name: &str, pattern: &str) -> bool {
    let part = pattern.trim_start_matches('^').trim_end_matches('$');
    match (pattern.starts_with('^'), pattern.ends_with('$')) {
        (true, true) => name == part,
        (true, false) => name.starts_with(part),
        (false, true) => name.ends_with(part),
        (false, false) => name.contains(part),
    }
}

/// By reference, or by the beginning of an image id.
fn is_of_image(container: &ContainerInfo, image: &str) -> bool {
    let own = &container.spec.image;
    let familiar = brig_engine::familiar(&own.reference);
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = hex.len() >= 4 && own.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(hex));
    own.reference == image || familiar == image || familiar.strip_suffix(":latest") == Some(image) || is_id
}

/// A filter of `images`.
#[derive(Clone, Debug)]
pub(crate) struct ReferenceFilter(String);

impl FromStr for ReferenceFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match key_and_value(text)? {
            ("reference", pattern) => Ok(Self(pattern.into())),
            _ => Err("the filter is reference".into()),
        }
    }
}

impl ReferenceFilter {
    /// What `images PATTERN` means.
    pub(crate) fn of_pattern(pattern: String) -> Self {
        Self(pattern)
    }

    /// Whether the pattern is that of the repository, or of repository and tag.
    pub(crate) fn admits(&self, image: &ImageSummary) -> bool {
        let whole = format!("{}:{}", image.repository, image.tag);
        [&image.repository, &whole, &image.reference]
            .iter()
            .any(|name| matches(self.0.as_bytes(), name.as_bytes()))
    }
}

/// A pattern with `*` and `?`, which don't stand for `/`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches(rest, text),
        (Some((b'*', rest)), Some((first, behind))) => {
            matches(rest, text) || (*first != b'/' && matches(pattern, behind))
        }
        (Some((b'?', rest)), Some((first, behind))) => *first != b'/' && matches(rest, behind),
        (Some((wanted, rest)), Some((first, behind))) => wanted == first && matches(rest, behind),
        _ => false,
    }
}

fn key_and_value(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').ok_or_else(|| "a filter is KEY=VALUE".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_part_or_end() {
        for (pattern, expected) in
            [("web", true), ("^web", true), ("^web$", false), ("1$", true), ("^web-1$", true), ("db", false)]
        {
            assert_eq!(has_part("web-1", pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn patterns_of_references() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("busy*", "busy/box", false),
            ("*/app:v?", "example.com/app:v1", true),
            ("app", "app2", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn wrong_filters_say_which_there_are() {
        for text in ["name", "colour=red", "status=happy", "exited=many"] {
            assert!(text.parse::<ContainerFilter>().is_err(), "{text}");
        }
        assert!("label=x".parse::<ReferenceFilter>().is_err());
    }
}
