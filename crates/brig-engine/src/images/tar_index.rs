//! Where the files of a tar begin, found by its headers alone: a file of any size is one seek.
//!
//! The tar crate's own iterator isn't used: it reads long names and PAX records whole, however long they are.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use brig_store::MAX_RECORD;
use tar::{EntryType, Header, PaxExtensions};

/// docker's archives have three entries a layer, layouts one a blob; each may have header records of its own.
const MAX_HEADERS: usize = 300_000;
/// The longest name and link: `PATH_MAX` with its NUL, as in layers.
const MAX_NAME: usize = 4095;
const BLOCK: u64 = 512;

/// A file or link of the tar.
#[derive(Debug)]
pub(super) enum Entry {
    /// Where its content is, in bytes.
    File { offset: u64, size: u64 },
    /// The name of what it stands for, relative to the archive's root.
    Link(String),
}

/// What came before the header of an entry.
#[derive(Default)]
struct Extra {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

/// The files and links of a tar by their names; a later one of the same name wins.
pub(super) fn index(file: &File) -> io::Result<HashMap<String, Entry>> {
    let mut reader = Headers { file, end: file.metadata()?.len(), offset: 0, left: MAX_HEADERS };
    let mut entries = HashMap::new();
    let mut extra = Extra::default();
    while let Some(header) = reader.next()? {
        let size = header.entry_size()?;
        match header.entry_type() {
            EntryType::GNULongName => extra.name = Some(until_nul(reader.record(size)?)),
            EntryType::GNULongLink => extra.link = Some(until_nul(reader.record(size)?)),
            EntryType::XHeader => extra.read(&reader.record(size)?)?,
            _ => {
                let found = std::mem::take(&mut extra).entry(&header, reader.offset, size)?;
                reader.skip(found.stored)?;
                entries.extend(found.entry);
            }
        }
    }
    Ok(entries)
}

struct Headers<'a> {
    file: &'a File,
    end: u64,
    offset: u64,
    left: usize,
}

impl Headers<'_> {
    /// The next header; `None` at the end of the archive.
    fn next(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        if self.offset == self.end {
            return Ok(None);
        }
        self.file.read_exact_at(header.as_mut_bytes(), self.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => wrong("it ends in the middle of a header"),
            _ => error,
        })?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if header.cksum().ok() != Some(sum(&header)) {
            let problem =
                if self.offset == 0 { "it is not a tar archive" } else { "a tar header is damaged" };
            return Err(wrong(problem));
        }
        self.left = self.left.checked_sub(1).ok_or_else(|| wrong("it has more than 300000 headers"))?;
        self.offset += BLOCK;
        Ok(Some(header))
    }

    /// The data of a header record, refused before it is in memory if it is too long.
    fn record(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_RECORD {
            return Err(wrong("a header record has more than 1 MiB"));
        }
        let start = self.offset;
        self.skip(size)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes)
    }

    /// Passes over data and its padding, which the last entry may lack.
    fn skip(&mut self, size: u64) -> io::Result<()> {
        let after = self.offset.checked_add(size).filter(|after| *after <= self.end);
        let after = after.ok_or_else(|| wrong("it ends in the middle of an entry"))?;
        self.offset = after.next_multiple_of(BLOCK).min(self.end);
        Ok(())
    }
}

/// An entry, and the bytes that it has in the archive.
struct Found {
    entry: Option<(String, Entry)>,
    stored: u64,
}

impl Extra {
    fn read(&mut self, records: &[u8]) -> io::Result<()> {
        for record in PaxExtensions::new(records) {
            let record = record?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.name = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size =
                        Some(size.ok_or_else(|| wrong("a PAX record holds no size where one belongs"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(self, header: &Header, offset: u64, size: u64) -> io::Result<Found> {
        let name = text(self.name.unwrap_or_else(|| header.path_bytes().into_owned()))?;
        let name = name.trim_start_matches("./").to_owned();
        let target = || {
            let raw = || header.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default();
            text(self.link.clone().unwrap_or_else(raw))
        };
        let size = self.size.unwrap_or(size);
        let (entry, stored) = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => (Some(Entry::File { offset, size }), size),
            EntryType::Symlink => (Some(Entry::Link(join(&name, &target()?))), 0),
            EntryType::Link => (Some(Entry::Link(target()?.trim_start_matches("./").to_owned())), 0),
            EntryType::GNUSparse => return Err(wrong("it has a sparse file, which no image archive has")),
            EntryType::Directory | EntryType::Char | EntryType::Block | EntryType::Fifo => (None, 0),
            // Global records, a volume's label: nothing that an image needs.
            _ => (None, size),
        };
        Ok(Found { entry: entry.map(|entry| (name, entry)), stored })
    }
}

/// The sum of a header's bytes, its own field counted as spaces.
fn sum(header: &Header) -> u32 {
    let bytes = header.as_bytes();
    bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ')
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    if bytes.len() > MAX_NAME {
        return Err(wrong("a name in it has more than 4095 bytes"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

/// A symbolic link's target, relative to the archive's root.
fn join(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn wrong(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
