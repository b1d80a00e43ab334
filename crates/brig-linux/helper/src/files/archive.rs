//! Files into a tar.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{FileType, SeekFrom, major, minor, seek};
use rustix::io::Errno;

use super::node::{Names, Node, xattrs};
use super::tar::{self, Entry, Writer};
use super::{MAX_PATH, Result, failed, lookup, problem};
use crate::enter::place::Tree;

/// How much is read at once.
const CHUNK: usize = 128 * 1024;
/// The most pieces that a file with holes is told as; what comes after is told as one, with its holes as zeros.
const MAX_PIECES: usize = 4096;
/// How many bytes of names of files with several names are kept, to tell the others as links. Beyond that they are told
/// as files: memory is bounded, and a tar of them is right, but larger.
const MAX_LINKED: usize = 32 * 1024 * 1024;

/// A path under a name, with all that is below it.
pub(super) fn read(tree: &Tree, path: &str, name: &str, out: impl Write) -> Result<()> {
    let node = lookup::find(tree, path)?;
    let mut archive = Archive::new(tree, out);
    archive.add(&node, name.as_bytes().to_vec())?;
    archive.finish()
}

/// All that is below the root.
pub(super) fn whole(tree: &Tree, out: impl Write) -> Result<()> {
    let root = lookup::find(tree, "/")?;
    let mut archive = Archive::new(tree, out);
    archive.children(&root, b"")?;
    archive.finish()
}

/// A tar that is being written.
pub(super) struct Archive<'a, W: Write> {
    tree: &'a Tree,
    tar: Writer<W>,
    /// The first name of each file that may have several.
    linked: HashMap<(u64, u64), Vec<u8>>,
    linked_bytes: usize,
    buffer: Vec<u8>,
}

impl<'a, W: Write> Archive<'a, W> {
    pub(super) fn new(tree: &'a Tree, out: W) -> Self {
        Self { tree, tar: Writer::new(out), linked: HashMap::new(), linked_bytes: 0, buffer: vec![0; CHUNK] }
    }

    pub(super) fn finish(self) -> Result<()> {
        self.tar.finish().map(drop).map_err(|error| failed("hand on the tar", b"", error))
    }

    /// A file, and what is below it.
    fn add(&mut self, node: &Node, path: Vec<u8>) -> Result<()> {
        self.one(node, &path)?;
        if node.is_dir() {
            let prefix = [path.as_slice(), b"/"].concat();
            self.children(node, &prefix)?;
        }
        Ok(())
    }

    fn children(&mut self, directory: &Node, prefix: &[u8]) -> Result<()> {
        let list = |errno| failed("list", prefix, errno);
        let open = directory.open(self.tree).map_err(|errno| failed("open", prefix, errno))?;
        let mut names = Names::of(&open).map_err(list)?;
        loop {
            let batch = names.batch().map_err(list)?;
            if batch.is_empty() {
                return Ok(());
            }
            for name in batch {
                self.child(&open, &name, [prefix, name.as_bytes()].concat())?;
            }
        }
    }

    fn child(&mut self, parent: &File, name: &CStr, path: Vec<u8>) -> Result<()> {
        if path.len() > MAX_PATH {
            return Err(problem("read", &path[..MAX_PATH], "its path is too long"));
        }
        match self.find(parent, name, &path)? {
            Some(node) => self.add(&node, path),
            None => Ok(()),
        }
    }

    /// What is gone since the directory was listed is left out.
    fn find(&self, parent: &File, name: &CStr, path: &[u8]) -> Result<Option<Node>> {
        match Node::find(parent.as_fd(), name) {
            Ok(node) => Ok(Some(node)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", path, errno)),
        }
    }

    /// One file, without what is below it.
    pub(super) fn one(&mut self, node: &Node, path: &[u8]) -> Result<()> {
        let mut entry = describe(node, path);
        match node.kind() {
            // There is no entry for a socket, and nobody needs a dead one.
            FileType::Socket => return Ok(()),
            FileType::Symlink => {
                entry.link = node.link_text().map_err(|errno| failed("read the link", path, errno))?;
            }
            FileType::Directory => {
                entry.path.push(b'/');
                let open = node.open(self.tree).map_err(|errno| failed("open", path, errno))?;
                entry.xattrs =
                    xattrs(&open).map_err(|errno| failed("read the attributes of", path, errno))?;
            }
            FileType::RegularFile => return self.file(node, entry),
            _ => {}
        }
        self.entry(&entry)
    }

    /// An entry without data.
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<()> {
        let written = self.tar.begin(entry).and_then(|()| self.tar.end());
        written.map_err(|error| failed("hand on the tar", b"", error))
    }

    fn file(&mut self, node: &Node, mut entry: Entry) -> Result<()> {
        if let Some(first) = self.other_name(node, &entry.path) {
            entry = Entry { kind: tar::HARD_LINK, link: first, size: 0, ..entry };
            return self.entry(&entry);
        }
        let path = entry.path.clone();
        let open = node.open(self.tree).map_err(|errno| failed("open", &path, errno))?;
        entry.xattrs = xattrs(&open).map_err(|errno| failed("read the attributes of", &path, errno))?;
        let blocks = u64::try_from(node.stat.st_blocks).unwrap_or(u64::MAX);
        if blocks.saturating_mul(512) < entry.size {
            entry.pieces =
                Some(pieces(&open, entry.size).map_err(|errno| failed("find the holes of", &path, errno))?);
        }
        self.tar.begin(&entry).map_err(|error| failed("hand on the tar", b"", error))?;
        for (offset, length) in entry.pieces.unwrap_or_else(|| vec![(0, entry.size)]) {
            if !self.content(&open, offset, length, &path)? {
                break;
            }
        }
        self.tar.end().map_err(|error| failed("hand on the tar", b"", error))
    }

    /// Copies a part of a file; says whether all of it was there. A file that got shorter meanwhile ends in zeros.
    fn content(&mut self, file: &File, mut offset: u64, mut length: u64, path: &[u8]) -> Result<bool> {
        while length > 0 {
            let wanted = CHUNK.min(usize::try_from(length).unwrap_or(CHUNK));
            let read = rustix::io::retry_on_intr(|| {
                file.read_at(&mut self.buffer[..wanted], offset)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            });
            let count = read.map_err(|errno| failed("read", path, errno))?;
            if count == 0 {
                return Ok(false);
            }
            self.tar.data(&self.buffer[..count]).map_err(|error| failed("hand on the tar", b"", error))?;
            offset += count as u64;
            length -= count as u64;
        }
        Ok(true)
    }

    /// The name under which the tar has this file already.
    fn other_name(&mut self, node: &Node, path: &[u8]) -> Option<Vec<u8>> {
        if node.stat.st_nlink < 2 {
            return None;
        }
        let key = (node.stat.st_dev, node.stat.st_ino);
        if let Some(first) = self.linked.get(&key) {
            return Some(first.clone());
        }
        // With the entry itself.
        let bytes = path.len() + 64;
        if self.linked_bytes + bytes <= MAX_LINKED {
            self.linked_bytes += bytes;
            self.linked.insert(key, path.to_vec());
        }
        None
    }
}

fn describe(node: &Node, path: &[u8]) -> Entry {
    let stat = &node.stat;
    let device = matches!(node.kind(), FileType::CharacterDevice | FileType::BlockDevice);
    Entry {
        kind: match node.kind() {
            FileType::Directory => tar::DIRECTORY,
            FileType::Symlink => tar::SYMLINK,
            FileType::CharacterDevice => tar::CHAR_DEVICE,
            FileType::BlockDevice => tar::BLOCK_DEVICE,
            FileType::Fifo => tar::FIFO,
            _ => tar::FILE,
        },
        path: path.to_vec(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        size: if node.kind() == FileType::RegularFile { node.size() } else { 0 },
        mtime: node.mtime(),
        device: if device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
        ..Entry::default()
    }
}

/// Where the data of a file with holes is.
fn pieces(file: &File, size: u64) -> std::result::Result<Vec<(u64, u64)>, Errno> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        let end = match pieces.len() {
            MAX_PIECES.. => size,
            _ => seek(file, SeekFrom::Hole(start))?.min(size),
        };
        if start >= end {
            break;
        }
        pieces.push((start, end - start));
        at = end;
    }
    Ok(pieces)
}
