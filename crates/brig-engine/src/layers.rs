//! Root file systems as stacks of layers.

use std::path::Path;

use brig_oci::Digest;
use brig_store::{Layer, LayerStack};

use crate::blocking::Engine;
use crate::error::Result;

impl Engine {
    /// The layers for look-ups without a mount, lowest first, below a container's writable top.
    pub(crate) fn layer_stack(&self, diff_ids: &[Digest], upper: Option<&Path>) -> Result<LayerStack> {
        let layers = self.store().stack(diff_ids)?;
        let roots: Vec<_> = layers.iter().map(Layer::fs).collect();
        Ok(LayerStack::new(&roots, upper)?)
    }
}
