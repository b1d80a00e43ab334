//! Entries into a stream.

use std::io::{self, Write};

use super::{BLOCK, Entry, HARD_LINK, SYMLINK, padding, pax};

/// The largest number that fits in octal, with the end that some readers want.
const MAX_7: u64 = 0o7_777_777;
const MAX_11: u64 = 0o77_777_777_777;

/// Writes a tar.
#[derive(Debug)]
pub(in super::super) struct Writer<W: Write> {
    out: W,
    /// The data of the entry that is being written, with the padding behind it.
    left: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    pub(in super::super) fn new(out: W) -> Self {
        Self { out, left: 0, padding: 0 }
    }

    /// Begins an entry. Its data follows.
    pub(in super::super) fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let mut records = Vec::new();
        let mut header = Header::new(entry);
        header.times_and_numbers(entry, &mut records);
        for (name, value) in &entry.xattrs {
            pax::push_xattr(&mut records, name, value);
        }
        let map = entry.pieces.as_ref().map(|pieces| sparse_map(pieces));
        let stored = entry.stored() + map.as_ref().map_or(0, |map| map.len() as u64);
        header.size(stored, &mut records);
        match &map {
            Some(_) => {
                let size = entry.size.to_string();
                pax::push(&mut records, b"GNU.sparse.major", b"1");
                pax::push(&mut records, b"GNU.sparse.minor", b"0");
                pax::push(&mut records, b"GNU.sparse.name", &entry.path);
                pax::push(&mut records, b"GNU.sparse.realsize", size.as_bytes());
                // What a reader that knows nothing of holes calls it.
                header.name(&[b"GNUSparseFile.0/", base(&entry.path)].concat(), &mut Vec::new());
            }
            None => header.name(&entry.path, &mut records),
        }
        if matches!(entry.kind, HARD_LINK | SYMLINK) {
            header.link(&entry.link, &mut records);
        }
        self.records(entry, &records)?;
        self.out.write_all(&header.finish())?;
        self.left = stored;
        self.padding = padding(stored);
        map.map_or(Ok(()), |map| self.data(&map))
    }

    fn records(&mut self, entry: &Entry, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let path = [b"PaxHeaders.0/", base(&entry.path)].concat();
        let mut header = Header::new(&Entry { kind: b'x', mode: 0o644, ..Entry::default() });
        header.name(&path, &mut Vec::new());
        header.size(records.len() as u64, &mut Vec::new());
        self.out.write_all(&header.finish())?;
        self.out.write_all(records)?;
        self.zeros(padding(records.len() as u64))
    }

    /// Data of the entry; what is more than was announced is left out.
    pub(in super::super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= taken as u64;
        self.out.write_all(&bytes[..taken])
    }

    /// Ends the entry; zeros take the place of data that was announced and didn't come.
    pub(in super::super) fn end(&mut self) -> io::Result<()> {
        let missing = std::mem::take(&mut self.left) + std::mem::take(&mut self.padding);
        self.zeros(missing)
    }

    /// Ends the tar.
    pub(in super::super) fn finish(mut self) -> io::Result<W> {
        self.zeros(2 * BLOCK as u64)?;
        self.out.flush()?;
        Ok(self.out)
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.out
    }

    fn zeros(&mut self, count: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), count), &mut self.out).map(drop)
    }
}

/// GNU's format 1.0: how many pieces, then offset and length of each, in whole blocks.
fn sparse_map(pieces: &[(u64, u64)]) -> Vec<u8> {
    let mut map = format!("{}\n", pieces.len());
    for (offset, length) in pieces {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

fn base(path: &[u8]) -> &[u8] {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let name = trimmed.rsplit(|byte| *byte == b'/').next().unwrap_or(trimmed);
    &name[..name.len().min(80)]
}

struct Header([u8; BLOCK]);

impl Header {
    fn new(entry: &Entry) -> Self {
        let mut header = Self([0; BLOCK]);
        header.octal(100..108, entry.mode.into());
        header.0[156] = entry.kind;
        header.0[257..265].copy_from_slice(b"ustar\x0000");
        header.octal(329..337, entry.device.0.into());
        header.octal(337..345, entry.device.1.into());
        header.octal(108..116, 0);
        header.octal(116..124, 0);
        header.octal(136..148, 0);
        header
    }

    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let width = field.len() - 1;
        let text = format!("{value:0width$o}");
        self.0[field.start..field.end - 1].copy_from_slice(&text.as_bytes()[text.len() - width..]);
    }

    fn times_and_numbers(&mut self, entry: &Entry, records: &mut Vec<u8>) {
        for (field, key, value) in [(108..116, "uid", entry.uid), (116..124, "gid", entry.gid)] {
            match value {
                0..=MAX_7 => self.octal(field, value),
                _ => pax::push(records, key.as_bytes(), value.to_string().as_bytes()),
            }
        }
        if let Ok(seconds @ 0..=MAX_11) = u64::try_from(entry.mtime.0) {
            self.octal(136..148, seconds);
        }
        if entry.mtime.1 != 0 || !(0..=MAX_11.cast_signed()).contains(&entry.mtime.0) {
            pax::push(records, b"mtime", pax::time_text(entry.mtime).as_bytes());
        }
    }

    fn size(&mut self, size: u64, records: &mut Vec<u8>) {
        match size {
            0..=MAX_11 => self.octal(124..136, size),
            _ => {
                self.octal(124..136, 0);
                pax::push(records, b"size", size.to_string().as_bytes());
            }
        }
    }

    /// In the field for names, with directories in the field for a prefix, or in a record.
    fn name(&mut self, path: &[u8], records: &mut Vec<u8>) {
        if path.len() <= 100 {
            self.0[..path.len()].copy_from_slice(path);
            return;
        }
        let slash = (path.len() - 101..path.len() - 1).find(|at| path[*at] == b'/');
        match slash {
            Some(at) if at > 0 && at <= 155 => {
                self.0[345..345 + at].copy_from_slice(&path[..at]);
                self.0[..path.len() - at - 1].copy_from_slice(&path[at + 1..]);
            }
            _ => {
                self.0[..100].copy_from_slice(&path[..100]);
                pax::push(records, b"path", path);
            }
        }
    }

    fn link(&mut self, link: &[u8], records: &mut Vec<u8>) {
        let short = &link[..link.len().min(100)];
        self.0[157..157 + short.len()].copy_from_slice(short);
        if short.len() < link.len() {
            pax::push(records, b"linkpath", link);
        }
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.0[148..156].copy_from_slice(b"        ");
        let sum: u64 = self.0.iter().copied().map(u64::from).sum();
        let text = format!("{sum:06o}\0 ");
        self.0[148..156].copy_from_slice(text.as_bytes());
        self.0
    }
}
