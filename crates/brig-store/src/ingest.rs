//! Content on its way into the store.
//!
//! One partial file a digest, `ingest/<alg>-<hex>.part`, locked by whoever writes it. The lock is on the file itself:
//! when it is renamed into `blobs/`, those who waited find that the name is gone, look again, and see the blob.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use brig_oci::{Descriptor, Digest, Hasher};

use crate::error::{IoContext, Result, StoreError, is_full};
use crate::lock::Lock;
use crate::store::{Store, file_name};

/// How much is read at once when a partial download is hashed again.
const CHUNK: usize = 256 * 1024;

/// What [`Store::ingest`] found.
#[derive(Debug)]
pub enum Ingest {
    /// The content is already there, complete.
    Present,
    /// The content is to be written, from [`BlobWriter::offset`] on.
    Needed(Box<BlobWriter>),
}

/// The one who writes a blob. Dropped, it keeps what came, and the next one goes on from there.
#[derive(Debug)]
pub struct BlobWriter {
    lock: Lock,
    part: PathBuf,
    blob: PathBuf,
    digest: Digest,
    size: u64,
    offset: u64,
    resumed: u64,
    hasher: Hasher,
    /// A write failed, and the file may not be what was hashed.
    broken: bool,
}

impl Store {
    /// Begins to take in the content of `descriptor`. Waits while another process or thread takes in the same.
    pub fn ingest(&self, descriptor: &Descriptor) -> Result<Ingest> {
        let part = self.part_path(&descriptor.digest);
        if self.has_whole(descriptor)? {
            return Ok(Ingest::Present);
        }
        let lock = Lock::exclusive(&part)?;
        if self.has_whole(descriptor)? {
            lock.remove()?;
            return Ok(Ingest::Present);
        }
        let mut writer = Box::new(BlobWriter {
            part,
            blob: self.blob_path(&descriptor.digest),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            offset: 0,
            resumed: 0,
            broken: false,
            hasher: descriptor.digest.algorithm().hasher(),
            lock,
        });
        writer.resume()?;
        Ok(Ingest::Needed(writer))
    }

    /// Takes in all of `reader` as the content of `descriptor`; content that is already there isn't read.
    pub fn ingest_from(&self, descriptor: &Descriptor, mut reader: impl Read) -> Result<()> {
        let Ingest::Needed(mut writer) = self.ingest(descriptor)? else { return Ok(()) };
        if writer.offset() > 0 {
            writer.reset()?;
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return writer.commit(),
                Ok(count) => writer.write(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(source).context("read the source of", &writer.blob),
            }
        }
    }

    /// Keeps a document of our own making and describes it.
    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.ingest_from(&descriptor, bytes)?;
        Ok(descriptor)
    }

    pub(crate) fn part_path(&self, digest: &Digest) -> PathBuf {
        self.ingest_dir().join(format!("{}.part", file_name(digest)))
    }

    /// A blob of another size than its descriptor says was torn by a power cut: it is taken in again.
    fn has_whole(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.blob_size(&descriptor.digest)? == Some(descriptor.size))
    }
}

impl BlobWriter {
    /// How many bytes are there already: ask the source for those from here on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads what is there already, from the beginning up to [`BlobWriter::offset`]: for who unpacks what arrives and
    /// needs the part that came earlier first.
    pub fn so_far(&self) -> Result<io::Take<File>> {
        Ok(File::open(&self.part).context("open", &self.part)?.take(self.offset))
    }

    /// How many bytes an earlier attempt left. If a resumed download turns out wrong, a fresh one may be right.
    pub fn resumed(&self) -> u64 {
        self.resumed
    }

    /// The size that the content must have, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins anew: for a source that can't continue in the middle.
    pub fn reset(&mut self) -> Result<()> {
        self.lock.file().set_len(0).context("truncate", &self.part)?;
        io::Seek::rewind(&mut self.lock.file()).context("rewind", &self.part)?;
        self.offset = 0;
        self.resumed = 0;
        self.broken = false;
        self.hasher = self.digest.algorithm().hasher();
        Ok(())
    }

    /// Takes in the next bytes. One byte more than the descriptor's size is refused before it is written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(StoreError::Overrun { digest: self.digest.clone(), expected: self.size });
        };
        if self.broken {
            return Err(StoreError::BrokenIngest { digest: self.digest.clone() });
        }
        if let Err(error) = self.lock.file().write_all(bytes) {
            self.broken = true;
            // A full disk stays full as long as the partial file is kept; after another error it may end in a torn
            // write, which must not be counted.
            let kept = if is_full(&error) { 0 } else { self.offset };
            // The first error is the one to tell; what can't be cut off makes the next attempt fail its digest.
            let _ = self.lock.file().set_len(kept);
            return Err(error).context("write", &self.part);
        }
        self.hasher.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Verifies size and digest and makes the blob visible. Wrong content is discarded; content that ended early is
    /// kept, to be continued.
    pub fn commit(self) -> Result<()> {
        if self.broken {
            return Err(StoreError::BrokenIngest { digest: self.digest });
        }
        if self.offset != self.size {
            let found = self.offset;
            return Err(StoreError::SizeMismatch { digest: self.digest, expected: self.size, found });
        }
        let found = self.hasher.clone().finish();
        if found != self.digest {
            let expected = self.digest.clone();
            self.discard()?;
            return Err(StoreError::DigestMismatch { expected, found });
        }
        fs::rename(&self.part, &self.blob).context("create", &self.blob)
    }

    /// Gives up and removes what came.
    pub fn discard(self) -> Result<()> {
        self.lock.remove()
    }

    /// Hashes what an earlier attempt left.
    fn resume(&mut self) -> Result<()> {
        let length = self.lock.file().metadata().context("look at", &self.part)?.len();
        if length > self.size {
            return self.reset();
        }
        let mut buffer = vec![0; CHUNK.min(usize::try_from(length).unwrap_or(CHUNK))];
        while self.offset < length {
            let count = read_some(self.lock.file(), &mut buffer).context("read", &self.part)?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
            self.offset += count as u64;
        }
        self.resumed = self.offset;
        Ok(())
    }
}

fn read_some(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{needed, store};

    #[test]
    fn content_is_visible_only_when_it_is_complete() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello world");
        let mut writer = needed(&store, &descriptor);
        writer.write(b"hello ").unwrap();
        assert!(!store.has(&descriptor.digest).unwrap());
        writer.write(b"world").unwrap();
        assert!(!store.has(&descriptor.digest).unwrap());
        writer.commit().unwrap();
        assert_eq!(store.read_blob(&descriptor.digest, 100).unwrap(), b"hello world");
        assert!(matches!(store.ingest(&descriptor).unwrap(), Ingest::Present));
        assert!(
            fs::read_dir(store.ingest_dir())
                .unwrap()
                .all(|entry| { !entry.unwrap().file_name().to_str().unwrap().ends_with(".part") })
        );
    }

    #[test]
    fn a_dropped_download_goes_on_where_it_stopped() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello world");
        let mut writer = needed(&store, &descriptor);
        writer.write(b"hello ").unwrap();
        drop(writer);
        let mut writer = needed(&store, &descriptor);
        assert_eq!((writer.offset(), writer.resumed()), (6, 6));
        let mut text = String::new();
        writer.so_far().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello ");
        writer.write(b"world").unwrap();
        writer.commit().unwrap();
        assert!(store.has(&descriptor.digest).unwrap());
    }

    #[test]
    fn a_source_without_ranges_begins_anew() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello world");
        let mut writer = needed(&store, &descriptor);
        writer.write(b"hello ").unwrap();
        drop(writer);
        let mut writer = needed(&store, &descriptor);
        writer.reset().unwrap();
        assert_eq!(writer.offset(), 0);
        writer.write(b"hello world").unwrap();
        writer.commit().unwrap();
    }

    #[test]
    fn one_byte_more_is_refused() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello");
        let mut writer = needed(&store, &descriptor);
        assert!(matches!(writer.write(b"hello!"), Err(StoreError::Overrun { expected: 5, .. })));
        writer.write(b"hello").unwrap();
        assert!(matches!(writer.write(b"!"), Err(StoreError::Overrun { .. })));
        writer.commit().unwrap();
    }

    #[test]
    fn one_byte_less_is_refused_and_kept() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello");
        let mut writer = needed(&store, &descriptor);
        writer.write(b"hell").unwrap();
        let error = writer.commit().unwrap_err();
        assert!(matches!(error, StoreError::SizeMismatch { expected: 5, found: 4, .. }), "{error}");
        assert_eq!(needed(&store, &descriptor).offset(), 4);
    }

    #[test]
    fn wrong_content_is_named_and_discarded() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello");
        let mut writer = needed(&store, &descriptor);
        writer.write(b"jello").unwrap();
        let error = writer.commit().unwrap_err().to_string();
        assert!(error.contains(&descriptor.digest.to_string()), "{error}");
        assert!(error.contains(&Digest::sha256("jello").to_string()), "{error}");
        assert_eq!(needed(&store, &descriptor).offset(), 0);
    }

    #[test]
    fn a_partial_file_that_is_too_long_is_dropped() {
        let (_dir, store) = store();
        let descriptor = Descriptor::of("text/plain", b"hello");
        fs::write(store.part_path(&descriptor.digest), b"hello world").unwrap();
        assert_eq!(needed(&store, &descriptor).offset(), 0);
    }

    #[test]
    fn a_torn_blob_is_taken_in_again() {
        let (_dir, store) = store();
        let descriptor = store.put("text/plain", b"hello").unwrap();
        fs::write(store.blob_path(&descriptor.digest), b"").unwrap();
        store.put("text/plain", b"hello").unwrap();
        assert_eq!(store.read_blob(&descriptor.digest, 100).unwrap(), b"hello");
    }

    #[test]
    fn two_at_once_write_one_blob() {
        let (_dir, store) = store();
        let content = vec![7_u8; 100_000];
        let descriptor = Descriptor::of("text/plain", &content);
        let written = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Ingest::Needed(mut writer) = store.ingest(&descriptor).unwrap() {
                        written.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        for chunk in content.chunks(1000) {
                            writer.write(chunk).unwrap();
                        }
                        writer.commit().unwrap();
                    }
                });
            }
        });
        assert_eq!(written.into_inner(), 1);
        assert!(store.has(&descriptor.digest).unwrap());
    }
}
