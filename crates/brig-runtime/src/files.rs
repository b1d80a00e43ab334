//! What the helper is told to do with files, as data: one operation in one file tree.
//!
//! A plan comes on the helper's descriptor 0, as [`crate::plan::Plan`] does; the helper's second argument says which of
//! the two it is. Descriptor 1 is a socket with the frames of [`crate::protocol`]:
//!
//! ```text
//! to the helper      channel 1: the tar to be written; an empty frame ends it
//! from the helper    channel 2: the tar, or the JSON lines of [Change]
//!                    channel 0: [FilesEnd], once, as the last frame
//! ```
//!
//! So a stream that breaks off isn't taken for a whole one, and the helper ends when whoever asked is gone.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::payload::{IdMaps, MountPlan, RootFs};
use crate::plan;
use crate::record::ProcessId;

/// The version of the encoding; helper and library must have the same.
pub const FILES_VERSION: u32 = 1;
/// The helper's argument for a [`FilesPlan`].
pub const FILES_ARGUMENT: &str = "files";

/// The helper's step that fails with `ESRCH` when the container has just ended.
pub const STEP_ENTER: &str = "enter the container";

/// One operation in one file tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesPlan {
    /// [`FILES_VERSION`].
    pub version: u32,
    /// Which tree.
    pub place: Place,
    /// What to do there.
    pub operation: Operation,
}

/// A file tree. The helper makes it its own root before it looks at anything in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A directory as this user sees it.
    Directory {
        /// Which.
        path: PathBuf,
    },
    /// The files of a container that runs.
    Running {
        /// A process in its mount namespace.
        process: ProcessId,
        /// Where the container's root is in that namespace.
        root: PathBuf,
        /// Whether without what is mounted in it.
        bare: bool,
    },
    /// The files of a container that doesn't run, mounted for the time of the operation. Nobody may start it meanwhile.
    Stopped {
        /// The user namespace that the container has when it runs.
        user_namespace: Option<IdMaps>,
        /// Its root file system.
        root: RootFs,
        /// Whether the root can't be written.
        read_only: bool,
        /// The files and directories of the host in it.
        mounts: Vec<MountPlan>,
    },
    /// The writable layer of a container and the layers below it, unmounted.
    Layers {
        /// The user namespace that the container has when it runs.
        user_namespace: Option<IdMaps>,
        /// The writable layer.
        upper: PathBuf,
        /// The layers below, the uppermost first.
        lowers: Vec<PathBuf>,
        /// Names that starts make in it, to mount on: no changes while they are empty.
        mount_points: Vec<String>,
    },
}

/// What to do with files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Look at a path: [`FilesEnd::Found`]. The last component is a link itself, unless a slash follows.
    Stat {
        /// In the tree.
        path: String,
    },
    /// Give a path as a tar.
    Read {
        /// In the tree.
        path: String,
        /// What it is called in the tar.
        name: String,
    },
    /// Take a tar into a directory.
    Write {
        /// In the tree; it must exist.
        path: String,
        /// Whose its files become.
        owner: Owner,
        /// Whether links that are in the directory are followed where they are above what is written.
        follow: bool,
    },
    /// Give all of it as a tar.
    Tree,
    /// List what differs between the layers of a [`Place::Layers`], as lines of [`Change`].
    Changes,
    /// Give what differs between the layers of a [`Place::Layers`] as a layer's tar.
    Layer,
}

/// Whose files become that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// What the tar says.
    Tar,
    /// Root's.
    Root,
    /// The caller's. Without what only owners may grant: set-id bits and attributes of the system.
    Caller,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FilesEnd {
    /// All of it is done.
    Done {
        /// How many attributes couldn't be set.
        unset: u64,
    },
    /// What was looked for.
    Found(PathStat),
    /// It was given up.
    Failed(FilesFailure),
}

/// A file, as docker's archive API describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// The last component of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`: type and permissions.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
    /// And nanoseconds.
    pub mtime_nsec: u32,
    /// Where a symbolic link leads in the end, absolute; empty for anything else.
    pub link_target: String,
}

impl PathStat {
    const TYPE: u32 = 0o170_000;

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.mode & Self::TYPE == 0o040_000
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & Self::TYPE == 0o100_000
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.mode & Self::TYPE == 0o120_000
    }
}

/// Why an operation was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("can't {step}{}: {}", self.about(), self.why())]
pub struct FilesFailure {
    /// What was tried, as a verb phrase.
    pub step: String,
    /// What it was about.
    pub subject: Option<String>,
    /// The error number, or 0.
    pub errno: i32,
    /// What was wrong, where it has no number.
    pub problem: Option<String>,
}

impl FilesFailure {
    fn about(&self) -> String {
        self.subject.as_ref().map(|subject| format!(" `{subject}`")).unwrap_or_default()
    }

    fn why(&self) -> String {
        self.problem.clone().unwrap_or_else(|| io::Error::from_raw_os_error(self.errno).to_string())
    }
}

/// A file that a container has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Absolute, in the container.
    pub path: String,
}

/// How a file was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is another one, or something in it changed.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

impl ChangeKind {
    /// docker's letter.
    pub fn letter(self) -> char {
        match self {
            Self::Modified => 'C',
            Self::Added => 'A',
            Self::Deleted => 'D',
        }
    }
}

impl FilesPlan {
    /// The bytes for the helper.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        plan::encode(self)
    }

    /// Reads what [`FilesPlan::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        plan::decode(bytes, FILES_VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_back_and_others_refused() {
        let place = Place::Directory { path: "/x".into() };
        let plan = FilesPlan { version: FILES_VERSION, place, operation: Operation::Tree };
        let mut bytes = plan.encode().unwrap();
        assert_eq!(FilesPlan::decode(&bytes).unwrap(), plan);
        bytes[0] = 99;
        assert!(FilesPlan::decode(&bytes).is_err());
    }

    #[test]
    fn failures_say_what_why_and_about_what() {
        let failure = |errno, problem: Option<&str>| FilesFailure {
            step: "open".into(),
            subject: Some("/x".into()),
            errno,
            problem: problem.map(Into::into),
        };
        assert_eq!(failure(2, None).to_string(), "can't open `/x`: No such file or directory (os error 2)");
        assert_eq!(failure(0, Some("it is odd")).to_string(), "can't open `/x`: it is odd");
    }
}
