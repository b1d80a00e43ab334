//! brig's content-addressed store: blobs, refs, layers unpacked once, compiled modules, and what keeps them.

mod blob;
mod compiled;
mod error;
mod fsck;
mod fsutil;
mod gc;
mod ingest;
mod layer;
mod lease;
mod lock;
mod mount;
mod refs;
mod stack;
mod store;
#[cfg(test)]
mod testing;
mod unpack;

pub use compiled::CompiledWriter;
pub use error::{Result, StoreError};
pub use fsck::{FsckReport, Problem};
pub use gc::{GcOptions, GcReport, InUse};
pub use ingest::{BlobWriter, Ingest};
pub use layer::{Layer, LayerMeta};
pub use lease::{Lease, LeaseRecord};
pub use mount::{MountOptions, MountPlan};
pub use refs::RefRecord;
pub use stack::{LayerStack, LookupError, Which};
pub use store::Store;
pub use unpack::{MAX_RECORD, PathText, Unmade, UnpackError, UnpackOptions, Why};
