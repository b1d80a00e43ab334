//! A file as a descriptor: what it is, what it has, and its content.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::enter::place::Tree;

/// Attributes that belong to a file system, not to a file: overlayfs's marks, and labels that a policy gives.
const NOT_THE_FILES: [&[u8]; 5] =
    [b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.ima", b"security.evm"];
/// The longest list of attributes, and the longest value, that Linux has.
const MAX_XATTR: usize = 64 * 1024;

/// A file that was found, whatever it is. It can't become another one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) fd: OwnedFd,
    pub(super) stat: Stat,
}

impl Node {
    /// The file of this name in a directory; a link itself.
    pub(super) fn find(parent: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::of(rustix::fs::openat(parent, name, flags, Mode::empty())?)
    }

    pub(super) fn of(fd: OwnedFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Seconds since 1970 and nanoseconds.
    pub(super) fn mtime(&self) -> (i64, u32) {
        (self.stat.st_mtime, u32::try_from(self.stat.st_mtime_nsec).unwrap_or(0))
    }

    /// The content of a regular file, or a directory to be listed: of the file that was found, for it is opened by the
    /// descriptor's number.
    pub(super) fn open(&self, tree: &Tree) -> Result<File, Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = match self.kind() {
            FileType::Directory => {
                rustix::fs::openat(&self.fd, ".", flags | OFlags::DIRECTORY, Mode::empty())
            }
            FileType::RegularFile => self.open_by_number(tree, flags),
            // Opening a device or a pipe does something.
            _ => Err(Errno::INVAL),
        };
        opened.map(File::from)
    }

    /// A regular file, emptied, to be written anew.
    pub(super) fn overwrite(&self, tree: &Tree) -> Result<File, Errno> {
        match self.kind() {
            FileType::RegularFile => {
                let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOCTTY;
                self.open_by_number(tree, flags).map(File::from)
            }
            _ => Err(Errno::BUSY),
        }
    }

    fn open_by_number(&self, tree: &Tree, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::fs::openat(&tree.numbers, self.fd.as_raw_fd().to_string(), flags, Mode::empty())
    }

    pub(super) fn link_text(&self) -> Result<Vec<u8>, Errno> {
        rustix::fs::readlinkat(&self.fd, "", Vec::new()).map(CString::into_bytes)
    }
}

/// How many bytes of names are held at once.
const MAX_NAMES: usize = 16 * 1024 * 1024;

/// The names in a directory, in batches. Each is sorted, and all but huge directories are one: the same files give the
/// same tar, and no directory takes all memory.
#[derive(Debug)]
pub(super) struct Names<'a> {
    directory: &'a File,
}

impl<'a> Names<'a> {
    pub(super) fn of(directory: &'a File) -> Result<Self, Errno> {
        rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
        Ok(Self { directory })
    }

    /// The next ones; none at the end.
    pub(super) fn batch(&mut self) -> Result<Vec<CString>, Errno> {
        let (mut names, mut bytes) = (Vec::new(), 0);
        let mut buffer = vec![MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(self.directory.as_fd(), &mut buffer);
        // What is in the buffer has been read, so it is taken.
        while bytes < MAX_NAMES || !entries.is_buffer_empty() {
            let Some(entry) = entries.next() else { break };
            let entry = entry?;
            if ![c".", c".."].contains(&entry.file_name()) {
                bytes += entry.file_name().count_bytes() + size_of::<CString>();
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// An extended attribute: name and value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// The extended attributes of an open file or directory, sorted.
pub(super) fn xattrs(file: &File) -> Result<Vec<Xattr>, Errno> {
    let mut list = vec![0; 1024];
    let length = loop {
        match rustix::fs::flistxattr(file, list.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::RANGE) if list.len() < MAX_XATTR => list.resize(MAX_XATTR, 0),
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found = Vec::new();
    for name in names.filter(|name| !NOT_THE_FILES.iter().any(|prefix| name.starts_with(prefix))) {
        if let Some(value) = xattr(file, name)? {
            found.push((name.to_vec(), value));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// One extended attribute.
pub(super) fn xattr(file: &File, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; 256];
    loop {
        match rustix::fs::fgetxattr(file, name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::RANGE) if value.len() < MAX_XATTR => value.resize(MAX_XATTR, 0),
            // It is gone, or its kind isn't kept here.
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
}
