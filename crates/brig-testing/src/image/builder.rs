//! Configs, manifests and indexes.

use brig_oci::media_type::Compression;
use brig_oci::{Platform, media_type};
use serde_json::{Map, Value, json};

use super::layer::{Layer, LayerBuilder};
use super::publish::{Blob, Image};

/// Builds an image of one platform.
#[derive(Clone, Debug)]
pub struct ImageBuilder {
    platform: Platform,
    config: Map<String, Value>,
    config_blob: Option<Blob>,
    layers: Vec<Layer>,
    annotations: Map<String, Value>,
    docker: bool,
}

impl ImageBuilder {
    /// An image without layers.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            config: Map::new(),
            config_blob: None,
            layers: Vec::new(),
            annotations: Map::new(),
            docker: false,
        }
    }

    /// An image of this machine's Linux platform.
    pub fn linux() -> Self {
        Self::new(Platform::host())
    }

    /// An image of `wasi/wasm`.
    pub fn wasi() -> Self {
        Self::new(Platform::wasi())
    }

    /// Adds a layer, on top of those that are there.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        self
    }

    /// Adds a layer compressed with gzip.
    #[must_use]
    pub fn files(self, layer: LayerBuilder) -> Self {
        self.layer(layer.build(Compression::Gzip))
    }

    /// The program and its first arguments.
    #[must_use]
    pub fn entrypoint(self, arguments: &[&str]) -> Self {
        self.config("Entrypoint", json!(arguments))
    }

    /// Default arguments.
    #[must_use]
    pub fn cmd(self, arguments: &[&str]) -> Self {
        self.config("Cmd", json!(arguments))
    }

    /// The environment, `NAME=value`.
    #[must_use]
    pub fn env(self, variables: &[&str]) -> Self {
        self.config("Env", json!(variables))
    }

    /// The working directory.
    #[must_use]
    pub fn workdir(self, path: &str) -> Self {
        self.config("WorkingDir", json!(path))
    }

    /// `user[:group]`.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.config("User", json!(user))
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        let labels = self.config.entry("Labels").or_insert_with(|| json!({}));
        labels[name] = json!(value);
        self
    }

    /// Any field of the config's `config` object.
    #[must_use]
    pub fn config(mut self, field: &str, value: Value) -> Self {
        self.config.insert(field.into(), value);
        self
    }

    /// A config blob of one's own, in place of an image config.
    #[must_use]
    pub fn config_blob(mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.config_blob = Some(Blob::new(media_type, bytes));
        self
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.into(), json!(value));
        self
    }

    /// Writes docker's schema 2 in place of OCI's types. Layers that aren't tars compressed with gzip keep theirs.
    #[must_use]
    pub fn docker_schema2(mut self) -> Self {
        self.docker = true;
        self
    }

    /// The finished image.
    pub fn build(self) -> Image {
        let config = self.config_blob.clone().unwrap_or_else(|| self.image_config());
        let layers: Vec<Value> = self.layers.iter().map(|layer| self.layer_descriptor(layer)).collect();
        let media_type = if self.docker { media_type::DOCKER_MANIFEST } else { media_type::OCI_MANIFEST };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": config.descriptor(),
            "layers": layers,
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = Value::Object(self.annotations.clone());
        }
        let mut blobs = vec![config];
        blobs.extend(self.layers.into_iter().map(|layer| Blob::new(&layer.media_type, layer.bytes)));
        Image {
            document: Blob::new(media_type, manifest.to_string()),
            manifests: Vec::new(),
            blobs,
            platform: Some(self.platform),
        }
    }

    fn image_config(&self) -> Blob {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let mut config = json!({
            "created": "2024-01-01T00:00:00Z",
            "architecture": self.platform.architecture,
            "os": self.platform.os,
            "config": Value::Object(self.config.clone()),
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(variant) = &self.platform.variant {
            config["variant"] = json!(variant);
        }
        let media_type = if self.docker { media_type::DOCKER_CONFIG } else { media_type::OCI_CONFIG };
        Blob::new(media_type, config.to_string())
    }

    fn layer_descriptor(&self, layer: &Layer) -> Value {
        let media_type = match layer.media_type.as_str() {
            media_type::OCI_LAYER_GZIP if self.docker => media_type::DOCKER_LAYER_GZIP,
            other => other,
        };
        let mut descriptor = json!({
            "mediaType": media_type,
            "digest": layer.digest(),
            "size": layer.bytes.len(),
        });
        for (name, value) in &layer.annotations {
            descriptor["annotations"][name] = json!(value);
        }
        descriptor
    }
}

/// Builds an index of several images.
#[derive(Clone, Debug, Default)]
pub struct IndexBuilder {
    images: Vec<(Image, Option<Platform>)>,
    docker: bool,
}

impl IndexBuilder {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lists an image under its own platform.
    #[must_use]
    pub fn image(self, image: Image) -> Self {
        let platform = image.platform.clone();
        self.entry(image, platform)
    }

    /// Lists an image under any platform, or under none.
    #[must_use]
    pub fn entry(mut self, image: Image, platform: Option<Platform>) -> Self {
        self.images.push((image, platform));
        self
    }

    /// Writes docker's manifest list in place of OCI's index.
    #[must_use]
    pub fn docker_list(mut self) -> Self {
        self.docker = true;
        self
    }

    /// The finished index.
    pub fn build(self) -> Image {
        let media_type = if self.docker { media_type::DOCKER_LIST } else { media_type::OCI_INDEX };
        let mut entries = Vec::new();
        let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
        for (image, platform) in self.images {
            let mut descriptor = image.document.descriptor();
            descriptor.platform = platform;
            entries.push(descriptor);
            manifests.extend(image.manifests);
            manifests.push(image.document);
            blobs.extend(image.blobs);
        }
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
        Image { document: Blob::new(media_type, index.to_string()), manifests, blobs, platform: None }
    }
}
