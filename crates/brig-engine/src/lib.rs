//! The engine: images in, containers out, Linux and wasm through one type.
//!
//! [`Engine`] is for async hosts, [`blocking::Engine`] for others (the `brig` command is one). Both are cheap to clone,
//! have no global state, print nothing, install no signal handlers and reap only what they started. A container that
//! is started has a supervisor of its own and outlives the program that started it.
//!
//! With the feature `plugin`, [`plugin`] calls components in this process, behind the engine's wall alone.

mod doctor;
mod engine;
mod error;
mod events;
mod fsck;
#[cfg(brig_fuzzing)]
pub mod fuzzing;
mod hints;
mod layers;
mod missing;
mod names;
mod peek;
mod progress;
mod session;
mod threads;
#[cfg(feature = "registry")]
mod transfer;
mod usage;
mod users;
#[cfg_attr(not(feature = "wasm"), path = "no_wasm.rs")]
mod wasm;

pub mod blocking;
mod containers;
mod images;
mod volumes;

#[cfg(feature = "plugin")]
pub use brig_wasm::plugin;

pub use brig_linux::bundle;
pub use brig_oci::{Digest, Kind, Platform, Reference};
pub use brig_runtime::files::{Change, ChangeKind, PathStat};
pub use brig_runtime::logs::LogOptions;
pub use brig_runtime::record::MountRecord;
pub use brig_runtime::{
    BlockDevice, BlockIo, BlockRate, BlockRateKind, BlockWeight, Event, ExitReason, ExitStatus, Health,
    HealthCheck, HealthStatus, LimitChanges, Limits, LogConfig, RestartPolicy, State, Timestamp, Tuning,
    Ulimit, client, exit, logs, protocol,
};
pub use brig_store::FsckReport;
pub use containers::{
    AttachOptions, ContainerInfo, ContainerSize, Copied, CopyOptions, CreateOptions, ExecOptions,
    HealthOptions, Isolation, Network, Process, PruneFilter, PrunedContainers, Sample, machine_memory,
    signal,
};
pub use doctor::{Check, Verdict, doctor};
pub use engine::{Engine, EngineOptions};
pub use error::{Error, ErrorKind, Result};
pub use events::Events;
pub use images::{
    CommitOptions, Committed, HistoryEntry, ImageDetails, ImageSummary, ImportOptions, ResolvedImage, Wanted,
};
#[cfg(feature = "registry")]
pub use images::{PullOptions, PushOptions};
pub use peek::{Glimpse, Peek};
pub use progress::{Progress, ProgressSink};
pub use session::{Session, SessionOutput};
pub use usage::{DiskUsage, Usage};
pub use volumes::{MountFlag, Volume, VolumeInfo, VolumeOptions, VolumeSource};

/// The version of the OCI runtime specification that containers are described by.
pub const OCI_RUNTIME_VERSION: &str = "1.3.0";
/// The version of wasmtime that wasm containers run under.
pub const WASMTIME_VERSION: &str = "48";

/// A reference as docker's lists show it: without what is the default.
pub fn familiar(reference: &str) -> String {
    let Ok(parsed) = reference.parse::<Reference>() else { return reference.to_owned() };
    match (parsed.tag(), parsed.digest()) {
        (Some("latest"), None) => parsed.familiar_name(),
        (Some(tag), _) => format!("{}:{tag}", parsed.familiar_name()),
        (None, Some(digest)) => format!("{}@{digest}", parsed.familiar_name()),
        (None, None) => parsed.familiar_name(),
    }
}
