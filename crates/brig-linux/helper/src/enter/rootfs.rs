//! The root file system: mounted over the host's, sealed, and made the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use brig_runtime::plan::RootFs;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount_change, move_mount, open_tree, unmount,
};

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, open_path, propagation, sys};

/// A string option of the mount interface may be as long, with its end.
const MAX_OPTION: usize = 255;

/// The host hears nothing of what is mounted here, and this namespace nothing of what the host mounts, but for mounts
/// that want it.
pub(super) fn make_private(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let flags = if propagation::wants_host_events(entry.plan) {
        MountPropagationFlags::DOWNSTREAM
    } else {
        MountPropagationFlags::PRIVATE
    };
    mount_change("/", flags | MountPropagationFlags::REC)?;
    Ok(())
}

/// Mounts the root file system over `/`. This process doesn't see it there, for its root is the directory below; it
/// keeps it as a descriptor.
pub(super) fn mount_root(entry: &mut Entry<'_>) -> Result<(), Failure> {
    entry.root = Some(attach_root(&entry.plan.root)?);
    Ok(())
}

/// Mounts a root file system over `/`; a directory of the host over itself, where hooks look for it.
pub(super) fn attach_root(root: &RootFs) -> Result<OwnedFd, Failure> {
    let place = match root {
        RootFs::Path { path } => path,
        _ => Path::new("/"),
    };
    match open_root(root)? {
        Opened::Detached(root) => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&root, "", CWD, place, flags).on(place)?;
            Ok(root)
        }
        Opened::Attached(root) => Ok(root),
    }
}

/// A mount, and whether it has a place already.
#[derive(Debug)]
pub(super) enum Opened {
    /// Nowhere yet.
    Detached(OwnedFd),
    /// Somewhere in the host's tree, as this namespace has it.
    Attached(OwnedFd),
}

/// Makes the mount of a root file system.
pub(super) fn open_root(root: &RootFs) -> Result<Opened, Failure> {
    match root {
        RootFs::Overlay { lowers, upper, work, options } => {
            let overlay = Overlay { lowers, upper: upper.as_deref(), work: work.as_deref(), options };
            match overlay.open() {
                // Before Linux 6.7 layers can't be given one by one.
                Err(failure) if failure.errno == Errno::INVAL.raw_os_error() => {
                    overlay.mount_by_string().map(Opened::Attached)
                }
                opened => opened.map(Opened::Detached),
            }
        }
        RootFs::Path { path } => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            open_tree(CWD, path, flags).on(path).map(Opened::Detached)
        }
        RootFs::Empty => {
            let options =
                [("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("1m".to_owned()))];
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
            mounts::new_file_system("tmpfs", &options, flags).on("tmpfs").map(Opened::Detached)
        }
    }
}

struct Overlay<'a> {
    lowers: &'a [PathBuf],
    upper: Option<&'a Path>,
    work: Option<&'a Path>,
    options: &'a [String],
}

impl Overlay<'_> {
    fn open(&self) -> Result<OwnedFd, Failure> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).on("overlay")?;
        // Held until the file system is made: their numbers stand for paths.
        let mut held = Vec::new();
        for lower in self.lowers {
            fsconfig_set_string(fs.as_fd(), "lowerdir+", short(lower, &mut held)?).on(lower)?;
        }
        for (key, path) in [("upperdir", self.upper), ("workdir", self.work)] {
            if let Some(path) = path {
                fsconfig_set_string(fs.as_fd(), key, short(path, &mut held)?).on(path)?;
            }
        }
        for option in self.options {
            match option.split_once('=') {
                Some((key, value)) => fsconfig_set_string(fs.as_fd(), key, value).on(option)?,
                None => fsconfig_set_flag(fs.as_fd(), option.as_str()).on(option)?,
            }
        }
        fsconfig_create(fs.as_fd()).on("overlay")?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).on("overlay")
    }

    /// As one string of options, over the writable directory, which is the container's alone, or else over the uppermost
    /// layer. Paths are given by descriptors: short, and without
    /// characters that have a meaning.
    fn mount_by_string(&self) -> Result<OwnedFd, Failure> {
        let mut held = Vec::new();
        let mut by_number = |path: &Path| -> Result<String, Failure> {
            held.push(open_path(path)?);
            let fd = held.last().ok_or(Errno::BADF)?;
            Ok(number_path(fd))
        };
        let lowers = self.lowers.iter().map(|lower| by_number(lower)).collect::<Result<Vec<_>, _>>()?;
        let mut options = vec![format!("lowerdir={}", lowers.join(":"))];
        for (key, path) in [("upperdir", self.upper), ("workdir", self.work)] {
            if let Some(path) = path {
                options.push(format!("{key}={}", by_number(path)?));
            }
        }
        options.extend(self.options.iter().map(|option| quoted(option)));
        let options = std::ffi::CString::new(options.join(",")).map_err(|_| Errno::INVAL)?;
        let target = self.upper.or(self.lowers.first().map(PathBuf::as_path)).ok_or(Errno::INVAL)?;
        rustix::mount::mount("overlay", target, "overlay", MountFlags::empty(), options.as_c_str())
            .on(target)?;
        open_path(target)
    }
}

/// A label may have a comma in it, which ends an option that isn't quoted.
fn quoted(option: &str) -> String {
    match option.split_once('=') {
        Some((key, value)) if value.contains(',') => format!("{key}=\"{value}\""),
        _ => option.to_owned(),
    }
}

/// A path as an option can say it.
fn short(path: &Path, held: &mut Vec<OwnedFd>) -> Result<PathBuf, Failure> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if bytes.len() <= MAX_OPTION && !bytes.iter().any(|byte| b",:\\".contains(byte)) {
        return Ok(path.to_owned());
    }
    let fd = open_path(path)?;
    let short = number_path(&fd).into();
    held.push(fd);
    Ok(short)
}

fn number_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd))
}

/// What mount points are to become once nothing is made in them any more.
pub(super) fn seal(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let root = entry.root()?;
    for (path, attributes) in &entry.plan.seals {
        let mount = mounts::open_in(root, path, OFlags::PATH | OFlags::CLOEXEC).on(path)?;
        sys::mount_setattr(mount.as_fd(), *attributes, 0, 0, false).on(path)?;
    }
    Ok(())
}

/// Makes the root file system the root.
pub(super) fn pivot(entry: &mut Entry<'_>) -> Result<(), Failure> {
    pivot_to(entry.root()?)?;
    entry.root = None;
    let propagation = MountPropagationFlags::from_bits_retain(entry.plan.propagation);
    if !propagation.is_empty() && !propagation.contains(MountPropagationFlags::PRIVATE) {
        mount_change("/", propagation)?;
    }
    Ok(())
}

/// Makes a mount the root, and drops the host's. Both are called `.` for a moment, which saves a directory in the
/// container to hang the old one into.
pub(super) fn pivot_to(root: BorrowedFd<'_>) -> Result<(), Failure> {
    rustix::process::fchdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}
