//! Checking all that the store holds, and taking away what is damaged.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use brig_oci::{Descriptor, Digest, Document, Reference, media_type};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::layer::{Layer, PARTIAL, TRASH};
use crate::lock::Lock;
use crate::refs::RefRecord;
use crate::store::Store;

/// What [`Store::fsck`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// What is damaged. With repair, what was damaged and is removed.
    pub problems: Vec<Problem>,
    /// What interrupted operations left, which does no harm: partial downloads (continued by the next pull), partial
    /// layers, temporary files, which garbage collection removes; `index.json`, if it is behind the refs, which any
    /// change of a ref (and repair) rewrites.
    pub leftovers: Vec<PathBuf>,
    /// The names that must be pulled again to be whole.
    pub pull_again: Vec<Reference>,
    /// How many blobs were hashed.
    pub blobs: usize,
    /// How many bytes that were.
    pub blob_bytes: u64,
    /// How many layers were walked.
    pub layers: usize,
    /// How many refs were followed.
    pub refs: usize,
    /// Whether [`FsckReport::problems`] were taken care of.
    pub repaired: bool,
}

/// Something damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A blob's content isn't what its name says.
    BlobDamaged {
        /// Its name.
        digest: Digest,
    },
    /// A layer isn't as it was unpacked.
    LayerDamaged {
        /// The layer, by diffID.
        layer: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// A ref's file can't be read.
    RefDamaged {
        /// The file.
        path: PathBuf,
    },
    /// A name's image isn't all here. Repair leaves the name, so that a pull completes it.
    RefIncomplete {
        /// The name.
        reference: Reference,
        /// The first blob that is missing.
        missing: Digest,
    },
    /// A manifest or config that a name leads to can't be read.
    DocumentDamaged {
        /// The name.
        reference: Reference,
        /// What is wrong with it.
        problem: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlobDamaged { digest } => write!(f, "blob {digest} is damaged"),
            Self::LayerDamaged { layer, problem } => write!(f, "layer {layer} is damaged: {problem}"),
            Self::RefDamaged { path } => write!(f, "`{}` can't be read", path.display()),
            Self::RefIncomplete { reference, missing } => {
                write!(f, "image `{reference}` is incomplete: blob {missing} is missing")
            }
            Self::DocumentDamaged { reference, problem } => {
                write!(f, "image `{reference}` can't be used: {problem}")
            }
        }
    }
}

impl Store {
    /// Hashes every blob, walks every layer and follows every ref. With `repair`, damaged blobs, layers and refs are
    /// removed and `index.json` is rewritten. Containers must not run from a layer that is removed: stop them first.
    pub fn fsck(&self, repair: bool) -> Result<FsckReport> {
        let mut report = {
            // Against garbage collection only: pulls go on.
            let _lock = Lock::shared(&self.gc_lock_path())?;
            self.check()?
        };
        if repair {
            let _lock = Lock::exclusive(&self.gc_lock_path())?;
            for problem in report.problems.clone() {
                self.repair(&problem)?;
            }
            self.write_index_view()?;
            report.repaired = true;
        }
        Ok(report)
    }

    fn check(&self) -> Result<FsckReport> {
        let mut report = FsckReport::default();
        let mut damaged = HashSet::new();
        for digest in self.blobs()? {
            let Some((bytes, whole)) = self.hash_blob(&digest)? else { continue };
            report.blobs += 1;
            report.blob_bytes += bytes;
            if !whole {
                damaged.insert(digest.clone());
                report.problems.push(Problem::BlobDamaged { digest });
            }
        }
        self.check_refs(&damaged, &mut report)?;
        self.check_layers(&mut report)?;
        report.leftovers = self.leftovers()?;
        Ok(report)
    }

    /// Size, and whether the content is right; `None` if it went meanwhile.
    fn hash_blob(&self, digest: &Digest) -> Result<Option<(u64, bool)>> {
        let mut file = match self.open_blob(digest) {
            Err(StoreError::BlobNotFound { .. }) => return Ok(None),
            other => other?,
        };
        let path = self.blob_path(digest);
        let mut hasher = digest.algorithm().hasher();
        let mut buffer = vec![0; 256 * 1024];
        let mut bytes = 0;
        loop {
            let count = file.read(&mut buffer).context("read", &path)?;
            if count == 0 {
                return Ok(Some((bytes, hasher.finish() == *digest)));
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
        }
    }

    fn check_refs(&self, damaged: &HashSet<Digest>, report: &mut FsckReport) -> Result<()> {
        let (records, unreadable) = self.readable_refs()?;
        report.refs = records.len();
        for name in unreadable {
            report.problems.push(Problem::RefDamaged { path: self.dir("refs").join(name) });
        }
        for record in records {
            if let Some(problem) = self.check_ref(&record, damaged)? {
                report.pull_again.push(record.reference);
                report.problems.push(problem);
            }
        }
        Ok(())
    }

    fn check_ref(&self, record: &RefRecord, damaged: &HashSet<Digest>) -> Result<Option<Problem>> {
        let incomplete =
            |missing| Some(Problem::RefIncomplete { reference: record.reference.clone(), missing });
        match self.missing(&record.descriptor, damaged) {
            Ok(missing) => Ok(missing.and_then(incomplete)),
            Err(StoreError::BlobNotFound { digest }) => Ok(incomplete(digest)),
            Err(StoreError::Document { source, .. }) => {
                let problem = source.to_string();
                Ok(Some(Problem::DocumentDamaged { reference: record.reference.clone(), problem }))
            }
            Err(error) => Err(error),
        }
    }

    /// The first blob that an image can't be used without and that isn't here; of an index, one image is enough.
    fn missing(&self, descriptor: &Descriptor, damaged: &HashSet<Digest>) -> Result<Option<Digest>> {
        let usable = |digest: &Digest| Ok::<_, StoreError>(!damaged.contains(digest) && self.has(digest)?);
        if !usable(&descriptor.digest)? {
            return Ok(Some(descriptor.digest.clone()));
        }
        let document = self.load_document(descriptor)?;
        if let Some(manifest) = document.manifest() {
            for child in std::iter::once(&manifest.config).chain(&manifest.layers) {
                if !usable(&child.digest)? {
                    return Ok(Some(child.digest.clone()));
                }
            }
            self.diff_ids(&manifest.config)?;
            return Ok(None);
        }
        self.missing_of_index(&document, damaged)
    }

    fn missing_of_index(&self, document: &Document, damaged: &HashSet<Digest>) -> Result<Option<Digest>> {
        let mut some = false;
        for child in document.children() {
            let is_image = media_type::is_manifest(&child.media_type);
            if !is_image || !self.has(&child.digest)? {
                continue;
            }
            some = true;
            if let Some(missing) = self.missing(child, damaged)? {
                return Ok(Some(missing));
            }
        }
        let first = document.children().first().map(|child| child.digest.clone());
        Ok(if some { None } else { first })
    }

    fn check_layers(&self, report: &mut FsckReport) -> Result<()> {
        for layer in self.visible_layers()? {
            report.layers += 1;
            if let Some(problem) = check_layer(&self.layer_at(&layer), false)? {
                report.problems.push(Problem::LayerDamaged { layer, problem });
            }
        }
        Ok(())
    }

    /// Whether `index.json` is the view of the refs.
    fn is_index_current(&self) -> Result<bool> {
        let _lock = self.index_lock()?;
        let path = self.index_path();
        // As large as it may be: brig itself wrote it. Missing is as good as empty.
        let bytes = std::fs::read(&path).unwrap_or_default();
        Ok(bytes == crate::store::to_json(&path, &self.index_view()?)?)
    }

    fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut leftovers = Vec::new();
        let in_ingest =
            |name: &str| name.ends_with(".part") || name.ends_with(".layer") || name.starts_with("tmp-");
        let in_layers = |name: &str| name.ends_with(PARTIAL) || name.ends_with(TRASH);
        for name in fsutil::names(&self.ingest_dir())? {
            leftovers.extend(in_ingest(&name).then(|| self.ingest_dir().join(&name)));
        }
        for name in fsutil::names(&self.layers_dir())? {
            leftovers.extend(in_layers(&name).then(|| self.layers_dir().join(&name)));
        }
        if !self.is_index_current()? {
            leftovers.push(self.index_path());
        }
        Ok(leftovers)
    }

    /// Looks again before it removes: the content may have been taken in anew meanwhile.
    fn repair(&self, problem: &Problem) -> Result<()> {
        match problem {
            Problem::BlobDamaged { digest } => {
                if self.hash_blob(digest)?.is_some_and(|(_, whole)| !whole) {
                    fsutil::remove_file(&self.blob_path(digest))?;
                }
                Ok(())
            }
            Problem::LayerDamaged { layer, .. } => {
                if check_layer(&self.layer_at(layer), false)?.is_some() {
                    fsutil::remove_tree(&self.trash_layer(layer)?)?;
                }
                Ok(())
            }
            Problem::RefDamaged { path } => fsutil::remove_file(path).map(drop),
            Problem::RefIncomplete { .. } | Problem::DocumentDamaged { .. } => Ok(()),
        }
    }
}

/// What is wrong with a layer, by names and sizes below `fs` against those that were counted when it was unpacked.
/// Directories that an ordinary user may not enter can't be counted: that is wrong only if it is `strict`.
pub(crate) fn check_layer(layer: &Layer, strict: bool) -> Result<Option<String>> {
    let meta = match layer.meta() {
        Ok(meta) => meta,
        Err(error @ (StoreError::Json { .. } | StoreError::LayerNotFound { .. })) => {
            return Ok(Some(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    if meta.diff_id != *layer.diff_id() {
        return Ok(Some(format!("it is {}", meta.diff_id)));
    }
    let path = layer.fs();
    let mut found = Found::default();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(root) => found.walk(root).context("read", &path)?,
        Err(rustix::io::Errno::NOENT) => return Ok(Some("its files are missing".into())),
        Err(error) => return Err(error).context("open", &path),
    }
    if found.closed {
        return Ok(strict.then(|| "not all of it can be read".into()));
    }
    if (found.names, found.bytes) == (meta.names, meta.bytes) {
        return Ok(None);
    }
    Ok(Some(format!(
        "it has {} names and {} bytes, and should have {} and {}",
        found.names, found.bytes, meta.names, meta.bytes
    )))
}

#[derive(Default)]
struct Found {
    names: u64,
    bytes: u64,
    closed: bool,
}

impl Found {
    fn walk(&mut self, dir: OwnedFd) -> std::io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.names += 1;
            let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => self.bytes += u64::try_from(stat.st_size).unwrap_or(0),
                FileType::Directory => self.enter(&dir, name)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn enter(&mut self, dir: &OwnedFd, name: &std::ffi::CStr) -> std::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(child) => self.walk(child),
            Err(rustix::io::Errno::ACCESS) => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sample, reference, small_tar, store};
    use crate::{InUse, UnpackOptions};

    fn sound() -> (tempfile::TempDir, Store, Sample, Digest) {
        let (dir, store) = store();
        let tar = small_tar("content");
        let sample = Sample::new(&store, "one", &[&tar]);
        let layer = Digest::sha256(&tar);
        let none = media_type::Compression::None;
        store.unpack_layer(&layer, none, tar.as_slice(), &UnpackOptions::default()).unwrap();
        store.set_ref(&reference("one"), &sample.manifest).unwrap();
        (dir, store, sample, layer)
    }

    #[test]
    fn a_sound_store_has_no_problems() {
        let (_dir, store, ..) = sound();
        let report = store.fsck(false).unwrap();
        assert_eq!(report.problems, []);
        assert_eq!(report.leftovers, [] as [PathBuf; 0]);
        assert_eq!((report.blobs, report.layers, report.refs), (3, 1, 1));
    }

    #[test]
    fn damaged_blobs_are_named_and_removed() {
        let (_dir, store, sample, layer) = sound();
        std::fs::write(store.blob_path(&layer), "rot").unwrap();
        let report = store.fsck(true).unwrap();
        assert_eq!(
            report.problems,
            [
                Problem::BlobDamaged { digest: layer.clone() },
                Problem::RefIncomplete { reference: reference("one"), missing: layer.clone() },
            ]
        );
        assert_eq!(report.pull_again, [reference("one")]);
        assert!(!store.has(&layer).unwrap());
        // The name is still there, and a pull makes it whole.
        let report = store.fsck(false).unwrap();
        assert!(matches!(&report.problems[..], [Problem::RefIncomplete { .. }]));
        store.put(media_type::OCI_LAYER, &small_tar("content")).unwrap();
        assert_eq!(store.fsck(false).unwrap().problems, []);
        drop(sample);
    }

    #[test]
    fn damaged_manifests_do_not_stop_it() {
        let (_dir, store, sample, _) = sound();
        std::fs::write(store.blob_path(&sample.manifest.digest), "{}").unwrap();
        let report = store.fsck(true).unwrap();
        assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
        store.gc(&|| Ok(InUse::default()), &crate::GcOptions::default()).unwrap();
    }

    #[test]
    fn damaged_layers_are_named_and_removed() {
        let (_dir, store, _, layer) = sound();
        let file = store.layer(&layer).unwrap().unwrap().fs().join("dir/file");
        std::fs::write(&file, "longer than it was").unwrap();
        let report = store.fsck(true).unwrap();
        assert!(matches!(&report.problems[..], [Problem::LayerDamaged { .. }]), "{:?}", report.problems);
        assert_eq!(store.layer(&layer).unwrap(), None);
        assert_eq!(store.fsck(false).unwrap().problems, []);
    }

    #[test]
    fn a_layer_without_its_meta_is_damaged() {
        let (dir, store, _, layer) = sound();
        std::fs::remove_file(dir.path().join(format!("layers/sha256-{}/meta.json", layer.hex()))).unwrap();
        assert_eq!(store.layer(&layer).unwrap(), None);
        assert!(matches!(&store.fsck(false).unwrap().problems[..], [Problem::LayerDamaged { .. }]));
    }

    #[test]
    fn a_stale_index_is_rewritten_and_a_torn_ref_removed() {
        let (dir, store, ..) = sound();
        std::fs::write(dir.path().join("index.json"), "{}").unwrap();
        std::fs::write(dir.path().join("refs/0123"), "").unwrap();
        let report = store.fsck(true).unwrap();
        assert_eq!(report.problems, [Problem::RefDamaged { path: store.root().join("refs/0123") }]);
        assert_eq!(report.leftovers, [store.index_path()]);
        let report = store.fsck(false).unwrap();
        assert_eq!((report.problems, report.leftovers), (vec![], vec![]));
    }

    #[test]
    fn leftovers_are_listed() {
        let (_dir, store, ..) = sound();
        let descriptor = Descriptor::of("x", b"partial");
        crate::testing::needed(&store, &descriptor).write(b"par").unwrap();
        let report = store.fsck(false).unwrap();
        assert_eq!((report.problems.len(), report.leftovers), (0, vec![store.part_path(&descriptor.digest)]));
    }

    #[test]
    fn what_is_found_reads_as_a_sentence() {
        let problem = Problem::RefIncomplete { reference: reference("a"), missing: Digest::sha256("x") };
        assert!(
            problem.to_string().starts_with("image `docker.io/library/a:latest` is incomplete: blob sha256:")
        );
    }
}
