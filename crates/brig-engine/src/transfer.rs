//! Pull and push for callers without a runtime: one of their own, for as long as the transfer takes.

use brig_oci::Descriptor;
use tokio::runtime::{Builder, Runtime};

use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::images::{PullOptions, PushOptions, ResolvedImage};

impl Engine {
    /// Pulls an image, and waits for it. Not for a thread of an async runtime.
    pub fn pull_now(&self, name: &str, options: &PullOptions) -> Result<ResolvedImage> {
        runtime()?.block_on(self.pull(&name.parse()?, options))
    }

    /// Pushes an image, and waits for it. Not for a thread of an async runtime.
    pub fn push_now(&self, name: &str, options: &PushOptions) -> Result<Descriptor> {
        runtime()?.block_on(self.push(&name.parse()?, options))
    }
}

/// One thread for the network; writing and unpacking are on blocking threads anyway.
fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().map_err(|source| Error::Io {
        action: "start the async runtime",
        path: None,
        source,
    })
}
