//! Mounts in the new root, which isn't the root yet: its paths are an image's, and an image may be hostile.
//!
//! Every target is looked up by `openat2` with `RESOLVE_IN_ROOT`, so that neither `..` nor a symbolic link leads out of
//! the new root, and is a descriptor from then on; what is mounted is attached to the descriptor. Nobody can put
//! something else in its place in between (CVE-2021-30465).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use brig_runtime::plan::{MountKind, MountPlan, RootFs};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick,
    move_mount, open_tree, unmount,
};

use super::child::Entry;
use super::failure::{Failure, On};
use super::propagation::{self, Host, wants_host_events};
use super::rootfs::{Opened, open_root};
use super::{copy_up, idmap, open_path, sys};

/// What `statfs` says of a devpts (`linux/magic.h`).
pub(super) const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;
pub(super) const PROC_MAGIC: rustix::fs::FsWord = 0x9fa0;
/// As many as the kernel follows in one look-up.
const MAX_SYMLINKS: u32 = 40;

/// Makes all mounts, in their order.
pub(super) fn mount_all(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let mut made = std::mem::take(&mut entry.mapped);
    let root = entry.root()?;
    let slave = wants_host_events(entry.plan);
    let host = Host { events: slave, shared: propagation::is_shared(entry.plan.propagation) };
    for (number, mount) in entry.plan.mounts.iter().enumerate() {
        let mounted = match idmap::take(&mut made, number) {
            Some(made) => mount_tree(root, mount, &made, Host { events: true, ..host }),
            None => mount_one(root, mount, host),
        };
        mounted.on(&mount.target)?;
    }
    Ok(())
}

/// Mounts a copy of a part of the host's tree.
fn mount_tree(root: BorrowedFd<'_>, mount: &MountPlan, made: &OwnedFd, host: Host) -> Result<(), Failure> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(made)?.st_mode);
    if mount.links.copy && kind == FileType::Symlink {
        return copy_link(root, mount, made);
    }
    change_attributes(made, mount, host)?;
    attach(made.as_fd(), target_of(root, mount, kind)?.as_fd())?;
    Ok(())
}

/// Makes one mount.
pub(super) fn mount_one(root: BorrowedFd<'_>, mount: &MountPlan, host: Host) -> Result<(), Failure> {
    let (made, kind) = match &mount.what {
        MountKind::New { fs_type, options } => return mount_new(root, mount, fs_type, options),
        MountKind::Change { options } => return change(root, mount, options, host),
        MountKind::Bind { source, recursive } => {
            let made = clone_for(mount, source, *recursive).on(source)?;
            return mount_tree(root, mount, &made, host);
        }
        MountKind::Mapped { source, recursive, ids } => {
            let made = idmap::mapped(source, *recursive, ids).on(source)?;
            return mount_tree(root, mount, &made, Host { events: true, ..host });
        }
        MountKind::Root(root) => {
            let made = match open_root(root)? {
                Opened::Detached(made) => made,
                Opened::Attached(made) => moved(&made)?,
            };
            change_attributes(&made, mount, host)?;
            (made, FileType::Directory)
        }
        MountKind::Part { root: whole, place, path } => {
            let made = part(whole, place, path).on(path)?;
            return mount_tree(root, mount, &made, host);
        }
    };
    let target = target_of(root, mount, kind)?;
    attach(made.as_fd(), target.as_fd())?;
    Ok(())
}

/// A new file system. One that begins with a copy of what is in its place is written to before it can't be.
fn mount_new(
    root: BorrowedFd<'_>,
    mount: &MountPlan,
    fs_type: &str,
    options: &[(String, Option<String>)],
) -> Result<(), Failure> {
    let later = if mount.copy_up { mount.set & libc::MOUNT_ATTR_RDONLY } else { 0 };
    let attributes = u32::try_from(mount.set & !later).map_err(|_| Errno::INVAL)?;
    let made = match new_file_system(fs_type, options, MountAttrFlags::from_bits_retain(attributes)) {
        // Of a network namespace that was entered, and isn't the user namespace's.
        Err(failure) if fs_type == "sysfs" && failure.errno == Errno::PERM.raw_os_error() => host_sys(mount)?,
        made => made?,
    };
    let target = target_of(root, mount, FileType::Directory)?;
    if mount.copy_up {
        copy_up::fill(made.as_fd(), target.as_fd(), options)?;
    }
    if later != 0 {
        sys::mount_setattr(made.as_fd(), later, 0, 0, false)?;
    }
    propagation::set(made.as_fd(), mount.propagation, Host::default())?;
    attach(made.as_fd(), target.as_fd())?;
    Ok(())
}

/// The host's `/sys`, which is what everybody sees of devices, but for the network's.
fn host_sys(mount: &MountPlan) -> Result<OwnedFd, Failure> {
    let made = clone_tree(Path::new("/sys"), true).on("/sys")?;
    sys::mount_setattr(made.as_fd(), mount.set, 0, libc::MS_PRIVATE, true).on("/sys")?;
    Ok(made)
}

/// Changes what is mounted in a place, and its file system where that is asked for.
fn change(
    root: BorrowedFd<'_>,
    mount: &MountPlan,
    options: &[(String, Option<String>)],
    host: Host,
) -> Result<(), Failure> {
    let old = open_in(root, &mount.target, OFlags::PATH | OFlags::CLOEXEC)?;
    change_attributes(&old, mount, Host { events: false, ..host })?;
    if options.is_empty() {
        return Ok(());
    }
    let fs = fspick(&old, "", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH)?;
    set_options(fs.as_fd(), options)?;
    fsconfig_reconfigure(fs.as_fd())?;
    Ok(())
}

/// A mount in the host's tree, taken out of it: what it is over may be needed as it is.
fn moved(made: &OwnedFd) -> Result<OwnedFd, Failure> {
    let copy = clone_of(made.as_fd())?;
    detach(made)?;
    Ok(copy)
}

/// A copy of a part of a file system, mounted nowhere. What isn't mounted anywhere can't be copied in parts, so an
/// overlay gets a place in the host's tree, which nobody but this process has and which is dropped with it.
fn part(root: &RootFs, place: &Path, path: &str) -> Result<OwnedFd, Failure> {
    if let RootFs::Path { path: whole } = root {
        let whole = open_path(whole)?;
        return Ok(clone_of(open_in(whole.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC)?.as_fd())?);
    }
    let whole = match open_root(root)? {
        Opened::Attached(whole) => whole,
        Opened::Detached(whole) => {
            move_mount(&whole, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).on(place)?;
            whole
        }
    };
    let found = open_in(whole.as_fd(), path, OFlags::PATH | OFlags::CLOEXEC)?;
    let copy = clone_of(found.as_fd())?;
    detach(&whole)?;
    Ok(copy)
}

/// Takes a mount out of the host's tree, as this process has it.
fn detach(mount: &OwnedFd) -> Result<(), Errno> {
    unmount(format!("/proc/self/fd/{}", mount.as_raw_fd()), UnmountFlags::DETACH)
}

/// Where a mount goes. Kernel file systems are told apart by what writes to them do, so they go where they are said to
/// go or nowhere: a symbolic link would have `/proc/…` mean another directory to everything that comes after
/// (CVE-2019-19921). And nothing is mounted over parts of them.
fn target_of(root: BorrowedFd<'_>, mount: &MountPlan, kind: FileType) -> Result<OwnedFd, Failure> {
    let strict = matches!(&mount.what, MountKind::New { fs_type, .. } if ["proc", "sysfs", "devpts"].contains(&fs_type.as_str()));
    let made = if mount.links.target {
        target_or_link(root, &mount.target, kind)?
    } else {
        make_target(root, &mount.target, kind)?
    };
    let target = match strict.then(|| open_strictly(root, &mount.target)) {
        None => made,
        // In the words that callers of runc know.
        Some(Err(Errno::LOOP)) => {
            let subject = format!("`{}` must be mounted on ordinary directory, and is a link", mount.target);
            return Err(Failure { subject: Some(subject), errno: 0, ..Failure::new(Errno::LOOP) });
        }
        Some(opened) => opened?,
    };
    if rustix::fs::fstatfs(&target)?.f_type == PROC_MAGIC {
        return Err(Errno::PERM.into());
    }
    Ok(target)
}

/// As [`make_target`], but for a link in the end, which it is itself.
fn target_or_link(root: BorrowedFd<'_>, path: &str, kind: FileType) -> Result<OwnedFd, Errno> {
    match open_in(root, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
        Err(Errno::NOENT) => make_target(root, path, kind),
        opened => opened,
    }
}

/// A link that says what the host's says. One that is there is that already, or in the way.
fn copy_link(root: BorrowedFd<'_>, mount: &MountPlan, link: &OwnedFd) -> Result<(), Failure> {
    let says = rustix::fs::readlinkat(link, "", Vec::new())?;
    let path = Path::new(&mount.target);
    let parent = make_target(root, path.parent().unwrap_or(path), FileType::Directory)?;
    let name = last_component(path)?;
    match rustix::fs::symlinkat(says.as_c_str(), &parent, name) {
        Err(Errno::EXIST) if rustix::fs::readlinkat(&parent, name, Vec::new()) == Ok(says) => Ok(()),
        made => Ok(made?),
    }
}

fn change_attributes(made: &OwnedFd, mount: &MountPlan, host: Host) -> Result<(), Failure> {
    if mount.set != 0 || mount.clear != 0 {
        sys::mount_setattr(made.as_fd(), mount.set, mount.clear, 0, mount.recursive)?;
    }
    if mount.set_top != 0 || mount.clear_top != 0 {
        sys::mount_setattr(made.as_fd(), mount.set_top, mount.clear_top, 0, false)?;
    }
    propagation::set(made.as_fd(), mount.propagation, host)
}

/// A new file system, mounted nowhere.
pub(super) fn new_file_system(
    fs_type: &str,
    options: &[(String, Option<String>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let fs = fsopen(fs_type, FsOpenFlags::FSOPEN_CLOEXEC).on(fs_type)?;
    set_options(fs.as_fd(), options)?;
    fsconfig_create(fs.as_fd()).on(fs_type)?;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).on(fs_type)
}

fn set_options(fs: BorrowedFd<'_>, options: &[(String, Option<String>)]) -> Result<(), Failure> {
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(fs, key.as_str(), value.as_str()).on(key)?,
            None => fsconfig_set_flag(fs, key.as_str()).on(key)?,
        }
    }
    Ok(())
}

/// A copy of what a bind mount is of, mounted nowhere.
pub(super) fn clone_for(mount: &MountPlan, source: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    let links = mount.links;
    let nofollow = OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    clone_with(source, recursive, if links.source || links.copy { nofollow } else { OpenTreeFlags::empty() })
}

/// A copy of a mount of the host's, mounted nowhere.
pub(super) fn clone_tree(source: &Path, recursive: bool) -> Result<OwnedFd, Errno> {
    clone_with(source, recursive, OpenTreeFlags::empty())
}

fn clone_with(source: &Path, recursive: bool, more: OpenTreeFlags) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | more;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, source, flags)
}

/// A copy of what a descriptor stands for, mounted nowhere.
pub(super) fn clone_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", flags | OpenTreeFlags::AT_RECURSIVE)
}

/// A copy of the mount that a descriptor is in the root of, mounted nowhere, without what is mounted below it.
pub(super) fn bare_clone_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(fd, "", flags)
}

/// Attaches a mount.
pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Opens a path of the container.
pub(super) fn open_in(root: BorrowedFd<'_>, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    resolve(root, path.as_ref(), flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens a path of the container that goes through no symbolic link.
pub(super) fn open_strictly(root: BorrowedFd<'_>, path: impl AsRef<Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    resolve(root, path.as_ref(), flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

fn resolve(root: BorrowedFd<'_>, path: &Path, flags: OFlags, how: ResolveFlags) -> Result<OwnedFd, Errno> {
    super::attempt(|| rustix::fs::openat2(root, path, flags, Mode::empty(), how))
}

/// Opens a path of the container, and makes it when it is missing: directories, and in the end a directory or an empty
/// file. A dangling symbolic link's target is made, as docker does.
pub(super) fn make_target(
    root: BorrowedFd<'_>,
    path: impl AsRef<Path>,
    kind: FileType,
) -> Result<OwnedFd, Errno> {
    make(root, path.as_ref(), kind != FileType::Directory, MAX_SYMLINKS)
}

fn make(root: BorrowedFd<'_>, path: &Path, file: bool, links: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match open_in(root, path, flags) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let name = last_component(path)?;
    let above = path.parent().unwrap_or(Path::new("/"));
    let parent = make(root, above, false, links)?;
    match create(parent.as_fd(), name, file) {
        Ok(()) => open_in(root, path, flags),
        Err(Errno::EXIST) if links > 0 => match rustix::fs::readlinkat(&parent, name, Vec::new()) {
            Ok(to) => make(root, &linked(above, &to), file, links - 1),
            // No link: somebody else made it meanwhile.
            Err(Errno::INVAL) => open_in(root, path, flags),
            Err(errno) => Err(errno),
        },
        Err(errno) => Err(errno),
    }
}

fn create(parent: BorrowedFd<'_>, name: &OsStr, file: bool) -> Result<(), Errno> {
    if !file {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Only names are made; `..` and the root exist.
fn last_component(path: &Path) -> Result<&OsStr, Errno> {
    match path.components().next_back() {
        Some(Component::Normal(name)) => Ok(name),
        _ => Err(Errno::NOENT),
    }
}

/// What a link in the directory `above` points to, still to be looked up.
fn linked(above: &Path, to: &std::ffi::CStr) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    above.join(OsStr::from_bytes(to.to_bytes()))
}
