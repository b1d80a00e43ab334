//! A look at what a root has that changes nothing: no root is made, no lock taken, no record mended. For completion,
//! and for hints about names that weren't found.

use std::fs;
use std::path::Path;

use brig_runtime::{ContainerSpec, Roots, State, liveness};
use brig_store::Store;

use crate::blocking::{EngineOptions, roots};
use crate::error::Result;

/// The most names of one kind that are looked at.
const MAX_NAMES: usize = 10_000;

/// The roots that are looked at.
#[derive(Clone, Debug)]
pub struct Peek {
    roots: Roots,
}

/// A container, as far as a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Its name.
    pub name: String,
    /// Its image, as it was named.
    pub image: String,
    /// How it is now.
    pub state: State,
}

impl Peek {
    /// At the roots that an engine with these options would open.
    pub fn new(options: &EngineOptions) -> Result<Self> {
        Ok(Self { roots: roots(options)? })
    }

    /// At the names of one root.
    pub(crate) fn at(root: &Path) -> Self {
        Self { roots: Roots::new(root, None) }
    }

    /// The containers, by name. What can't be read, or is being made or removed, is left out.
    pub fn containers(&self) -> Vec<Glimpse> {
        let mut all: Vec<Glimpse> =
            entries(&self.roots.containers()).filter_map(|id| self.container(&id)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn container(&self, id: &str) -> Option<Glimpse> {
        let paths = self.roots.container(id);
        let spec = ContainerSpec::read(&paths.spec()).ok()?;
        let state = liveness::observe(&paths).ok()?.record.state;
        Some(Glimpse { name: spec.name, image: spec.image.reference, state })
    }

    /// The names of containers, by their files alone.
    pub(crate) fn container_names(&self) -> Vec<String> {
        entries(&self.roots.names()).collect()
    }

    /// The names of volumes.
    pub fn volumes(&self) -> Vec<String> {
        let volumes = self.roots.root.join("volumes");
        let is_whole = |name: &String| volumes.join(name).join("volume.json").exists();
        let mut all: Vec<_> = entries(&volumes).filter(is_whole).collect();
        all.sort();
        all
    }

    /// The names of images, as docker's lists show them.
    pub fn images(&self) -> Vec<String> {
        let Ok(Some(store)) = Store::open_existing(&self.roots.root) else { return Vec::new() };
        let records = store.readable_refs().map(|(records, _damaged)| records).unwrap_or_default();
        records.iter().take(MAX_NAMES).map(|record| full_familiar(&record.reference)).collect()
    }
}

/// With the tag, so that all names of a repository begin alike.
fn full_familiar(reference: &brig_oci::Reference) -> String {
    match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("{}:{tag}", reference.familiar_name()),
        (None, Some(digest)) => format!("{}@{digest}", reference.familiar_name()),
        (None, None) => reference.familiar_name(),
    }
}

/// The names in a directory; none where it can't be read.
fn entries(path: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).take(MAX_NAMES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_makes_no_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("none");
        let peek =
            Peek::new(&EngineOptions { root: Some(root.clone()), ..EngineOptions::default() }).unwrap();
        assert_eq!(peek.containers(), []);
        assert!(peek.images().is_empty() && peek.container_names().is_empty());
        assert!(!root.exists());
    }

    #[test]
    fn volumes_that_are_being_made_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["whole", "half"] {
            fs::create_dir_all(dir.path().join("volumes").join(name)).unwrap();
        }
        fs::write(dir.path().join("volumes/whole/volume.json"), "{}").unwrap();
        assert_eq!(Peek::at(dir.path()).volumes(), ["whole"]);
    }

    #[test]
    fn damaged_containers_hide_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let broken = dir.path().join("containers").join("0123");
        fs::create_dir_all(&broken).unwrap();
        fs::write(broken.join("spec.json"), "{").unwrap();
        assert_eq!(Peek::at(dir.path()).containers(), []);
    }
}
