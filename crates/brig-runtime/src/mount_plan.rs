//! The files of a [`crate::plan::PayloadPlan`]: root file system, mounts, devices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::payload::IdMaps;

/// A root file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// Layers under a writable directory.
    Overlay {
        /// The layers, the uppermost first, as overlayfs wants them.
        lowers: Vec<PathBuf>,
        /// The writable directory; without one the file system is read-only.
        upper: Option<PathBuf>,
        /// overlayfs's work directory, beside the writable one.
        work: Option<PathBuf>,
        /// More options: `volatile`, `metacopy=off`.
        options: Vec<String>,
    },
    /// A directory.
    Path {
        /// Which.
        path: PathBuf,
    },
    /// A new, empty file system in memory.
    #[default]
    Empty,
}

/// A mount in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Where, in the container. Made when it is missing.
    pub target: String,
    /// What.
    pub what: MountKind,
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// More of them, for the mount alone, whatever the others concern.
    pub set_top: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// Whether the bits concern the mounts below it too.
    pub recursive: bool,
    /// The propagation: `MS_PRIVATE`, …, or 0 for that of the root; `MS_SLAVE` and `MS_SHARED` go together. With
    /// `MS_REC` it concerns the mounts below it too.
    pub propagation: u32,
    /// More `MOUNT_ATTR_*` bits to clear, of the mount alone.
    pub clear_top: u64,
    /// Whether the new file system begins with a copy of what is in its place.
    pub copy_up: bool,
    /// What is done with symbolic links at the ends of a bind mount.
    pub links: LinksPlan,
}

/// What is done with symbolic links at the ends of a bind mount. They are followed but for this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinksPlan {
    /// A link on the host is mounted itself.
    pub source: bool,
    /// A link in the container is mounted over itself.
    pub target: bool,
    /// Instead of a link on the host, one that says the same is made in the container.
    pub copy: bool,
}

impl MountPlan {
    /// A mount without any attributes.
    pub fn new(target: String, what: MountKind) -> Self {
        Self {
            target,
            what,
            set: 0,
            set_top: 0,
            clear: 0,
            recursive: false,
            propagation: 0,
            clear_top: 0,
            copy_up: false,
            links: LinksPlan::default(),
        }
    }

    /// Where it can't be written, what is mounted below it can.
    pub fn let_below_be_written(&mut self) {
        self.set_top |= self.set & libc::MOUNT_ATTR_RDONLY;
        self.set &= !libc::MOUNT_ATTR_RDONLY;
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A new file system.
    New {
        /// Its type.
        fs_type: String,
        /// Its options, each with a value or without.
        options: Vec<(String, Option<String>)>,
    },
    /// A file or directory of the host.
    Bind {
        /// Which.
        source: PathBuf,
        /// Whether with what is mounted below it.
        recursive: bool,
    },
    /// A file or directory of the host, whose files have other owners in the container.
    Mapped {
        /// Which.
        source: PathBuf,
        /// Whether with what is mounted below it, and mapped as it is.
        recursive: bool,
        /// Which ids become which: the file's as those of the container, and the mount's as those of the host.
        ids: IdMaps,
    },
    /// Another root file system: the image's files in an engine process, or another image's.
    Root(RootFs),
    /// A file or directory in another root file system, looked up when it is mounted, without leaving it.
    Part {
        /// In which.
        root: RootFs,
        /// A directory to mount an overlay on, on the way: out of sight of others, and of the container.
        place: PathBuf,
        /// Which.
        path: String,
    },
    /// No mount: what is mounted in this place becomes another.
    Change {
        /// What its file system is told, each with a value or without.
        options: Vec<(String, Option<String>)>,
    },
}

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    /// Where, in the container.
    pub path: String,
    /// The file of the host to bind there, where making one isn't allowed.
    pub host: PathBuf,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}
