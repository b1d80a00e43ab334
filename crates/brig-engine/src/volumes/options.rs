//! What is to be mounted, as flags say it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use brig_runtime::record::MountsBelow;

use super::{check_name, parse};
use crate::error::{Error, Result};

/// A volume, or a directory or file of the host, in the container: `[source:]target[:options]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What is seen there.
    pub source: VolumeSource,
    /// In the container; absolute, without `.`, `..` and a slash at the end.
    pub target: String,
    /// Whether it can't be written.
    pub read_only: bool,
    /// Whether a new volume stays empty, without the image's files.
    pub no_copy: bool,
    /// Whether its files become those of the container's user.
    pub chown: bool,
    /// Whether a directory of the host must be there; else it is made.
    pub must_exist: bool,
    /// How mounts below it are passed on: `rslave`, …
    pub propagation: Option<String>,
    /// What of a volume or an image is seen: a path in it.
    pub subpath: Option<String>,
    /// What of the mounts below a directory of the host there is.
    pub below: MountsBelow,
    /// Labels of a volume that is made for it.
    pub labels: BTreeMap<String, String>,
    /// Options of its driver.
    pub driver_options: BTreeMap<String, String>,
    /// The options as given.
    pub mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A directory or file of the host, absolute.
    Host(PathBuf),
    /// A volume, which is made where it is missing.
    Named(String),
    /// A new volume.
    Anonymous,
    /// The files of an image, by its name or id; of its own platform's, where there are several.
    Image(String),
}

/// What `--mount` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountFlag {
    /// A volume, or a directory or file of the host.
    Volume(Volume),
    /// A file system in memory.
    Tmpfs {
        /// In the container.
        target: String,
        /// In the words of `--tmpfs`.
        options: String,
    },
}

impl Volume {
    /// Without options.
    pub fn new(source: VolumeSource, target: impl Into<String>) -> Self {
        Self {
            source,
            target: target.into(),
            read_only: false,
            no_copy: false,
            chown: false,
            must_exist: false,
            propagation: None,
            subpath: None,
            below: MountsBelow::Same,
            labels: BTreeMap::new(),
            driver_options: BTreeMap::new(),
            mode: String::new(),
        }
    }

    /// Takes docker's options of `-v`, and podman's `U`.
    fn options(&mut self, text: &str) -> Result<(), String> {
        let is_host = matches!(self.source, VolumeSource::Host(_));
        let mut access = None;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "rw" if access.is_some_and(|access| access != option) => {
                    return Err(format!("invalid mode: {text}"));
                }
                "ro" | "rw" => access = Some(option),
                // Labels for SELinux, which has no policy to apply them to where brig runs without it.
                "z" | "Z" => {}
                "U" => self.chown = true,
                "nocopy" if !is_host => self.no_copy = true,
                // Of Docker Desktop's file sharing; elsewhere docker takes them and does nothing.
                "cached" | "delegated" | "consistent" => {}
                other if is_host && parse::is_propagation(other) => self.propagation = Some(other.to_owned()),
                _ => return Err(format!("invalid mode: {text}")),
            }
        }
        self.read_only = access == Some("ro");
        self.mode = text.to_owned();
        Ok(())
    }
}

impl FromStr for Volume {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |problem: &str| Error::invalid("volume", text, problem);
        let parts: Vec<&str> = text.split(':').collect();
        if parts.len() > 3 {
            return Err(invalid("expected `[source:]target[:options]`"));
        }
        if parts.iter().any(|part| part.is_empty()) {
            return Err(invalid("empty section between colons"));
        }
        let (source, target, options) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, options] => (Some(*source), *target, *options),
            _ => return Err(invalid("expected `[source:]target[:options]`")),
        };
        let source = source.map_or(Ok(VolumeSource::Anonymous), |source| source_of(source, text))?;
        let target = parse::target(target).map_err(|problem| invalid(&problem))?;
        let mut volume = Self::new(source, target);
        volume.options(options).map_err(|problem| invalid(&problem))?;
        Ok(volume)
    }
}

fn source_of(source: &str, text: &str) -> Result<VolumeSource> {
    if source.starts_with('~') {
        let problem = "only a shell knows whose home `~` is: give the whole path";
        return Err(Error::invalid("volume", text, problem));
    }
    if source.starts_with(['/', '.']) {
        let source = std::path::absolute(source).map_err(Error::io("find", source))?;
        return Ok(VolumeSource::Host(source));
    }
    check_name(source)?;
    Ok(VolumeSource::Named(source.to_owned()))
}

impl FromStr for MountFlag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields = parse::MountFields::parse(text);
        fields.and_then(parse::MountFields::finish).map_err(|problem| Error::invalid("mount", text, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    #[test]
    fn volumes_as_docker_writes_them() {
        let host = volume("/data:/srv/:ro");
        assert_eq!(host.source, VolumeSource::Host("/data".into()));
        assert_eq!((host.target.as_str(), host.read_only, host.mode.as_str()), ("/srv", true, "ro"));
        assert!(matches!(volume("./x:/y").source, VolumeSource::Host(path) if path.is_absolute()));
        let named = volume("data:/srv:nocopy,U,z");
        assert_eq!(named.source, VolumeSource::Named("data".into()));
        assert!(named.no_copy && named.chown && !named.read_only);
        assert_eq!(volume("/srv").source, VolumeSource::Anonymous);
        assert_eq!(volume("/a:/b:rslave").propagation.as_deref(), Some("rslave"));
    }

    #[test]
    fn wrong_volumes_say_what_is_wrong() {
        for (text, problem) in [
            ("", "empty section"),
            (":/b", "empty section"),
            ("/a:", "empty section"),
            ("/a:b", "mount path must be absolute"),
            ("b", "mount path must be absolute"),
            ("/a:/b:xx", "invalid mode: xx"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:nocopy", "invalid mode: nocopy"),
            ("a:/b:rslave", "invalid mode: rslave"),
            ("/a:/", "destination can't be '/'"),
            ("/a://..", "destination can't be '/'"),
            ("a/b:/c", "use absolute path"),
            ("~/a:/b", "only a shell"),
            ("/a:/b:ro:x", "expected `[source:]target[:options]`"),
        ] {
            let error = text.parse::<Volume>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
