//! Parts of `/proc` and `/sys` that the container doesn't see or can't write, and kernel parameters.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, sys};

/// Major and minor number of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// Writes kernel parameters of the new namespaces into the container's `/proc`. The look-up can't leave that mount and
/// follows no link, so a value never ends up in another file (CVE-2025-52881).
pub(super) fn set_sysctls(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.sysctls.is_empty() {
        return Ok(());
    }
    let proc = mounts::open_strictly(entry.root()?, "/proc").on("/proc")?;
    if rustix::fs::fstatfs(&proc)?.f_type != mounts::PROC_MAGIC {
        return Err(Errno::NODEV).on("/proc");
    }
    for (name, value) in &entry.plan.sysctls {
        set_sysctl(proc.as_fd(), name, value).on(name)?;
    }
    Ok(())
}

fn set_sysctl(proc: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(proc, format!("sys/{name}"), flags, Mode::empty(), how)?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}

/// Makes paths read-only: each becomes a mount of itself.
pub(super) fn make_read_only(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let root = entry.root()?;
    for path in &entry.plan.read_only {
        let Some(target) = existing(root, path)? else { continue };
        let mount = mounts::clone_of(target.as_fd()).on(path)?;
        sys::mount_setattr(mount.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, true).on(path)?;
        mounts::attach(mount.as_fd(), target.as_fd()).on(path)?;
    }
    Ok(())
}

/// Hides paths: files behind `/dev/null`, directories behind an empty one. The first of each kind is made, and the
/// others are copies of it, since copies can be made of a mount that has a place.
pub(super) fn hide(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let root = entry.root()?;
    let (mut null, mut empty) = (None, None);
    for path in &entry.plan.masked {
        let Some(target) = existing(root, path)? else { continue };
        let mode = rustix::fs::fstat(&target).on(path)?.st_mode;
        if FileType::from_raw_mode(mode) == FileType::Directory {
            cover(&target, &mut empty, empty_directory).on(path)?;
        } else {
            cover(&target, &mut null, null_file).on(path)?;
        }
    }
    Ok(())
}

fn cover(
    target: &OwnedFd,
    first: &mut Option<OwnedFd>,
    make: fn() -> Result<OwnedFd, Failure>,
) -> Result<(), Failure> {
    let mount = match first {
        Some(first) => mounts::clone_of(first.as_fd())?,
        None => make()?,
    };
    mounts::attach(mount.as_fd(), target.as_fd())?;
    first.get_or_insert(mount);
    Ok(())
}

/// A path that is there. In `/proc` and `/sys` there are no links on the way, so one is somebody's trick.
fn existing(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Failure> {
    let kernels = path.starts_with("/proc/") || path.starts_with("/sys/");
    let opened = if kernels {
        mounts::open_strictly(root, path)
    } else {
        mounts::open_in(root, path, OFlags::PATH | OFlags::CLOEXEC)
    };
    match opened {
        Ok(target) => Ok(Some(target)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).on(path),
    }
}

/// The host's `/dev/null`, and nothing that only has its name (CVE-2025-31133). It can be written, as devices can in a
/// read-only mount, but its mode is the host's and stays.
fn null_file() -> Result<OwnedFd, Failure> {
    let path = "/dev/null";
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::openat(CWD, path, flags, Mode::empty()).on(path)?;
    let stat = rustix::fs::fstat(&null).on(path)?;
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || device != NULL {
        return Err(Errno::NODEV).on(path);
    }
    let mount = mounts::clone_of(null.as_fd()).on(path)?;
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
    sys::mount_setattr(mount.as_fd(), set, 0, 0, false).on(path)?;
    Ok(mount)
}

fn empty_directory() -> Result<OwnedFd, Failure> {
    let options = [("size".to_owned(), Some("4k".to_owned())), ("mode".to_owned(), Some("0555".to_owned()))];
    let flags = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mounts::new_file_system("tmpfs", &options, flags)
}
