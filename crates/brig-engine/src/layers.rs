//! Root file systems as stacks of layers.

use std::path::Path;

use brig_oci::Digest;
use brig_runtime::ContainerSpec;
use brig_store::{Layer, LayerStack};

use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The layers that a container's record names, lowest first. One that can't be read stops whoever asks: a root file
/// system without it would be another one, and a collection of garbage would take what is needed.
pub(crate) fn of_record(spec: &ContainerSpec) -> Result<Vec<Digest>> {
    read(&spec.layers)
}

/// The same for those, and for the manifest, of an image that is mounted in it.
pub(crate) fn read(layers: &[String]) -> Result<Vec<Digest>> {
    let read = |layer: &String| {
        layer.parse().map_err(|_| {
            Error::invalid("layer or manifest in the record of a container", layer, "not a digest")
        })
    };
    layers.iter().map(read).collect()
}

impl Engine {
    /// The layers for look-ups without a mount, lowest first, below a container's writable top.
    pub(crate) fn layer_stack(&self, diff_ids: &[Digest], upper: Option<&Path>) -> Result<LayerStack> {
        let layers = self.store().stack(diff_ids)?;
        let roots: Vec<_> = layers.iter().map(Layer::fs).collect();
        Ok(LayerStack::new(&roots, upper)?)
    }
}
