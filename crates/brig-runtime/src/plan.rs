//! What the helper is told to do, as data.
//!
//! A plan is made for one start and read by the helper of the same build, so it is in a compact encoding without
//! self-description ([`Plan::encode`]); nothing of it is kept. It comes on the helper's descriptor 0, and descriptor 1
//! is the first connection of the supervisor ([`crate::protocol::Birth`] is its first message). Both drivers speak to
//! the helper through this: a Linux container's payload is a program of its root file system, a wasm container's is
//! the runner.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::health::HealthCheck;
use crate::protocol::ExecRequest;
use crate::restart::RestartPolicy;

pub use crate::payload::{
    Bytes, CapabilityPlan, CgroupDir, CgroupPlan, CpuScheduling, DevicePlan, ExecAffinity, IdMap, IdMaps,
    LandlockPlan, LinksPlan, ListenerPlan, MemoryPolicy, MountKind, MountPlan, PayloadPlan, ProcessPlan,
    ResctrlPlan, RootFs, SchedulingPlan, SeccompPlan, UserPlan,
};

/// The version of the encoding; helper and library must have the same.
pub const PLAN_VERSION: u32 = 10;

/// The descriptor on which an engine process writes its [`crate::exit::ExitReport`].
pub const REPORT_FD: i32 = 3;
/// The descriptor on which an engine process reads its [`ProcessPlan::input`].
pub const INPUT_FD: i32 = 4;

/// One start of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The supervisor's half.
    pub supervisor: SupervisorPlan,
    /// The payload's half.
    pub payload: PayloadPlan,
}

/// What the supervisor needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorPlan {
    /// The container.
    pub id: String,
    /// Its name, for events.
    pub name: String,
    /// The image, for events.
    pub image: String,
    /// `linux` or `wasm`.
    pub kind: String,
    /// When the container was created, for its record: RFC 3339.
    pub created_at: String,
    /// `<root>/containers/<id>`.
    pub dir: PathBuf,
    /// `<run-root>/containers/<id>`.
    pub run_dir: PathBuf,
    /// `<root>/events.log`.
    pub events: PathBuf,
    /// The file in `<root>/names` to remove with the container.
    pub name_file: PathBuf,
    /// Whether the first connection (the creator's) is attached from birth, as `brig run` in the foreground is: it gets
    /// every byte of output, slows the payload down when it is slow, and its frames on channel 1 are standard input.
    pub attach: bool,
    /// Whether standard input stays open for clients (`-i`); else it is `/dev/null`.
    pub stdin_open: bool,
    /// Whether the payload gets a terminal (`-t`), and its first size, rows and columns.
    pub tty: Option<(u16, u16)>,
    /// Where output is kept, if anywhere.
    pub log: Option<LogPlan>,
    /// How long the payload may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The signal that asks the payload to stop, when the supervisor itself is asked to go (SIGTERM).
    pub stop_signal: i32,
    /// How long the payload has to stop then, in milliseconds, before it is killed.
    pub stop_grace_ms: u64,
    /// Whether the container is removed when it ends (`--rm`).
    pub auto_remove: bool,
    /// When the payload is started again after its end.
    pub restart: RestartPolicy,
    /// How it is found out whether the payload works.
    pub health: Option<HealthPlan>,
    /// The cgroup of the supervisors in each hierarchy in which this one shall leave its creator's. They are made when
    /// they are missing, and stay.
    pub cgroups: Vec<PathBuf>,
    /// The volumes that the payload sees, for events; and those that nobody named go with `--rm`.
    pub volumes: Vec<VolumeUse>,
}

/// A volume that a payload sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    /// `<root>/volumes/<name>`.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// Where, in the container.
    pub target: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether nobody named it.
    pub anonymous: bool,
}

/// How it is found out whether a payload works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthPlan {
    /// When, and what follows.
    pub check: HealthCheck,
    /// What is run.
    pub request: ExecRequest,
}

/// Where output is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPlan {
    /// In `<dir>/log`: docker's json-file.
    File {
        /// A file that has so many bytes is rotated away before the next record.
        max_size: Option<u64>,
        /// How many files there may be, with the one that is written.
        max_files: u32,
        /// Whether files that were rotated away are compressed.
        compress: bool,
        /// What each record says of the container: a JSON object, or nothing.
        attrs: String,
    },
    /// In the host's journal.
    Journald {
        /// What the container is called there; without one, by its short id.
        tag: Option<String>,
        /// What each record says of the container, by names that journald takes.
        fields: Vec<(String, String)>,
        /// How many bytes may wait for a journal that is slow, before records are dropped. Without it the container
        /// waits.
        max_buffer: Option<u64>,
    },
}

impl Plan {
    /// The bytes for the helper.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        encode(self)
    }

    /// Reads what [`Plan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        decode(bytes, PLAN_VERSION)
    }
}

/// A message for the helper, whose first field is its version.
pub(crate) fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(io::Error::other)
}

/// Reads a message of this version.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8], version: u32) -> io::Result<T> {
    let invalid = |error: postcard::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let (found, _) = postcard::take_from_bytes::<u32>(bytes).map_err(invalid)?;
    if found != version {
        let wrong = format!("the helper reads plans of version {version}, and this one has {found}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
    }
    postcard::from_bytes(bytes).map_err(invalid)
}
