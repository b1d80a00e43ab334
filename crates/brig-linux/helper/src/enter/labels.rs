//! What the kernel's security modules are asked for: the profile or label of the program that is executed next.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, write_value};

/// The inode of the root of a proc file system.
const PROC_ROOT: u64 = 1;

/// Asks for the profile and the label of the program.
pub(super) fn ask(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let process = &entry.plan.process;
    if process.apparmor.is_none() && process.selinux.is_none() {
        return Ok(());
    }
    let attributes = attributes().on("/proc")?;
    if let Some(profile) = &process.apparmor {
        let value = format!("exec {profile}");
        match write_value(attributes.as_fd(), "apparmor/exec", &value) {
            // Before Linux 5.8 one module had the directory to itself.
            Err(failure) if failure.errno == Errno::NOENT.raw_os_error() && !has_apparmor(&attributes) => {
                write_value(attributes.as_fd(), "exec", &value)
            }
            written => written,
        }
        .map_err(|failure| Failure { subject: Some(profile.clone()), ..failure })?;
    }
    if let Some(label) = &process.selinux {
        write_value(attributes.as_fd(), "exec", label)
            .map_err(|failure| Failure { subject: Some(label.clone()), ..failure })?;
    }
    Ok(())
}

fn has_apparmor(attributes: &OwnedFd) -> bool {
    rustix::fs::statat(attributes, "apparmor", rustix::fs::AtFlags::empty()).is_ok()
}

/// This process's `/proc/…/attr`, of a proc file system that nobody else has, or else of the container's, if it is one:
/// what has only its name would take the words and do nothing (CVE-2019-16884).
fn attributes() -> Result<OwnedFd, Failure> {
    let options = [("subset".to_owned(), Some("pid".to_owned()))];
    let proc = match mounts::new_file_system("proc", &options, MountAttrFlags::empty()) {
        Ok(proc) => proc,
        // In a user namespace that doesn't see all of its own.
        Err(failure) if failure.errno == Errno::PERM.raw_os_error() => container_proc()?,
        Err(failure) => return Err(failure),
    };
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("{}/attr", rustix::process::getpid().as_raw_nonzero());
    Ok(rustix::fs::openat2(&proc, path, flags, Mode::empty(), how)?)
}

fn container_proc() -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::openat(CWD, "/proc", flags, Mode::empty())?;
    let is_proc = rustix::fs::fstatfs(&proc)?.f_type == mounts::PROC_MAGIC;
    if is_proc && rustix::fs::fstat(&proc)?.st_ino == PROC_ROOT { Ok(proc) } else { Err(Errno::NODEV.into()) }
}
