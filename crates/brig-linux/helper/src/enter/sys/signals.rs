//! What signals do to the process that becomes a program.

use std::ffi::{c_int, c_void};
use std::{io, ptr};

use super::{check, check_int};

/// `struct sigaction` as the kernel has it (`asm-generic/signal.h`), all of it zero for the default action.
#[repr(C)]
#[derive(Default)]
struct KernelSigaction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// Signals as a new program expects them: nothing blocked, nothing ignored (Rust's runtime ignores SIGPIPE; the
/// supervisor blocks what it reads through a descriptor).
pub(crate) fn reset_signals() -> io::Result<()> {
    for signal in (1..32).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the default action is no function of ours.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    // The C library keeps these two for itself, refuses to speak of them, and ignores them in what posix_spawn makes.
    for signal in [32, 33] {
        let default = KernelSigaction::default();
        let set = size_of_val(&default.mask);
        // SAFETY: the kernel reads a struct of the layout that it has, and writes nothing.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, ptr::null::<c_void>(), set)
        };
        check(result)?;
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut none = std::mem::zeroed();
        check_int(libc::sigemptyset(&raw mut none))?;
        check_int(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())).map(drop)
    }
}

/// From here until a program is executed, a signal that ends other processes ends this one, also where it is the first
/// in its pid namespace, which the kernel spares else.
pub(crate) fn end_on_signals() -> io::Result<()> {
    extern "C" fn end(signal: c_int) {
        // SAFETY: _exit is one of the functions that a handler may call (signal-safety(7)).
        unsafe { libc::_exit(128 + signal) }
    }
    let spared = [libc::SIGKILL, libc::SIGSTOP, libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    let stops = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let handler: extern "C" fn(c_int) = end;
    for signal in (1..32).filter(|signal| !spared.contains(signal) && !stops.contains(signal)) {
        // SAFETY: `end` is a handler of this type, and calls nothing but _exit.
        if unsafe { libc::signal(signal, handler as libc::sighandler_t) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
