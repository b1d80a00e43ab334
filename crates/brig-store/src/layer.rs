//! Layers, unpacked once and shared by all images that have them.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use brig_oci::Digest;
use brig_oci::media_type::Compression;
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::lock::Lock;
use crate::store::{MAX_SMALL_FILE, Store, file_name, from_file_name, to_json};
use crate::unpack::{self, Unmade, UnpackOptions, Unpacked};

pub(crate) const PARTIAL: &str = ".partial";
pub(crate) const TRASH: &str = ".trash";
/// There when all of the layer is on the disk.
const SYNCED: &str = "synced";
/// There when the layer's root is opaque.
const OPAQUE: &str = "opaque";

/// An unpacked layer, named by its diffID: the digest of its uncompressed tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    diff_id: Digest,
    dir: PathBuf,
}

/// A layer's `meta.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMeta {
    /// The format's version, 1.
    pub version: u32,
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// How many names are below `fs`.
    pub names: u64,
    /// The sizes of the regular files below `fs`, in bytes, each name counted.
    pub bytes: u64,
    /// The size of the uncompressed tar, in bytes.
    pub tar_bytes: u64,
    /// Whether nothing of the layers below is to be seen.
    pub opaque_root: bool,
    /// Whether opaque directories are marked as ordinary users can: such a layer wants the mount option `userxattr`.
    pub user_attributes: bool,
    /// How many lines `unmade.jsonl` has.
    pub unmade: u64,
    /// The boot in which it was unpacked.
    pub boot_id: String,
}

impl Layer {
    /// The digest of its uncompressed tar.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Its root directory.
    pub fn fs(&self) -> PathBuf {
        self.dir.join("fs")
    }

    /// What is known about it.
    pub fn meta(&self) -> Result<LayerMeta> {
        let path = self.dir.join("meta.json");
        let bytes = fsutil::read_small(&path, MAX_SMALL_FILE)?;
        let Some(bytes) = bytes else {
            return Err(StoreError::LayerNotFound { layer: self.diff_id.clone() });
        };
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Json { path, source })
    }

    /// What the image has and could not be made: owners, devices, attributes.
    pub fn unmade(&self) -> Result<Vec<Unmade>> {
        let path = self.dir.join("unmade.jsonl");
        let file = File::open(&path).context("open", &path)?;
        let lines = BufReader::new(file).lines();
        lines
            .map(|line| {
                let line = line.context("read", &path)?;
                serde_json::from_str(&line).map_err(|source| StoreError::Json { path: path.clone(), source })
            })
            .collect()
    }

    pub(crate) fn mark_synced(&self) -> Result<()> {
        let path = self.dir.join(SYNCED);
        match File::create(&path) {
            // Removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).context("create", &path),
        }
    }

    fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.dir.join(name)).is_ok()
    }

    /// Whether the layer can be trusted to be whole. If nobody waited for it to be on the disk, and the machine was
    /// restarted since, it is looked at once: a power cut takes content, and with it the sizes.
    fn is_whole(&self) -> Result<bool> {
        if self.has(SYNCED) {
            return Ok(true);
        }
        let meta = match self.meta() {
            Ok(meta) => meta,
            Err(StoreError::LayerNotFound { .. } | StoreError::Json { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if meta.boot_id == boot_id() {
            return Ok(true);
        }
        let sound = crate::fsck::check_layer(self, true)?.is_none();
        if sound {
            self.mark_synced()?;
        }
        Ok(sound)
    }
}

impl Store {
    /// A layer, if it is unpacked here.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<Layer>> {
        let layer = self.layer_at(diff_id);
        Ok(layer.is_whole()?.then_some(layer))
    }

    /// The layers that make up a root file system, lowest first, as overlayfs takes them: of a layer that comes
    /// several times only the highest stays (it covers the others), and nothing below an opaque root.
    pub fn stack(&self, diff_ids: &[Digest]) -> Result<Vec<Layer>> {
        let mut stack: Vec<Layer> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids.iter().rev() {
            if stack.iter().any(|layer| layer.diff_id == *diff_id) {
                continue;
            }
            let Some(layer) = self.layer(diff_id)? else {
                return Err(StoreError::LayerNotFound { layer: diff_id.clone() });
            };
            let last = layer.has(OPAQUE);
            stack.push(layer);
            if last {
                break;
            }
        }
        stack.reverse();
        Ok(stack)
    }

    /// Unpacks the layer whose uncompressed tar has the digest `expected`, while `reader` gives its (compressed)
    /// bytes, and makes it visible when all of it is there and right. Waits while another process or thread unpacks
    /// the same; if the layer is there, nothing is read.
    pub fn unpack_layer(
        &self,
        expected: &Digest,
        compression: Compression,
        reader: impl Read + Send,
        options: &UnpackOptions,
    ) -> Result<Layer> {
        if let Some(layer) = self.layer(expected)? {
            return Ok(layer);
        }
        let lock = self.layer_lock(expected)?;
        let layer = match self.layer(expected)? {
            Some(layer) => Ok(layer),
            None => self.unpack_locked(expected, compression, reader, options),
        };
        lock.remove()?;
        layer
    }

    fn unpack_locked(
        &self,
        expected: &Digest,
        compression: Compression,
        reader: impl Read + Send,
        options: &UnpackOptions,
    ) -> Result<Layer> {
        let layer = self.layer_at(expected);
        // Not whole, or it would have been found: torn by a power cut.
        fsutil::remove_tree(&self.trash_layer(expected)?)?;
        let partial = self.layers_dir().join(format!("{}{PARTIAL}", file_name(expected)));
        fsutil::remove_tree(&partial)?;
        let unpacked = unpack_into(&partial, expected, compression, reader, options);
        let published =
            unpacked.and_then(|()| fs::rename(&partial, &layer.dir).context("create", &layer.dir));
        if published.is_err() {
            // The first error is the one to tell; garbage collection removes what stays.
            let _ = fsutil::remove_tree(&partial);
        }
        published.map(|()| layer)
    }

    /// Takes a layer out of sight at once; the caller removes the directory that is returned.
    pub(crate) fn trash_layer(&self, diff_id: &Digest) -> Result<PathBuf> {
        let trash = self.layers_dir().join(format!("{}{TRASH}", file_name(diff_id)));
        let dir = self.layer_at(diff_id).dir;
        if fs::symlink_metadata(&dir).is_ok() {
            fsutil::remove_tree(&trash)?;
            fs::rename(&dir, &trash).context("remove", &dir)?;
        }
        Ok(trash)
    }

    pub(crate) fn layer_at(&self, diff_id: &Digest) -> Layer {
        Layer { diff_id: diff_id.clone(), dir: self.layers_dir().join(file_name(diff_id)) }
    }

    pub(crate) fn layer_lock_path(&self, diff_id: &Digest) -> PathBuf {
        self.ingest_dir().join(format!("{}.layer", file_name(diff_id)))
    }

    /// Every layer that has its name, whole or not.
    pub(crate) fn visible_layers(&self) -> Result<Vec<Digest>> {
        Ok(fsutil::names(&self.layers_dir())?.iter().filter_map(|name| from_file_name(name)).collect())
    }

    /// The whole layers that aren't known to be on the disk.
    pub(crate) fn unsynced_layers(&self) -> Result<Vec<Layer>> {
        let mut layers = Vec::new();
        for diff_id in self.visible_layers()? {
            let layer = self.layer_at(&diff_id);
            if !layer.has(SYNCED) && layer.is_whole()? {
                layers.push(layer);
            }
        }
        Ok(layers)
    }

    fn layer_lock(&self, diff_id: &Digest) -> Result<Lock> {
        Lock::exclusive(&self.layer_lock_path(diff_id))
    }
}

fn unpack_into(
    dir: &Path,
    expected: &Digest,
    compression: Compression,
    reader: impl Read + Send,
    options: &UnpackOptions,
) -> Result<()> {
    fsutil::make_dir(dir)?;
    let fs = dir.join("fs");
    fsutil::make_dir(&fs)?;
    let root: OwnedFd = File::open(&fs).context("open", &fs)?.into();
    let path = dir.join("unmade.jsonl");
    let mut unmade = BufWriter::new(File::create(&path).context("create", &path)?);
    let unpacked = unpack::unpack(expected, compression, reader, root, &mut unmade, options)
        .map_err(|source| StoreError::Unpack { layer: expected.clone(), source })?;
    unmade.flush().context("write", &path)?;
    if unpacked.diff_id != *expected {
        return Err(StoreError::DiffIdMismatch { expected: expected.clone(), found: unpacked.diff_id });
    }
    if unpacked.opaque_root {
        let path = dir.join(OPAQUE);
        File::create(&path).context("create", &path)?;
    }
    write_meta(dir, unpacked)
}

fn write_meta(dir: &Path, unpacked: Unpacked) -> Result<()> {
    let meta = LayerMeta {
        version: 1,
        diff_id: unpacked.diff_id,
        names: unpacked.names,
        bytes: unpacked.bytes,
        tar_bytes: unpacked.tar_bytes,
        opaque_root: unpacked.opaque_root,
        user_attributes: unpacked.user_attributes,
        unmade: unpacked.unmade,
        boot_id: boot_id(),
    };
    let path = dir.join("meta.json");
    fs::write(&path, to_json(&path, &meta)?).context("write", &path)
}

/// Where it can't be read, every boot looks like the same one.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
