//! History: how an image came about, layer by layer, newest first.

use brig_oci::DocumentError;
use brig_runtime::Timestamp;
use serde_json::Value;

use super::choose::Wanted;
use super::resolve::{ResolvedImage, document_error};
use crate::blocking::Engine;
use crate::error::Result;

/// A step in an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The image's id, for its last step.
    pub id: Option<String>,
    /// When.
    pub created: Option<Timestamp>,
    /// What was done.
    pub created_by: String,
    /// What somebody said of it.
    pub comment: String,
    /// The bytes in the files of its layer, or 0 for a step that changed none.
    pub size: u64,
}

impl Engine {
    /// An image's history, newest first.
    pub fn history(&self, name: &str, wanted: &Wanted) -> Result<Vec<HistoryEntry>> {
        let resolved = self.resolve(name, wanted)?;
        let json = |source| DocumentError::Json { what: "config", source };
        let config: Value = serde_json::from_slice(&resolved.image.config)
            .map_err(json)
            .map_err(document_error(resolved.name.clone()))?;
        let mut sizes = self.layer_sizes(&resolved)?.into_iter();
        let steps = config.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut entries: Vec<_> = steps.iter().map(|step| entry(step, &mut sizes)).collect();
        // Layers that the history doesn't tell of; many tools write none.
        entries
            .extend(sizes.map(|size| HistoryEntry { size, ..entry(&Value::Null, &mut std::iter::empty()) }));
        entries.reverse();
        if let Some(last) = entries.first_mut() {
            last.id = Some(resolved.id().to_string());
            last.created = last.created.or_else(|| time(&config));
        }
        Ok(entries)
    }

    /// The sizes of the layers, lowest first: of their files, or of their blobs where they aren't unpacked.
    fn layer_sizes(&self, resolved: &ResolvedImage) -> Result<Vec<u64>> {
        let mut diff_ids = resolved.diff_ids().iter();
        let layers = resolved.image.manifest.layers.iter();
        layers
            .map(|blob| match diff_ids.next().map(|diff_id| self.store().layer(diff_id)).transpose()? {
                Some(Some(layer)) => Ok(layer.meta()?.bytes),
                _ => Ok(blob.size),
            })
            .collect()
    }
}

fn entry(step: &Value, sizes: &mut dyn Iterator<Item = u64>) -> HistoryEntry {
    let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let empty = step.get("empty_layer").and_then(Value::as_bool).unwrap_or(false);
    HistoryEntry {
        id: None,
        created: time(step),
        created_by: text("created_by"),
        comment: text("comment"),
        size: if empty { 0 } else { sizes.next().unwrap_or(0) },
    }
}

fn time(step: &Value) -> Option<Timestamp> {
    step.get("created").and_then(Value::as_str).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_without_a_layer_take_no_size() {
        let mut sizes = [7_u64, 8].into_iter();
        let sizes = &mut sizes as &mut dyn Iterator<Item = u64>;
        assert_eq!(entry(&json!({ "created_by": "ADD", "created": "2024-01-02T03:04:05Z" }), sizes).size, 7);
        assert_eq!(entry(&json!({ "empty_layer": true, "comment": "c" }), sizes).size, 0);
        assert_eq!(entry(&json!({}), sizes).size, 8);
        assert_eq!(entry(&json!({}), sizes).size, 0);
    }
}
