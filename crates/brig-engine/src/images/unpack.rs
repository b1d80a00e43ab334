//! Layers from blobs that are in the store.

use brig_oci::{Descriptor, Digest, Image, media_type};
use media_type::Compression;

use super::resolve::document_error;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// A layer to be unpacked once its bytes are there.
#[derive(Clone)]
pub(super) struct Unpack {
    pub(super) diff_id: Digest,
    pub(super) compression: Compression,
}

/// The layers of an image, and which of them are root file systems to unpack.
pub(super) fn layers_of(image: &Image) -> Result<Vec<(Descriptor, Option<Unpack>)>> {
    let subject = image.descriptor.digest.to_string();
    let config = image.image_config().map_err(document_error(subject.clone()))?;
    let diff_ids = config.map(|config| config.rootfs.diff_ids).unwrap_or_default();
    let layers = &image.manifest.layers;
    let all_tars = layers.iter().all(|layer| media_type::tar_compression(&layer.media_type).is_some());
    if all_tars && diff_ids.len() != layers.len() {
        return Err(Error::Unsupported {
            what: format!("image {subject}"),
            reason: format!("its config lists {} layers and its manifest {}", diff_ids.len(), layers.len()),
        });
    }
    let mut diff_ids = diff_ids.into_iter();
    let unpacks = layers.iter().map(|layer| {
        let diff_id = diff_ids.next()?;
        let compression = media_type::tar_compression(&layer.media_type)?;
        Some(Unpack { diff_id, compression })
    });
    Ok(layers.iter().cloned().zip(unpacks).collect())
}

impl Engine {
    /// Unpacks the layers of an image whose blobs are all there.
    pub(super) fn unpack_image(&self, image: &Image) -> Result<()> {
        for (layer, unpack) in layers_of(image)? {
            if let Some(unpack) = unpack {
                self.unpack_from_blob(&layer, &unpack)?;
            }
        }
        Ok(())
    }

    pub(super) fn unpack_from_blob(&self, layer: &Descriptor, unpack: &Unpack) -> Result<()> {
        if self.store().layer(&unpack.diff_id)?.is_some() {
            return Ok(());
        }
        let mut blob = self.store().open_blob(&layer.digest)?;
        self.store().unpack_layer(&unpack.diff_id, unpack.compression, &mut blob, &self.unpack_options())?;
        Ok(())
    }
}
