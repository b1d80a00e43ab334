//! What a pull or push tells while it goes on.

use std::fmt;
use std::sync::Arc;

use brig_oci::Digest;

/// A step of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A blob is about to be transferred; `total` bytes, of which `done` were there from an earlier try.
    Started {
        /// The blob.
        digest: Digest,
        /// Its size, in bytes.
        total: u64,
        /// Bytes that needn't be transferred again.
        done: u64,
    },
    /// More bytes went over.
    Advanced {
        /// The blob.
        digest: Digest,
        /// How many.
        bytes: u64,
    },
    /// The blob was there already.
    Present {
        /// The blob.
        digest: Digest,
    },
    /// The blob is complete and, if it is a layer, unpacked.
    Finished {
        /// The blob.
        digest: Digest,
    },
}

/// Where progress goes. Called from several threads; must not block.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl ProgressSink {
    /// Calls `sink` for each step.
    pub fn new(sink: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    #[cfg(feature = "registry")]
    pub(crate) fn send(&self, progress: Progress) {
        if let Some(sink) = &self.0 {
            sink(progress);
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProgressSink").field(&self.0.is_some()).finish()
    }
}
