//! From what the user wrote to one image of one platform, and its kind.

use brig_oci::{
    Descriptor, Digest, Document, DocumentError, Image, ImageConfig, Kind, KindChoice, Platform, media_type,
};

use super::choose::{self, Wanted};
use super::unpack::layers_of;
use brig_store::RefRecord;

use crate::blocking::Engine;
use crate::error::{Error, Result};

/// One image of one platform, complete in the store.
#[derive(Clone, Debug)]
pub struct ResolvedImage {
    /// The canonical reference, or the image id where it was named so.
    pub name: String,
    /// What the reference points at: an index or a manifest.
    pub target: Descriptor,
    /// The manifest and config that were chosen.
    pub image: Image,
    /// The config, if it is an image configuration.
    pub config: Option<ImageConfig>,
    /// The platform.
    pub platform: Platform,
    /// Why this platform, where there was a choice.
    pub platform_reason: String,
    /// Linux or wasm, and why.
    pub kind: KindChoice,
}

impl ResolvedImage {
    /// The image id: the digest of the config.
    pub fn id(&self) -> &Digest {
        &self.image.manifest.config.digest
    }

    /// The digests of the uncompressed layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[Digest] {
        self.config.as_ref().map_or(&[], |config| config.rootfs.diff_ids.as_slice())
    }

    /// Those of the layers that are file systems: runwasi's configs list their wasm layers too.
    pub(crate) fn root_layers(&self) -> Vec<Digest> {
        let layers = self.image.manifest.layers.iter().zip(self.diff_ids());
        let tars = layers.filter(|(layer, _)| media_type::tar_compression(&layer.media_type).is_some());
        tars.map(|(_, diff_id)| diff_id.clone()).collect()
    }

    /// Puts together what was read, and decides the kind.
    pub(crate) fn new(
        name: String,
        target: Descriptor,
        image: Image,
        platform_reason: String,
        wanted: &Wanted,
    ) -> Result<Self> {
        let document = |source| Error::Document { subject: name.clone(), source };
        let config = image.image_config().map_err(document)?;
        let by_content = KindChoice::from_image(&image.manifest, config.as_ref());
        let kind = match wanted.kind {
            Some(kind) if kind != by_content.kind => {
                KindChoice { kind, reason: format!("--runtime asks for it ({})", by_content.reason) }
            }
            _ => by_content,
        };
        let platform = platform_of(&image, config.as_ref(), kind.kind);
        Ok(Self { name, target, image, config, platform, platform_reason, kind })
    }
}

/// The config's platform where it names one; an artifact is wasm's.
pub(super) fn platform_of(image: &Image, config: Option<&ImageConfig>, kind: Kind) -> Platform {
    if let Some(config) = config.filter(|config| !config.os.is_empty() && !config.architecture.is_empty()) {
        return config.platform().normalized();
    }
    match (&image.descriptor.platform, kind) {
        (Some(platform), _) => platform.normalized(),
        (None, Kind::Wasm) => Platform::wasi(),
        (None, Kind::Linux) => Platform::host(),
    }
}

impl Engine {
    /// Finds an image in the store by reference, or by the beginning of its id, and chooses the platform.
    pub fn resolve(&self, name: &str, wanted: &Wanted) -> Result<ResolvedImage> {
        let found = self.find_image(name)?;
        let shown = found.reference.to_string();
        self.resolve_target(shown, found.descriptor, wanted)
    }

    pub(crate) fn no_image(&self, name: &str) -> Error {
        Error::ImageNotFound { name: name.into(), root: Some(self.roots().root.clone()) }
    }

    /// The record that a reference, or the beginning of an image id, stands for.
    pub(crate) fn find_image(&self, name: &str) -> Result<RefRecord> {
        match self.store().find(name) {
            Err(
                brig_store::StoreError::ImageNotFound { .. } | brig_store::StoreError::RefNotFound { .. },
            ) => Err(self.no_image(name)),
            found => Ok(found?),
        }
    }

    pub(crate) fn resolve_target(
        &self,
        name: String,
        target: Descriptor,
        wanted: &Wanted,
    ) -> Result<ResolvedImage> {
        let document = self.store().load_document(&target)?;
        let (manifest, reason) = pick(&name, &document, &target, wanted)?;
        if !self.store().has(&manifest.digest)? {
            return Err(Error::Incomplete { name, digest: manifest.digest });
        }
        let image = self.store().load_image(&manifest)?;
        let resolved = ResolvedImage::new(name, target, image, reason, wanted)?;
        check_platform(&resolved, wanted)?;
        Ok(resolved)
    }

    /// Whether the image is in the store, whole.
    pub fn has_image(&self, name: &str, wanted: &Wanted) -> Result<bool> {
        match self.resolve(name, wanted) {
            Ok(resolved) => Ok(self.missing_part(&resolved)?.is_none()),
            Err(Error::ImageNotFound { .. } | Error::Incomplete { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether everything that running the image needs is in the store.
    pub(crate) fn missing_part(&self, resolved: &ResolvedImage) -> Result<Option<Digest>> {
        for (layer, unpack) in layers_of(&resolved.image)? {
            let (present, digest) = match unpack {
                Some(unpack) => (self.store().layer(&unpack.diff_id)?.is_some(), unpack.diff_id),
                None => (self.store().has(&layer.digest)?, layer.digest),
            };
            if !present {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }
}

/// The manifest that a document leads to: itself, or the chosen one of an index.
pub(crate) fn pick(
    name: &str,
    document: &Document,
    target: &Descriptor,
    wanted: &Wanted,
) -> Result<(Descriptor, String)> {
    let Some(index) = document.index() else {
        return Ok((target.clone(), "the reference names one image".into()));
    };
    if let Some(choice) = choose::choose(index, wanted) {
        return Ok((choice.descriptor.clone(), choice.reason));
    }
    Err(Error::NoPlatform {
        name: name.into(),
        wanted: Box::new(wanted.platform.clone().unwrap_or_else(Platform::host)),
        available: choose::platforms(index),
    })
}

/// A single image may still be of another platform than the one that was asked for.
fn check_platform(resolved: &ResolvedImage, wanted: &Wanted) -> Result<()> {
    match &wanted.platform {
        // A compat image may call itself a Linux one.
        Some(platform) if !resolved.platform.satisfies(platform) && resolved.config.is_some() => {
            Err(Error::NoPlatform {
                name: resolved.name.clone(),
                wanted: Box::new(platform.clone()),
                available: vec![resolved.platform.clone()],
            })
        }
        _ => Ok(()),
    }
}

pub(crate) fn document_error(subject: impl Into<String>) -> impl FnOnce(DocumentError) -> Error {
    let subject = subject.into();
    move |source| Error::Document { subject, source }
}
