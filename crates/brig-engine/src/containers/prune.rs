//! Removing what has ended, and images that nobody uses.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use brig_runtime::{State, Timestamp};
use brig_store::GcReport;

use crate::blocking::Engine;
use crate::error::{Error, Result};

/// What of that which could go is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneFilter {
    /// Only what was made before.
    pub until: Option<Timestamp>,
    /// Only what has these labels: with the value, where there is one.
    pub labels: Vec<(String, Option<String>)>,
    /// Only what hasn't these labels.
    pub not_labels: Vec<(String, Option<String>)>,
}

impl PruneFilter {
    /// Whether something may go by when it was made and its labels.
    pub(crate) fn admits(
        &self,
        made: Option<Timestamp>,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            labels.get(key).is_some_and(|have| value.as_ref().is_none_or(|value| value == have))
        };
        self.until.is_none_or(|until| made.is_some_and(|made| made < until))
            && self.labels.iter().all(has)
            && !self.not_labels.iter().any(has)
    }
}

/// What became of the containers that didn't run.
#[derive(Debug, Default)]
pub struct PrunedContainers {
    /// The ids of those that are gone, and the bytes of each that this has freed.
    pub removed: Vec<(String, u64)>,
    /// Why others are still there.
    pub failed: Vec<Error>,
}

impl Engine {
    /// Removes all containers that don't run. One that can't be removed keeps no other.
    pub fn prune_containers(&self, filter: &PruneFilter) -> Result<PrunedContainers> {
        let mut pruned = PrunedContainers::default();
        for container in self.containers()? {
            let (spec, state) = (&container.spec, container.state.state);
            let ended = matches!(state, State::Created | State::Stopped | State::Dead);
            // One of `run` that is about to be started is somebody's.
            let begins = container.state.creator.is_some_and(brig_runtime::record::ProcessId::exists);
            if !ended || begins || !filter.admits(Some(spec.created_at), &spec.labels) {
                continue;
            }
            let size = disk_use(self.roots().container(&spec.id).dir());
            match self.remove(&spec.id, state == State::Dead) {
                Ok(()) => pruned.removed.push((spec.id.clone(), size)),
                // It was started or removed in this moment.
                Err(Error::ContainerNotFound { .. } | Error::WrongState { .. }) => {}
                Err(error) => pruned.failed.push(error),
            }
        }
        Ok(pruned)
    }

    /// Removes images that no container uses: with `all` every one, else those that were made
    /// without a name. Then what nobody needs.
    /// Gives what was done, in docker's words, and what garbage collection took along.
    pub fn prune_images(&self, all: bool, filter: &PruneFilter) -> Result<(Vec<String>, GcReport)> {
        let mut done = Vec::new();
        for image in self.images()? {
            if !all && !image.is_unnamed() {
                continue;
            }
            let details = self.inspect_image(&image.reference, &crate::images::Wanted::default())?;
            if !filter.admits(image.created, &details.labels()) {
                continue;
            }
            match self.remove_image(&image.reference, false) {
                Ok(words) => done.extend(words),
                // Somebody uses it, or has removed it in this moment.
                Err(Error::ImageInUse { .. } | Error::ImageNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((done, self.collect_garbage()?))
    }
}

/// The bytes that a directory tree takes on disk. What can't be read doesn't count.
pub(crate) fn disk_use(dir: &Path) -> u64 {
    let (mut total, mut dirs) = (0, vec![dir.to_owned()]);
    // Not by recursion: a container makes them as deep as it likes.
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            total += meta.blocks() * 512;
            if meta.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    total
}
