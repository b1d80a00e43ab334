//! brig's content-addressed store: blobs, refs, layers unpacked once, compiled modules, and what keeps them.
//!
//! ```text
//! <root>/
//!   oci-layout  index.json  blobs/<alg>/<hex>   an OCI layout, for others to read
//!   brig-store.json                             format version and features
//!   refs/<sha256 of the canonical reference>    what a name names: the truth
//!   layers/<alg>-<hex of the diffID>/           fs/  meta.json  unmade.jsonl  [opaque]  [synced]
//!   layers/empty  layers/empty2                 for stacks that are too short for overlayfs
//!   ingest/                                     *.part  *.layer  tmp-*  gc.lock  index.lock
//!   compiled/<engine key>/<alg>-<hex>.cwasm     and .origins beside it
//!   leases/<name>.lease  <name>-<pid>-<n>.tmp   what operations and containers need
//! ```
//!
//! # Vocabulary
//! A **blob** is content by its digest. A **ref** lets a name name a manifest or an index. An **ingest** is a blob on
//! its way in. A **layer** is a tar unpacked into a directory, by the digest of the uncompressed tar (its **diffID**),
//! whatever lies below it in an image: images share it. A **stack** is the layers of one image. A **mount plan** says
//! what a driver is to mount. A **lease** keeps what no ref names (yet).
//!
//! # Invariants
//! - What has its name is complete and was verified. Everything is made under another name, in the same file system,
//!   and renamed.
//! - A process may die at any instruction. What it leaves is found by name: the next one continues or replaces it.
//! - Opening reads one small file. Resolving a name reads one small file. Nothing is scanned to run a container.
//! - Nothing of what an image says becomes a path of the host: digests are validated, references are hashed, and names
//!   in tars are resolved by the kernel beneath the layer's root (see the module `unpack`).
//!
//! # Locks
//! All are flock(2) on a file below `ingest/` or `leases/`, and so end with their process. In this order, and never
//! one of the same kind within another:
//!
//! | lock | shared | exclusive |
//! |---|---|---|
//! | `gc.lock` | [`Lease::protect`], [`Store::lease`], [`Store::set_ref`], [`Store::fsck`] | [`Store::gc`], repair |
//! | `<digest>.layer` | — | who unpacks this layer |
//! | `<digest>.part` | — | who takes in this blob |
//! | `index.lock` | — | who rewrites `index.json` |
//! | a temporary lease | — | its holder, for its life |
//!
//! Whoever pulls takes a [`Lease`], lets it protect all that will be needed *before* asking whether it is there, and
//! drops it when a ref names it: then garbage collection can't take anything away in between.
//!
//! ```no_run
//! use brig_oci::media_type::Compression;
//! use brig_store::{Ingest, Store, UnpackOptions};
//! # fn pull(
//! #     store: &Store,
//! #     reference: &brig_oci::Reference,
//! #     manifest: &brig_oci::Descriptor,
//! #     layer: &brig_oci::Descriptor,
//! #     diff_id: &brig_oci::Digest,
//! #     chunks: impl Iterator<Item = Vec<u8>>,
//! # ) -> brig_store::Result<()> {
//! let lease = store.lease("pull")?;
//! lease.protect(&[manifest.digest.clone(), layer.digest.clone()], std::slice::from_ref(diff_id))?;
//! if let Ingest::Needed(mut writer) = store.ingest(layer)? {
//!     // From `writer.offset()` on.
//!     for chunk in chunks {
//!         writer.write(&chunk)?;
//!     }
//!     writer.commit()?;
//! }
//! let blob = store.open_blob(&layer.digest)?;
//! store.unpack_layer(diff_id, Compression::Gzip, blob, &UnpackOptions::default())?;
//! store.set_ref(reference, manifest)?;
//! store.sync()?;
//! # Ok(())
//! # }
//! ```
//!
//! All methods block: asynchronous callers put them on threads for that. A [`Store`] is cheap to clone and may be used
//! by many threads and processes at once. The format is described in `docs/store-format.md`.

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
