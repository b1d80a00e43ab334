//! Naming images anew, and removing them with what nobody else needs.

use std::io::ErrorKind;

use brig_oci::{Digest, Reference};
use brig_runtime::record::RecordError;
use brig_runtime::{ContainerSpec, Event};

use brig_store::{GcOptions, GcReport, InUse, RefRecord};

use crate::blocking::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Gives the image that `source` stands for another name.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let target: Reference = target.parse()?;
        if target.digest().is_some() {
            return Err(Error::invalid("target", target.to_string(), "a new name can't have a digest"));
        }
        let found = self.find_image(source)?;
        self.store().set_ref(&target, &found.descriptor)?;
        self.record_event(&Event::image("tag", &target.to_string()).with("source", source))
    }

    /// Removes a name, and the image with its last one. Says what it did, in docker's words.
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let found = self.find_image(name)?;
        let reference = found.reference.to_string();
        let digest = &found.descriptor.digest;
        let others =
            self.store().refs()?.iter().filter(|record| record.descriptor.digest == *digest).count() > 1;
        if !others {
            self.refuse_if_used(&found, force)?;
        }
        self.store().remove_ref(&found.reference)?;
        self.record_event(&Event::image("untag", &reference))?;
        let mut done = vec![format!("Untagged: {reference}")];
        if !others {
            done.push(format!("Deleted: {digest}"));
            self.record_event(&Event::image("delete", &digest.to_string()))?;
        }
        self.collect_garbage()?;
        Ok(done)
    }

    /// docker's rule: a running container's image stays; a stopped one's goes with force. Its layers stay as long as
    /// the container does.
    fn refuse_if_used(&self, image: &RefRecord, force: bool) -> Result<()> {
        let document = self.store().load_document(&image.descriptor)?;
        let children = document.children().into_iter().map(|child| &child.digest);
        // By content: the container may have been made under another name, and this name may have moved since.
        let manifests: Vec<String> =
            children.chain([&image.descriptor.digest]).map(ToString::to_string).collect();
        for container in self.containers()? {
            let uses = manifests.contains(&container.spec.image.manifest);
            if uses && (container.state.state.is_active() || !force) {
                let name = image.reference.to_string();
                return Err(Error::ImageInUse { name, container: container.spec.name });
            }
        }
        Ok(())
    }

    /// Removes blobs, layers and compiled code that no reference, container or running operation needs.
    pub fn collect_garbage(&self) -> Result<GcReport> {
        let in_use = || self.used_by_containers().map_err(Into::into);
        Ok(self.store().gc(&in_use, &GcOptions::default())?)
    }

    /// The layers and blobs that containers stand on.
    pub(crate) fn used_by_containers(&self) -> Result<InUse> {
        let (mut layers, mut blobs) = (Vec::new(), Vec::new());
        for id in self.container_ids()? {
            // One without a spec was cut off before it was anything. Any other failure stops the collection: what
            // can't be read may still be needed.
            let spec = match ContainerSpec::read(&self.roots().container(&id).spec()) {
                Err(RecordError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                spec => spec?,
            };
            layers.extend(crate::layers::of_record(&spec)?);
            blobs.extend(spec.image.manifest.parse::<Digest>());
            blobs.extend(spec.wasm.iter().filter_map(|wasm| wasm.module.parse::<Digest>().ok()));
        }
        Ok(InUse { manifests: Vec::new(), layers, blobs })
    }
}
