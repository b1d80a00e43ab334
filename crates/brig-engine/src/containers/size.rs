//! How much disk a container takes.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The sizes of a container's files, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// Of those that it has written: its writable layer.
    pub writable: u64,
    /// Of those of its image: its layers, or its module.
    pub image: u64,
}

impl ContainerSize {
    /// Of all of them.
    pub fn total(self) -> u64 {
        self.writable.saturating_add(self.image)
    }
}

impl Engine {
    /// Looks at every file of the container's writable layer. What is removed meanwhile isn't counted, nor what this user
    /// may not look into.
    pub fn container_size(&self, container: &ContainerInfo) -> Result<ContainerSize> {
        let upper = self.roots().container(&container.spec.id).upper();
        Ok(ContainerSize { writable: tree_size(&upper)?, image: self.image_size_of(container)? })
    }

    fn image_size_of(&self, container: &ContainerInfo) -> Result<u64> {
        let mut size = 0_u64;
        for diff_id in crate::layers::of_record(&container.spec)? {
            if let Some(layer) = self.store().layer(&diff_id)? {
                size = size.saturating_add(layer.meta()?.bytes);
            }
        }
        if let Some(wasm) = container.spec.wasm.as_ref().filter(|_| size == 0) {
            // The file may be gone: the container is there all the same.
            size = fs::metadata(&wasm.source).map_or(0, |file| file.len());
        }
        Ok(size)
    }
}

/// The sizes of all regular files and symbolic links below, each file once however many names it has.
fn tree_size(root: &Path) -> Result<u64> {
    let mut size = 0_u64;
    let mut linked = HashSet::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        let entries = match fs::read_dir(&dir) {
            Err(error) if is_out_of_reach(&error) => continue,
            entries => entries.map_err(Error::io("read", &dir))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &dir))?;
            let found = match entry.metadata() {
                Err(error) if is_out_of_reach(&error) => continue,
                found => found.map_err(Error::io("look at", entry.path()))?,
            };
            if found.is_dir() {
                waiting.push(entry.path());
            } else if found.nlink() == 1 || linked.insert((found.dev(), found.ino())) {
                size = size.saturating_add(found.len());
            }
        }
    }
    Ok(size)
}

/// Gone, another user's, or so deep that its path is too long, which a container can make.
fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied | InvalidFilename)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_and_what_is_missing_nothing() {
        let dir = std::env::temp_dir().join(format!("brig-size-{}", std::process::id()));
        assert_eq!(tree_size(&dir).unwrap(), 0);
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("one"), "12345").unwrap();
        fs::hard_link(dir.join("one"), dir.join("a/again")).unwrap();
        fs::write(dir.join("a/b/two"), "123").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        assert_eq!(tree_size(&dir).unwrap(), 5 + 3 + 11);
        fs::remove_dir_all(dir).unwrap();
    }
}
