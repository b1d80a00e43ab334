//! Into a file tree: a container's, running or not, or a directory of the host. This process makes it its own root, so
//! that no link, `..` or mount in it leads to a file outside, whoever changes what in it meanwhile (CVE-2018-15664).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use brig_runtime::files::{Place, STEP_ENTER};
use brig_runtime::plan::{IdMap, IdMaps, MountPlan, RootFs};
use brig_runtime::protocol::StepError;
use brig_runtime::record::ProcessId;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{Pid, PidfdFlags, chroot, fchdir, pidfd_open};

use super::failure::{Failure, On, Step};
use super::propagation::Host;
use super::{identity, mounts, open_path, rootfs, sys};

const NEWNS: u32 = libc::CLONE_NEWNS.cast_unsigned();
const NEWUSER: u32 = libc::CLONE_NEWUSER.cast_unsigned();
/// Kernel file systems: what is in them isn't a container's file.
const KERNEL_FILES: [&str; 3] = ["/proc", "/sys", "/dev"];
/// What reading and writing files takes: CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, MKNOD, SETFCAP.
const FILE_CAPABILITIES: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 27 | 1 << 31;
/// Overlayfs's marks are in `trusted.` attributes, which take CAP_SYS_ADMIN.
const MARK_CAPABILITIES: u64 = FILE_CAPABILITIES | 1 << 21;

/// A file tree that was entered.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Its root, which is this process's.
    pub(crate) root: OwnedFd,
    /// The layers below, the uppermost first; of [`Place::Layers`] only.
    pub(crate) lowers: Vec<OwnedFd>,
    /// `/proc/self/fd` of the host: a descriptor that was looked at is opened by its number, and not by its name again.
    pub(crate) numbers: OwnedFd,
    /// Whether it is this process's root. An ordinary user can't have a directory of the host so.
    pub(crate) closed: bool,
}

impl Tree {
    /// Opens a path. Links in it lead where they would lead a program whose root this is.
    pub(crate) fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        mounts::open_in(self.root.as_fd(), path, flags)
    }
}

/// The socket on descriptor 1, as the only thing that this process has beside 0 and 2.
pub(crate) fn connection() -> std::io::Result<UnixStream> {
    sys::close_range(3, u32::MAX)?;
    Ok(UnixStream::from(std::io::stdout().as_fd().try_clone_to_owned()?))
}

/// Enters a file tree, and keeps no power but over files.
pub(crate) fn enter(place: &Place) -> Result<Tree, StepError> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let numbers = rustix::fs::open("/proc/self/fd", flags, Mode::empty()).step("open /proc/self/fd")?;
    let mut tree = Tree {
        root: open_path(Path::new("/")).step("open the root")?,
        lowers: Vec::new(),
        numbers,
        closed: true,
    };
    let mut kept = FILE_CAPABILITIES;
    match place {
        Place::Directory { path } => {
            tree.root = open_directory(path).step("open the directory")?;
            tree.closed = close_in(&tree.root, true).step("change the root")?;
        }
        Place::Running { process, root, bare } => {
            tree.root = running(*process, root, *bare)?;
            close_in(&tree.root, false).step("change the root")?;
        }
        Place::Stopped { user_namespace, root, read_only, mounts } => {
            new_namespaces(user_namespace.as_ref())?;
            tree.root = mounted(root, mounts, *read_only)?;
        }
        Place::Layers { user_namespace, upper, lowers, .. } => {
            new_namespaces(user_namespace.as_ref())?;
            tree.root = open_directory(upper).step("open the writable layer")?;
            for lower in lowers {
                tree.lowers.push(open_directory(lower).step("open the layer")?);
            }
            close_in(&tree.root, false).step("change the root")?;
            kept = MARK_CAPABILITIES;
        }
    }
    keep_capabilities(kept).step("drop capabilities")?;
    Ok(tree)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).on(path)
}

/// Makes a directory this process's root; says whether that was done, where it needn't be.
fn close_in(root: &OwnedFd, may_fail: bool) -> Result<bool, Failure> {
    fchdir(root)?;
    match chroot(".") {
        Ok(()) => Ok(true),
        Err(Errno::PERM) if may_fail => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Never more than this process has: an ordinary user's has none.
fn keep_capabilities(kept: u64) -> Result<(), Failure> {
    let has = rustix::thread::capabilities(None)?.effective.bits();
    sys::set_capabilities(has & kept, has & kept, 0)?;
    Ok(())
}

/// The mount namespace of a process, copied: what is unmounted here stays in the container.
fn running(process: ProcessId, root: &Path, bare: bool) -> Result<OwnedFd, StepError> {
    // Before anything of the container's could look at this process.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("hide from the container")?;
    join(process).step(STEP_ENTER)?;
    sys::unshare(NEWNS).step("copy the container's mounts")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .step("make mounts private")?;
    let opened = open_directory(root).step("open the container's root")?;
    if bare {
        return mounts::bare_clone_of(opened.as_fd()).step("open the container's root without its mounts");
    }
    for path in KERNEL_FILES {
        let path = root.join(path.trim_start_matches('/'));
        match unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Not mounted in this container.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno).on(&path).step("leave out"),
        }
    }
    Ok(opened)
}

/// The process is named by its descriptor, which can't come to mean another one; that it is the right one is looked at
/// once the descriptor is there.
fn join(process: ProcessId) -> Result<(), Failure> {
    let pid = Pid::from_raw(process.pid).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !process.exists() {
        return Err(Errno::SRCH.into());
    }
    let namespace = |of: &str| {
        let path = PathBuf::from(format!("/proc/{of}/ns/user"));
        rustix::fs::stat(&path).on(&path).map(|stat| (stat.st_dev, stat.st_ino))
    };
    // One's own can't be entered.
    if namespace(&process.pid.to_string())? != namespace("self")? {
        sys::setns(pidfd.as_fd(), NEWUSER)?;
        let first = |path: &str| first_id(path).on(path);
        sys::become_user(first("/proc/self/uid_map")?, first("/proc/self/gid_map")?, None)?;
    }
    sys::setns(pidfd.as_fd(), NEWNS)?;
    Ok(())
}

/// The first id of a map, as it is inside.
fn first_id(path: &str) -> std::io::Result<u32> {
    let text = std::io::read_to_string(File::open(path)?)?;
    let first = text.split_ascii_whitespace().next().and_then(|id| id.parse().ok());
    first.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// A user namespace where the container has one, and a mount namespace.
fn new_namespaces(maps: Option<&IdMaps>) -> Result<(), StepError> {
    if let Some(maps) = maps {
        sys::unshare(NEWUSER).step("make a user namespace")?;
        identity::write_own_maps(maps).step("map ids")?;
        let first = |map: &[IdMap]| map.first().map_or(0, |map| map.container);
        sys::become_user(first(&maps.uids), first(&maps.gids), None).step("become root")?;
    }
    sys::unshare(NEWNS).step("make a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step("make mounts private")
}

/// As at a start, without kernel file systems. The host's files are out of reach then, not only out of sight.
fn mounted(root: &RootFs, mounts: &[MountPlan], read_only: bool) -> Result<OwnedFd, StepError> {
    let root = rootfs::attach_root(root).step("mount the root file system")?;
    for mount in mounts {
        mounts::mount_one(root.as_fd(), mount, Host::default()).on(&mount.target).step("mount")?;
    }
    if read_only {
        sys::mount_setattr(root.as_fd(), libc::MOUNT_ATTR_RDONLY, 0, 0, false).step("seal")?;
    }
    rootfs::pivot_to(root.as_fd()).step("change the root")?;
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, "/", flags, Mode::empty()).step("open the root")
}
