//! References, `registry/repository:tag@digest`, with docker's normalisation.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::excerpt::excerpt;

/// The registry that a name without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that a reference without tag and digest means.
pub const DEFAULT_TAG: &str = "latest";
/// The longest repository name, without the registry (distribution `reference` grammar).
const MAX_NAME: usize = 255;
/// The longest registry, port included: a host name has at most 253 characters.
const MAX_REGISTRY: usize = 260;
/// The longest tag (distribution-spec, "Pulling manifests").
const MAX_TAG: usize = 128;

/// A reference to an image, normalised: registry and repository are always there, and so is a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string isn't a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A part breaks the grammar.
    #[error("`{input}` is not an image reference: {problem}")]
    Invalid {
        /// What was given.
        input: String,
        /// Which part is wrong, and how.
        problem: &'static str,
    },
    /// The digest after `@` is wrong.
    #[error("`{input}` is not an image reference")]
    Digest {
        /// What was given.
        input: String,
        /// What is wrong with it.
        #[source]
        source: crate::digest::DigestError,
    },
}

impl Reference {
    /// The registry as written: `docker.io`, `localhost:5000`, `quay.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one. It wins over the tag.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry's manifests for: the digest, or else the tag.
    pub fn manifest_key(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.into(),
        }
    }

    /// The canonical full name, `docker.io/library/busybox:latest`, which refs in the store are named by.
    pub fn canonical(&self) -> String {
        self.to_string()
    }

    /// The name as docker's lists show it: without `docker.io/` and `library/`, and without the digest or tag. What is
    /// left away is only what parsing puts back.
    pub fn familiar_name(&self) -> String {
        let full = || format!("{}/{}", self.registry, self.repository);
        if self.registry != DEFAULT_REGISTRY {
            return full();
        }
        let official = self.repository.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        let short = official.unwrap_or(&self.repository);
        let misread = split_registry(short) != (DEFAULT_REGISTRY, short) || is_image_id(short);
        if misread { full() } else { short.into() }
    }

    /// The same repository with `digest` in place of tag and digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The same repository and tag without a digest; a reference that had only a digest stays as it is.
    #[must_use]
    pub fn without_digest(&self) -> Self {
        if self.tag.is_none() {
            return self.clone();
        }
        Self { digest: None, ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let invalid = |problem| ReferenceError::Invalid { input: excerpt(input, 300), problem };
        let (rest, digest) = match input.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|source| ReferenceError::Digest { input: excerpt(input, 300), source })?;
                (rest, Some(digest))
            }
            None => (input, None),
        };
        let (name, tag) = split_tag(rest);
        if name.is_empty() {
            return Err(invalid("the name is empty"));
        }
        if digest.is_none() && tag.is_none() && is_image_id(name) {
            return Err(invalid("64 hexadecimal characters are an image id, not a name"));
        }
        let (registry, path) = split_registry(name);
        if registry.len() > MAX_REGISTRY || !is_registry(registry) {
            return Err(invalid("the registry is not `host` or `host:port`"));
        }
        let registry = match registry {
            "index.docker.io" => DEFAULT_REGISTRY,
            other => other,
        };
        if !is_repository(path) {
            return Err(invalid(
                "the repository must be lower-case letters and digits, separated by `/`, `.`, `-`, `_` or `__`",
            ));
        }
        if !tag.is_none_or(is_tag) {
            return Err(invalid(
                "the tag must be at most 128 letters, digits, `_`, `.` and `-`, and not begin with `.` or `-`",
            ));
        }
        let repository = match (registry, path.contains('/')) {
            (DEFAULT_REGISTRY, false) => format!("library/{path}"),
            _ => path.to_owned(),
        };
        // Of the normalised name, so that a canonical name can always be parsed again.
        if repository.len() > MAX_NAME {
            return Err(invalid("the repository is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A colon after the last slash begins a tag; one before it belongs to a port.
fn split_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (text, None),
    }
}

/// Docker's rule: the part before the first slash is a registry only if it has a dot or a colon, is `localhost`, or
/// has an upper-case letter.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) => {
            let address = !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            return address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

/// Digits only: Rust's parser takes a sign too.
fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn is_repository(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// `alphanumeric (separator alphanumeric)*`, where a separator is `.`, `_`, `__` or dashes.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    for c in component.bytes() {
        if alphanumeric(c) {
            separator.clear();
            continue;
        }
        separator.push(char::from(c));
        let allowed = matches!(separator.as_str(), "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
        if !allowed {
            return false;
        }
    }
    let ends = |b: Option<u8>| b.is_some_and(alphanumeric);
    ends(component.bytes().next()) && ends(component.bytes().last())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !tag.is_empty()
        && tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_image_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (input, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1", "docker.io/library/busybox:1"),
            ("me/app", "docker.io/me/app:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b:v1"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("Registry/app", "Registry/app:latest"),
            ("quay.io/a/b__c/d-e.f", "quay.io/a/b__c/d-e.f:latest"),
        ] {
            let reference: Reference = input.parse().unwrap();
            assert_eq!(reference.to_string(), expected, "{input}");
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference, "{input}");
        }
    }

    #[test]
    fn a_digest_stands_beside_a_tag_or_alone() {
        let digest = Digest::sha256("{}");
        let both: Reference = format!("app:v1@{digest}").parse().unwrap();
        assert_eq!(both.tag(), Some("v1"));
        assert_eq!(both.manifest_key(), digest.to_string());
        let alone: Reference = format!("app@{digest}").parse().unwrap();
        assert_eq!(alone.tag(), None);
        assert_eq!(alone.to_string(), format!("docker.io/library/app@{digest}"));
    }

    #[test]
    fn what_is_not_a_reference_is_refused() {
        let id = "a".repeat(64);
        let long = format!("a/{}", "b".repeat(300));
        // Its normalised form has `library/` before it.
        let too_long_when_normalised = "b".repeat(248);
        let long_host = format!("{}example/a", "a.".repeat(200));
        let long_tag = format!("a:{}", "t".repeat(129));
        for input in [
            "",
            ":tag",
            "App",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a:",
            "a:-x",
            "a:x/y:z:",
            "a b",
            "a@sha256:12",
            "a@",
            "../../etc",
            "host:port/a",
            "https://a.b/c",
            "a.b:99999/c",
            &id,
            &long,
            &too_long_when_normalised,
            &long_host,
            "a.b:+80/c",
            "a.b:/c",
            "[::1]x/c",
            "[::g]:5000/c",
            "a.b/",
            "a\n",
            "a:b\n",
            "a/B",
            "a._b",
            "a.-b",
            &long_tag,
            "ex_ample.com/a",
            "é/a",
        ] {
            assert!(input.parse::<Reference>().is_err(), "{input}");
        }
    }

    #[test]
    fn familiar_names_leave_out_what_docker_leaves_out() {
        for (input, expected) in [
            ("busybox", "busybox"),
            ("me/app", "me/app"),
            ("localhost:5000/app:v1", "localhost:5000/app"),
            ("docker.io/library/a/b", "library/a/b"),
            ("docker.io/a.b/c", "docker.io/a.b/c"),
            ("docker.io/localhost/c", "docker.io/localhost/c"),
        ] {
            let reference: Reference = input.parse().unwrap();
            assert_eq!(reference.familiar_name(), expected);
            let again: Reference = expected.parse().unwrap();
            assert_eq!(again.repository(), reference.repository(), "{input}");
        }
    }

    #[test]
    fn the_longest_names_can_be_parsed_again() {
        for input in ["b".repeat(247), format!("{}/{}", "a".repeat(127), "b".repeat(127))] {
            let canonical = input.parse::<Reference>().unwrap().canonical();
            assert_eq!(canonical.parse::<Reference>().unwrap().canonical(), canonical);
        }
    }

    #[test]
    fn tag_and_digest_can_be_exchanged() {
        let digest = Digest::sha256("{}");
        let tagged: Reference = "a:v1".parse().unwrap();
        let fixed = tagged.with_digest(digest.clone());
        assert_eq!(fixed.to_string(), format!("docker.io/library/a@{digest}"));
        assert_eq!(fixed.without_digest(), fixed);
        let both: Reference = format!("a:v1@{digest}").parse().unwrap();
        assert_eq!(both.without_digest(), tagged);
    }
}
