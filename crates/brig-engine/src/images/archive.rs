//! An image archive or layout as a set of named files: a directory, or a tar file that is read by offset.
//!
//! Untrusted: names are only compared, never used as paths of the host; documents are bounded; a tar of more than
//! [`MAX_ENTRIES`] entries is refused.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use brig_oci::{Digest, MAX_DOCUMENT_SIZE};

use crate::error::{Error, Result};

/// docker's archives have three entries a layer; layouts one a blob.
const MAX_ENTRIES: usize = 100_000;
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
    Directory,
    Tar { file: File, entries: HashMap<String, Entry> },
}

#[derive(Debug)]
enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Archive {
    /// Opens a directory or a tar file; without a path, spools standard input to a file that has no name.
    pub(super) fn open(path: Option<&Path>, spool_dir: &Path) -> Result<Self> {
        let Some(path) = path else {
            let shown = PathBuf::from("standard input");
            let file = spool(io::stdin().lock(), spool_dir)?;
            return Self::tar(shown, file);
        };
        let meta = std::fs::metadata(path).map_err(Error::io("read", path))?;
        if meta.is_dir() {
            return Ok(Self { path: path.into(), files: Files::Directory });
        }
        let file = File::open(path).map_err(Error::io("read", path))?;
        if meta.is_file() {
            return Self::tar(path.into(), file);
        }
        Self::tar(path.into(), spool(file, spool_dir)?)
    }

    fn tar(path: PathBuf, mut file: File) -> Result<Self> {
        let mut magic = [0; 4];
        let filled = file.read(&mut magic).map_err(Error::io("read", &path))?;
        let problem = match &magic[..filled] {
            [0x1f, 0x8b, ..] => Some("it is compressed with gzip: decompress it first, with `gunzip`"),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                Some("it is compressed with zstd: decompress it first, with `unzstd`")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Error::Archive { path, problem: problem.into() });
        }
        file.rewind().map_err(Error::io("read", &path))?;
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
            Files::Directory => self.directory_file(name),
            Files::Tar { file, entries } => {
                let Some((offset, size)) = follow(entries, name) else { return Ok(None) };
                let mut part = file.try_clone().map_err(Error::io("read", &self.path))?;
                part.seek(SeekFrom::Start(offset)).map_err(Error::io("read", &self.path))?;
                Ok(Some((Box::new(part.take(size)), size)))
            }
        }
    }

    /// Names come from documents of the layout: only plain relative ones are looked up.
    fn directory_file(&self, name: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(self.problem(format!("`{name}` is not a name inside it")));
        }
        let path = self.path.join(name);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(Error::io("read", &path))?,
        };
        let meta = file.metadata().map_err(Error::io("read", &path))?;
        Ok(Some((Box::new(file), meta.len())))
    }

    pub(super) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Archive { path: self.path.clone(), problem: problem.into() }
    }
}

/// Where each file of the tar begins.
fn index(file: &File) -> io::Result<HashMap<String, Entry>> {
    let mut entries = HashMap::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let target = || entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let found = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                Entry::File { offset: entry.raw_file_position(), size: entry.size() }
            }
            tar::EntryType::Symlink => Entry::Link(join(&name, &target().unwrap_or_default())),
            tar::EntryType::Link => Entry::Link(target().unwrap_or_default()),
            _ => continue,
        };
        if entries.len() >= MAX_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MAX_ENTRIES} entries")));
        }
        entries.insert(name, found);
    }
    Ok(entries)
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

/// A link's target, relative to the archive's root.
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

/// Copies a stream to a file that is deleted already, in the store's file system.
fn spool(mut from: impl Read, dir: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::CLOEXEC;
    let file = rustix::fs::open(dir, flags, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .map_err(|error| Error::io("make a temporary file in", dir)(error.into()))?;
    let mut file = File::from(file);
    io::copy(&mut from, &mut file)
        .and_then(|_| file.flush())
        .map_err(Error::io("write a temporary file in", dir))?;
    file.rewind().map_err(Error::io("read a temporary file in", dir))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Result<Archive> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        let bytes = builder.into_inner().unwrap();
        let file = spool(bytes.as_slice(), &std::env::temp_dir())?;
        Archive::tar("test.tar".into(), file)
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
    }

    #[test]
    fn files_and_dockers_links_are_found() {
        let archive = archive(|builder| {
            add(builder, "one/layer.tar", b"layer");
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, "two/layer.tar", "../one/layer.tar").unwrap();
        })
        .unwrap();
        assert_eq!(archive.document("two/layer.tar").unwrap().unwrap(), b"layer");
        assert_eq!(archive.document("three").unwrap(), None);
    }

    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let archive = archive(|builder| {
            for (name, target) in [("a", "b"), ("b", "a")] {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                builder.append_link(&mut header, name, target).unwrap();
            }
        })
        .unwrap();
        assert_eq!(archive.document("a").unwrap(), None);
    }

    #[test]
    fn names_that_leave_a_layout_are_refused() {
        let archive = Archive { path: std::env::temp_dir(), files: Files::Directory };
        for name in ["../etc/passwd", "/etc/passwd", "a//b", "blobs/../../x"] {
            assert!(archive.document(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_tar_is_named() {
        let file = spool(&b"\x1f\x8b\x08garbage"[..], &std::env::temp_dir()).unwrap();
        let error = Archive::tar("x.tgz".into(), file).unwrap_err();
        assert!(error.to_string().contains("gunzip"), "{error}");
    }
}
