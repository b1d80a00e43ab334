//! A layer's tar, unpacked while it arrives.
//!
//! ```text
//! reader ─▶ decompressor ─▶ Stream ─────────▶ Headers ─────────▶ Tree ─▶ fs/
//!           (gzip, zstd)    hash, count,      ustar, PAX, GNU,    directory       unmade.jsonl
//!                           limit             sparse, bounded     descriptors
//! ```
//!
//! One pass and bounded memory: a few read buffers, the header records of one entry, and the attributes of directories
//! (which are set at the end, since what is put into a directory changes its time).
//!
//! # What a hostile tar can't do
//! - Leave the layer's directory. Every name is taken apart, `..` is refused, and parents are opened by the kernel
//!   beneath the root (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`; where a parent is a symbolic link
//!   of the layer itself, with `RESOLVE_IN_ROOT`, as a program in the container would see it). The last component is
//!   created exclusively and never followed. A hard link's target is opened the same way and not followed either: a
//!   hard link to a symbolic link is another name of the link.
//! - Write through what it made: an entry whose name is taken removes what was there and makes a new file.
//! - Take memory: header records are refused above [`MAX_RECORD`] before they are read; names, depths, entries and
//!   bytes have limits ([`UnpackOptions`]); zstd's window is at most 128 MiB.
//! - Take time: each entry costs its bytes and a bounded number of system calls.
//! - Speak to overlayfs: `trusted.overlay.*` and `user.overlay.*` attributes are not set but recorded as unmade.
//!
//! The tar crate's own iterator isn't used: it reads long names and PAX records whole, however long they are. Of that
//! crate are the layouts of the header blocks.

mod attributes;
mod header;
mod path;
mod pax;
mod sparse;
mod stream;
mod tree;
mod unmade;

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use brig_oci::Digest;
use brig_oci::media_type::Compression;

pub use unmade::{PathText, Unmade, Why};

use header::{Entry, Headers, Kind};
use path::{Named, TarPath};
use stream::Stream;
use tree::Tree;

/// The longest PAX record block, long name or sparse map: 1 MiB, as Go's archive/tar.
pub const MAX_RECORD: u64 = 1024 * 1024;

/// How much of a layer is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackOptions {
    /// The most bytes of the uncompressed tar, and of the files in it with their holes.
    pub max_bytes: u64,
    /// The most entries, header records included.
    pub max_entries: u64,
    /// The most directories above a file.
    pub max_depth: usize,
    /// The longest name with its directories, in bytes.
    pub max_path: usize,
    /// The most bytes of names of directories, which are kept until the end.
    pub max_directory_bytes: usize,
}

impl Default for UnpackOptions {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 30,
            max_entries: 4 << 20,
            // Removal and lookup hold a descriptor for each, and many programs may open only 1024.
            max_depth: 256,
            // PATH_MAX with its NUL.
            max_path: 4095,
            max_directory_bytes: 256 << 20,
        }
    }
}

/// Why a layer can't be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The compressed bytes can't be read or decompressed.
    #[error("its content can't be read after {offset} uncompressed bytes")]
    Read {
        /// How far it could be read, in uncompressed bytes.
        offset: u64,
        /// Why not further.
        #[source]
        source: io::Error,
    },
    /// It doesn't begin as tar archives do.
    #[error("it is not a tar archive")]
    NotTar,
    /// It ends in the middle of an entry.
    #[error("the tar archive ends in the middle of an entry, after {offset} bytes")]
    Truncated {
        /// Its length, in uncompressed bytes.
        offset: u64,
    },
    /// A header is wrong.
    #[error("the tar header at byte {offset} is damaged: {problem}")]
    Header {
        /// Where, in uncompressed bytes.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name that no file in a container can have.
    #[error("the tar has an entry `{name}` whose name {problem}")]
    Name {
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An entry that brig doesn't know how to make.
    #[error("the tar has an entry `{}` of the unsupported type {kind:?}", path.display())]
    Unsupported {
        /// Its name.
        path: PathBuf,
        /// The type's byte.
        kind: char,
    },
    /// More than [`UnpackOptions`] allow.
    #[error("it has more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        limit: u64,
    },
    /// The file system refused.
    #[error("can't {action} `{}` in it", path.display())]
    Entry {
        /// Which operation, as a verb.
        action: &'static str,
        /// On which entry.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl UnpackError {
    /// Whether the file system is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Entry { source, .. } if crate::error::is_full(source))
    }
}

type Result<T> = std::result::Result<T, UnpackError>;

/// What was unpacked.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// How many names there are, the root not counted.
    pub(crate) names: u64,
    /// The sizes of the regular files, each name counted.
    pub(crate) bytes: u64,
    /// The size of the uncompressed tar.
    pub(crate) tar_bytes: u64,
    /// Whether the root was marked opaque: nothing of the layers below is to be seen.
    pub(crate) opaque_root: bool,
    /// Whether the attributes for overlayfs are those of ordinary users.
    pub(crate) user_attributes: bool,
    /// How many attributes, owners and devices couldn't be made.
    pub(crate) unmade: u64,
}

/// Unpacks the tar behind `reader` into the empty directory `root`, and tells `unmade` what couldn't be made.
pub(crate) fn unpack(
    expected: &Digest,
    compression: Compression,
    reader: impl Read + Send,
    root: OwnedFd,
    unmade: &mut dyn io::Write,
    options: &UnpackOptions,
) -> Result<Unpacked> {
    std::thread::scope(|scope| {
        let stream = Stream::new(compression, reader, expected.algorithm(), options.max_bytes, scope)?;
        unpack_stream(stream, Tree::new(root, unmade, options), options)
    })
}

fn unpack_stream(mut stream: Stream<'_>, mut tree: Tree<'_>, options: &UnpackOptions) -> Result<Unpacked> {
    let mut headers = Headers::new(options.max_entries);
    while let Some(mut entry) = headers.next(&mut stream)? {
        make(&mut tree, &mut stream, &mut entry, options)?;
        stream.skip(entry.unread())?;
    }
    stream.drain()?;
    let (diff_id, tar_bytes) = stream.finish();
    let done = tree.finish()?;
    Ok(Unpacked {
        diff_id,
        names: done.names,
        bytes: done.bytes,
        tar_bytes,
        opaque_root: done.opaque_root,
        user_attributes: done.user_attributes,
        unmade: done.unmade,
    })
}

fn make(
    tree: &mut Tree<'_>,
    stream: &mut Stream<'_>,
    entry: &mut Entry,
    options: &UnpackOptions,
) -> Result<()> {
    let path = TarPath::new(&entry.path, options)?;
    match path.named()? {
        Named::Ignored => Ok(()),
        Named::Opaque { dir } => tree.opaque(&dir),
        Named::Whiteout { hidden } => tree.whiteout(&hidden),
        Named::Root if entry.kind == Kind::Directory => tree.root(entry),
        Named::Root => Err(path.problem("is that of the root, which must be a directory")),
        Named::Plain => match entry.kind {
            Kind::File => tree.file(&path, entry, stream),
            Kind::Directory => tree.directory(&path, entry),
            Kind::Symlink => tree.symlink(&path, entry),
            Kind::HardLink => {
                let target = TarPath::new(&entry.link, options)?;
                tree.hard_link(&path, &target)
            }
            Kind::Fifo => tree.special(&path, entry, rustix::fs::FileType::Fifo),
            // Overlayfs's own form of a whiteout, in a tar made from its upper directory.
            Kind::CharDevice if entry.device == (0, 0) => tree.whiteout(&path),
            Kind::CharDevice => tree.special(&path, entry, rustix::fs::FileType::CharacterDevice),
            Kind::BlockDevice => tree.special(&path, entry, rustix::fs::FileType::BlockDevice),
            Kind::Other(kind) => {
                Err(UnpackError::Unsupported { path: path.to_path(), kind: char::from(kind) })
            }
        },
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
