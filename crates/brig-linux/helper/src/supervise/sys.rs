//! The supervisor's system calls that std doesn't have. All of its `unsafe` is here.

#![allow(unsafe_code, reason = "system calls; each block carries its proof")]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Turns `-1` into the error of this thread.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Closes every descriptor from `first` on. Only for the first moments of a process, before it has opened any.
pub(super) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: no memory is passed. The caller owns none of these descriptors yet.
    check(unsafe { libc::close_range(first, libc::c_uint::MAX, 0) }).map(drop)
}

/// Makes descriptors 0, 1 and 2 copies of `fd`.
pub(super) fn replace_standard_descriptors(fd: BorrowedFd<'_>) -> io::Result<()> {
    for target in 0..3 {
        // SAFETY: no memory is passed; nothing in this program owns the descriptors 0 to 2.
        check(unsafe { libc::dup2(fd.as_raw_fd(), target) })?;
    }
    Ok(())
}

/// Keeps the heap small: memory of a busy moment goes back to the kernel. The allocator would learn from large blocks to
/// keep them.
pub(super) fn keep_heap_small() {
    const LARGE: libc::c_int = 64 * 1024;
    // SAFETY: takes no memory, and no other thread allocates meanwhile. A refusal changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// A session of its own. A process that leads its session already is content.
pub(super) fn new_session() -> io::Result<()> {
    // SAFETY: these calls take no memory.
    let leads = unsafe { libc::setsid() >= 0 || libc::getsid(0) == libc::getpid() };
    if leads { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The user that this process is.
pub(super) fn effective_uid() -> u32 {
    // SAFETY: takes no memory and can't fail.
    unsafe { libc::geteuid() }
}

/// Blocks the signals that would end a supervisor by accident, and makes a descriptor that tells of them. Children
/// are reaped through their pidfd, which needs the default for SIGCHLD whatever the caller left there; writing to a
/// client or payload that is gone is an error, not a signal.
pub(super) fn divert_signals() -> io::Result<OwnedFd> {
    // SAFETY: `set` is initialised by sigemptyset before it is used, and lives through the calls; SIG_DFL and
    // SIG_IGN are valid dispositions; the descriptor that signalfd returns belongs to nobody else.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2]
        {
            libc::sigaddset(&mut set, signal);
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()))?;
        for (signal, disposition) in [(libc::SIGCHLD, libc::SIG_DFL), (libc::SIGPIPE, libc::SIG_IGN)] {
            if libc::signal(signal, disposition) == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// The next diverted signal.
pub(super) fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: signalfd_siginfo is plain data; zeroes are a value of it.
    let mut info: libc::signalfd_siginfo = unsafe { mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the kernel writes at most `size` bytes, which `info` has.
    let count = unsafe { libc::read(fd.as_raw_fd(), (&raw mut info).cast(), size) };
    (usize::try_from(count) == Ok(size)).then(|| i32::try_from(info.ssi_signo).unwrap_or_default())
}

/// Makes reads and writes return instead of waiting.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take no memory.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

/// The user at the other end of a Unix socket, as it was when it connected.
pub(super) fn peer_uid(socket: impl AsFd) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = libc::socklen_t::try_from(size_of::<libc::ucred>()).unwrap_or_default();
    // SAFETY: `credentials` has the `length` bytes that are announced, and both outlive the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    })?;
    Ok(credentials.uid)
}

/// Sends a signal to the process of a pidfd: never to another one that got its number.
pub(super) fn signal_process(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no siginfo is passed.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How a child ended, as `waitpid` would say, and reaps it; `None` while it lives.
pub(super) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).unwrap_or_default();
    // SAFETY: `info` is plain data that outlives the call; its fields are read only after waitid filled them in.
    unsafe {
        let mut info: libc::siginfo_t = mem::zeroed();
        check(libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED | libc::WNOHANG))?;
        if info.si_pid() == 0 {
            return Ok(None);
        }
        let status = info.si_status();
        Ok(Some(if info.si_code == libc::CLD_EXITED { (status & 0xff) << 8 } else { status & 0x7f }))
    }
}

/// Ends a child for good. It is a process that nobody else waits for.
pub(super) fn kill_and_reap(pidfd: BorrowedFd<'_>) {
    // ESRCH: it has ended already.
    let _ = signal_process(pidfd, libc::SIGKILL);
    let mut fds = [interest(pidfd.as_raw_fd(), libc::POLLIN)];
    // If it can't be waited for, init reaps it after us.
    let _ = poll(&mut fds, -1);
    let _ = reap(pidfd);
}

/// A copy of this process: `None` in the copy, which is the original's child, and its pidfd in the original.
pub(super) fn fork() -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes no memory. This program has one thread, so that no lock is held in the copy by one that isn't there.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => {
            let pid = rustix::process::Pid::from_raw(pid)
                .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            // Nobody else reaps it: the number is its own.
            Ok(Some(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?))
        }
    }
}

/// Tells a terminal its size.
pub(super) fn set_window_size(pty: BorrowedFd<'_>, rows: u16, cols: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(pty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// One descriptor to wait for.
pub(super) fn interest(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// Waits for any of `fds`, at most `timeout` milliseconds, or for ever with -1. A signal ends it early.
pub(super) fn poll(fds: &mut [libc::pollfd], timeout: i32) -> io::Result<()> {
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or_default();
    // SAFETY: the kernel reads and writes `count` entries, which the slice has.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), count, timeout) }) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}
