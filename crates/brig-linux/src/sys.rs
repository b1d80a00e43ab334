//! The system calls that no safe crate at hand offers. All the unsafe code of this library.
#![allow(unsafe_code, reason = "system calls; each block has its proof")]

use std::ffi::{c_int, c_long, c_void};
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Whether namespaces (`CLONE_NEW*` bits) can be made: makes a process in new ones, which ends at once.
pub(crate) fn try_namespaces(flags: u64) -> io::Result<()> {
    // SAFETY: clone_args is a struct of integers, for which all zeros are a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    // Without a signal at its end, and so not seen by a host program that waits for any child.
    args.exit_signal = 0;
    // SAFETY: without CLONE_VM the copy has its own memory. It makes one system call, which takes no lock and doesn't
    // return; so it doesn't matter what other threads of this process were holding.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args));
        if pid == 0 {
            libc::syscall(libc::SYS_exit_group, 0);
        }
        pid
    };
    let pid = c_int::try_from(check(pid)?).map_err(io::Error::other)?;
    // SAFETY: it writes nothing, for the status isn't asked for.
    check(unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WCLONE) }.into()).map(drop)
}

/// Another descriptor, from `floor` up, for what this process was given as `number`, closed when a program is executed.
/// Nothing for what it wasn't given: what it has opened itself closes when a program is executed.
pub(crate) fn duplicate_given(number: c_int, floor: c_int) -> io::Result<Option<OwnedFd>> {
    // SAFETY: fcntl with F_GETFD touches no memory, and refuses a number that is no descriptor; with F_DUPFD_CLOEXEC it
    // returns a new one that nobody owns.
    unsafe {
        let flags = match check(libc::fcntl(number, libc::F_GETFD).into()) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Ok(None),
            flags => flags?,
        };
        if flags & c_long::from(libc::FD_CLOEXEC) != 0 {
            return Ok(None);
        }
        let new = check(libc::fcntl(number, libc::F_DUPFD_CLOEXEC, floor).into())?;
        Ok(Some(OwnedFd::from_raw_fd(c_int::try_from(new).map_err(io::Error::other)?)))
    }
}

/// Sends any signal to the process that a descriptor stands for.
pub(crate) fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (fd, info) = (process.as_raw_fd(), ptr::null::<c_void>());
    // SAFETY: without a description of the signal the kernel reads no memory.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, info, 0) }).map(drop)
}

/// Calls `look` with the pid of a process in a user namespace, which lives for as long and does nothing.
pub(crate) fn in_user_namespace<T>(
    namespace: BorrowedFd<'_>,
    look: impl FnOnce(c_int) -> io::Result<T>,
) -> io::Result<T> {
    let (mut ready, told) = io::pipe()?;
    // SAFETY: clone_args is a struct of integers, for which all zeros are a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    // SAFETY: as in try_namespaces, the copy has its own memory, and makes system calls alone, with numbers and the
    // address of a constant, until it is killed; it doesn't return.
    let pid = unsafe {
        let pid = libc::syscall(libc::SYS_clone3, &raw mut args, size_of_val(&args));
        if pid == 0 {
            let entered = libc::syscall(libc::SYS_setns, namespace.as_raw_fd(), libc::CLONE_NEWUSER);
            // Behind the change of user, which the kernel takes as a reason to forget it.
            libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            if entered == 0 {
                libc::syscall(libc::SYS_write, told.as_raw_fd(), c"!".as_ptr(), 1);
                loop {
                    libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0);
                }
            }
            libc::syscall(libc::SYS_exit_group, *libc::__errno_location());
        }
        pid
    };
    let pid = c_int::try_from(check(pid)?).map_err(io::Error::other)?;
    drop(told);
    let looked =
        ready.read(&mut [0]).and_then(|count| if count == 1 { look(pid).map(Some) } else { Ok(None) });
    let mut status = 0;
    // SAFETY: the process is this one's child and hasn't been waited for, so that its number is its own; waitpid writes
    // an int.
    unsafe {
        check(libc::kill(pid, libc::SIGKILL).into())?;
        check(libc::waitpid(pid, &raw mut status, libc::__WCLONE).into())?;
    }
    looked?.ok_or_else(|| io::Error::from_raw_os_error(libc::WEXITSTATUS(status)))
}

/// The version of landlock's interface.
pub(crate) fn landlock_version() -> io::Result<c_long> {
    const VERSION: c_int = 1;
    // SAFETY: with this flag the kernel reads nothing.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0_usize, VERSION)
    })
}

/// Makes a mount that is in no namespace yet read-only (`mount_setattr(2)`).
pub(crate) fn make_read_only(mount: BorrowedFd<'_>) -> io::Result<()> {
    let attr =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, and `attr` is read with the size it has.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of_val(&attr),
        )
    })
    .map(drop)
}
