//! Push: blobs first, then manifests, then the index: what a registry shows is always complete.

use brig_oci::{Descriptor, Document, Platform, Reference};
use brig_registry::Client;
use brig_runtime::Event;

use super::choose::Wanted;
use super::resolve::pick;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressSink};

/// How to push.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// Only the image of this platform, as a single image.
    pub platform: Option<Platform>,
    /// Where progress goes.
    pub progress: ProgressSink,
}

impl Engine {
    /// Pushes the image that `name` stands for in the store, under that name. Gives the descriptor of what was pushed:
    /// bytes and digests are those that were pulled or loaded.
    pub async fn push(&self, name: &Reference, options: &PushOptions) -> Result<Descriptor> {
        let client = self.registry_client()?;
        let found =
            self.store().resolve(name)?.ok_or_else(|| Error::ImageNotFound { name: name.to_string() })?;
        let mut target = found.descriptor;
        let mut document = self.store().load_document(&target)?;
        if options.platform.is_some() && document.index().is_some() {
            let wanted = Wanted { platform: options.platform.clone(), kind: None };
            (target, _) = pick(&name.to_string(), &document, &target, &wanted)?;
            document = self.store().load_document(&target)?;
        }
        let manifests = self.manifests_of(name, &document)?;
        for manifest in &manifests {
            self.push_blobs(client, name, manifest, options).await?;
        }
        if document.index().is_some() {
            for manifest in &manifests {
                client.push_manifest(&name.with_digest(manifest.descriptor().digest), manifest).await?;
            }
        }
        client.push_manifest(&name.without_digest(), &document).await?;
        self.record_event(&Event::image("push", &name.to_string()))?;
        Ok(target)
    }

    /// The manifests below a document. An index is pushed whole or not at all.
    fn manifests_of(&self, name: &Reference, document: &Document) -> Result<Vec<Document>> {
        let Some(index) = document.index() else { return Ok(vec![document.clone()]) };
        let mut manifests = Vec::new();
        for descriptor in &index.manifests {
            if !self.store().has(&descriptor.digest)? {
                return Err(Error::Incomplete { name: name.to_string(), digest: descriptor.digest.clone() });
            }
            manifests.push(self.store().load_document(descriptor)?);
        }
        Ok(manifests)
    }

    async fn push_blobs(
        &self,
        client: &Client,
        name: &Reference,
        manifest: &Document,
        options: &PushOptions,
    ) -> Result<()> {
        for blob in manifest.children() {
            let digest = blob.digest.clone();
            if client.has_blob(name, blob).await? {
                options.progress.send(Progress::Present { digest });
                continue;
            }
            if !self.store().has(&digest)? {
                return Err(Error::Incomplete { name: name.to_string(), digest });
            }
            options.progress.send(Progress::Started { digest: digest.clone(), total: blob.size, done: 0 });
            client.push_blob(name, blob, &self.store().blob_path(&digest)).await?;
            options.progress.send(Progress::Finished { digest });
        }
        Ok(())
    }
}
