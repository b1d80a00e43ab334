//! Lines of a file that may grow: a line counts when its line feed is there.

use std::fs::File;
use std::io::{self, Read, Seek};

/// The longest line that is read: a record of 16 KiB in which every byte is escaped has a tenth of it.
pub(super) const MAX_LINE: usize = 1024 * 1024;
/// What is read at once, in bytes: beyond this nothing was gained.
const CHUNK: usize = 256 * 1024;

/// A file, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
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
}

impl Lines {
    /// To whatever is its end, again and again.
    pub(super) fn growing(file: File) -> Self {
        Self { file, left: u64::MAX, buffer: Vec::new(), start: 0, unseen: 0, end: 0, skipping: false }
    }

    /// To the end that it has now.
    pub(super) fn as_it_is(mut file: File) -> io::Result<Self> {
        let position = file.stream_position()?;
        let left = file.metadata()?.len().saturating_sub(position);
        Ok(Self { left, ..Self::growing(file) })
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
        self.start < self.end || self.skipping
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
            match self.file.read(&mut self.buffer[self.end..self.end + room]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += count;
        self.left -= count as u64;
        Ok(count > 0)
    }
}
