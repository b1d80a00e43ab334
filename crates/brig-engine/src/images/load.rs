//! Load: OCI archives and layouts, and docker's archives, into the store.

use std::io::Read;
use std::path::Path;

use brig_oci::{Descriptor, Digest, Document, Image, Reference, media_type};
use brig_runtime::Event;
use brig_store::Lease;
use serde::Deserialize;

use super::archive::{Archive, blob_name};
use super::resolve::document_error;
use super::unpack::layers_of;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// How deep indexes may stand in each other.
const MAX_DEPTH: usize = 4;

/// One image of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Engine {
    /// Loads all images of an archive or layout; from standard input without a path. Gives the names they have now.
    pub fn load(&self, path: Option<&Path>, tag: Option<&str>) -> Result<Vec<String>> {
        let tag: Option<Reference> = tag.map(str::parse).transpose()?;
        let archive = Archive::open(path, self.store().root())?;
        let lease = self.store().lease("load")?;
        let load = Load { engine: self, archive: &archive, lease: &lease };
        let loaded = match archive.document("index.json")? {
            Some(index) => load.layout(&index)?,
            None => match archive.document("manifest.json")? {
                Some(manifest) => load.docker(&manifest)?,
                None => return Err(archive.problem("it has neither an `index.json` nor a `manifest.json`")),
            },
        };
        self.name_loaded(loaded, tag.as_ref())
    }

    /// Names all images or none.
    fn name_loaded(&self, loaded: Vec<Loaded>, tag: Option<&Reference>) -> Result<Vec<String>> {
        let unnamed = loaded.iter().filter(|image| !matches!(image.name, Name::Full(_))).count();
        let mut named = Vec::new();
        for image in &loaded {
            let name = match (&image.name, tag) {
                (_, Some(tag)) if loaded.len() == 1 => tag,
                (Name::Full(name), _) => name,
                (_, Some(tag)) if unnamed == 1 => tag,
                (name, _) => return Err(unnamed_image(&image.descriptor, name)),
            };
            named.push((checked_name(name, &image.descriptor)?, &image.descriptor));
        }
        let mut names = Vec::new();
        for (name, descriptor) in named {
            self.store().set_ref(&name, descriptor)?;
            self.record_event(&Event::image("load", &name.to_string()))?;
            names.push(name.to_string());
        }
        Ok(names)
    }
}

/// An image of an archive, complete in the store.
struct Loaded {
    name: Name,
    descriptor: Descriptor,
}

/// What an archive calls an image.
enum Name {
    Full(Reference),
    /// One word, as skopeo and buildah write it after `oci:PATH:`. It may be a tag or a name.
    Word(String),
    None,
}

/// docker loads such an image without a name, and podman makes one up; here an image has the name that it is given.
fn unnamed_image(descriptor: &Descriptor, name: &Name) -> Error {
    let problem = match name {
        Name::Word(word) => format!(
            "the archive calls it `{word}` only, which may be a name or a tag: load it with --tag {word} or \
             --tag REPOSITORY:{word}"
        ),
        _ => "the archive doesn't name it: load it with --tag REFERENCE".into(),
    };
    Error::invalid("image", descriptor.digest.to_string(), problem)
}

/// A name with a digest is that of this very image, whatever the archive says.
fn checked_name(name: &Reference, descriptor: &Descriptor) -> Result<Reference> {
    match name.digest() {
        Some(digest) if *digest != descriptor.digest => {
            let problem =
                format!("the image has the digest {}: give it another name with --tag", descriptor.digest);
            Err(Error::invalid("name", name.to_string(), problem))
        }
        _ => Ok(name.without_digest()),
    }
}

struct Load<'a> {
    engine: &'a Engine,
    archive: &'a Archive,
    lease: &'a Lease,
}

impl Load<'_> {
    fn layout(&self, index: &[u8]) -> Result<Vec<Loaded>> {
        let document =
            Document::parse(index, Some(media_type::OCI_INDEX)).map_err(document_error("index.json"))?;
        let manifests = document.index().map(|index| index.manifests.as_slice()).unwrap_or_default();
        if manifests.is_empty() {
            return Err(self.archive.problem("its `index.json` lists no image"));
        }
        let mut loaded = Vec::new();
        for descriptor in manifests {
            self.tree(descriptor, 0)?;
            loaded.push(Loaded { name: name_of(descriptor), descriptor: descriptor.clone() });
        }
        Ok(loaded)
    }

    /// A manifest or index, and all below it. Images of other platforms may be missing from an archive: they are left
    /// out, like in a pull.
    fn tree(&self, descriptor: &Descriptor, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.archive.problem("its indexes stand in each other too deep"));
        }
        let name = blob_name(&descriptor.digest);
        let Some(bytes) = self.archive.document(&name)? else {
            return Err(self.archive.problem(format!("`{name}` is missing")));
        };
        let document = Document::parse(bytes, Some(&descriptor.media_type))
            .map_err(document_error(descriptor.digest.to_string()))?;
        self.keep(descriptor, document.raw())?;
        if let Some(index) = document.index() {
            for child in &index.manifests {
                if depth > 0 || self.archive.file(&blob_name(&child.digest))?.is_some() {
                    self.tree(child, depth + 1)?;
                }
            }
            return Ok(());
        }
        for blob in document.children() {
            let name = blob_name(&blob.digest);
            let Some((reader, _)) = self.archive.file(&name)? else {
                return Err(self.archive.problem(format!("`{name}` is missing")));
            };
            self.keep(blob, reader)?;
        }
        self.unpack(&self.engine.store().load_image(descriptor)?)
    }

    /// docker's archive: layers are uncompressed tars; the manifest is made here, the config is kept, so that the
    /// image id is docker's.
    fn docker(&self, manifest: &[u8]) -> Result<Vec<Loaded>> {
        let images: Vec<DockerImage> = serde_json::from_slice(manifest)
            .map_err(|error| self.archive.problem(format!("its `manifest.json` is not valid: {error}")))?;
        let mut loaded = Vec::new();
        for image in images {
            let descriptor = self.docker_image(&image)?;
            let tags = image.repo_tags.unwrap_or_default();
            for tag in &tags {
                loaded.push(Loaded { name: Name::Full(tag.parse()?), descriptor: descriptor.clone() });
            }
            if tags.is_empty() {
                loaded.push(Loaded { name: Name::None, descriptor });
            }
        }
        Ok(loaded)
    }

    fn docker_image(&self, image: &DockerImage) -> Result<Descriptor> {
        let config = self
            .archive
            .document(&image.config)?
            .ok_or_else(|| self.archive.problem(format!("`{}` is missing", image.config)))?;
        let config_descriptor = self.put(media_type::OCI_CONFIG, &config)?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(self.docker_layer(layer)?);
        }
        let manifest = brig_oci::Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            artifact_type: None,
            config: config_descriptor,
            layers,
            subject: None,
            annotations: Default::default(),
        };
        let bytes = serde_json::to_vec(&manifest).map_err(|source| {
            document_error("manifest.json")(brig_oci::DocumentError::Json { what: "manifest", source })
        })?;
        let descriptor = self.put(media_type::OCI_MANIFEST, &bytes)?;
        self.unpack(&Image { descriptor: descriptor.clone(), manifest, config })?;
        Ok(descriptor)
    }

    /// Read twice, first for its digest: the archive doesn't say it.
    fn docker_layer(&self, name: &str) -> Result<Descriptor> {
        let missing = || self.archive.problem(format!("`{name}` is missing"));
        let (mut reader, size) = self.archive.file(name)?.ok_or_else(missing)?;
        let mut hasher = brig_oci::Algorithm::Sha256.hasher();
        let mut head = [0; 4];
        let mut buffer = vec![0; 128 * 1024];
        let mut total = 0_usize;
        loop {
            let count = reader.read(&mut buffer).map_err(Error::io("read", name))?;
            if count == 0 {
                break;
            }
            if total < head.len() {
                let wanted = count.min(head.len() - total);
                head[total..total + wanted].copy_from_slice(&buffer[..wanted]);
            }
            hasher.update(&buffer[..count]);
            total += count;
        }
        let descriptor = Descriptor::new(layer_type(head), hasher.finish(), size);
        let (reader, _) = self.archive.file(name)?.ok_or_else(missing)?;
        self.keep(&descriptor, reader)?;
        Ok(descriptor)
    }

    fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.keep(&descriptor, bytes)?;
        Ok(descriptor)
    }

    /// Its layers have no name yet: only the lease keeps them from being taken for garbage.
    fn unpack(&self, image: &Image) -> Result<()> {
        let unpacks = layers_of(image)?.into_iter().filter_map(|(_, unpack)| unpack);
        let diff_ids: Vec<Digest> = unpacks.map(|unpack| unpack.diff_id).collect();
        self.lease.protect(&[], &diff_ids)?;
        self.engine.unpack_image(image)
    }

    /// Into the store, verified.
    fn keep(&self, descriptor: &Descriptor, from: impl Read) -> Result<()> {
        self.lease.protect(std::slice::from_ref(&descriptor.digest), &[])?;
        Ok(self.engine.store().ingest_from(descriptor, from)?)
    }
}

/// docker's own archives hold plain tars; others (buildah, kaniko) compress them under the same names.
fn layer_type(head: [u8; 4]) -> &'static str {
    match head {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
        _ => media_type::OCI_LAYER,
    }
}

/// containerd writes the full name; the specification's annotation may be a mere tag.
fn name_of(descriptor: &Descriptor) -> Name {
    let annotation = |key: &str| descriptor.annotations.get(key);
    let full = annotation("io.containerd.image.name").and_then(|name| name.parse().ok());
    if let Some(full) = full {
        return Name::Full(full);
    }
    match annotation("org.opencontainers.image.ref.name") {
        Some(name) if name.contains(['/', ':']) => name.parse().map_or(Name::None, Name::Full),
        // Shown in a sentence, so it must be what a tag can be.
        Some(word) if format!("x:{word}").parse::<Reference>().is_ok() => Name::Word(word.clone()),
        _ => Name::None,
    }
}
