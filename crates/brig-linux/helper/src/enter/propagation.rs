//! Who hears of mounts that are made: the host and the container of each other's, as the plan says.
//!
//! A container's mounts are private. What the plan wants to be a slave of the host's mounts, or shared with them, is
//! taken from the host's tree before that becomes private too. Shared mounts are shared with the host's only where the
//! whole root file system is to be shared; else with what the container makes of them, and they only hear of the host's.

use std::os::fd::{AsFd, BorrowedFd};

use brig_runtime::plan::{MountKind, PayloadPlan};

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, sys};

/// What a copy of a mount of the host's is to the host's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Host {
    /// Whether the two may hear of each other's mounts.
    pub(super) events: bool,
    /// Whether the host may hear of the container's, where a mount wants to be shared.
    pub(super) shared: bool,
}

/// Whether what the host mounts later has to be seen in a mount of the container.
pub(super) fn wants_host_events(plan: &PayloadPlan) -> bool {
    let is_slave = |propagation: u32| u64::from(propagation) & libc::MS_SLAVE != 0;
    is_slave(plan.propagation) || plan.mounts.iter().any(|mount| is_slave(mount.propagation))
}

pub(super) fn is_shared(propagation: u32) -> bool {
    u64::from(propagation) & libc::MS_SHARED != 0
}

/// Copies what is to be shared out of the host's tree.
pub(super) fn open_shared(entry: &mut Entry<'_>) -> Result<(), Failure> {
    for (number, mount) in entry.plan.mounts.iter().enumerate() {
        if let MountKind::Bind { source, recursive } = &mount.what
            && is_shared(mount.propagation)
        {
            entry.mapped.push((number, mounts::clone_for(mount, source, *recursive).on(source)?));
        }
    }
    Ok(())
}

/// Makes a mount what the plan says, or private.
pub(super) fn set(mount: BorrowedFd<'_>, propagation: u32, host: Host) -> Result<(), Failure> {
    let propagation = u64::from(propagation);
    let all = propagation & libc::MS_REC != 0;
    let kinds = match propagation & !libc::MS_REC {
        0 | libc::MS_PRIVATE if !host.events => return Ok(()),
        0 => return change(mount, libc::MS_PRIVATE, true),
        // One that isn't shared with the host's is its slave first.
        asked if asked & libc::MS_SHARED != 0 => {
            let slave = host.events && !host.shared || asked & libc::MS_SLAVE != 0;
            if slave {
                change(mount, libc::MS_SLAVE, true)?;
            }
            libc::MS_SHARED
        }
        asked => asked,
    };
    change(mount, kinds, all)
}

fn change(mount: BorrowedFd<'_>, propagation: u64, all: bool) -> Result<(), Failure> {
    Ok(sys::mount_setattr(mount.as_fd(), 0, 0, propagation, all)?)
}
