//! Why something can't be done with a bundle's container.

use std::io;
use std::path::{Path, PathBuf};

use brig_runtime::hooks::HookError;
use brig_runtime::protocol::StepError;

use super::Status;
use crate::helper::HelperError;
use crate::plan::PlanError;
use crate::stats::StatsError;
use crate::update::UpdateError;

/// Why something can't be done with a bundle's container. Callers of runc look for some of the texts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// An ordinary user has no place for containers.
    #[error("XDG_RUNTIME_DIR isn't set: say with --root where containers are")]
    NoRoot,
    /// There is no such thing to ask for.
    #[error("{reason}")]
    Usage {
        /// Why, and what to do.
        reason: String,
    },
    /// The id isn't one.
    #[error("invalid container ID `{id}`: it must be made of letters, digits and `_+-.`")]
    InvalidId {
        /// The id.
        id: String,
    },
    /// There is one already.
    #[error("container with ID `{id}` exists already")]
    Exists {
        /// The id.
        id: String,
    },
    /// There is none.
    #[error("container `{id}` does not exist")]
    NotFound {
        /// The id.
        id: String,
    },
    /// A signal for a container that has ended.
    #[error("container not running")]
    NotRunning,
    /// It isn't in a state in which this can be done.
    #[error("cannot {what} container `{id}`: it is {status}")]
    Status {
        /// What was to be done, as a verb.
        what: &'static str,
        /// The container.
        id: String,
        /// Its status.
        status: Status,
    },
    /// It was killed and doesn't go.
    #[error(
        "the container's first process {pid} was killed and doesn't end: it waits for a device or a file system"
    )]
    Unending {
        /// Its pid.
        pid: i32,
    },
    /// A file can't be read or written.
    #[error("can't {what} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A document isn't what it should be.
    #[error("`{}` isn't a valid {what}", path.display())]
    Document {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A newer brig has created it.
    #[error(
        "container `{id}` was created by a newer brig, whose records of version {version} this one can't read"
    )]
    Newer {
        /// The container.
        id: String,
        /// Of its record.
        version: u32,
    },
    /// The version of the specification isn't one that is understood.
    #[error("`ociVersion` is `{version}`: versions 1.x of the runtime specification are understood")]
    Version {
        /// What the spec says.
        version: String,
    },
    /// Terminals and consoles don't fit together.
    #[error("{reason}")]
    Console {
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The container can't be had as its spec asks.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The helper can't be started.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// A step failed. Nothing is left of what was begun.
    #[error("can't {what}")]
    Step {
        /// What was to be done.
        what: &'static str,
        /// Which step, and why.
        #[source]
        source: StepError,
    },
    /// The helper ended, or said what can't be understood.
    #[error("the helper spoke out of turn")]
    Helpless {
        /// What was heard.
        #[source]
        source: io::Error,
    },
    /// What it uses can't be read.
    #[error(transparent)]
    Stats(#[from] StatsError),
    /// Limits can't be changed. Nothing was.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// A hook failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// A cgroup can't be changed.
    #[error("can't {what} the container's cgroups")]
    Cgroup {
        /// What was tried, as a verb.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl BundleError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// 127 and 126 when it was the program that couldn't be executed.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Step { source, .. } if [126, 127].contains(&source.code) => Some(source.code),
            _ => None,
        }
    }
}
