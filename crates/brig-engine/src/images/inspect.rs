//! Everything about an image, in docker's field names where docker has them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::choose::Wanted;
use super::resolve::{ResolvedImage, document_error};
use crate::blocking::Engine;
use crate::error::Result;

/// What `inspect` shows of an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageDetails {
    /// The image id.
    pub id: String,
    /// The canonical reference.
    pub reference: String,
    /// What the reference points at.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The manifest that was chosen.
    pub manifest_digest: String,
    /// The platform.
    pub platform: String,
    /// Why this platform.
    pub platform_reason: String,
    /// The other platforms of the index.
    pub available_platforms: Vec<String>,
    /// `linux` or `wasm`.
    pub kind: String,
    /// Why this kind.
    pub kind_reason: String,
    /// When it was made.
    pub created: Option<String>,
    /// GOARCH, or `wasm`.
    pub architecture: String,
    /// GOOS, or `wasi`.
    pub os: String,
    /// The config's `config`, whole, as it came.
    pub config: Value,
    /// The layers' descriptors.
    pub layers: Value,
    /// The digests of the uncompressed layers.
    pub diff_ids: Vec<String>,
    /// The sum of the layers' compressed sizes, in bytes.
    pub size: u64,
    /// The manifest's annotations.
    pub annotations: Value,
}

impl ImageDetails {
    /// The labels of the config.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.config.get("Labels").and_then(Value::as_object).into_iter().flatten();
        labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    }
}

impl Engine {
    /// Everything about the image that `run` would take.
    pub fn inspect_image(&self, name: &str, wanted: &Wanted) -> Result<ImageDetails> {
        let resolved = self.resolve(name, wanted)?;
        let document = self.store().load_document(&resolved.target)?;
        let available = document.index().map(super::choose::platforms).unwrap_or_default();
        details(&resolved, available.iter().map(ToString::to_string).collect())
    }
}

fn details(resolved: &ResolvedImage, available_platforms: Vec<String>) -> Result<ImageDetails> {
    let manifest = &resolved.image.manifest;
    // The JSON value, not our view of it: fields that we don't know are shown too (invariant 2).
    let json = |source| brig_oci::DocumentError::Json { what: "config", source };
    let raw: Value = serde_json::from_slice(&resolved.image.config)
        .map_err(json)
        .map_err(document_error(resolved.name.clone()))?;
    let value =
        |part: serde_json::Result<Value>| part.map_err(json).map_err(document_error(resolved.name.clone()));
    Ok(ImageDetails {
        id: resolved.id().to_string(),
        reference: resolved.name.clone(),
        digest: resolved.target.digest.to_string(),
        media_type: resolved.target.media_type.clone(),
        manifest_digest: resolved.image.descriptor.digest.to_string(),
        platform: resolved.platform.to_string(),
        platform_reason: resolved.platform_reason.clone(),
        available_platforms,
        kind: resolved.kind.kind.to_string(),
        kind_reason: resolved.kind.reason.clone(),
        created: raw.get("created").and_then(Value::as_str).map(Into::into),
        architecture: resolved.platform.architecture.clone(),
        os: resolved.platform.os.clone(),
        config: raw.get("config").cloned().unwrap_or(raw),
        layers: value(serde_json::to_value(&manifest.layers))?,
        diff_ids: resolved.diff_ids().iter().map(ToString::to_string).collect(),
        size: manifest.layers.iter().map(|layer| layer.size).sum(),
        annotations: value(serde_json::to_value(&manifest.annotations))?,
    })
}
