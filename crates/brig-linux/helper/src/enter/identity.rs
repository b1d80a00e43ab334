//! Who the payload is and what it may do: ids, capabilities, limits, filters.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use brig_runtime::plan::{IdMap, IdMaps, ProcessPlan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{id_line, join, sys, wire};

const CAP_SYS_ADMIN: u64 = 1 << 21;
/// The highest capability of Linux 6.x, CAP_CHECKPOINT_RESTORE, and some to come: unknown ones are refused by number.
const LAST_CAPABILITY: u64 = 63;
const DEFAULT_UMASK: u32 = 0o022;

/// Dies when the supervisor dies, and now, if that has happened already.
pub(super) fn die_with_supervisor(entry: &mut Entry<'_>) -> Result<(), Failure> {
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL.unsigned_abs().into(), 0)?;
    // A process without a parent in its pid namespace can't ask who its parent is, but its socket knows.
    let mut fds = [PollFd::new(&entry.wire, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if fds[0].revents().is_empty() { Ok(()) } else { Err(Errno::PIPE.into()) }
}

/// Fills the maps of the new user namespace. An ordinary user's process may map its own ids and no others; everything
/// else is asked of the supervisor.
pub(super) fn map_ids(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let Some(maps) = &entry.plan.user_namespace else { return Ok(()) };
    if !join::makes_user_namespace(entry.plan) {
        // Somebody else has mapped them.
    } else if !is_own(&maps.uids) || !is_own(&maps.gids) {
        wire::ask(entry.wire.as_fd(), wire::Asked::MapIds)?;
    } else {
        write_own_maps(maps)?;
    }
    become_mapped(entry)
}

/// Whoever was outside is nobody here, or somebody else; be the container's first user for what comes. Groups can't be
/// set where they are denied, and then there are none that could be.
pub(super) fn become_mapped(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let Some(maps) = &entry.plan.user_namespace else { return Ok(()) };
    let first = |map: &[IdMap]| map.first().map_or(0, |map| map.container);
    sys::become_user(first(&maps.uids), first(&maps.gids), None)?;
    Ok(())
}

fn is_own(map: &[IdMap]) -> bool {
    matches!(map, [IdMap { count: 1, .. }])
}

/// Maps the caller's own ids, and no others: all that an ordinary user may map without help.
pub(super) fn write_own_maps(maps: &IdMaps) -> Result<(), Failure> {
    // Without this an ordinary user could drop a group that denies it something, so the kernel asks for it.
    let lines = |map: &[IdMap]| map.iter().map(id_line).collect::<String>();
    for (path, value) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", lines(&maps.uids)),
        ("/proc/self/gid_map", lines(&maps.gids)),
    ] {
        let mut file = std::fs::OpenOptions::new().write(true).open(path).on(path)?;
        file.write_all(value.as_bytes()).on(path)?;
    }
    Ok(())
}

/// What the OOM killer adds. Below the supervisor's own it takes a privilege.
pub(super) fn oom_score(entry: &mut Entry<'_>) -> Result<(), Failure> {
    // A guide has done it, where there was one.
    if join::needs_guide(entry.plan) { Ok(()) } else { set_oom_score(&entry.plan.process) }
}

pub(super) fn set_oom_score(process: &ProcessPlan) -> Result<(), Failure> {
    match process.oom_score_adj {
        Some(score) => {
            let path = "/proc/self/oom_score_adj";
            std::fs::write(path, score.to_string()).on(path)
        }
        None => Ok(()),
    }
}

/// Resource limits.
pub(super) fn rlimits(entry: &mut Entry<'_>) -> Result<(), Failure> {
    for (resource, soft, hard) in &entry.plan.process.rlimits {
        sys::set_rlimit(*resource, *soft, *hard).on(resource.to_string())?;
    }
    Ok(())
}

/// Takes capabilities out of the bounding set, so that no program that is executed later gives them back.
pub(super) fn drop_bounding(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let kept = entry.plan.process.capabilities.bounding;
    for capability in (0..=LAST_CAPABILITY).filter(|bit| kept >> bit & 1 == 0) {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Ok(()) => {}
            // The kernel's last one was before it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error).on(format!("capability {capability}")),
        }
    }
    Ok(())
}

/// Users, groups and the umask.
pub(super) fn become_user(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let user = &entry.plan.process.user;
    // A change from root to another user would take the capabilities that loading the filter needs.
    sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    let denied = entry.plan.user_namespace.as_ref().is_some_and(|maps| is_own(&maps.gids));
    let groups = if denied && user.groups.is_empty() { None } else { Some(user.groups.as_slice()) };
    let become_user = |groups| sys::become_user(user.uid, user.gid, groups);
    let became = match become_user(groups) {
        // In the user namespace that this process was in before, where its groups can't be changed by anybody.
        Err(error) if user.groups.is_empty() && is_denied(&error)? => become_user(None),
        became => became,
    };
    became.on(format!("{}:{}", user.uid, user.gid))?;
    set_umask(entry)
}

/// Whether it is the user namespace that forbids to change groups (`/proc/<pid>/setgroups`): all that the kernel asks for
/// beside that is the capability.
fn is_denied(error: &std::io::Error) -> Result<bool, Errno> {
    let able = rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::SETGID);
    Ok(able && error.raw_os_error() == Some(libc::EPERM))
}

/// The umask alone, where the user stays who it is.
pub(super) fn set_umask(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let umask = entry.plan.process.user.umask.unwrap_or(DEFAULT_UMASK);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    Ok(())
}

/// The promise that no program gives privileges, which also lets anybody load filters.
pub(super) fn no_new_privileges(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.process.no_new_privileges {
        sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    }
    Ok(())
}

/// The seccomp filter. Without no_new_privs it takes CAP_SYS_ADMIN, which is in effect for a moment longer.
pub(super) fn load_seccomp(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let process = &entry.plan.process;
    let Some(seccomp) = &process.seccomp else { return Ok(()) };
    let sets = process.capabilities;
    let permitted = sets.permitted | sets.effective | sets.inheritable | CAP_SYS_ADMIN;
    if !process.no_new_privileges {
        sys::set_capabilities(permitted, permitted, 0)?;
    }
    match sys::load_seccomp(&seccomp.filter.0, seccomp.flags)? {
        Some(listener) => hand_over(entry, listener),
        None => Ok(()),
    }
}

/// Gives the filter's listener away, by its number where sending it may be what the filter asks about.
fn hand_over(entry: &Entry<'_>, listener: OwnedFd) -> Result<(), Failure> {
    let by_number = entry.plan.process.listener.as_ref().is_some_and(|listener| listener.by_number);
    let asked = if by_number {
        wire::Asked::ListenerNumber(listener.as_raw_fd())
    } else {
        wire::Asked::Listener(listener)
    };
    wire::ask(entry.wire.as_fd(), asked).map(drop)
}

/// With no_new_privs the filter needs no capability, and has the last word.
pub(super) fn set_capabilities_early(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.process.no_new_privileges { set_capabilities(entry) } else { Ok(()) }
}

/// Without it, a capability that the program may not have was needed until now. Every filter for such containers lets
/// capabilities be changed, for all runtimes do so after it.
pub(super) fn set_capabilities_late(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.process.no_new_privileges { Ok(()) } else { set_capabilities(entry) }
}

/// The capabilities that the program starts with.
fn set_capabilities(entry: &Entry<'_>) -> Result<(), Failure> {
    let sets = entry.plan.process.capabilities;
    sys::set_capabilities(sets.effective, sets.permitted, sets.inheritable)?;
    // What isn't both can't be ambient (capabilities(7)); specs ask for it all the same, and other runtimes pass it over.
    let ambient = sets.ambient & sets.permitted & sets.inheritable;
    for capability in (0..=LAST_CAPABILITY).filter(|bit| ambient >> bit & 1 == 1) {
        let raise = libc::PR_CAP_AMBIENT_RAISE.unsigned_abs().into();
        sys::prctl(libc::PR_CAP_AMBIENT, raise, capability).on(format!("capability {capability}"))?;
    }
    Ok(())
}
