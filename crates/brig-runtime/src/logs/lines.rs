//! Lines of a file that may grow, or of one that is compressed and doesn't: a line counts when its line feed is there.

use std::fs::File;
use std::io::{self, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::files::{FileId, Known, LogFile};
use super::gzip::Origin;

/// The longest line that is read: a record of 16 KiB in which every byte is escaped has a tenth of it.
pub(super) const MAX_LINE: usize = 1024 * 1024;
/// What is read at once, in bytes: beyond this nothing was gained.
const CHUNK: usize = 256 * 1024;

/// Where the text comes from.
#[derive(Debug)]
enum Source {
    Plain(File),
    /// Unpacked from the first read on: of all the files of a log only one is read at a time.
    Packed(File, Option<Box<MultiGzDecoder<File>>>),
}

impl Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Packed(_, Some(decoder)) => decoder.read(buffer),
            Self::Packed(file, decoder) => {
                decoder.insert(Box::new(MultiGzDecoder::new(file.try_clone()?))).read(buffer)
            }
        }
    }

    fn is_damaged(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        matches!(self, Self::Packed(..)) && matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
    }
}

/// A file, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    known: Known,
    source: Source,
    /// How many bytes may still be read.
    left: u64,
    buffer: Vec<u8>,
    /// What of the buffer wasn't given yet.
    start: usize,
    /// Where no line feed was looked for yet.
    unseen: usize,
    end: usize,
    /// Whether the beginning of this line was dropped.
    skipping: bool,
    /// Whether what is packed can't be unpacked to its end.
    broken: bool,
}

impl Lines {
    /// To whatever is its end, again and again.
    pub(super) fn growing(log: LogFile) -> io::Result<Self> {
        let LogFile { id, file, compressed, skip } = log;
        let (source, origin) = match compressed {
            Some(origin) => (Source::Packed(file, None), origin),
            None => (Source::Plain(file), None),
        };
        let mut lines = Self {
            known: Known { id, origin },
            source,
            left: u64::MAX,
            buffer: Vec::new(),
            start: 0,
            unseen: 0,
            end: 0,
            skipping: false,
            broken: false,
        };
        for _ in 0..skip {
            lines.next()?;
        }
        Ok(lines)
    }

    /// To the end that it has now.
    pub(super) fn as_it_is(log: LogFile) -> io::Result<Self> {
        let mut lines = Self::growing(log)?;
        if let Source::Plain(file) = &mut lines.source {
            let position = file.stream_position()?;
            lines.left = file.metadata()?.len().saturating_sub(position);
        }
        Ok(lines)
    }

    /// Which file this is.
    pub(super) fn id(&self) -> FileId {
        self.known.id
    }

    /// The same, and what it was. What a plain one is is said of it as it is now.
    pub(super) fn known(&self) -> io::Result<Known> {
        match &self.source {
            Source::Plain(file) => Ok(Known { origin: Some(Origin::of(&file.metadata()?)), ..self.known }),
            Source::Packed(..) => Ok(self.known),
        }
    }

    /// The next line with its line feed. One that is too long is given as some text that is no record.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.unseen..self.end]) {
                let line = self.start..self.unseen + at + 1;
                (self.start, self.unseen) = (line.end, line.end);
                if std::mem::take(&mut self.skipping) {
                    // The rest of what was too long is no line of its own, but its one damaged one.
                    return Ok(Some(b"too long"));
                }
                return Ok(Some(&self.buffer[line]));
            }
            self.unseen = self.end;
            if self.end - self.start >= MAX_LINE {
                self.start = self.end;
                self.skipping = true;
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Whether something without a line feed is left.
    pub(super) fn has_half(&self) -> bool {
        self.start < self.end || self.skipping || self.broken
    }

    /// Reads once; says whether anything came.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.unseen, self.end, self.start) = (self.unseen - self.start, self.end - self.start, 0);
        if self.buffer.len() < self.end + CHUNK {
            self.buffer.resize(self.end + CHUNK, 0);
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.buffer.len() - self.end);
        let count = loop {
            match self.source.read(&mut self.buffer[self.end..self.end + room]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.source.is_damaged(&error) => {
                    self.broken = true;
                    break 0;
                }
                read => break read?,
            }
        };
        self.end += count;
        self.left -= count as u64;
        Ok(count > 0)
    }
}
