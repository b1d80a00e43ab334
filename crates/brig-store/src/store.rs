//! Opening a store: its places, its format version.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use brig_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::lock::Lock;

/// The format that this brig writes; it refuses a greater one.
const FORMAT_VERSION: u32 = 1;
/// Features without which a store can't be read or written rightly, and which this brig knows.
const KNOWN_INCOMPATIBLE: [&str; 0] = [];
/// The most that is read of a small file of ours.
pub(crate) const MAX_SMALL_FILE: u64 = 1024 * 1024;

/// The content-addressed store below one root. Cheap to open and to clone; all methods block.
#[derive(Clone, Debug)]
pub struct Store {
    root: Arc<Path>,
}

/// `brig-store.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
    /// Features that a brig which doesn't know them can ignore.
    #[serde(default)]
    compatible: Vec<String>,
    /// Features that a brig which doesn't know them must refuse.
    #[serde(default)]
    incompatible: Vec<String>,
}

impl Store {
    /// Opens the store at `root` and makes it on first use. Reads one small file and scans nothing.
    pub fn open(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).context("find", root)?;
        let store = Self { root: root.into() };
        let path = store.format_path();
        let Some(bytes) = fsutil::read_small(&path, MAX_SMALL_FILE)? else {
            store.create()?;
            return Ok(store);
        };
        let format: Format =
            serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { path, source })?;
        store.check_format(&format)?;
        Ok(store)
    }

    /// Opens the store at `root` if there is one, and makes nothing.
    pub fn open_existing(root: &Path) -> Result<Option<Self>> {
        let root = std::path::absolute(root).context("find", root)?;
        let store = Self { root: root.into() };
        match store.format_path().exists() {
            true => Self::open(store.root()).map(Some),
            false => Ok(None),
        }
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Waits until all that was written to the store is on the disk, and marks the layers that are; see
    /// `docs/store-format.md`, "Power cuts". Meant to be called once, at the end of a pull or a load, before or after
    /// the ref is set; it also waits for what other programs wrote to the same file system.
    pub fn sync(&self) -> Result<()> {
        let fresh = self.unsynced_layers()?;
        let root = std::fs::File::open(&self.root).context("open", &self.root)?;
        rustix::fs::syncfs(&root).context("sync", &self.root)?;
        fresh.iter().try_for_each(|layer| layer.mark_synced())
    }

    fn check_format(&self, format: &Format) -> Result<()> {
        let unknown = format.incompatible.iter().find(|name| !KNOWN_INCOMPATIBLE.contains(&name.as_str()));
        let feature = match unknown {
            _ if format.version > FORMAT_VERSION => format!("format version {}", format.version),
            Some(name) => format!("the feature `{name}`"),
            None => return Ok(()),
        };
        Err(StoreError::Incompatible { root: self.root().to_owned(), feature })
    }

    /// Each step may be interrupted and repeated, and by two processes at once. The format file comes last: with it,
    /// all else is there.
    fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.root).context("create", &self.root)?;
        let ours = self.dir("refs").exists();
        let foreign = ["oci-layout", "index.json"].iter().any(|name| self.dir(name).exists());
        if foreign && !ours {
            return Err(StoreError::ForeignLayout { root: self.root().to_owned() });
        }
        for name in
            ["refs", "blobs", "blobs/sha256", "blobs/sha512", "layers", "ingest", "compiled", "leases"]
        {
            fsutil::make_dir(&self.dir(name))?;
        }
        fsutil::make_dir(&self.empty_layer())?;
        fsutil::make_dir(&self.second_empty_layer())?;
        fsutil::replace(&self.ingest_dir(), &self.dir("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.write_index_view()?;
        let format = Format { version: FORMAT_VERSION, compatible: Vec::new(), incompatible: Vec::new() };
        let path = self.format_path();
        let bytes = to_json(&path, &format)?;
        fsutil::replace(&self.ingest_dir(), &path, &bytes)
    }

    fn format_path(&self) -> PathBuf {
        self.dir("brig-store.json")
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn ingest_dir(&self) -> PathBuf {
        self.dir("ingest")
    }

    pub(crate) fn layers_dir(&self) -> PathBuf {
        self.dir("layers")
    }

    /// An empty directory, the lowest of every stack that needs one more.
    pub(crate) fn empty_layer(&self) -> PathBuf {
        self.dir("layers/empty")
    }

    /// Another one: overlayfs takes no directory twice.
    pub(crate) fn second_empty_layer(&self) -> PathBuf {
        self.dir("layers/empty2")
    }

    /// Held exclusively by what removes content, and shared for the moment in which somebody says what they need.
    pub(crate) fn gc_lock_path(&self) -> PathBuf {
        self.dir("ingest/gc.lock")
    }

    pub(crate) fn index_lock(&self) -> Result<Lock> {
        Lock::exclusive(&self.dir("ingest/index.lock"))
    }
}

/// JSON for a file of the store.
pub(crate) fn to_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|source| StoreError::Json { path: path.to_owned(), source })
}

/// `sha256-<hex>`: a digest as one file name.
pub(crate) fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().as_str(), digest.hex())
}

/// What [`file_name`] made.
pub(crate) fn from_file_name(name: &str) -> Option<Digest> {
    name.replacen('-', ":", 1).parse().ok()
}

/// The algorithms that have a directory below `blobs`.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_opens_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        Store::open(&root).unwrap();
        let store = Store::open(&root).unwrap();
        assert_eq!(std::fs::read(root.join("oci-layout")).unwrap(), br#"{"imageLayoutVersion":"1.0.0"}"#);
        assert!(store.refs().unwrap().is_empty());
    }

    #[test]
    fn newer_formats_are_refused_and_compatible_features_are_not() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap();
        let path = dir.path().join("brig-store.json");
        for (text, fine) in [
            (r#"{"version":1,"compatible":["shiny"]}"#, true),
            (r#"{"version":2}"#, false),
            (r#"{"version":1,"incompatible":["verity"]}"#, false),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Store::open(dir.path()).is_ok(), fine, "{text}");
        }
        let error = Store::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("verity") && error.contains("--root"), "{error}");
    }

    #[test]
    fn the_layout_of_another_program_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::ForeignLayout { .. })));
        assert!(!dir.path().join("refs").exists());
    }
}
