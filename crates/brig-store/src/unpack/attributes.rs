//! Owners, permissions, extended attributes and times of what was made.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::header::Entry;
use super::path::TarPath;
use super::unmade::{Recorder, Why};

type Kernel<T> = rustix::io::Result<T>;

/// Owner, permissions and time of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: (i64, u32),
}

impl Attributes {
    /// Those of a directory that the tar has files in but no entry for, as docker makes it.
    pub(super) const IMPLICIT: Self = Self { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0) };

    pub(super) fn of(entry: &Entry) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
    }

    fn timestamps(self) -> Timestamps {
        let time = Timespec { tv_sec: self.mtime.0, tv_nsec: self.mtime.1.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// What an entry is reached by.
pub(super) enum Node<'a> {
    /// A descriptor that isn't `O_PATH`.
    Open(&'a OwnedFd),
    /// A name in a directory, not followed.
    Named(&'a OwnedFd, &'a OsStr),
}

/// Who is unpacking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    euid: u32,
    egid: u32,
}

impl Identity {
    pub(super) fn current() -> Self {
        Self { euid: rustix::process::geteuid().as_raw(), egid: rustix::process::getegid().as_raw() }
    }

    /// Whether what this process makes can't have other owners at all.
    fn is_ordinary(self) -> bool {
        self.euid != 0
    }
}

/// Sets owner, permissions and time, in this order: a change of owner takes setuid and capabilities away. Returns
/// what couldn't be made.
pub(super) fn set(
    node: &Node<'_>,
    attributes: Attributes,
    who: Identity,
    is_symlink: bool,
) -> Kernel<Option<Why>> {
    let owned = own(node, attributes, who)?;
    if !is_symlink {
        // Setuid without the right owner would be setuid to whoever unpacks.
        let kept = if owned { 0o7777 } else { 0o1777 };
        let mode = Mode::from_raw_mode(attributes.mode & kept);
        match node {
            Node::Open(file) => rustix::fs::fchmod(file, mode)?,
            // Made by us a moment ago, no symbolic link.
            Node::Named(dir, name) => rustix::fs::chmodat(dir, *name, mode, AtFlags::empty())?,
        }
    }
    let Attributes { mode, uid, gid, .. } = attributes;
    Ok((!owned).then_some(Why::Owner { uid, gid, mode }))
}

/// Sets the time; the last thing, since all else changes something.
pub(super) fn set_time(node: &Node<'_>, attributes: Attributes) -> Kernel<()> {
    match node {
        Node::Open(file) => rustix::fs::futimens(file, &attributes.timestamps()),
        Node::Named(dir, name) => {
            rustix::fs::utimensat(dir, *name, &attributes.timestamps(), AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

fn own(node: &Node<'_>, attributes: Attributes, who: Identity) -> Kernel<bool> {
    let Attributes { uid, gid, .. } = attributes;
    if who.is_ordinary() {
        // What an ordinary user has unpacked is root's in the container.
        return Ok((uid, gid) == (0, 0));
    }
    if (uid, gid) == (who.euid.into(), who.egid.into()) {
        return Ok(true);
    }
    let (Some(uid), Some(gid)) = (id(uid), id(gid)) else { return Ok(false) };
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let result = match node {
        Node::Open(file) => rustix::fs::fchown(file, owner.0, owner.1),
        Node::Named(dir, name) => {
            rustix::fs::chownat(dir, *name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)
        }
    };
    match result {
        Ok(()) => Ok(true),
        // Not mapped in this user namespace, or not allowed.
        Err(Errno::INVAL | Errno::PERM | Errno::OVERFLOW) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The largest value means "don't change" to the kernel and is no id.
fn id(value: u64) -> Option<u32> {
    u32::try_from(value).ok().filter(|id| *id != u32::MAX)
}

/// Sets the extended attributes that an image may set; records the others and those that the kernel refuses.
pub(super) fn set_xattrs(
    node: &Node<'_>,
    path: &TarPath,
    xattrs: &[(Vec<u8>, Vec<u8>)],
    unmade: &mut Recorder<'_>,
) -> super::Result<()> {
    for (name, value) in xattrs {
        if !is_allowed(name) || !set_xattr(node, name, value, path)? {
            unmade.xattr(path, name, value)?;
        }
    }
    Ok(())
}

fn is_allowed(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.contains(&0),
    }
}

fn set_xattr(node: &Node<'_>, name: &[u8], value: &[u8], path: &TarPath) -> super::Result<bool> {
    let name = OsStr::from_bytes(name);
    let result = match node {
        Node::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
        Node::Named(dir, file) => {
            let mut target = std::path::PathBuf::from(format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd()));
            target.push(file);
            rustix::fs::lsetxattr(&target, name, value, XattrFlags::empty())
        }
    };
    match result {
        Ok(()) => Ok(true),
        Err(
            Errno::PERM
            | Errno::ACCESS
            | Errno::OPNOTSUPP
            | Errno::INVAL
            | Errno::NOENT
            | Errno::RANGE
            | Errno::TOOBIG,
        ) => Ok(false),
        Err(error) => Err(super::UnpackError::Entry {
            action: "set an extended attribute of",
            path: path.to_path(),
            source: error.into(),
        }),
    }
}
