//! Headers of a tar: ustar, GNU and PAX, merged into one description of the entry that follows.

use super::pax::Pax;
use super::sparse::SparseMap;
use super::stream::{BLOCK, Stream};
use super::{MAX_RECORD, Result, UnpackError};

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    CharDevice,
    BlockDevice,
    Fifo,
    Other(u8),
}

/// An entry; its data, if it has any, is next in the stream.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// Permissions with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<SparseMap>,
    /// Bytes of data in the stream.
    pub(super) stored: u64,
    padding: u64,
    taken: u64,
}

impl Entry {
    /// The file's size with its holes.
    pub(super) fn size(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |map| map.size)
    }

    /// Says that the data was taken from the stream.
    pub(super) fn took(&mut self) {
        self.taken = self.stored;
    }

    /// What is left of it in the stream.
    pub(super) fn unread(&self) -> u64 {
        self.stored - self.taken + self.padding
    }
}

pub(super) struct Headers {
    left: u64,
    max: u64,
    first: bool,
}

/// What came before the header of an entry.
#[derive(Default)]
struct Extra {
    pax: Pax,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Headers {
    pub(super) fn new(max: u64) -> Self {
        Self { left: max, max, first: true }
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next(&mut self, stream: &mut Stream<'_>) -> Result<Option<Entry>> {
        let mut extra = Extra::default();
        loop {
            let offset = stream.offset();
            let Some(block) = stream.block()? else { return Ok(None) };
            if block == [0; BLOCK] {
                return Ok(None);
            }
            self.check(&block, offset)?;
            let wrong = |problem| UnpackError::Header { offset, problem };
            let size = numeric(&block[124..136]).map_err(wrong)?;
            match block[156] {
                b'x' => extra.pax.parse(&record(stream, size, offset)?).map_err(wrong)?,
                b'L' => extra.path = Some(until_nul(&record(stream, size, offset)?).to_vec()),
                b'K' => extra.link = Some(until_nul(&record(stream, size, offset)?).to_vec()),
                // Global records and a volume's label say nothing that a layer needs.
                b'g' | b'V' => drop(record(stream, size, offset)?),
                _ => return extra.entry(&block, size, stream, offset).map(Some),
            }
        }
    }

    fn check(&mut self, block: &[u8; BLOCK], offset: u64) -> Result<()> {
        let sum = block[..148].iter().chain(&block[156..]).map(|byte| u64::from(*byte)).sum::<u64>();
        // The checksum's own field counts as spaces.
        if numeric(&block[148..156]) != Ok(sum + 8 * u64::from(b' ')) {
            if self.first {
                return Err(UnpackError::NotTar);
            }
            return Err(UnpackError::Header { offset, problem: "its checksum is wrong" });
        }
        self.first = false;
        self.left =
            self.left.checked_sub(1).ok_or(UnpackError::Limit { what: "entries", limit: self.max })?;
        Ok(())
    }
}

impl Extra {
    fn entry(self, block: &[u8; BLOCK], size: u64, stream: &mut Stream<'_>, offset: u64) -> Result<Entry> {
        let wrong = |problem| UnpackError::Header { offset, problem };
        let field = |range: std::ops::Range<usize>| numeric(&block[range]).map_err(wrong);
        let header = tar::Header::from_byte_slice(block);
        let path = self.pax.path.or(self.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = kind(block[156], &path);
        let size = self.pax.size.unwrap_or(size);
        // As everywhere, only these have data, whatever their header says.
        let mut stored = if matches!(kind, Kind::File | Kind::Other(_)) { size } else { 0 };
        let padding = stored.wrapping_neg() % BLOCK as u64;
        let sparse = match block[156] {
            b'S' => Some(SparseMap::old_gnu(block, stream, stored)?),
            _ => self.pax.sparse.map(stream, &mut stored)?,
        };
        let device = match kind {
            Kind::CharDevice | Kind::BlockDevice => (small(field(329..337)?), small(field(337..345)?)),
            _ => (0, 0),
        };
        Ok(Entry {
            kind,
            path: self.pax.sparse.name.unwrap_or(path),
            link: self.pax.link.or(self.link).unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            mode: small(field(100..108)? & 0o7777),
            uid: self.pax.uid.map_or_else(|| field(108..116), Ok)?,
            gid: self.pax.gid.map_or_else(|| field(116..124), Ok)?,
            mtime: self.pax.mtime.map_or_else(|| seconds(&block[136..148]).map_err(wrong), Ok)?,
            device,
            xattrs: self.pax.xattrs,
            sparse,
            stored,
            padding,
            taken: 0,
        })
    }
}

fn kind(byte: u8, path: &[u8]) -> Kind {
    match byte {
        // Before POSIX, a directory was a file whose name ends in a slash.
        b'\0' if path.last() == Some(&b'/') => Kind::Directory,
        b'\0' | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    }
}

/// The data of a header record with its padding, refused before it is in memory if it is too long.
fn record(stream: &mut Stream<'_>, size: u64, offset: u64) -> Result<Vec<u8>> {
    if size > MAX_RECORD {
        return Err(UnpackError::Header { offset, problem: "a header record has more than 1 MiB" });
    }
    let bytes = stream.read(size)?;
    stream.skip(size.wrapping_neg() % BLOCK as u64)?;
    Ok(bytes)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// Values that don't fit become one that nothing accepts.
fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A number in octal digits, or in base 256 where its first bit is set; an empty field is zero.
pub(super) fn numeric(field: &[u8]) -> std::result::Result<u64, &'static str> {
    const WRONG: &str = "a field is not a number";
    if field[0] & 0x80 != 0 {
        let value = base_256(field)?;
        return u64::try_from(value).map_err(|_| WRONG);
    }
    let digits = until_nul(field).trim_ascii();
    if digits.is_empty() {
        return Ok(0);
    }
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| u64::from_str_radix(text, 8).ok()).ok_or(WRONG)
}

/// Seconds since 1970, which base 256 can have before it.
fn seconds(field: &[u8]) -> std::result::Result<(i64, u32), &'static str> {
    const WRONG: &str = "its time is out of range";
    if field[0] & 0x80 != 0 {
        return Ok((base_256(field)?.try_into().map_err(|_| WRONG)?, 0));
    }
    Ok((numeric(field)?.try_into().map_err(|_| WRONG)?, 0))
}

/// Two's complement, with the first bit as marker and the second as sign.
fn base_256(field: &[u8]) -> std::result::Result<i128, &'static str> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let start: i128 = if negative { -1 } else { 0 };
    // Twelve bytes at most: they always fit.
    Ok(std::iter::once(&first).chain(&field[1..]).fold(start, |value, byte| (value << 8) | i128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_octal_and_base_256() {
        assert_eq!(numeric(b"0000644\0"), Ok(0o644));
        assert_eq!(numeric(b"   644 \0"), Ok(0o644));
        assert_eq!(numeric(b"\0\0\0\0\0\0\0\0"), Ok(0));
        assert_eq!(numeric(b"\x80\0\0\0\0\0\0\0\x02\0\0\0"), Ok(0x0200_0000));
        assert!(numeric(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
        assert!(numeric(b"+000644\0").is_err());
        assert!(numeric(b"0000648\0").is_err());
        assert_eq!(seconds(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Ok((-1, 0)));
        assert!(seconds(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff").is_err());
    }
}
