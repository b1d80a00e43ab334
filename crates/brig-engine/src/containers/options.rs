//! What a container is created with: `create`'s and `run`'s flags as a type.

use std::collections::BTreeMap;

use brig_runtime::{Limits, LogConfig, RestartPolicy, Tuning};

use super::health::HealthOptions;
use crate::images::Wanted;
use crate::volumes::Volume;

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
    /// Volumes, and directories and files of the host.
    pub volumes: Vec<Volume>,
    /// Containers whose mounts it gets, too: `name[:ro]`.
    pub volumes_from: Vec<String>,
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
