//! What a container is created with: `create`'s and `run`'s flags as a type.

use std::collections::BTreeMap;
use std::path::PathBuf;

use brig_runtime::{Limits, LogConfig, RestartPolicy, Tuning};

use super::health::HealthOptions;
use crate::error::{Error, Result};
use crate::images::Wanted;

/// Everything that `create` can be told. The default is what docker does without flags.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// A reference, an image id, or the path of a `.wasm` file (with a `/` or the ending `.wasm`/`.wat`).
    pub image: String,
    /// Platform and runtime.
    pub wanted: Wanted,
    /// The name; generated where there is none.
    pub name: Option<String>,
    /// Arguments: they replace the image's `Cmd`.
    pub args: Vec<String>,
    /// Replaces the image's `Entrypoint`; an empty string clears it.
    pub entrypoint: Option<String>,
    /// Environment: `NAME=value`, or `NAME` to take the caller's.
    pub env: Vec<String>,
    /// Directories and files of the host.
    pub volumes: Vec<Volume>,
    /// The working directory.
    pub workdir: Option<String>,
    /// `user[:group]`.
    pub user: Option<String>,
    /// The host name; the short id where there is none.
    pub hostname: Option<String>,
    /// Whether the root file system can't be written.
    pub read_only: bool,
    /// Which network.
    pub network: Network,
    /// How a wasm container is walled in.
    pub isolation: Isolation,
    /// Limits.
    pub limits: Limits,
    /// What it is given beside its limits.
    pub tuning: Tuning,
    /// The signal that asks it to stop; the image's where there is none.
    pub stop_signal: Option<i32>,
    /// How many seconds it has then until it is killed.
    pub stop_timeout: Option<u64>,
    /// Where output is kept.
    pub log: LogConfig,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `no-new-privileges`, `seccomp=unconfined`.
    pub security_opt: Vec<String>,
    /// When its supervisor starts it again.
    pub restart: RestartPolicy,
    /// How it is found out whether it works.
    pub health: HealthOptions,
    /// Whether an init of brig's own is its first process. A wasm container's engine process is one in any case.
    pub init: bool,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether standard input stays open.
    pub interactive: bool,
    /// Whether it goes when it ends.
    pub auto_remove: bool,
    /// Whether this process starts it at once: then a container with `auto_remove` also goes when this process ends
    /// before that.
    pub start_follows: bool,
}

/// Which network a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// A loopback of its own, and nothing else. For wasm: no sockets at all.
    #[default]
    None,
    /// The host's.
    Host,
}

impl Network {
    /// docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
        }
    }
}

/// How a wasm container is walled in (invariant 11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An engine process of its own, with namespaces, seccomp, landlock and no capabilities around the engine.
    #[default]
    Process,
}

/// A directory or file of the host in the container: `source:target[:ro|rw]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// On the host; absolute.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: String,
    /// Whether it can't be written.
    pub read_only: bool,
}

impl std::str::FromStr for Volume {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |problem: &str| Error::invalid("volume", text, problem);
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (*source, *target, ""),
            [source, target, options] => (*source, *target, *options),
            _ => return Err(invalid("expected `source:target[:ro]`")),
        };
        let mut read_only = false;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                // Labels for SELinux, which has no policy to apply them to where brig runs without it.
                "z" | "Z" => {}
                _ => return Err(invalid("the options are `ro` and `rw`")),
            }
        }
        if !target.starts_with('/') {
            return Err(invalid("the path in the container must be absolute"));
        }
        if target.trim_matches('/').is_empty() {
            return Err(invalid("the container's root itself can't be mounted over"));
        }
        if source.starts_with('~') {
            return Err(invalid("only a shell knows whose home `~` is: give the whole path"));
        }
        if !source.starts_with(['/', '.']) {
            return Err(invalid("named volumes aren't there yet: give a path that begins with `/` or `.`"));
        }
        let source = std::path::absolute(source).map_err(Error::io("find", source))?;
        Ok(Self { source, target: target.to_owned(), read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_as_docker_writes_them() {
        let volume: Volume = "/data:/srv:ro".parse().unwrap();
        assert_eq!(
            (volume.source.to_str(), volume.target.as_str(), volume.read_only),
            (Some("/data"), "/srv", true)
        );
        assert!("./x:/y".parse::<Volume>().unwrap().source.is_absolute());
        for text in ["", "/a", "/a:b", "/a:/b:xx", "/a:/", "/a://", "a:/b", "~/a:/b", "/a:/b:ro:x"] {
            assert!(text.parse::<Volume>().is_err(), "{text}");
        }
    }
}
