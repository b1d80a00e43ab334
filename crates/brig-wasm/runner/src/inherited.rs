//! The two descriptors that the runner is started with. All of the program's unsafe code is here.

#![allow(unsafe_code, reason = "a number becomes an owned descriptor; the proof is below")]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, RawFd};

use brig_runtime::plan::{INPUT_FD, REPORT_FD};

/// Where the request is read.
pub(crate) fn request() -> io::Result<File> {
    take(INPUT_FD)
}

/// Where the report is written.
pub(crate) fn report() -> io::Result<File> {
    take(REPORT_FD)
}

/// Called once for each of the two, before this process opens anything.
fn take(fd: RawFd) -> io::Result<File> {
    // SAFETY: F_GETFD and F_SETFD take and give integers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, as was just asked. Nothing else in this process owns it: it was inherited, main
    // comes here before it opens anything, and the two callers take different numbers, each once.
    Ok(unsafe { File::from_raw_fd(fd) })
}
