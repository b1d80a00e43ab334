//! Where a finished image goes.

use std::fs;
use std::io;
use std::path::Path;

use brig_oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::Registry;

/// A document or a layer.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The media type.
    pub media_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The digest under which it is stored: that of the bytes, unless a test wants a lie.
    pub digest: Digest,
}

impl Blob {
    /// A blob under its own digest.
    pub fn new(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { media_type: media_type.into(), digest: Digest::sha256(&bytes), bytes }
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }
}

/// A finished image or index: the document that a tag names, and all that it leads to.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest or index.
    pub document: Blob,
    /// Manifests of an index.
    pub manifests: Vec<Blob>,
    /// Configs and layers.
    pub blobs: Vec<Blob>,
    /// What it runs on, for an index that lists it.
    pub platform: Option<brig_oci::Platform>,
}

impl Image {
    /// The digest of the manifest or index.
    pub fn digest(&self) -> &Digest {
        &self.document.digest
    }

    /// Stores it in a registry under `repository[:tag]` (`latest` without a tag); its full reference.
    pub fn push(&self, registry: &Registry, name: &str) -> String {
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        for blob in &self.blobs {
            registry.put_blob_as(repository, &blob.digest, blob.bytes.clone());
        }
        for manifest in &self.manifests {
            registry.put_manifest(repository, None, &manifest.media_type, manifest.bytes.clone());
        }
        let document = &self.document;
        registry.put_manifest(repository, Some(tag), &document.media_type, document.bytes.clone());
        registry.reference(&format!("{repository}:{tag}"))
    }

    /// Adds it to an OCI layout (image-spec `image-layout.md`), which is made if it isn't there.
    ///
    /// # Errors
    /// When the layout can't be written.
    pub fn write_layout(&self, dir: &Path, name: Option<&str>) -> io::Result<()> {
        fs::create_dir_all(dir.join("blobs/sha256"))?;
        fs::write(dir.join("oci-layout"), LAYOUT)?;
        for blob in self.all() {
            let path = dir.join("blobs").join(blob.digest.algorithm().as_str()).join(blob.digest.hex());
            fs::write(path, &blob.bytes)?;
        }
        let path = dir.join("index.json");
        let mut index: Value = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => empty_index(),
            Err(error) => return Err(error),
        };
        let manifests = index["manifests"].as_array_mut();
        manifests.ok_or_else(|| io::Error::other("index.json has no manifests"))?.push(self.entry(name));
        fs::write(path, index.to_string())
    }

    /// The image as an OCI archive: a tar of a layout.
    pub fn oci_archive(&self, name: Option<&str>) -> Vec<u8> {
        let mut index = empty_index();
        index["manifests"] = json!([self.entry(name)]);
        let mut tar = super::LayerBuilder::new()
            .file("oci-layout", 0o644, LAYOUT)
            .file("index.json", 0o644, index.to_string())
            .dir("blobs/sha256/", 0o755);
        for blob in self.all() {
            let path = format!("blobs/{}/{}", blob.digest.algorithm().as_str(), blob.digest.hex());
            tar = tar.file(&path, 0o644, &blob.bytes);
        }
        tar.tar()
    }

    fn all(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().chain(&self.manifests).chain([&self.document])
    }

    /// The entry of a layout's `index.json`.
    fn entry(&self, name: Option<&str>) -> Value {
        let mut descriptor = self.document.descriptor();
        descriptor.platform.clone_from(&self.platform);
        if let Some(name) = name {
            descriptor.annotations.insert("org.opencontainers.image.ref.name".into(), name.into());
        }
        serde_json::to_value(descriptor).expect("a descriptor is JSON")
    }
}

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

fn empty_index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [] })
}
