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

    /// Removes a name, and the image with its last one; of an id or digest all names, which must be forced where there
    /// are several. Says what it did, in docker's words.
    pub fn remove_image(&self, name: &str, force: bool) -> Result<Vec<String>> {
        let found = self.find_image(name)?;
        let digest = &found.descriptor.digest;
        let mut all = self.store().refs()?;
        all.retain(|record| record.descriptor.digest == *digest);
        let names = match (names(name, &found.reference), all.len()) {
            (true, _) => vec![found.clone()],
            (false, 2..) if !force => {
                let names = all.iter().map(|record| record.reference.to_string()).collect();
                return Err(Error::SeveralNames { name: name.into(), names });
            }
            (false, _) => all.clone(),
        };
        let last = names.len() >= all.len();
        if last {
            self.refuse_if_used(&found, force)?;
        }
        let mut done = Vec::new();
        for record in names {
            let reference = record.reference.to_string();
            self.store().remove_ref(&record.reference)?;
            self.record_event(&Event::image("untag", &reference))?;
            done.push(format!("Untagged: {reference}"));
        }
        if last {
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
            let uses = container.spec.images().any(|image| manifests.contains(&image.manifest));
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
            for mounted in spec.mounts.iter().filter_map(|mount| mount.mounted_image.as_ref()) {
                layers.extend(crate::layers::read(&mounted.layers)?);
            }
            // A bare file has no manifest, and no module among the blobs.
            blobs.extend(spec.images().filter_map(|image| image.manifest.parse::<Digest>().ok()));
            blobs.extend(spec.wasm.iter().filter_map(|wasm| wasm.module.parse::<Digest>().ok()));
        }
        Ok(InUse { manifests: Vec::new(), layers, blobs })
    }
}

/// Whether what was given is this reference, not an id or a digest, which stand for all names of an image.
fn names(given: &str, reference: &Reference) -> bool {
    given.parse::<Reference>().is_ok_and(|given| {
        given.registry() == reference.registry()
            && given.repository() == reference.repository()
            && (given.tag().is_some() || given.digest() == reference.digest())
    })
}
