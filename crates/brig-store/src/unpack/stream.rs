//! The uncompressed bytes of a layer: hashed, counted and bounded as they pass.

use std::io::{self, BufReader, Read};

use brig_oci::media_type::Compression;
use brig_oci::{Algorithm, Digest, Hasher};

use super::{Result, UnpackError};

/// How much is decompressed, hashed and written at once.
const CHUNK: usize = 256 * 1024;

/// The largest zstd window, as a power of two: 128 MiB, zstd's own default for streams.
const ZSTD_WINDOW_LOG: u32 = 27;

/// A tar's block.
pub(super) const BLOCK: usize = 512;

pub(super) struct Stream<'r> {
    inner: Box<dyn Read + 'r>,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hasher: Hasher,
    total: u64,
    max: u64,
}

impl<'r> Stream<'r> {
    pub(super) fn new(
        compression: Compression,
        reader: impl Read + 'r,
        algorithm: Algorithm,
        max: u64,
    ) -> Result<Self> {
        let inner = decoder(compression, reader).map_err(|source| UnpackError::Read { offset: 0, source })?;
        let buffer = vec![0; CHUNK].into_boxed_slice();
        Ok(Self { inner, buffer, start: 0, end: 0, hasher: algorithm.hasher(), total: 0, max })
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
        let mut filled = 0;
        // Decoders give small pieces; the hash and the disk like large ones.
        while filled < self.buffer.len() {
            match self.inner.read(&mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(UnpackError::Read { offset: self.total, source }),
            }
        }
        self.hasher.update(&self.buffer[..filled]);
        self.total += filled as u64;
        if self.total > self.max {
            return Err(UnpackError::Limit { what: "uncompressed bytes", limit: self.max });
        }
        (self.start, self.end) = (0, filled);
        Ok(())
    }
}

fn decoder<'r>(compression: Compression, reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let buffered = BufReader::with_capacity(CHUNK / 2, reader);
    Ok(match compression {
        Compression::None => Box::new(buffered),
        // Several members after another are one stream (pigz and eStargz write such).
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(buffered)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
}
