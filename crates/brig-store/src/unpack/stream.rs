//! The uncompressed bytes of a layer: hashed, counted and bounded as they pass.
//!
//! Decompression takes about as long as hashing and writing together, so it has a thread of its own, with at most
//! [`AHEAD`] chunks between the two.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Scope;

use brig_oci::media_type::Compression;
use brig_oci::{Algorithm, Digest, Hasher};

use super::{Result, UnpackError};

/// How much is decompressed, hashed and written at once.
const CHUNK: usize = 256 * 1024;

/// How many chunks may wait to be hashed and written.
const AHEAD: usize = 3;

/// The largest zstd window, as a power of two: 128 MiB, zstd's own default for streams.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A tar's block.
pub(super) const BLOCK: usize = 512;

type Chunk = Box<[u8]>;

pub(super) struct Stream<'r> {
    source: Source<'r>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hasher: Hasher,
    total: u64,
    max: u64,
}

/// Where chunks come from.
enum Source<'r> {
    /// What isn't compressed is read where it is needed.
    Here(Box<dyn Read + 'r>),
    /// Full chunks with their lengths from the other thread, and empty ones back to it.
    Thread { full: Receiver<io::Result<(Chunk, usize)>>, empty: Sender<Chunk> },
}

impl<'r> Stream<'r> {
    /// Begins to read. The thread ends when the stream is dropped, as soon as `reader` gives something.
    pub(super) fn new<'s>(
        compression: Compression,
        reader: impl Read + Send + 'r,
        algorithm: Algorithm,
        max: u64,
        scope: &'s Scope<'s, 'r>,
    ) -> Result<Self> {
        let reader = BufReader::with_capacity(CHUNK / 2, reader);
        let source = match compression {
            Compression::None => Source::Here(Box::new(reader)),
            // Several members after another are one stream (pigz and eStargz write such).
            Compression::Gzip => spawn(flate2::bufread::MultiGzDecoder::new(reader), scope),
            Compression::Zstd => {
                let decoder = zstd_decoder(reader);
                spawn(decoder.map_err(|source| UnpackError::Read { offset: 0, source })?, scope)
            }
        };
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { source, buffer, start: 0, end: 0, hasher: algorithm.hasher(), total: 0, max })
    }

    /// How many bytes were taken.
    pub(super) fn offset(&self) -> u64 {
        self.total - (self.end - self.start) as u64
    }

    /// The bytes at hand, at most `want`; fewer than one only at the end.
    pub(super) fn some(&mut self, want: u64) -> Result<&[u8]> {
        if self.start == self.end {
            self.fill()?;
        }
        let count = usize::try_from(want).unwrap_or(usize::MAX).min(self.end - self.start);
        Ok(&self.buffer[self.start..self.start + count])
    }

    /// Takes `count` of the bytes that [`Stream::some`] gave.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
    }

    /// The next block; `None` at the end.
    pub(super) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let some = self.some((BLOCK - filled) as u64)?;
            let count = some.len();
            if count == 0 && filled == 0 {
                return Ok(None);
            }
            if count == 0 {
                return Err(UnpackError::Truncated { offset: self.total });
            }
            block[filled..filled + count].copy_from_slice(some);
            self.take(count);
            filled += count;
        }
        Ok(Some(block))
    }

    /// The next `count` bytes, which the caller has bounded.
    pub(super) fn read(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.each(count, |chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// Gives the next `count` bytes to `sink`, piece by piece.
    pub(super) fn each(&mut self, count: u64, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let some = self.some(left)?;
            let taken = some.len();
            if taken == 0 {
                return Err(UnpackError::Truncated { offset: self.total });
            }
            sink(some)?;
            self.take(taken);
            left -= taken as u64;
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, count: u64) -> Result<()> {
        self.each(count, |_| Ok(()))
    }

    /// Reads what follows the archive's end, since it belongs to the digest.
    pub(super) fn drain(&mut self) -> Result<()> {
        loop {
            let count = self.some(u64::MAX)?.len();
            if count == 0 {
                return Ok(());
            }
            self.take(count);
        }
    }

    /// The digest and the number of all bytes.
    pub(super) fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.total)
    }

    fn fill(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let filled;
        (self.buffer, filled) =
            self.source.next(buffer).map_err(|source| UnpackError::Read { offset: self.total, source })?;
        self.hasher.update(&self.buffer[..filled]);
        self.total += filled as u64;
        if self.total > self.max {
            return Err(UnpackError::Limit { what: "uncompressed bytes", limit: self.max });
        }
        (self.start, self.end) = (0, filled);
        Ok(())
    }
}

impl Source<'_> {
    /// The next chunk in exchange for an old one; empty at the end.
    fn next(&mut self, mut old: Chunk) -> io::Result<(Chunk, usize)> {
        match self {
            Self::Here(reader) => read_full(reader, &mut old).map(|filled| (old, filled)),
            Self::Thread { full, empty } => {
                // Nobody takes it any more when the end was read.
                let _ = empty.send(old);
                full.recv().unwrap_or_else(|_| Ok((Chunk::default(), 0)))
            }
        }
    }
}

fn spawn<'s, 'r>(decoder: impl Read + Send + 'r, scope: &'s Scope<'s, 'r>) -> Source<'r> {
    let (full_in, full) = sync_channel(AHEAD);
    let (empty, empty_out) = channel();
    scope.spawn(move || decode(decoder, &full_in, &empty_out));
    Source::Thread { full, empty }
}

/// Decompresses until the end, an error, or until nobody listens.
fn decode(mut decoder: impl Read, full: &SyncSender<io::Result<(Chunk, usize)>>, empty: &Receiver<Chunk>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK].into_boxed_slice());
        let read = read_full(&mut decoder, &mut chunk);
        let last = !matches!(read, Ok(filled) if filled > 0);
        if full.send(read.map(|filled| (chunk, filled))).is_err() || last {
            return;
        }
    }
}

/// Decoders give small pieces; the hash and the disk like large ones.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn zstd_decoder<R: io::BufRead>(reader: R) -> io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}
