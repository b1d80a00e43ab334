//! Entries out of a stream.

use std::io::{self, Read};

use super::{BLOCK, DIRECTORY, Entry, FILE, MAX_RECORD, damaged, padding, pax};

/// How much data is handed on at once.
const CHUNK: usize = 128 * 1024;
/// The most pieces of a file with holes.
const MAX_PIECES: u64 = 64 * 1024;
/// The largest file.
const MAX_SIZE: u64 = i64::MAX.cast_unsigned();
/// The most header records before one entry.
const MAX_HEADERS: usize = 64;

/// Reads a tar.
#[derive(Debug)]
pub(in super::super) struct Reader<R: Read> {
    from: R,
    /// The data of the entry that is being read, and the padding behind it.
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(in super::super) fn new(from: R) -> Self {
        Self { from, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the end of the tar. What is left of the data of the one before is passed over.
    pub(in super::super) fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        self.each(|_| Ok(()))?;
        let (mut path, mut link, mut records) = (None, None, Vec::new());
        for _ in 0..MAX_HEADERS {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = numeric(&header[124..136])?;
            match header[156] {
                b'L' => path = Some(c_string(&self.record(size)?).to_vec()),
                b'K' => link = Some(c_string(&self.record(size)?).to_vec()),
                b'x' => records = self.record(size)?,
                // Of a whole archive: comments, and defaults that nobody writes.
                b'g' => drop(self.record(size)?),
                _ => return self.entry(&header, path, link, &records).map(Some),
            }
        }
        Err(damaged("too many headers in a row"))
    }

    /// Hands on the data of the entry, piece by piece.
    pub(in super::super) fn each(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.left > 0 {
            let mut buffer = vec![0; CHUNK.min(usize::try_from(self.left).unwrap_or(CHUNK))];
            while self.left > 0 {
                let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(CHUNK));
                self.from.read_exact(&mut buffer[..wanted]).map_err(cut_off)?;
                self.left -= wanted as u64;
                take(&buffer[..wanted])?;
            }
        }
        let padding = std::mem::take(&mut self.padding);
        self.skip(padding)
    }

    fn skip(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.from.by_ref().take(count), &mut io::sink())?;
        if skipped == count { Ok(()) } else { Err(damaged("it ends in the middle")) }
    }

    /// The next block that isn't zeros. What follows the zeros is read to its end, so that whoever writes it isn't cut
    /// off.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.from.read(&mut block[filled..])? {
                // Some writers end without zeros.
                0 if filled == 0 => return Ok(None),
                0 => return Err(damaged("it ends in the middle of a header")),
                count => filled += count,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            io::copy(&mut self.from, &mut io::sink())?;
            return Ok(None);
        }
        let sum: u64 =
            (0..BLOCK).map(|at| if (148..156).contains(&at) { 32 } else { block[at].into() }).sum();
        match numeric(&block[148..156]) {
            Ok(found) if found == sum => Ok(Some(block)),
            _ => Err(damaged("a header's checksum is wrong")),
        }
    }

    /// The data of a header record, whole.
    fn record(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_RECORD {
            return Err(damaged("a name or record is too long"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
        self.from.read_exact(&mut bytes).map_err(cut_off)?;
        self.skip(padding(size))?;
        Ok(bytes)
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
        records: &[u8],
    ) -> io::Result<Entry> {
        let mut entry = plain(header)?;
        entry.path = path.unwrap_or(entry.path);
        entry.link = link.unwrap_or(entry.link);
        let sparse = pax::apply(records, &mut entry)?;
        // No file is larger, and what is added to sizes below stays a number.
        if entry.size > MAX_SIZE || sparse.real_size.is_some_and(|size| size > MAX_SIZE) {
            return Err(damaged("a size is larger than any file's"));
        }
        // Only files have data; some writers leave a size with links and directories.
        let stored = if entry.kind == FILE || header[156] == b'S' { entry.size } else { 0 };
        self.left = stored;
        self.padding = padding(stored);
        if header[156] == b'S' {
            entry.kind = FILE;
            entry.pieces = Some(self.old_map(header)?);
            entry.size = numeric(&header[483..495])?;
        } else if sparse.map_in_data {
            entry.pieces = Some(self.map_in_data()?);
        } else if sparse.map.is_some() {
            entry.pieces = sparse.map;
        }
        entry.path = sparse.name.unwrap_or(entry.path);
        if entry.kind == FILE {
            entry.size = sparse.real_size.filter(|_| entry.pieces.is_some()).unwrap_or(entry.size);
            self.check_pieces(&entry)?;
        } else {
            entry.size = 0;
        }
        Ok(entry)
    }

    fn check_pieces(&self, entry: &Entry) -> io::Result<()> {
        let Some(pieces) = &entry.pieces else { return Ok(()) };
        let mut end = 0_u64;
        let mut stored = 0_u64;
        for (offset, length) in pieces {
            if *offset < end {
                return Err(damaged("the pieces of a file lie on each other"));
            }
            end = offset.checked_add(*length).ok_or_else(|| damaged("a piece of a file has no end"))?;
            stored += length;
        }
        if end > entry.size || stored != self.left {
            return Err(damaged("the pieces of a file don't make it up"));
        }
        Ok(())
    }

    /// GNU's old format: four pieces in the header, more in blocks behind it.
    fn old_map(&mut self, header: &[u8; BLOCK]) -> io::Result<Vec<(u64, u64)>> {
        let mut pieces = old_pieces(&header[386..482])?;
        let mut more = header[482] != 0;
        while more {
            let mut block = [0; BLOCK];
            self.from.read_exact(&mut block).map_err(cut_off)?;
            pieces.extend(old_pieces(&block[..504])?);
            more = block[504] != 0;
            if pieces.len() as u64 > MAX_PIECES {
                return Err(damaged("a file has too many pieces"));
            }
        }
        Ok(pieces)
    }

    /// GNU's format 1.0: numbers on lines, in whole blocks.
    fn map_in_data(&mut self) -> io::Result<Vec<(u64, u64)>> {
        let mut lines = Lines { block: [0; BLOCK], at: BLOCK };
        let count = self.line(&mut lines)?;
        if count > MAX_PIECES {
            return Err(damaged("a file has too many pieces"));
        }
        (0..count).map(|_| Ok((self.line(&mut lines)?, self.line(&mut lines)?))).collect()
    }

    fn line(&mut self, lines: &mut Lines) -> io::Result<u64> {
        let mut value = 0_u64;
        loop {
            if lines.at == BLOCK {
                self.left = self.left.checked_sub(BLOCK as u64).ok_or_else(|| damaged("a map is cut off"))?;
                self.from.read_exact(&mut lines.block).map_err(cut_off)?;
                lines.at = 0;
            }
            let byte = lines.block[lines.at];
            lines.at += 1;
            match byte {
                b'\n' => return Ok(value),
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let next = value.checked_mul(10).and_then(|value| value.checked_add(digit));
                    value = next.ok_or_else(|| damaged("a number is too large"))?;
                }
                _ => return Err(damaged("a map has something else than numbers")),
            }
        }
    }
}

struct Lines {
    block: [u8; BLOCK],
    at: usize,
}

fn old_pieces(fields: &[u8]) -> io::Result<Vec<(u64, u64)>> {
    let used = fields.chunks_exact(24).take_while(|piece| piece[0] != 0);
    used.map(|piece| Ok((numeric(&piece[..12])?, numeric(&piece[12..])?))).collect()
}

fn plain(header: &[u8; BLOCK]) -> io::Result<Entry> {
    let name = c_string(&header[..100]);
    // GNU's own format has times where ustar has a prefix.
    let prefix = if &header[257..263] == b"ustar\0" { c_string(&header[345..500]) } else { &[] };
    let path = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
    let kind = match header[156] {
        // Before there was a type for directories.
        0 | b'0' | b'7' if path.ends_with(b"/") => DIRECTORY,
        0 | b'7' => FILE,
        kind => kind,
    };
    let small = |field| numeric(field).map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    Ok(Entry {
        kind,
        path,
        link: c_string(&header[157..257]).to_vec(),
        mode: small(&header[100..108])? & 0o7777,
        uid: numeric(&header[108..116])?,
        gid: numeric(&header[116..124])?,
        size: numeric(&header[124..136])?,
        mtime: (i64::try_from(numeric(&header[136..148]).unwrap_or(0)).unwrap_or(i64::MAX), 0),
        device: (small(&header[329..337])?, small(&header[337..345])?),
        ..Entry::default()
    })
}

fn c_string(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal, or GNU's base 256 for what doesn't fit.
fn numeric(field: &[u8]) -> io::Result<u64> {
    let wrong = || damaged("a number in a header isn't one");
    if field[0] & 0x80 != 0 {
        let mut bytes = field.iter().enumerate().map(|(at, byte)| if at == 0 { byte & 0x7f } else { *byte });
        return bytes
            .try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add(byte.into()))
            .ok_or_else(wrong);
    }
    let text = std::str::from_utf8(field).map_err(|_| wrong())?;
    let text = text.trim_matches([' ', '\0']);
    if text.is_empty() { Ok(0) } else { u64::from_str_radix(text, 8).map_err(|_| wrong()) }
}

fn cut_off(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { damaged("it ends in the middle") } else { error }
}
