//! What the tests of this crate share.

use brig_oci::{Descriptor, Digest, Reference, media_type};

use crate::{BlobWriter, Ingest, Store};

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub(crate) fn needed(store: &Store, descriptor: &Descriptor) -> Box<BlobWriter> {
    match store.ingest(descriptor).unwrap() {
        Ingest::Needed(writer) => writer,
        Ingest::Present => panic!("{} is already there", descriptor.digest),
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A small image.
pub(crate) struct Sample {
    pub(crate) manifest: Descriptor,
    pub(crate) config: Descriptor,
}

impl Sample {
    /// An image whose config says `name`, of uncompressed layers.
    pub(crate) fn new(store: &Store, name: &str, layers: &[&[u8]]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(Digest::sha256).collect();
        let layers: Vec<_> =
            layers.iter().map(|bytes| store.put(media_type::OCI_LAYER, bytes).unwrap()).collect();
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "author": name,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = store.put(media_type::OCI_CONFIG, config.to_string().as_bytes()).unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        let manifest = store.put(media_type::OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap();
        Self { manifest, config }
    }
}

/// A tar with one file, whose content is `text`.
pub(crate) fn small_tar(text: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    builder.append_data(&mut header, "dir/file", text.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}
