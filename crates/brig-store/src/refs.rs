//! Names of images: one small file each, the truth, and `index.json`, a view of them for other programs.

use std::time::{SystemTime, UNIX_EPOCH};

use brig_oci::{Descriptor, Digest, Reference, media_type};
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::lock::Lock;
use crate::store::{MAX_SMALL_FILE, Store, to_json};

/// Where the OCI layout keeps a name (image-spec `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A name and what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefRecord {
    /// The name.
    pub reference: Reference,
    /// The manifest or index that it names.
    pub descriptor: Descriptor,
    /// When it was pulled, loaded or tagged: seconds since 1970.
    pub pulled_at: u64,
}

/// The file of a [`RefRecord`].
#[derive(Debug, Serialize, Deserialize)]
struct RefFile {
    version: u32,
    reference: String,
    descriptor: Descriptor,
    pulled_at: u64,
}

impl Store {
    /// Lets `reference` name `descriptor`, in place of what it named. The documents behind it (manifests and configs,
    /// as far as they are here) are on the disk before the name is. Waits while garbage is collected, which must not
    /// miss a name that is made while another one or a lease goes.
    pub fn set_ref(&self, reference: &Reference, descriptor: &Descriptor) -> Result<()> {
        let _gc = Lock::shared(&self.gc_lock_path())?;
        if !self.has(&descriptor.digest)? {
            return Err(StoreError::BlobNotFound { digest: descriptor.digest.clone() });
        }
        self.sync_documents(descriptor)?;
        let pulled_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let canonical = reference.canonical();
        let path = self.ref_path(&canonical);
        let record = RefFile { version: 1, reference: canonical, descriptor: descriptor.clone(), pulled_at };
        fsutil::replace(&self.ingest_dir(), &path, &to_json(&path, &record)?)?;
        self.write_index_view()
    }

    /// What `reference` names. Constant time, however many names there are.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<RefRecord>> {
        self.read_ref(Digest::sha256(reference.canonical()).hex())
    }

    /// All names, in order.
    pub fn refs(&self) -> Result<Vec<RefRecord>> {
        let mut records = Vec::new();
        for name in fsutil::names(&self.dir("refs"))? {
            // A name may be removed while the list is read.
            records.extend(self.read_ref(&name)?);
        }
        records.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(records)
    }

    /// Removes a name; `false` where there was none. What it named stays until [`Store::gc`].
    pub fn remove_ref(&self, reference: &Reference) -> Result<bool> {
        let removed = fsutil::remove_file(&self.ref_path(&reference.canonical()))?;
        if removed {
            self.write_index_view()?;
        }
        Ok(removed)
    }

    /// The image that `text` means: a name, a name with the digest that it names, or the unique beginning of an image
    /// id (the digest of its config), with or without `sha256:`.
    pub fn find(&self, text: &str) -> Result<RefRecord> {
        if let Ok(reference) = text.parse::<Reference>()
            && let Some(record) = self.find_name(&reference)?
        {
            return Ok(record);
        }
        let prefix = text.strip_prefix("sha256:").unwrap_or(text);
        let hexadecimal =
            !prefix.is_empty() && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hexadecimal {
            return Err(StoreError::ImageNotFound { text: text.into() });
        }
        self.find_id(text, prefix)
    }

    fn sync_documents(&self, descriptor: &Descriptor) -> Result<()> {
        let kind = descriptor.media_type.as_str();
        let is_document = media_type::is_index(kind) || media_type::is_manifest(kind);
        if !self.has(&descriptor.digest)? {
            return Ok(());
        }
        self.open_blob(&descriptor.digest)?
            .sync_data()
            .context("sync", &self.blob_path(&descriptor.digest))?;
        if !is_document {
            return Ok(());
        }
        let document = self.load_document(descriptor)?;
        match document.manifest() {
            // Layers are verified when they are read again.
            Some(manifest) => self.sync_documents(&manifest.config),
            None => document.children().into_iter().try_for_each(|child| self.sync_documents(child)),
        }
    }

    fn find_name(&self, reference: &Reference) -> Result<Option<RefRecord>> {
        if let Some(record) = self.resolve(reference)? {
            return Ok(Some(record));
        }
        let Some(digest) = reference.digest() else { return Ok(None) };
        let named = |record: &RefRecord| {
            record.descriptor.digest == *digest
                && record.reference.registry() == reference.registry()
                && record.reference.repository() == reference.repository()
        };
        Ok(self.refs()?.into_iter().find(named))
    }

    fn find_id(&self, text: &str, prefix: &str) -> Result<RefRecord> {
        let mut found: Option<(Digest, RefRecord)> = None;
        let mut count = 0;
        for record in self.refs()? {
            for id in self.image_ids(&record.descriptor)? {
                let known = found.as_ref().is_some_and(|(known, _)| *known == id);
                if !id.hex().starts_with(prefix) || known {
                    continue;
                }
                count += 1;
                found.get_or_insert_with(|| (id, record.clone()));
            }
        }
        match found {
            Some((_, record)) if count == 1 => Ok(record),
            Some(_) => Err(StoreError::Ambiguous { text: text.into(), count }),
            None => Err(StoreError::ImageNotFound { text: text.into() }),
        }
    }

    /// The ids (digests of configs) of the images behind a manifest or an index, of those that are here.
    pub fn image_ids(&self, descriptor: &Descriptor) -> Result<Vec<Digest>> {
        if !self.has(&descriptor.digest)? {
            return Ok(Vec::new());
        }
        let document = self.load_document(descriptor)?;
        if let Some(manifest) = document.manifest() {
            return Ok(vec![manifest.config.digest.clone()]);
        }
        let mut ids = Vec::new();
        for child in document.children() {
            if media_type::is_manifest(&child.media_type) && self.has(&child.digest)? {
                ids.extend(
                    self.load_document(child)?.manifest().map(|manifest| manifest.config.digest.clone()),
                );
            }
        }
        Ok(ids)
    }

    /// Rewrites `index.json` from the refs. If a process dies between its ref and this, or the power is cut, the view
    /// is behind until the next change of any ref.
    pub(crate) fn write_index_view(&self) -> Result<()> {
        let _lock = self.index_lock()?;
        let path = self.index_path();
        let bytes = to_json(&path, &self.index_view()?)?;
        fsutil::replace_unsynced(&self.ingest_dir(), &path, &bytes)
    }

    pub(crate) fn index_path(&self) -> std::path::PathBuf {
        self.dir("index.json")
    }

    /// What `index.json` should hold.
    pub(crate) fn index_view(&self) -> Result<brig_oci::Index> {
        let (records, _damaged) = self.readable_refs()?;
        let manifests = records.into_iter().map(|record| {
            let mut descriptor = record.descriptor;
            descriptor.annotations.insert(REF_NAME.into(), record.reference.canonical());
            descriptor
        });
        Ok(brig_oci::Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            manifests: manifests.collect(),
            annotations: std::collections::BTreeMap::new(),
        })
    }

    /// The refs that can be read, and the file names of those that can't.
    pub fn readable_refs(&self) -> Result<(Vec<RefRecord>, Vec<String>)> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        for name in fsutil::names(&self.dir("refs"))? {
            match self.read_ref(&name) {
                Ok(record) => records.extend(record),
                Err(StoreError::Json { .. }) => damaged.push(name),
                Err(error) => return Err(error),
            }
        }
        records.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok((records, damaged))
    }

    fn ref_path(&self, canonical: &str) -> std::path::PathBuf {
        self.root().join("refs").join(Digest::sha256(canonical).hex())
    }

    fn read_ref(&self, name: &str) -> Result<Option<RefRecord>> {
        let path = self.root().join("refs").join(name);
        let Some(bytes) = fsutil::read_small(&path, MAX_SMALL_FILE)? else { return Ok(None) };
        let damaged = |source| StoreError::Json { path: path.clone(), source };
        let file: RefFile = serde_json::from_slice(&bytes).map_err(damaged)?;
        let reference: Reference =
            file.reference.parse().map_err(|error| damaged(serde::de::Error::custom(error)))?;
        if Digest::sha256(&file.reference).hex() != name {
            return Err(damaged(serde::de::Error::custom("the file belongs to another reference")));
        }
        Ok(Some(RefRecord { reference, descriptor: file.descriptor, pulled_at: file.pulled_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sample, reference, store};

    #[test]
    fn names_are_set_replaced_and_removed() {
        let (_dir, store) = store();
        let (one, two) = (Sample::new(&store, "one", &[]), Sample::new(&store, "two", &[]));
        let name = reference("app:v1");
        assert_eq!(store.resolve(&name).unwrap(), None);
        store.set_ref(&name, &one.manifest).unwrap();
        store.set_ref(&name, &two.manifest).unwrap();
        let record = store.resolve(&name).unwrap().unwrap();
        assert_eq!(record.descriptor, two.manifest);
        assert_eq!(store.refs().unwrap(), [record]);
        assert!(store.remove_ref(&name).unwrap());
        assert!(!store.remove_ref(&name).unwrap());
        assert_eq!(store.resolve(&name).unwrap(), None);
    }

    #[test]
    fn the_view_has_canonical_names() {
        let (dir, store) = store();
        let sample = Sample::new(&store, "one", &[]);
        store.set_ref(&reference("b"), &sample.manifest).unwrap();
        store.set_ref(&reference("a:v1"), &sample.manifest).unwrap();
        let bytes = std::fs::read(dir.path().join("index.json")).unwrap();
        let index: brig_oci::Index = serde_json::from_slice(&bytes).unwrap();
        let names: Vec<_> =
            index.manifests.iter().map(|entry| entry.annotations[REF_NAME].as_str()).collect();
        assert_eq!(names, ["docker.io/library/a:v1", "docker.io/library/b:latest"]);
    }

    #[test]
    fn images_are_found_by_name_digest_and_id() {
        let (_dir, store) = store();
        let (one, two) = (Sample::new(&store, "one", &[]), Sample::new(&store, "two", &[]));
        store.set_ref(&reference("one"), &one.manifest).unwrap();
        store.set_ref(&reference("also-one"), &one.manifest).unwrap();
        store.set_ref(&reference("two"), &two.manifest).unwrap();
        let digest = |text: &str| store.find(text).map(|record| record.descriptor.digest);
        assert_eq!(digest("one").unwrap(), one.manifest.digest);
        assert_eq!(digest(&format!("one@{}", one.manifest.digest)).unwrap(), one.manifest.digest);
        assert_eq!(digest(&two.config.digest.hex()[..12]).unwrap(), two.manifest.digest);
        assert_eq!(digest(&one.config.digest.to_string()).unwrap(), one.manifest.digest);
        assert!(matches!(digest("three"), Err(StoreError::ImageNotFound { .. })));
        assert!(matches!(digest("%"), Err(StoreError::ImageNotFound { .. })));
    }

    #[test]
    fn a_beginning_that_two_ids_have_is_ambiguous() {
        let (_dir, store) = store();
        for number in 0..20 {
            let sample = Sample::new(&store, &number.to_string(), &[]);
            store.set_ref(&reference(&format!("image{number}")), &sample.manifest).unwrap();
        }
        // Of twenty ids, two begin with the same digit.
        let ambiguous = "0123456789abcdef"
            .chars()
            .filter(|digit| matches!(store.find(&digit.to_string()), Err(StoreError::Ambiguous { .. })));
        assert!(ambiguous.count() > 0);
    }

    #[test]
    fn a_torn_file_is_an_error_with_its_path() {
        let (dir, store) = store();
        let sample = Sample::new(&store, "one", &[]);
        store.set_ref(&reference("one"), &sample.manifest).unwrap();
        let file = std::fs::read_dir(dir.path().join("refs")).unwrap().next().unwrap().unwrap().path();
        std::fs::write(&file, "").unwrap();
        let error = store.resolve(&reference("one")).unwrap_err();
        assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
        // Others aren't hurt by it.
        store.set_ref(&reference("two"), &sample.manifest).unwrap();
        assert!(store.resolve(&reference("two")).unwrap().is_some());
    }
}
