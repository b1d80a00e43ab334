//! How containers are.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::Entry;
use super::{BundleError, OCI_VERSION, PROGRAMS, Runtime};
use crate::stats::{CgroupStats, cgroup_pids, cgroup_stats};

/// What a container does (runtime specification, State; `paused` is runc's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made, or its creator was killed.
    Creating,
    /// Its program waits to be started.
    Created,
    /// Its program runs.
    Running,
    /// It is frozen.
    Paused,
    /// It has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container, with runc's additions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerState {
    /// The version of the specification that its spec follows.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its first process; 0 when it has ended.
    pub pid: i32,
    /// What it does.
    pub status: Status,
    /// Where its spec came from.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// When it was created: RFC 3339.
    pub created: String,
    /// The spec's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The user id of who created it.
    pub owner: String,
}

impl Runtime {
    /// The state of a container (runtime specification, Query State).
    ///
    /// # Errors
    /// [`BundleError::NotFound`].
    pub fn state(&self, id: &str) -> Result<ContainerState, BundleError> {
        self.find(id)?.state()
    }

    /// The states of all containers, by id.
    ///
    /// # Errors
    /// The root directory can't be read.
    pub fn list(&self) -> Result<Vec<ContainerState>, BundleError> {
        let mut states = Vec::new();
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(states),
            entries => entries.map_err(BundleError::io("read", &self.root))?,
        };
        for entry in entries {
            let entry = entry.map_err(BundleError::io("read", &self.root))?;
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|name| *name != PROGRAMS) else { continue };
            match self.state(id) {
                Ok(state) => states.push(state),
                // Not a container's.
                Err(BundleError::InvalidId { .. }) => {}
                // Removed meanwhile, or its creator was killed before it had written anything down.
                Err(BundleError::NotFound { .. }) => states.extend(self.remains(id, Status::Creating)),
                // What can't be read is removed by `delete --force`, and has to be seen for that.
                Err(BundleError::Document { .. }) => states.extend(self.remains(id, Status::Stopped)),
                Err(error) => return Err(error),
            }
        }
        states.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(states)
    }

    /// What is there of a container whose record isn't, or can't be read.
    fn remains(&self, id: &str, status: Status) -> Option<ContainerState> {
        let dir = fs::metadata(self.root.join(id)).ok().filter(fs::Metadata::is_dir)?;
        Some(ContainerState {
            oci_version: OCI_VERSION.to_owned(),
            id: id.to_owned(),
            pid: 0,
            status,
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: String::new(),
            annotations: BTreeMap::new(),
            owner: dir.uid().to_string(),
        })
    }

    /// The pids of all processes of a container, sorted.
    ///
    /// # Errors
    /// [`BundleError::NotFound`]; its cgroups can't be read.
    pub fn pids(&self, id: &str) -> Result<Vec<u32>, BundleError> {
        self.find(id)?.pids()
    }

    /// What a container uses, as `runc events` tells it: the `data` of a `stats` event.
    ///
    /// # Errors
    /// [`BundleError::NotRunning`]; its cgroups can't be read.
    pub fn stats(&self, id: &str) -> Result<CgroupStats, BundleError> {
        let entry = self.find(id)?;
        match entry.status()? {
            Status::Stopped | Status::Creating => Err(BundleError::NotRunning),
            _ => Ok(cgroup_stats(&entry.record.cgroups.directories())?),
        }
    }
}

impl Runtime {
    /// How often the kernel's OOM killer has ended a process of a container.
    ///
    /// # Errors
    /// [`BundleError::NotFound`]; its cgroup can't be read.
    pub fn oom_kills(&self, id: &str) -> Result<u64, BundleError> {
        let kills = brig_runtime::cgroup::oom_kills(&self.find(id)?.record.cgroups);
        kills.map_err(|source| BundleError::Cgroup { what: "read", source })
    }
}

impl Entry {
    fn state(&self) -> Result<ContainerState, BundleError> {
        let status = self.status()?;
        let record = &self.record;
        let pid = match (status, record.init) {
            (Status::Stopped, _) | (_, None) => 0,
            (_, Some(init)) => init.pid,
        };
        Ok(ContainerState {
            oci_version: record.oci_version.clone(),
            id: self.id.clone(),
            pid,
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.to_string(),
            annotations: record.annotations.clone(),
            owner: record.owner.to_string(),
        })
    }

    /// Those in its cgroups; without any, those in its first process's pid namespace.
    pub(super) fn pids(&self) -> Result<Vec<u32>, BundleError> {
        let cgroups = self.record.cgroups.directories();
        if !cgroups.is_empty() {
            return Ok(cgroup_pids(&cgroups)?);
        }
        let Some(init) = self.record.init.filter(|init| init.exists()) else { return Ok(Vec::new()) };
        same_namespace(init.pid.unsigned_abs())
    }
}

fn same_namespace(init: u32) -> Result<Vec<u32>, BundleError> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid"));
    let Ok(wanted) = namespace(init) else { return Ok(vec![init]) };
    // In the host's own there would be everybody.
    if fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == wanted) {
        return Ok(vec![init]);
    }
    let proc = Path::new("/proc");
    let mut pids = Vec::new();
    for entry in fs::read_dir(proc).map_err(BundleError::io("read", proc))? {
        let name = entry.map_err(BundleError::io("read", proc))?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        // Gone meanwhile, or somebody else's.
        pids.extend(pid.filter(|&pid| namespace(pid).is_ok_and(|found| found == wanted)));
    }
    pids.sort_unstable();
    Ok(pids)
}
