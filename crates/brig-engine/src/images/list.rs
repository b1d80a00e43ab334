//! Lists of images.

use std::collections::{BTreeMap, BTreeSet};

use brig_oci::{Descriptor, Digest, Document, Image, KindChoice, Reference, media_type};
use brig_runtime::Timestamp;
use serde::Serialize;

use super::choose::{self, Wanted};
use crate::blocking::Engine;
use crate::error::Result;

/// One line of `images`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageSummary {
    /// The name as docker's lists show it.
    pub repository: String,
    /// The tag, or `<none>`.
    pub tag: String,
    /// The canonical reference.
    pub reference: String,
    /// The digest that the reference points at.
    pub digest: Digest,
    /// The image id: the config's digest, of the image that `run` would take.
    pub id: Digest,
    /// The platforms that are in the store.
    pub platforms: Vec<String>,
    /// `linux`, `wasm`, or both.
    pub kinds: Vec<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// The size of all blobs of it that are in the store, in bytes.
    pub size: u64,
    /// The labels of the image that `run` would take.
    pub labels: BTreeMap<String, String>,
}

impl ImageSummary {
    /// Whether it was made without a name: docker's *dangling*. One that was pulled by its digest is not.
    pub fn is_unnamed(&self) -> bool {
        self.repository == super::made::UNNAMED
    }
}

impl Engine {
    /// All references of the store, by name.
    pub fn images(&self) -> Result<Vec<ImageSummary>> {
        let mut summaries = Vec::new();
        for record in self.store().refs()? {
            summaries.push(self.summary(&record.reference, &record.descriptor)?);
        }
        summaries.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(summaries)
    }

    fn summary(&self, reference: &Reference, target: &Descriptor) -> Result<ImageSummary> {
        let document = self.store().load_document(target)?;
        let images = self.present_images(&document, target)?;
        let chosen = chosen_of(&document, target);
        let shown = images.iter().find(|image| image.descriptor.digest == chosen).or_else(|| images.first());
        let mut summary = ImageSummary {
            repository: reference.familiar_name(),
            tag: reference.tag().unwrap_or("<none>").into(),
            reference: reference.to_string(),
            digest: target.digest.clone(),
            id: shown.map_or(&target.digest, |image| &image.manifest.config.digest).clone(),
            platforms: Vec::new(),
            kinds: Vec::new(),
            created: None,
            size: 0,
            labels: shown.and_then(labels_of).unwrap_or_default(),
        };
        let mut counted = BTreeSet::new();
        for image in &images {
            let config = image.image_config().ok().flatten();
            let kind = KindChoice::from_image(&image.manifest, config.as_ref()).kind;
            let platform = super::resolve::platform_of(image, config.as_ref(), kind).to_string();
            push_new(&mut summary.platforms, platform);
            push_new(&mut summary.kinds, kind.to_string());
            if summary.created.is_none() {
                summary.created = config.and_then(|config| config.created?.parse().ok());
            }
            for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
                if counted.insert(blob.digest.clone()) && self.store().has(&blob.digest)? {
                    summary.size += blob.size;
                }
            }
        }
        Ok(summary)
    }

    /// The images below a document that are in the store: the pull of one platform leaves the others out.
    pub(crate) fn present_images(&self, document: &Document, target: &Descriptor) -> Result<Vec<Image>> {
        let descriptors = match document.index() {
            Some(index) => index.manifests.clone(),
            None => vec![target.clone()],
        };
        let mut images = Vec::new();
        for descriptor in descriptors {
            let attestation = descriptor.annotations.contains_key("vnd.docker.reference.type");
            if !attestation
                && media_type::is_manifest(&descriptor.media_type)
                && self.store().has(&descriptor.digest)?
            {
                images.push(self.store().load_image(&descriptor)?);
            }
        }
        Ok(images)
    }
}

fn chosen_of(document: &Document, target: &Descriptor) -> Digest {
    document
        .index()
        .and_then(|index| choose::choose(index, &Wanted::default()))
        .map_or(&target.digest, |choice| &choice.descriptor.digest)
        .clone()
}

fn labels_of(image: &Image) -> Option<BTreeMap<String, String>> {
    image.image_config().ok().flatten().map(|config| config.config.labels)
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}
