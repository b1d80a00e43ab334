//! Mounts whose files have other owners in the container than on the host (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`).
//!
//! They are made by the supervisor: root of a container's user namespace has no rights over the host's file systems.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::failure::{Failure, On};
use super::sys::Cloned;
use super::{mounts, reap, sys, wire, write_maps};
use brig_runtime::plan::{IdMaps, MountKind, PayloadPlan};

/// The mapped mounts of a plan, mounted nowhere yet, with their places among all mounts.
pub(super) fn prepare(plan: &PayloadPlan) -> Result<Vec<(usize, OwnedFd)>, Failure> {
    let mut prepared = Vec::new();
    for (number, mount) in plan.mounts.iter().enumerate() {
        if let MountKind::Mapped { source, recursive, ids } = &mount.what {
            prepared.push((number, mapped(source, *recursive, ids).on(source)?));
        }
    }
    Ok(prepared)
}

/// A copy of a mount of the host's with ids of its own, mounted nowhere.
pub(super) fn mapped(source: &Path, recursive: bool, ids: &IdMaps) -> Result<OwnedFd, Failure> {
    let made = mounts::clone_tree(source, recursive)?;
    sys::map_ids_of_mount(made.as_fd(), user_namespace(ids)?.as_fd(), recursive)?;
    Ok(made)
}

/// A user namespace for its maps alone.
fn user_namespace(ids: &IdMaps) -> Result<File, Failure> {
    let (ours, theirs) = wire::pair()?;
    match sys::clone3(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Child => {
            drop(ours);
            // Nobody writes: it is the other end's closing that is waited for, whoever closes it.
            let _ = rustix::io::read(&theirs, &mut [0; 1]);
            sys::exit_now(0)
        }
        Cloned::Parent { pid, pidfd } => {
            let path = format!("/proc/{pid}/ns/user");
            let namespace = write_maps(pid, ids).and_then(|()| File::open(&path).on(&path));
            reap(&pidfd);
            namespace
        }
    }
}

/// The one that was made for the mount of this number, if any was.
pub(super) fn take(prepared: &mut Vec<(usize, OwnedFd)>, number: usize) -> Option<OwnedFd> {
    let place = prepared.iter().position(|(made_for, _)| *made_for == number)?;
    Some(prepared.swap_remove(place).1)
}
