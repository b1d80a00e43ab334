//! Files of a log that were compressed after they were rotated away.
//!
//! ```text
//! log.3.gz:  gzip, with the field `br` in its header: which file it was
//! ```
//!
//! A follower knows files by their inodes, and a file that was compressed has another one. So its header says which
//! inode, length and time of change the plain file had: whoever has read that one knows that this is the same. An inode
//! that was given to another file since has another time, or another length.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The beginning of a gzip file, and its flag that says that there are extra fields.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const EXTRA: u8 = 4;
/// The two letters of our field, and how long its value is.
const FIELD: [u8; 4] = [b'b', b'r', 24, 0];
/// Where the field begins in the file: behind ten bytes of header and two of the length of all fields.
const OFFSET: usize = 12;
const LENGTH: usize = OFFSET + FIELD.len() + 24;

/// What the plain file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    inode: u64,
    length: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

impl Origin {
    /// That of a plain file which nobody writes to any more.
    pub fn of(metadata: &Metadata) -> Self {
        let seconds = metadata.mtime().cast_unsigned().wrapping_mul(1_000_000_000);
        let modified = seconds.wrapping_add(metadata.mtime_nsec().cast_unsigned());
        Self { inode: metadata.ino(), length: metadata.len(), modified }
    }

    /// The extra field of a gzip header.
    pub fn to_extra_field(self) -> Vec<u8> {
        let values = [self.inode, self.length, self.modified];
        FIELD.into_iter().chain(values.into_iter().flat_map(u64::to_le_bytes)).collect()
    }

    /// What the header of this file says.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut header = [0; LENGTH];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if header[..3] != MAGIC || header[3] & EXTRA == 0 || header[OFFSET..OFFSET + 4] != FIELD {
            return Ok(None);
        }
        let (values, _) = header[OFFSET + 4..].as_chunks::<8>();
        let [inode, length, modified] = [values[0], values[1], values[2]].map(u64::from_le_bytes);
        Ok(Some(Self { inode, length, modified }))
    }
}
