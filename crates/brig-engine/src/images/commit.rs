//! Commit: what a container has changed becomes a layer on its image's.
//!
//! The layer is what overlayfs keeps in the container's writable directory, told as an image layer tells it: owners,
//! modes, times, attributes and links as they are, whiteouts for what is gone, and nothing that is as it was.

use brig_oci::{Descriptor, Digest, Document, Image, media_type};
use brig_runtime::client::Supervisor;
use brig_runtime::{Event, State, Timestamp};
use serde_json::{Value, json};

use super::change;
use super::made::{NewImage, NewLayer, manifest_of, new_name};
use super::resolve::document_error;
use crate::blocking::Engine;
use crate::containers::{ContainerInfo, client_error};
use crate::error::{Error, Result};

/// What a committed image is like.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Who made it.
    pub author: Option<String>,
    /// Dockerfile instructions for its config: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// What its history says.
    pub message: Option<String>,
    /// Whether a container that runs is paused meanwhile; without a word, where it can be.
    pub pause: Option<bool>,
}

/// An image that a container became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Digest,
    /// Whether the container ran on meanwhile, though nobody asked for that: it couldn't be paused.
    pub ran_on: bool,
}

impl Engine {
    /// Makes an image of a container's image and what the container has changed.
    pub fn commit(&self, container: &str, name: Option<&str>, options: &CommitOptions) -> Result<Committed> {
        let container = self.container(container)?;
        let name = new_name(name)?;
        let lease = self.store().lease("commit")?;
        let base = self.image_of(&container)?;
        let blobs: Vec<_> = base.manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
        lease.protect(&blobs, &crate::layers::of_record(&container.spec)?)?;
        self.check_whole(&container, &blobs)?;
        let mut config = config_value(&base, &container.spec.image.reference)?;
        change::apply_all(&mut config["config"], &options.changes)?;
        let docker = base.descriptor.media_type == media_type::DOCKER_MANIFEST;
        let layer_type = if docker { media_type::DOCKER_LAYER_GZIP } else { media_type::OCI_LAYER_GZIP };
        let pause = self.paused(&container, options.pause)?;
        let layer = self.new_layer(&lease, layer_type, |to| self.write_layer(&container, to));
        let ran_on = pause.ran_on;
        let resumed = pause.end();
        let layer = layer?;
        resumed?;
        add_layer(&mut config, &layer, &container, options);
        let layers = [base.manifest.layers, vec![layer.blob]].concat();
        let mut manifest = manifest_of(&base.descriptor.media_type, layers);
        // They may say what kind of image it is.
        manifest.annotations = base.manifest.annotations;
        let image = NewImage {
            config,
            config_type: base.manifest.config.media_type,
            manifest,
            media_type: base.descriptor.media_type,
        };
        let (name, id) = self.keep_image(&lease, image, name.as_ref(), "commit")?;
        let event = Event::container("commit", &container.spec.id).with("name", &container.spec.name);
        self.record_event(&event.with("image", &name))?;
        Ok(Committed { name, id, ran_on })
    }

    /// The image that a container was created from, whatever its name names today.
    fn image_of(&self, container: &ContainerInfo) -> Result<Image> {
        let record = &container.spec.image;
        let unsupported = |reason: &str| Error::Unsupported {
            what: format!("commit of container `{}`", container.spec.name),
            reason: reason.into(),
        };
        let digest: Digest = match record.manifest.parse() {
            Ok(digest) => digest,
            Err(_) => return Err(unsupported("it runs a bare file, not an image")),
        };
        let Some(_) = self.store().blob_size(&digest)? else {
            return Err(Error::Incomplete { name: record.reference.clone(), digest });
        };
        let bytes = self.store().read_blob(&digest, brig_oci::MAX_DOCUMENT_SIZE)?;
        let document = Document::parse(bytes, None).map_err(document_error(record.reference.clone()))?;
        let descriptor = Descriptor::new(document.media_type(), digest, document.raw().len() as u64);
        let image = self.store().load_image(&descriptor)?;
        let config = image.image_config().map_err(document_error(record.reference.clone()))?;
        if config.is_none() || container.spec.layers.is_empty() {
            return Err(unsupported("its image is a wasm module alone, without files to change"));
        }
        Ok(image)
    }

    fn check_whole(&self, container: &ContainerInfo, blobs: &[Digest]) -> Result<()> {
        for digest in blobs {
            if !self.store().has(digest)? {
                let name = container.spec.image.reference.clone();
                return Err(Error::Incomplete { name, digest: digest.clone() });
            }
        }
        Ok(())
    }

    /// Pauses a container that runs.
    fn paused(&self, container: &ContainerInfo, asked: Option<bool>) -> Result<Pause> {
        let mut pause = Pause { supervisor: None, name: container.spec.name.clone(), ran_on: false };
        if container.state.state != State::Running || asked == Some(false) {
            return Ok(pause);
        }
        let mut supervisor = self.supervisor(container, "commit")?;
        match supervisor.pause() {
            Ok(()) => pause.supervisor = Some(supervisor),
            Err(error) if asked == Some(true) => return Err(client_error(&container.spec.name)(error)),
            // There is no freezer here, or it has just ended.
            Err(_) => pause.ran_on = true,
        }
        Ok(pause)
    }
}

/// A container that was paused, until this is dropped.
struct Pause {
    supervisor: Option<Supervisor>,
    name: String,
    ran_on: bool,
}

impl Pause {
    fn end(mut self) -> Result<()> {
        match self.supervisor.take() {
            Some(mut supervisor) => supervisor.resume().map_err(client_error(&self.name)),
            None => Ok(()),
        }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            // The error that brought us here is the one to tell.
            let _ = supervisor.resume();
        }
    }
}

/// The whole config, with what brig doesn't know.
fn config_value(image: &Image, name: &str) -> Result<Value> {
    serde_json::from_slice(&image.config)
        .map_err(|source| brig_oci::DocumentError::Json { what: "config", source })
        .map_err(document_error(name.to_owned()))
}

fn add_layer(config: &mut Value, layer: &NewLayer, container: &ContainerInfo, options: &CommitOptions) {
    let created = Timestamp::now().to_string();
    config["created"] = json!(created);
    let mut history = json!({ "created": created, "created_by": container.spec.args.join(" ") });
    if let Some(author) = &options.author {
        config["author"] = json!(author);
        history["author"] = json!(author);
    }
    if let Some(message) = &options.message {
        history["comment"] = json!(message);
    }
    complete_history(config);
    push(&mut config["history"], history);
    push(&mut config["rootfs"]["diff_ids"], json!(layer.diff_id));
}

/// Readers count the steps of a history to tell which layer each one made: those that a tool left out must be there
/// before another one is added.
fn complete_history(config: &mut Value) {
    let layers = config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
    let is_layer = |step: &&Value| step.get("empty_layer").and_then(Value::as_bool) != Some(true);
    let told = config["history"].as_array().map_or(0, |steps| steps.iter().filter(is_layer).count());
    for _ in told..layers {
        push(&mut config["history"], json!({}));
    }
}

/// `null` and nothing are an empty list.
fn push(list: &mut Value, value: Value) {
    match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_tells_of_every_layer() {
        let mut config = json!({
            "rootfs": { "diff_ids": ["a", "b", "c"] },
            "history": [{ "created_by": "x" }, { "empty_layer": true }],
        });
        complete_history(&mut config);
        assert_eq!(config["history"], json!([{ "created_by": "x" }, { "empty_layer": true }, {}, {}]));
        let mut config = json!({ "rootfs": { "diff_ids": ["a"] }, "history": null });
        complete_history(&mut config);
        assert_eq!(config["history"], json!([{}]));
    }
}
