//! A landlock domain for engine processes: a second wall behind the mount namespace. Older kernels know fewer rights;
//! what they don't know they can't deny, and the other walls are the same there.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use brig_runtime::plan::LandlockPlan;
use rustix::fs::{FileType, Mode, OFlags};

use super::child::Entry;
use super::failure::{Failure, On};
use super::sys::{self, LandlockRuleset};

// `linux/landlock.h`, `LANDLOCK_ACCESS_FS_*`.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// The rights that mean something for a file that isn't a directory: those above, to truncate, and ioctls on devices.
const FOR_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | 1 << 14 | 1 << 15;
const READ: u64 = READ_FILE | READ_DIR;
const TCP: u64 = 0b11;
/// Abstract Unix sockets, and signals.
const SCOPED: u64 = 0b11;

/// What one version of landlock knows.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Rights to files.
    files: u64,
    /// The size of the struct that says what is handled.
    size: usize,
}

/// Kernel documentation, userspace-api/landlock.rst, "Previous limitations".
fn known(version: i64) -> Known {
    let files = match version {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    let size = match version {
        1..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    Known { files: (1 << files) - 1, size }
}

/// Makes the domain, while its paths can be looked up by somebody who may see them.
pub(super) fn make(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let Some(plan) = &entry.plan.process.landlock else { return Ok(()) };
    let version = match sys::landlock_version() {
        Ok(version) => version,
        // The only wall around files.
        Err(error) if entry.plan.in_place => return Err(error.into()),
        // Not there, or not switched on.
        Err(_) => return Ok(()),
    };
    let known = known(version);
    let network = if plan.network { 0 } else { TCP };
    let handled = LandlockRuleset { files: known.files, network, scoped: SCOPED };
    let mut domain = sys::landlock_create(handled, known.size)?;
    if let Some(program) = &entry.program {
        sys::landlock_grant(domain.as_fd(), program.as_fd(), EXECUTE | READ_FILE)?;
    }
    grant_paths(domain.as_fd(), plan, known)?;
    entry.lift(&mut domain)?;
    entry.domain = Some(domain);
    Ok(())
}

fn grant_paths(domain: BorrowedFd<'_>, plan: &LandlockPlan, known: Known) -> Result<(), Failure> {
    let write = known.files & !(EXECUTE | MAKE_CHAR | MAKE_BLOCK);
    let granted = plan.readable.iter().map(|path| (path, READ));
    for (path, rights) in granted.chain(plan.writable.iter().map(|path| (path, write))) {
        grant(domain, Path::new(path), rights).on(path)?;
    }
    Ok(())
}

fn grant(domain: BorrowedFd<'_>, path: &Path, rights: u64) -> Result<(), Failure> {
    let fd = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let directory = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Directory;
    let rights = if directory { rights } else { rights & FOR_FILES };
    sys::landlock_grant(domain, fd.as_fd(), rights)?;
    Ok(())
}

/// Enters the domain.
pub(super) fn enter(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if let Some(domain) = &entry.domain {
        sys::landlock_restrict(domain.as_fd())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_know_more_and_more() {
        let all: Vec<_> = (1..=7).map(known).collect();
        assert!(all.windows(2).all(|pair| pair[0].files <= pair[1].files && pair[0].size <= pair[1].size));
        assert_eq!((all[0].files, all[0].size), (0x1fff, 8));
        assert_eq!((all[5].files, all[5].size), (0xffff, size_of::<LandlockRuleset>()));
    }
}
