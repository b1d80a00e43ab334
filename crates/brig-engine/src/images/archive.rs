//! An image archive or layout as a set of named files: a directory, or a tar file that is read by offset.
//!
//! Untrusted: a tar's names are only compared, never used as paths of the host; in a directory no link is followed and
//! nothing but a regular file is read; documents, header records and what a compressed archive becomes are bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use brig_oci::{Digest, MAX_DOCUMENT_SIZE};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::tar_index::{Entry, index};
use crate::error::{Error, Result};

/// The most bytes that an archive may have when it is decompressed or comes by a pipe: what a single layer may have.
const MAX_SPOOLED: u64 = 64 << 30;
/// The largest zstd window, as a power of two: 128 MiB, zstd's own default for streams.
const ZSTD_WINDOW_LOG: u32 = 27;
/// How many links of docker's archives (`layer.tar -> ../<id>/layer.tar`) are followed.
const MAX_LINKS: usize = 8;

/// The name of a blob in a layout (image-spec `image-layout.md`, "Blobs").
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The files of an archive or layout.
#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    files: Files,
}

#[derive(Debug)]
enum Files {
    Directory(OwnedFd),
    Tar { file: File, entries: HashMap<String, Entry> },
}

impl Archive {
    /// Opens a directory or a tar file; without a path, standard input. What is compressed, or can't be read by
    /// offset, is spooled to a file that has no name.
    pub(super) fn open(path: Option<&Path>, spool_dir: &Path) -> Result<Self> {
        let Some(path) = path else {
            return Self::stream("standard input".into(), &mut io::stdin().lock(), spool_dir);
        };
        let meta = std::fs::metadata(path).map_err(Error::io("read", path))?;
        let mut file = File::open(path).map_err(Error::io("read", path))?;
        if meta.is_dir() {
            return Ok(Self { path: path.into(), files: Files::Directory(file.into()) });
        }
        let mut head = Vec::new();
        if meta.is_file() {
            head = self::head(&mut file).map_err(Error::io("read", path))?;
            file.rewind().map_err(Error::io("read", path))?;
        }
        match Compression::of(&head) {
            Compression::None if meta.is_file() => Self::tar(path.into(), file),
            _ => Self::stream(path.into(), &mut file, spool_dir),
        }
    }

    fn stream(path: PathBuf, from: &mut dyn Read, spool_dir: &Path) -> Result<Self> {
        let file = spool(decompressed(&path, from)?, &path, spool_dir, MAX_SPOOLED)?;
        Self::tar(path, file)
    }

    fn tar(path: PathBuf, file: File) -> Result<Self> {
        let entries = index(&file)
            .map_err(|error| Error::Archive { path: path.clone(), problem: error.to_string() })?;
        Ok(Self { path, files: Files::Tar { file, entries } })
    }

    /// A small file, whole.
    pub(super) fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some((file, size)) = self.file(name)? else { return Ok(None) };
        if size > MAX_DOCUMENT_SIZE {
            return Err(self.problem(format!("`{name}` has {size} bytes, more than the 4 MiB of a document")));
        }
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
        Ok(Some(bytes))
    }

    /// A file, and its size in bytes.
    pub(super) fn file(&self, name: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        match &self.files {
            Files::Directory(dir) => self.directory_file(dir, name),
            Files::Tar { file, entries } => {
                let Some((offset, size)) = follow(entries, name) else { return Ok(None) };
                let mut part = file.try_clone().map_err(Error::io("read", &self.path))?;
                part.seek(SeekFrom::Start(offset)).map_err(Error::io("read", &self.path))?;
                Ok(Some((Box::new(part.take(size)), size)))
            }
        }
    }

    /// Names come from documents of the layout, and what is in it from somebody else: the kernel keeps the look-up
    /// inside it, and a FIFO isn't waited for.
    fn directory_file(&self, dir: &OwnedFd, name: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(self.problem(format!("`{name}` is not a name inside it")));
        }
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(dir, name, flags, Mode::empty(), within) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                let problem =
                    format!("`{name}` is a symbolic link, which isn't followed: copy it with `cp -rL`");
                return Err(self.problem(problem));
            }
            Err(error) => return Err(Error::io("read", &path)(error.into())),
            Ok(file) => File::from(file),
        };
        let meta = file.metadata().map_err(Error::io("read", &path))?;
        if !meta.is_file() {
            return Err(self.problem(format!("`{name}` is not a regular file")));
        }
        Ok(Some((Box::new(file.take(meta.len())), meta.len())))
    }

    pub(super) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Archive { path: self.path.clone(), problem: problem.into() }
    }
}

/// What a stream holds, decompressed where it is compressed. `path` is what errors call it.
pub(super) fn decompressed<'a>(path: &Path, from: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>> {
    let head = head(from).map_err(Error::io("read", path))?;
    let compression = Compression::of(&head);
    let whole = io::Cursor::new(head).chain(from);
    Ok(match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        Compression::Zstd => Box::new(zstd_decoder(whole).map_err(Error::io("read", path))?),
        Compression::Other { name, command } => {
            let problem = format!("it is compressed with {name}: decompress it first, with `{command}`");
            return Err(Error::Archive { path: path.into(), problem });
        }
    })
}

fn follow(entries: &HashMap<String, Entry>, name: &str) -> Option<(u64, u64)> {
    let mut name = name.trim_start_matches("./");
    for _ in 0..MAX_LINKS {
        match entries.get(name)? {
            Entry::File { offset, size } => return Some((*offset, *size)),
            Entry::Link(target) => name = target,
        }
    }
    None
}

/// How an archive is compressed, by its first bytes.
enum Compression {
    None,
    Gzip,
    Zstd,
    Other { name: &'static str, command: &'static str },
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Other { name: "xz", command: "unxz" },
            [b'B', b'Z', b'h', ..] => Self::Other { name: "bzip2", command: "bunzip2" },
            _ => Self::None,
        }
    }
}

/// The first bytes; fewer where there are no more.
fn head(from: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    from.take(6).read_to_end(&mut head)?;
    Ok(head)
}

fn zstd_decoder<'a>(from: impl Read + 'a) -> io::Result<impl Read + 'a> {
    let mut decoder = zstd::stream::read::Decoder::new(from)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Copies a stream to a file that is deleted already, in the store's file system.
fn spool(from: impl Read, path: &Path, dir: &Path, limit: u64) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|error| Error::io("make a temporary file in", dir)(error.into()))?;
    let mut file = File::from(file);
    let mut from = from.take(limit + 1);
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::io("read", path))?,
        };
        if count == 0 {
            break;
        }
        total += count as u64;
        if total > limit {
            let problem = format!("it has more than {limit} bytes when it is decompressed");
            return Err(Error::Archive { path: path.into(), problem });
        }
        file.write_all(&buffer[..count]).map_err(Error::io("write a temporary file in", dir))?;
    }
    file.rewind().map_err(Error::io("read a temporary file in", dir))?;
    Ok(file)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
