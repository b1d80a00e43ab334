//! From flags and image to the mounts of a container that is created.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use brig_runtime::ContainerSpec;
use brig_runtime::record::{MountRecord, MountsBelow};
use brig_store::LayerStack;

use super::options::{Volume, VolumeSource};
use super::store::{Lock, Owner, Wanted};
use super::{ANONYMOUS, driver, generated_name, parse};
use crate::blocking::Engine;
use crate::containers::CreateOptions;
use crate::error::{Error, Result};
use brig_oci::Kind;

/// The most volumes that an image can have made: images are untrusted.
const MAX_OF_IMAGE: usize = 256;

/// A mount that is to be, with what is to be done for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// How the container's record will have it.
    pub(crate) record: MountRecord,
    /// What a volume is made with.
    wanted: Wanted,
    /// Whether an empty volume stays so.
    no_copy: bool,
    /// Whether its files become those of the container's user.
    chown: bool,
    /// Whether it comes from another container.
    inherited: bool,
}

/// The volumes of a container that is being created. While this is there, nobody removes one.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    locks: BTreeMap<String, Lock>,
    /// Those that were made, and that nobody named.
    made: Vec<String>,
}

impl Engine {
    /// What will be mounted: other containers' volumes, then the flags' own, then what of the image's volumes is left.
    /// Directories of the host are made where they may be; nothing else is yet.
    pub(crate) fn plan_mounts(
        &self,
        options: &CreateOptions,
        of_image: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Vec<Planned>> {
        let mut own = Vec::with_capacity(options.volumes.len());
        for volume in &options.volumes {
            if own.iter().any(|other: &Planned| other.record.target == volume.target) {
                let problem = "Duplicate mount point: something else is mounted there already";
                return Err(Error::invalid("volume", &volume.target, problem));
            }
            own.push(self.planned(volume)?);
        }
        let is_free = |target: &str, taken: &[Planned]| {
            taken.iter().all(|other| other.record.target != target)
                && !options.tuning.tmpfs.contains_key(target)
        };
        // docker's rule: of several containers the last counts.
        let mut inherited = BTreeMap::new();
        for text in &options.volumes_from {
            let planned = self.planned_from(text)?.into_iter();
            inherited.extend(planned.map(|planned| (planned.record.target.clone(), planned)));
        }
        inherited.retain(|target, _| is_free(target, &own));
        own.extend(inherited.into_values());
        if of_image.len() > MAX_OF_IMAGE {
            let problem = format!("at most {MAX_OF_IMAGE} are made");
            return Err(Error::invalid("number of the image's volumes", of_image.len().to_string(), problem));
        }
        for path in of_image.keys() {
            let target = parse::target(path)
                .map_err(|problem| Error::invalid("volume of the image", path, problem))?;
            if is_free(&target, &own) {
                own.push(self.planned(&Volume::new(VolumeSource::Anonymous, target))?);
            }
        }
        Ok(own)
    }

    fn planned(&self, volume: &Volume) -> Result<Planned> {
        driver::device(&volume.driver_options)?;
        let mut mounted_image = None;
        let (source, name, anonymous) = match &volume.source {
            VolumeSource::Image(image) => {
                mounted_image = Some(self.image_to_mount(image)?);
                // Known once the container has a directory.
                (PathBuf::new(), None, false)
            }
            VolumeSource::Host(path) => {
                host_source(volume, path)?;
                (path.clone(), None, false)
            }
            VolumeSource::Named(name) => (self.volume_data(name), Some(name.clone()), false),
            VolumeSource::Anonymous => {
                let name = generated_name()?;
                (self.volume_data(&name), Some(name), true)
            }
        };
        let record = MountRecord {
            source,
            target: volume.target.clone(),
            read_only: volume.read_only,
            volume: name,
            anonymous,
            mode: volume.mode.clone(),
            propagation: volume.propagation.clone(),
            mounted_image,
            subpath: volume.subpath.clone(),
            below: volume.below,
        };
        // What the image has there isn't the whole volume's.
        let no_copy = volume.no_copy || volume.subpath.is_some();
        Ok(Planned {
            record,
            wanted: Wanted { labels: volume.labels.clone(), options: volume.driver_options.clone() },
            no_copy,
            chown: volume.chown,
            inherited: false,
        })
    }

    /// Refuses what a start would fail of, and what a wasm container's sandbox wouldn't allow.
    pub(crate) fn check_mounts_below(&self, kind: Kind, mounts: &[MountRecord]) -> Result<()> {
        for mount in mounts {
            let (word, reason) = match mount.below {
                MountsBelow::Hidden if self.host().rootless => (
                    "disabled",
                    "in a user namespace a directory comes with what is mounted below it, or not at all",
                ),
                MountsBelow::Writable if kind == Kind::Wasm => {
                    ("writable", "a wasm container's volume is read-only as a whole, or not")
                }
                _ => continue,
            };
            return Err(Error::Unsupported {
                what: format!("bind-recursive={word} for {}", mount.target),
                reason: reason.into(),
            });
        }
        Ok(())
    }

    /// `--volumes-from CONTAINER[:ro|rw]`.
    fn planned_from(&self, text: &str) -> Result<Vec<Planned>> {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        if !matches!(mode, "" | "ro" | "rw" | "z" | "Z") {
            return Err(Error::invalid("volumes-from", text, format!("invalid mode: {mode}")));
        }
        let planned = |mut record: MountRecord| {
            record.read_only |= mode == "ro";
            if !mode.is_empty() {
                record.mode = mode.to_owned();
            }
            Planned { record, wanted: Wanted::default(), no_copy: true, chown: false, inherited: true }
        };
        Ok(self.container(name)?.spec.mounts.into_iter().map(planned).collect())
    }

    /// Takes the volumes, which are made where they are missing, and fills new ones from the image. Always in the order
    /// of their names, so that two creators don't wait for each other.
    pub(crate) fn take_volumes(
        &self,
        spec: &ContainerSpec,
        planned: &[Planned],
        stack: &LayerStack,
    ) -> Result<Taken> {
        let mut taken = Taken::default();
        match self.take_into(&mut taken, spec, planned, stack) {
            Ok(()) => Ok(taken),
            Err(error) => {
                self.give_back(taken);
                Err(error)
            }
        }
    }

    fn take_into(
        &self,
        taken: &mut Taken,
        spec: &ContainerSpec,
        planned: &[Planned],
        stack: &LayerStack,
    ) -> Result<()> {
        let volume = |plan: &Planned| Some((plan.record.volume.clone()?, plan.clone()));
        let volumes: BTreeMap<_, _> = planned.iter().filter_map(volume).collect();
        for (name, plan) in volumes {
            let anonymous = plan.record.anonymous && !plan.inherited;
            let lock = if plan.inherited {
                // It mustn't come back empty when it is removed in this moment.
                self.lock_volume(&name)?.ok_or_else(|| Error::VolumeNotFound { name: name.clone() })?
            } else {
                let mut wanted = plan.wanted;
                wanted.labels.extend(anonymous.then(|| (ANONYMOUS.to_owned(), String::new())));
                let owner = anonymous.then_some(Owner { id: &spec.id, goes: spec.auto_remove });
                self.take_volume(&name, &wanted, owner)?.0
            };
            taken.locks.insert(name.clone(), lock);
            taken.made.extend(anonymous.then_some(name));
        }
        for plan in planned {
            let lock = plan.record.volume.as_ref().and_then(|name| taken.locks.get(name));
            if let Some(lock) = lock.filter(|_| !plan.no_copy) {
                self.fill(spec, &plan.record.target, lock, stack)?;
            }
            if plan.chown {
                self.give_to_user(spec, &plan.record, stack)?;
            }
        }
        Ok(())
    }

    /// The container's record names its volumes: from here on they are its own.
    pub(crate) fn keep(&self, taken: &Taken) {
        for name in &taken.made {
            // The container is made all the same; the next look at volumes claims what is left.
            let _ = self.claim(name);
        }
    }

    /// Removes what was made for a container that isn't made after all. Named volumes stay, as docker's do.
    pub(crate) fn give_back(&self, mut taken: Taken) {
        for name in std::mem::take(&mut taken.made) {
            if let Some(lock) = taken.locks.remove(&name) {
                // The error to tell is the one that the container isn't made for; `volume prune` removes it.
                let _ = self.remove_locked_volume(lock);
            }
        }
    }
}

/// docker's rule: `-v` makes a directory of the host that is missing, `--mount` doesn't.
fn host_source(volume: &Volume, path: &std::path::Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if volume.must_exist {
        let problem = format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {}",
            path.display()
        );
        return Err(Error::invalid("mount", &volume.target, problem));
    }
    fs::create_dir_all(path).map_err(Error::io("make the directory", path))
}
