//! Images made here: a new layer from a tar stream, then config, manifest and name.

use std::fs::File;
use std::io::{self, Seek, Write};

use brig_oci::media_type::{self, Compression};
use brig_oci::{Algorithm, Descriptor, Digest, DocumentError, Hasher, Manifest, Reference};
use brig_runtime::Event;
use brig_store::Lease;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::resolve::document_error;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// What images are called that nobody gave a name: an image in the store has one.
pub(super) const UNNAMED: &str = "unnamed";

/// A layer that is in the store, as blob and unpacked.
#[derive(Debug)]
pub(super) struct NewLayer {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
}

/// An image whose layers are all in the store.
pub(super) struct NewImage {
    /// The config, as JSON: fields that brig doesn't know are in it, too.
    pub(super) config: Value,
    pub(super) config_type: String,
    pub(super) manifest: Manifest,
    /// The manifest's type.
    pub(super) media_type: String,
}

impl Engine {
    /// Makes a layer of the tar that `write` writes. It is compressed on its way into a file without a name; only then
    /// its digests are known.
    pub(super) fn new_layer(
        &self,
        lease: &Lease,
        media_type: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<NewLayer> {
        let store = self.store();
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let spool = rustix::fs::open(store.root(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| Error::io("make a temporary file in", store.root())(error.into()))?;
        let gzip = GzEncoder::new(Hashed::new(File::from(spool)), flate2::Compression::default());
        let mut tar = Hashed::new(gzip);
        write(&mut tar)?;
        let failed = || Error::io("write a temporary file in", store.root());
        let (gzip, diff_id, _) = tar.finish();
        let (mut file, digest, size) = gzip.finish().map_err(failed())?.finish();
        let blob = Descriptor::new(media_type, digest, size);
        lease.protect(std::slice::from_ref(&blob.digest), std::slice::from_ref(&diff_id))?;
        file.rewind().map_err(failed())?;
        store.ingest_from(&blob, file)?;
        let mut bytes = store.open_blob(&blob.digest)?;
        store.unpack_layer(&diff_id, Compression::Gzip, &mut bytes, &self.unpack_options())?;
        Ok(NewLayer { blob, diff_id })
    }

    /// Keeps an image and gives it its name; gives the name and the image id.
    pub(super) fn keep_image(
        &self,
        lease: &Lease,
        mut image: NewImage,
        name: Option<&Reference>,
        action: &str,
    ) -> Result<(String, Digest)> {
        let config = self.keep_document(lease, &image.config_type, "config", &image.config)?;
        let id = config.digest.clone();
        image.manifest.config = config;
        let manifest = self.keep_document(lease, &image.media_type, "manifest", &image.manifest)?;
        let name = match name {
            Some(name) => name.clone(),
            None => format!("{UNNAMED}:{}", id.short()).parse()?,
        };
        self.store().set_ref(&name, &manifest)?;
        self.record_event(&Event::image(action, &name.to_string()))?;
        Ok((name.to_string(), id))
    }

    fn keep_document(
        &self,
        lease: &Lease,
        media_type: &str,
        what: &'static str,
        document: &impl serde::Serialize,
    ) -> Result<Descriptor> {
        let bytes = serde_json::to_vec(document)
            .map_err(|source| document_error(what)(DocumentError::Json { what, source }))?;
        let descriptor = Descriptor::of(media_type, &bytes);
        lease.protect(std::slice::from_ref(&descriptor.digest), &[])?;
        self.store().ingest_from(&descriptor, bytes.as_slice())?;
        Ok(descriptor)
    }
}

/// A name for a new image: with a tag or the default one, and without a digest, which it can't choose.
pub(super) fn new_name(name: Option<&str>) -> Result<Option<Reference>> {
    let Some(name) = name else { return Ok(None) };
    let reference: Reference = name.parse()?;
    match reference.digest() {
        Some(_) => Err(Error::invalid("name", name, "an image's digest comes from its content: give a tag")),
        None => Ok(Some(reference)),
    }
}

/// A manifest of these layers, its config still to come.
pub(super) fn manifest_of(media_type: &str, layers: Vec<Descriptor>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: Some(media_type.into()),
        artifact_type: None,
        config: Descriptor::of(media_type::OCI_EMPTY, b"{}"),
        layers,
        subject: None,
        annotations: Default::default(),
    }
}

/// Hashes and counts what is written.
struct Hashed<W: Write> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Hashed<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Algorithm::Sha256.hasher(), size: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.out, self.hasher.finish(), self.size)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
