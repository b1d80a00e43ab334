//! Where things are (invariant 4).

use std::path::{Path, PathBuf};

/// The two roots: what must survive a reboot, and what must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Images, containers, events.
    pub root: PathBuf,
    /// Locks and sockets of the living.
    pub run_root: PathBuf,
}

impl Roots {
    /// Roots as given: without `run_root`, it is below `root`, so that two roots never meet.
    pub fn new(root: impl Into<PathBuf>, run_root: Option<PathBuf>) -> Self {
        let root = root.into();
        let run_root = run_root.unwrap_or_else(|| root.join("run"));
        Self { root, run_root }
    }

    /// The paths of one container.
    pub fn container(&self, id: &str) -> ContainerPaths {
        ContainerPaths {
            dir: self.root.join("containers").join(id),
            run_dir: self.run_root.join("containers").join(id),
        }
    }

    /// The directory of all containers.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// The directory of all run directories.
    pub fn run_containers(&self) -> PathBuf {
        self.run_root.join("containers")
    }

    /// The directory of names.
    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// The directory of volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The log of events.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.log")
    }

    /// The programs that brig carries inside itself and writes here.
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }
}

/// The paths of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPaths {
    dir: PathBuf,
    run_dir: PathBuf,
}

impl ContainerPaths {
    /// The container's directory, `<root>/containers/<id>`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of its socket and lock, mode 0700.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// What it is.
    pub fn spec(&self) -> PathBuf {
        self.dir.join("spec.json")
    }

    /// How it is.
    pub fn state(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// What it said.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Its writable layer.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// The work directory that overlayfs needs beside the writable layer.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// The compiled code that the engine processes of a wasm container see.
    pub fn modules(&self) -> PathBuf {
        self.dir.join("modules")
    }

    /// What belongs to the `number`th of its mounts, where an image is mounted: the place to mount it on the way to a part
    /// of it, and the writable layer and its work directory of one that can be written.
    pub fn mounted_image(&self, number: usize) -> PathBuf {
        self.dir.join("images").join(number.to_string())
    }

    /// The living supervisor's socket. Longer than `sun_path` for long roots: bind and connect to it relative to its
    /// directory.
    pub fn socket(&self) -> PathBuf {
        self.run_dir.join("sock")
    }

    /// The lock that the living supervisor holds.
    pub fn lock(&self) -> PathBuf {
        self.run_dir.join("lock")
    }
}
