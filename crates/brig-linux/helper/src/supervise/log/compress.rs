//! Compressing a file of the log that was rotated away: by a child of the supervisor, so that output goes on meanwhile,
//! and the third of a megabyte that it takes is given back.
//!
//! The child is a copy of this process that holds nothing of it but the two files: no lock, no socket, no descriptor of
//! the payload. It dies with the supervisor, and has the lowest priority.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use brig_runtime::logs::Origin;
use flate2::{Compression as Level, GzBuilder};

use crate::enter::sys::{close_range, exit_now, place, prctl};
use crate::supervise::sys;

/// What is read at once, in bytes.
const BLOCK: usize = 64 * 1024;

/// A child that compresses a file.
#[derive(Debug)]
pub(super) struct Compression {
    pidfd: OwnedFd,
    /// Which file it is, by its number now.
    pub(super) number: u32,
}

impl Compression {
    /// Begins to compress `plain` to `packed`, which is replaced.
    pub(super) fn begin(plain: &Path, packed: &Path, number: u32) -> io::Result<Self> {
        let plain = File::open(plain)?;
        let packed = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(packed)?;
        match sys::fork()? {
            Some(pidfd) => Ok(Self { pidfd, number }),
            None => exit_now(match run(&plain, &packed) {
                Ok(()) => libc::EXIT_SUCCESS,
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
            }),
        }
    }

    /// What becomes readable at its end.
    pub(super) fn end(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// How it has ended, once it has.
    pub(super) fn ended(&self) -> Option<io::Result<()>> {
        match sys::reap(self.pidfd.as_fd()) {
            Ok(None) => None,
            Ok(Some(0)) => Some(Ok(())),
            // A disk that is full, most likely.
            Ok(Some(status)) if libc::WIFEXITED(status) => {
                Some(Err(io::Error::from_raw_os_error(libc::WEXITSTATUS(status))))
            }
            Ok(Some(status)) => Some(Err(io::Error::other(format!("it died of signal {status}")))),
            Err(error) => Some(Err(error)),
        }
    }

    /// Ends it.
    pub(super) fn abandon(self) {
        sys::kill_and_reap(self.pidfd.as_fd());
    }
}

/// What the child does.
fn run(plain: &File, packed: &File) -> io::Result<()> {
    let plain = File::from(place(plain.as_fd(), 0, true)?);
    let packed = File::from(place(packed.as_fd(), 1, true)?);
    close_range(3, u32::MAX)?;
    prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(libc::SIGKILL.unsigned_abs()), 0)?;
    // One that can't be slower is fast.
    let _ = rustix::process::nice(19);
    compress(plain, packed)
}

fn compress(mut plain: File, packed: File) -> io::Result<()> {
    let origin = Origin::of(&plain.metadata()?).to_extra_field();
    let mut packed = GzBuilder::new().extra(origin).write(packed, Level::default());
    let mut block = vec![0; BLOCK];
    loop {
        match plain.read(&mut block) {
            Ok(0) => break,
            Ok(count) => packed.write_all(&block[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // The plain one goes: then this one has to be there after a power cut, too.
    packed.finish()?.sync_data()
}
