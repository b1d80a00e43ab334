//! The system calls of [`super::walls`], which no safe crate at hand offers.
#![allow(unsafe_code, reason = "system calls; each block has its proof")]

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{sock_filter, sock_fprog};

/// What a landlock domain handles: `struct landlock_ruleset_attr`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Ruleset {
    pub(super) files: u64,
    pub(super) tcp: u64,
    pub(super) scoped: u64,
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `no_new_privs`, for good.
pub(super) fn forbid_new_privileges() -> io::Result<()> {
    // SAFETY: the option takes numbers and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) }.into()).map(drop)
}

/// Puts this thread into a landlock domain that denies everything in the ruleset.
pub(super) fn restrict_by(ruleset: &Ruleset) -> io::Result<()> {
    // SAFETY: the kernel reads a struct landlock_ruleset_attr, which Ruleset is, of the size given. An older kernel takes
    // a longer struct than its own if the rest is zero.
    let created = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const *ruleset, size_of::<Ruleset>(), 0)
    })?;
    let created = c_int::try_from(created).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let domain = unsafe { OwnedFd::from_raw_fd(created) };
    // SAFETY: it touches no memory.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, domain.as_raw_fd(), 0) }).map(drop)
}

/// Gives up every capability of this thread.
pub(super) fn drop_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    // Version and process (this one); twice effective, permitted and inheritable.
    let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
    // SAFETY: version 3 of the interface reads a header of two words of 32 bits and two structs of three.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }).map(drop)
}

/// Loads a seccomp filter for this thread.
pub(super) fn load_filter(program: &[sock_filter]) -> io::Result<()> {
    let len = program.len().try_into().map_err(io::Error::other)?;
    // The kernel only reads it.
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads one sock_fprog and as many instructions as it says, which are the slice's.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}

/// Executes a program from its descriptor, as the helper starts the runner. Returns when it failed.
#[cfg(test)]
pub(super) fn execute(program: &std::fs::File) -> io::Error {
    let (path, args, env) = (c"".as_ptr(), [c"true".as_ptr(), std::ptr::null()], [std::ptr::null::<i8>()]);
    // SAFETY: the kernel reads a string and two lists of strings, all ended by a null.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            path,
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
