//! Device files and the links beside them.
//!
//! Each device is a mount of its own over the file that stands for it, so that afterwards devices can be forbidden in
//! the file system around it (`nodev`): then `mknod` in a container gives files that nobody can open, without a devices
//! cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use brig_runtime::plan::DevicePlan;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::child::Entry;
use super::failure::{Failure, On};
use super::mounts;

/// Makes the device files.
pub(super) fn make_devices(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let root = entry.root()?;
    // In a user namespace nobody may make device files, but the host's may be bound.
    let bind = entry.plan.user_namespace.is_some();
    for device in &entry.plan.devices {
        make_device(root, device, bind).on(&device.path)?;
    }
    Ok(())
}

fn make_device(root: BorrowedFd<'_>, device: &DevicePlan, bind: bool) -> Result<(), Failure> {
    let node = if bind { Err(Errno::PERM.into()) } else { make_node(root, device) };
    let made = match node {
        // Also of a process that is in a user namespace already.
        Err(failure) if failure.errno == Errno::PERM.raw_os_error() => {
            mounts::clone_tree(&device.host, false).on(&device.host)?
        }
        node => mounts::clone_of(node?.as_fd())?,
    };
    if !is_device(&made, device)? {
        return Err(Errno::NODEV.into());
    }
    let target = mounts::make_target(root, &device.path, FileType::RegularFile)?;
    mounts::attach(made.as_fd(), target.as_fd())?;
    Ok(())
}

/// Makes the file, or takes the one that is there, if it is the same device.
fn make_node(root: BorrowedFd<'_>, device: &DevicePlan) -> Result<OwnedFd, Failure> {
    let path = Path::new(&device.path);
    let above = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = mounts::make_target(root, above, FileType::Directory)?;
    let number = rustix::fs::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    let made = rustix::fs::mknodat(&parent, name, FileType::from_raw_mode(device.mode), mode, number);
    let there = match made {
        Err(Errno::EXIST) => true,
        made => made.map(|()| false)?,
    };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
    if there {
        return Ok(node);
    }
    // The umask may have taken bits away.
    rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())?;
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        rustix::fs::chownat(&node, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(node)
}

fn is_device(fd: &OwnedFd, device: &DevicePlan) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    let kind = FileType::from_raw_mode(device.mode);
    let same_type = FileType::from_raw_mode(stat.st_mode) == kind;
    // A pipe has no number, whatever a spec gives it.
    Ok(same_type
        && (kind == FileType::Fifo || stat.st_rdev == rustix::fs::makedev(device.major, device.minor)))
}

/// Makes the links. One that is there stays as it is.
pub(super) fn make_links(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let root = entry.root()?;
    for (path, to) in &entry.plan.links {
        match make_link(root, Path::new(path), to) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).on(path),
        }
    }
    Ok(())
}

fn make_link(root: BorrowedFd<'_>, path: &Path, to: &str) -> Result<(), Errno> {
    let above = path.parent().unwrap_or(Path::new("/"));
    let parent = mounts::make_target(root, above, FileType::Directory)?;
    rustix::fs::symlinkat(to, &parent, path.file_name().ok_or(Errno::INVAL)?)
}
