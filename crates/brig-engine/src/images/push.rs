//! Push: blobs first, then manifests, then the index: what a registry shows is always complete.

use std::collections::HashMap;

use brig_oci::{Descriptor, Digest, Document, Platform, Reference};
use brig_registry::Client;
use brig_runtime::Event;

use super::choose::Wanted;
use super::resolve::pick;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressSink};
use crate::threads::blocking;

/// How many repositories are tried for a mount before a blob is sent: each costs a request.
const MAX_SOURCES: usize = 2;

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
    ///
    /// A blob that another repository of the registry should have by the store's references is mounted from there, and
    /// sent only where the registry doesn't do that.
    pub async fn push(&self, name: &Reference, options: &PushOptions) -> Result<Descriptor> {
        let (engine, wanted, platform) = (self.clone(), name.clone(), options.platform.clone());
        let (client, plan) = blocking(move || {
            Ok((engine.registry_client()?.clone(), PushPlan::of(&engine, &wanted, platform)?))
        })
        .await?;
        for manifest in &plan.manifests {
            self.push_blobs(&client, name, manifest, &plan, options).await?;
        }
        if plan.document.index().is_some() {
            for manifest in &plan.manifests {
                client.push_manifest(&name.with_digest(manifest.descriptor().digest), manifest).await?;
            }
        }
        client.push_manifest(&name.without_digest(), &plan.document).await?;
        let (engine, event) = (self.clone(), Event::image("push", &name.to_string()));
        blocking(move || engine.record_event(&event)).await?;
        Ok(plan.target)
    }

    async fn push_blobs(
        &self,
        client: &Client,
        name: &Reference,
        manifest: &Document,
        plan: &PushPlan,
        options: &PushOptions,
    ) -> Result<()> {
        for blob in manifest.children() {
            let digest = blob.digest.clone();
            if client.has_blob(name, blob).await? || plan.mount(client, name, blob).await {
                options.progress.send(Progress::Present { digest });
                continue;
            }
            let (engine, wanted) = (self.clone(), digest.clone());
            if !blocking(move || Ok(engine.store().has(&wanted)?)).await? {
                return Err(Error::Incomplete { name: name.to_string(), digest });
            }
            options.progress.send(Progress::Started { digest: digest.clone(), total: blob.size, done: 0 });
            client.push_blob(name, blob, &self.store().blob_path(&digest)).await?;
            options.progress.send(Progress::Finished { digest });
        }
        Ok(())
    }
}

/// What is pushed, and from where the registry may take blobs that it has.
struct PushPlan {
    target: Descriptor,
    document: Document,
    manifests: Vec<Document>,
    sources: HashMap<Digest, Vec<Reference>>,
}

impl PushPlan {
    fn of(engine: &Engine, name: &Reference, platform: Option<Platform>) -> Result<Self> {
        let found = engine.store().resolve(name)?.ok_or_else(|| engine.no_image(&name.to_string()))?;
        let mut target = found.descriptor;
        let mut document = engine.store().load_document(&target)?;
        if platform.is_some() && document.index().is_some() {
            let wanted = Wanted { platform, kind: None };
            (target, _) = pick(&name.to_string(), &document, &target, &wanted)?;
            document = engine.store().load_document(&target)?;
        }
        let manifests = manifests_of(engine, name, &document)?;
        let sources = sources(engine, name, &manifests)?;
        Ok(Self { target, document, manifests, sources })
    }

    /// Whether the registry took a blob from another of its repositories.
    async fn mount(&self, client: &Client, name: &Reference, blob: &Descriptor) -> bool {
        for from in self.sources.get(&blob.digest).into_iter().flatten() {
            // A registry may refuse instead of beginning an upload, as where the other repository can't be read.
            // Sending the blob says what is really wrong, if anything is.
            if client.mount_blob(name, blob, from).await.unwrap_or(false) {
                return true;
            }
        }
        false
    }
}

/// The manifests below a document. An index is pushed whole or not at all.
fn manifests_of(engine: &Engine, name: &Reference, document: &Document) -> Result<Vec<Document>> {
    let Some(index) = document.index() else { return Ok(vec![document.clone()]) };
    let mut manifests = Vec::new();
    for descriptor in &index.manifests {
        if !engine.store().has(&descriptor.digest)? {
            return Err(Error::Incomplete { name: name.to_string(), digest: descriptor.digest.clone() });
        }
        manifests.push(engine.store().load_document(descriptor)?);
    }
    Ok(manifests)
}

/// The other repositories of the same registry whose images have blobs of `manifests`.
fn sources(
    engine: &Engine,
    name: &Reference,
    manifests: &[Document],
) -> Result<HashMap<Digest, Vec<Reference>>> {
    let blobs = manifests.iter().flat_map(Document::children).map(|blob| (blob.digest.clone(), Vec::new()));
    let mut sources: HashMap<Digest, Vec<Reference>> = blobs.collect();
    for record in engine.store().refs()? {
        let other = record.reference;
        if other.registry() != name.registry() || other.repository() == name.repository() {
            continue;
        }
        for digest in blobs_below(engine, &record.descriptor) {
            if let Some(from) = sources.get_mut(&digest)
                && from.len() < MAX_SOURCES
                && from.iter().all(|known| known.repository() != other.repository())
            {
                from.push(other.clone());
            }
        }
    }
    Ok(sources)
}

/// The blobs of an image, or of all images of an index that are here. Mounting only saves time, so an image that can't
/// be read offers none.
fn blobs_below(engine: &Engine, target: &Descriptor) -> Vec<Digest> {
    let Ok(document) = engine.store().load_document(target) else { return Vec::new() };
    let images = match document.index() {
        None => vec![document],
        Some(index) => {
            index.manifests.iter().filter_map(|child| engine.store().load_document(child).ok()).collect()
        }
    };
    let children = images.iter().flat_map(Document::children);
    children.map(|blob| blob.digest.clone()).collect()
}
