//! Volumes: directories that outlive containers, by name.
//!
//! ```text
//! <root>/volumes/<name>/volume.json   what it is: VolumeRecord
//!                      /_data         its files; or a link to the directory of the host that it shows
//!                      /filling-…     while the image's files are copied
//!                      /unclaimed     of an anonymous one, until the record of its container names it
//!               /.new-…  /.gone-…     being made, being removed
//! ```
//!
//! A volume appears and disappears by one rename, so it is whole or not there. The lock of its directory is held by who
//! makes a container with it, until the container's record says so, and by who removes it: none is removed that is used
//! or about to be.

mod driver;
mod fill;
mod images;
mod mounts;
mod options;
mod parse;
pub(crate) mod propagation;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;

use brig_runtime::{Event, Timestamp};

pub(crate) use mounts::Planned;
pub use options::{MountFlag, Volume, VolumeSource};

use crate::blocking::Engine;
use crate::containers::{PruneFilter, disk_use};
use crate::error::{Error, Result};
use store::{Lock, Wanted};

/// docker's label of volumes that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";
/// The only driver.
const DRIVER: &str = "local";

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its name.
    pub name: String,
    /// `local`.
    pub driver: &'static str,
    /// When it was made.
    pub created_at: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Where its files are on the host.
    pub mountpoint: PathBuf,
    /// The ids of the containers that use it, running or not.
    pub users: Vec<String>,
}

impl VolumeInfo {
    /// Whether nobody named it.
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }

    /// The bytes that its own files take on disk.
    pub fn disk_use(&self) -> u64 {
        if self.options.is_empty() { disk_use(&self.mountpoint) } else { 0 }
    }
}

/// What a volume is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    /// The name; generated where there is none.
    pub name: Option<String>,
    /// The driver: `local`, also where there is none.
    pub driver: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The driver's options. `local` has docker's for a directory of the host: `type=none`, `o=bind`, `device=…`.
    pub driver_options: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a volume; one of this name that is there already stays as it is.
    pub fn create_volume(&self, options: &VolumeOptions) -> Result<VolumeInfo> {
        check_driver(options.driver.as_deref())?;
        driver::device(&options.driver_options)?;
        let name = options.name.clone().filter(|name| !name.is_empty());
        let mut labels = options.labels.clone();
        let name = match name {
            Some(name) => name,
            None => {
                labels.insert(ANONYMOUS.into(), String::new());
                generated_name()?
            }
        };
        check_name(&name)?;
        self.sweep_volumes()?;
        let wanted = Wanted { labels, options: options.driver_options.clone() };
        let (lock, _) = self.take_volume(&name, &wanted, None)?;
        let info = self.volume_info(&name, &mut self.volume_users()?);
        drop(lock);
        info
    }

    /// A volume by its name.
    pub fn volume(&self, name: &str) -> Result<VolumeInfo> {
        self.sweep_volumes()?;
        self.volume_info(name, &mut self.volume_users()?)
    }

    /// All volumes, by name.
    pub fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        // A container that should have gone by itself uses nothing.
        self.containers()?;
        self.sweep_volumes()?;
        let mut users = self.volume_users()?;
        let mut volumes = Vec::new();
        for name in self.volume_names()? {
            match self.volume_info(&name, &mut users) {
                Ok(volume) => volumes.push(volume),
                // Removed in this moment.
                Err(Error::VolumeNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        volumes.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(volumes)
    }

    /// Removes a volume that no container uses.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        self.containers()?;
        self.sweep_volumes()?;
        let lock = self.lock_volume(name)?.ok_or_else(|| Error::VolumeNotFound { name: name.into() })?;
        self.remove_locked_volume(lock)
    }

    /// Removes the anonymous volumes that no container uses, or all of them; gives their names with the bytes of each
    /// that this has freed.
    pub fn prune_volumes(&self, all: bool, filter: &PruneFilter) -> Result<Vec<(String, u64)>> {
        let mut removed = Vec::new();
        for volume in self.volumes()? {
            let wanted = all || volume.is_anonymous();
            if !wanted || !volume.users.is_empty() || !filter.admits(Some(volume.created_at), &volume.labels)
            {
                continue;
            }
            let size = volume.disk_use();
            match self.remove_volume(&volume.name) {
                Ok(()) => removed.push((volume.name, size)),
                // It was taken or removed in this moment.
                Err(Error::VolumeInUse { .. } | Error::VolumeNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Removes those of a removed container's volumes that nobody named and nobody else uses.
    pub(crate) fn remove_anonymous(&self, mounts: &[brig_runtime::record::MountRecord]) -> Result<()> {
        let mut names =
            mounts.iter().filter(|mount| mount.anonymous).filter_map(|mount| mount.volume.as_deref());
        names.try_for_each(|name| self.remove_if_free(name))
    }

    /// One that is locked is about to be used, or removed.
    fn remove_if_free(&self, name: &str) -> Result<()> {
        let Some(lock) = self.try_lock_volume(name)? else { return Ok(()) };
        match self.remove_locked_volume(lock) {
            Err(Error::VolumeInUse { .. }) => Ok(()),
            removed => removed,
        }
    }

    fn remove_locked_volume(&self, lock: Lock) -> Result<()> {
        let name = lock.name.clone();
        if let Some(containers) = self.volume_users()?.remove(&name) {
            return Err(Error::VolumeInUse { name, containers });
        }
        self.discard_volume(lock)?;
        self.record_event(&Event::volume("destroy", &name))
    }

    /// Removes what a kill has left: half of a volume, and the anonymous ones of containers that were never made. Also
    /// those of `--rm` containers that are gone, which their supervisors didn't get to.
    fn sweep_volumes(&self) -> Result<()> {
        self.sweep_halves()?;
        for name in self.volume_names()? {
            let Ok(record) = self.volume_record(&name) else { continue };
            let goes = record.goes_with.is_some_and(|id| !self.roots().container(&id).dir().exists());
            if goes {
                self.remove_if_free(&name)?;
            } else if self.is_unclaimed(&name) {
                self.claim_or_remove(&name)?;
            }
        }
        Ok(())
    }

    /// Who makes a container with it holds the lock: it isn't anybody's.
    fn claim_or_remove(&self, name: &str) -> Result<()> {
        let Some(lock) = self.try_lock_volume(name)? else { return Ok(()) };
        match self.remove_locked_volume(lock) {
            // The kill came between the record and the end of the claim.
            Err(Error::VolumeInUse { .. }) => self.claim(name),
            removed => removed,
        }
    }

    fn volume_info(&self, name: &str, users: &mut BTreeMap<String, Vec<String>>) -> Result<VolumeInfo> {
        let record = self.volume_record(name)?;
        Ok(VolumeInfo {
            name: name.to_owned(),
            driver: DRIVER,
            created_at: record.created_at,
            labels: record.labels,
            options: record.options,
            mountpoint: self.volume_data(name),
            users: users.remove(name).unwrap_or_default(),
        })
    }

    /// The containers that use each volume, by their records alone: no look at them changes anything.
    fn volume_users(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut users = BTreeMap::<String, Vec<String>>::new();
        for id in self.container_ids()? {
            // One without a record holds the locks of its volumes, or will never have any.
            let Ok(spec) = brig_runtime::ContainerSpec::read(&self.roots().container(&id).spec()) else {
                continue;
            };
            let names: std::collections::BTreeSet<_> =
                spec.mounts.into_iter().filter_map(|mount| mount.volume).collect();
            for name in names {
                users.entry(name).or_default().push(id.clone());
            }
        }
        Ok(users)
    }
}

/// A name for a volume that nobody named: 64 hexadecimal characters.
fn generated_name() -> Result<String> {
    crate::names::new_id().map_err(|source| Error::Io { action: "get random bytes", path: None, source })
}

/// Refuses what isn't the name of a volume.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let word = |byte: u8| byte.is_ascii_alphanumeric();
    let valid = name.bytes().next().is_some_and(word)
        && name.bytes().all(|byte| word(byte) || matches!(byte, b'_' | b'.' | b'-'))
        && name.len() <= 255;
    if valid {
        return Ok(());
    }
    let problem = "it includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
                   allowed. If you intended to pass a host directory, use absolute path";
    Err(Error::invalid("volume name", name, problem))
}

/// Refuses drivers that aren't there.
pub(crate) fn check_driver(driver: Option<&str>) -> Result<()> {
    match driver {
        None | Some("" | DRIVER) => Ok(()),
        Some(other) => Err(Error::invalid("volume driver", other, format!("plugin \"{other}\" not found"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dockers() {
        for name in ["a", "data", "A.b_c-1", &"f".repeat(255)] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".a", "-a", "a/b", "..", "a b", "ä", "a\0", &"f".repeat(256)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_only_driver_is_local() {
        assert!(check_driver(None).is_ok() && check_driver(Some("local")).is_ok());
        assert!(check_driver(Some("nfs")).unwrap_err().to_string().contains("plugin \"nfs\" not found"));
    }
}
