//! What the store answers when it can't do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use brig_oci::{Digest, DocumentError, Reference};

use crate::unpack::UnpackError;

/// The result of most operations of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refused.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// Which operation, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A small file of the store isn't what the store writes.
    #[error("`{}` is damaged: `brig fsck --repair` removes it", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// A newer brig made the store.
    #[error("the store `{}` needs {feature}, which this brig doesn't know: use the brig that made it, or another `--root`", root.display())]
    Incompatible {
        /// The store.
        root: PathBuf,
        /// A format version or a feature.
        feature: String,
    },
    /// The directory holds an OCI layout that brig didn't make.
    #[error("`{}` is an OCI layout of another program: load it as `oci:{}`, or choose another `--root`", root.display(), root.display())]
    ForeignLayout {
        /// The directory.
        root: PathBuf,
    },
    /// A blob isn't there.
    #[error("the store has no blob {digest}")]
    BlobNotFound {
        /// Which one.
        digest: Digest,
    },
    /// A blob is larger than the caller takes.
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed here")]
    BlobTooLarge {
        /// Which one.
        digest: Digest,
        /// Its size, in bytes.
        size: u64,
        /// The most that was allowed, in bytes.
        limit: u64,
    },
    /// Content ended early.
    #[error("{digest} should have {expected} bytes, but {found} came")]
    SizeMismatch {
        /// Of which content.
        digest: Digest,
        /// The size its descriptor gives, in bytes.
        expected: u64,
        /// What came, in bytes.
        found: u64,
    },
    /// Content went on after its end.
    #[error("{digest} should have {expected} bytes, but more came")]
    Overrun {
        /// Of which content.
        digest: Digest,
        /// The size its descriptor gives, in bytes.
        expected: u64,
    },
    /// An earlier write failed, and what is there can't be gone on with.
    #[error("an earlier write of {digest} failed: begin it again")]
    BrokenIngest {
        /// Of which content.
        digest: Digest,
    },
    /// Content isn't what its digest says.
    #[error("the content has digest {found}, but {expected} was expected")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A manifest, index or config can't be read.
    #[error("{digest} can't be used")]
    Document {
        /// Which one.
        digest: Digest,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// An index where one platform's image was asked for.
    #[error("{digest} is an index of several images, not an image: choose a platform")]
    NotAnImage {
        /// Which one.
        digest: Digest,
    },
    /// No such name.
    #[error("the store has no image `{reference}`")]
    RefNotFound {
        /// The name.
        reference: Reference,
    },
    /// Neither a name nor an image id that the store has.
    #[error("the store has no image `{text}`")]
    ImageNotFound {
        /// What was asked for.
        text: String,
    },
    /// Several images have ids that begin like this.
    #[error("`{text}` is the beginning of {count} image ids: give more of it")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many.
        count: usize,
    },
    /// A layer's tar can't be unpacked.
    #[error("layer {layer} can't be unpacked")]
    Unpack {
        /// The layer, by the digest of its uncompressed tar.
        layer: Digest,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// A layer isn't what the image's config says.
    #[error("the layer's uncompressed content has digest {found}, but the image's config says {expected}")]
    DiffIdMismatch {
        /// What the config says.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A layer isn't unpacked here.
    #[error("layer {layer} is not in the store: pull the image again")]
    LayerNotFound {
        /// The layer, by the digest of its uncompressed tar.
        layer: Digest,
    },
    /// A ref can't be read, so that what it names can't be told from garbage.
    #[error("`{}` is damaged: `brig fsck --repair` removes it", path.display())]
    DamagedRef {
        /// Its file.
        path: PathBuf,
    },
    /// What containers use couldn't be found out.
    #[error("can't find out what containers use")]
    InUse {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name that would not be safe as a file name.
    #[error(
        "`{name}` is not a valid {what}: use up to 128 letters, digits, `.`, `_` and `-`, beginning with a letter or digit"
    )]
    InvalidName {
        /// A lease or an engine key.
        what: &'static str,
        /// What was given.
        name: String,
    },
}

impl StoreError {
    /// Whether the file system is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => is_full(source),
            Self::Unpack { source, .. } => source.is_full(),
            _ => false,
        }
    }
}

/// Whether `error` says that no more can be stored: space, quota or a file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Adds the operation and the path to an error of the file system.
pub(crate) trait IoContext<T> {
    fn context(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| StoreError::Io { action, path: path.to_owned(), source: source.into() })
    }
}
