//! The lock that says that a supervisor lives.
//!
//! `<run-dir>/lock` is locked by bytes, with open-file-description locks (`fcntl(2)`), since these can be asked about
//! without being taken: `ps` in one terminal must never make `start` fail in another. The kernel drops them when the
//! last copy of the descriptor is closed, thus also when the holder is killed.
//!
//! | byte | held by | for |
//! |---|---|---|
//! | 0 | the supervisor | its life, until the payload has ended and all is cleaned up |
//! | 1 | whoever changes a container that has no supervisor: a start, a sweep, a removal | a moment |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};

const ALIVE: i64 = 0;
const CHANGE: i64 = 1;

/// Held by a living supervisor. Dropping it (or dying) releases it.
#[derive(Debug)]
pub struct SupervisorLock {
    _file: File,
}

impl SupervisorLock {
    /// Takes the lock at `path`, which is made if it is missing. Another holder is waited for while `ending` says that it
    /// is about to let go, at most `patience`.
    ///
    /// `WouldBlock` when another supervisor holds it.
    pub fn take(path: &Path, patience: Duration, ending: impl Fn() -> bool) -> io::Result<Self> {
        let file = open(path)?;
        wait_until_free(patience, || true, || try_take(&file, CHANGE))?;
        wait_until_free(patience, ending, || try_take(&file, ALIVE))?;
        // Removed while it was waited for: with the container, or by somebody who clears the run directory.
        if file.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        fcntl(&file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, CHANGE)))?;
        Ok(Self { _file: file })
    }
}

/// How long somebody who changes a container without a supervisor usually takes.
const MOMENT: Duration = Duration::from_secs(1);

/// Held while a container without a supervisor is swept or removed: nothing can start it meanwhile.
#[derive(Debug)]
pub struct ChangeLock {
    _file: File,
}

impl ChangeLock {
    /// Takes the lock at `path`, waiting for a supervisor that ends for at most `patience`, and for somebody else who
    /// changes the container for a moment at least.
    ///
    /// `WouldBlock` when a supervisor still lives then, or the container is still being changed.
    pub fn take(path: &Path, patience: Duration) -> io::Result<Self> {
        let file = open(path)?;
        wait_until_free(patience.max(MOMENT), || true, || try_take(&file, CHANGE))?;
        wait_until_free(patience, || true, || is_free(&file, ALIVE))?;
        Ok(Self { _file: file })
    }
}

/// Whether a supervisor holds the lock at `path`. A missing file is a no.
pub fn is_held(path: &Path) -> io::Result<bool> {
    // Only asked about, so that reading is enough.
    match File::open(path) {
        Ok(file) => Ok(!is_free(&file, ALIVE)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn wait_until_free(
    patience: Duration,
    ending: impl Fn() -> bool,
    mut attempt: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    while !attempt()? {
        if Instant::now() >= deadline || !ending() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn try_take(file: &File, byte: i64) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, byte))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_free(file: &File, byte: i64) -> io::Result<bool> {
    let mut lock = range(libc::F_WRLCK, byte);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) == libc::F_UNLCK)
}

/// One byte of the file. The pid must be 0 for open-file-description locks.
fn range(kind: i32, byte: i64) -> libc::flock {
    libc::flock {
        // F_RDLCK, F_WRLCK and F_UNLCK are 0, 1 and 2.
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0, // SEEK_SET
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> bool {
        false
    }

    #[test]
    fn one_supervisor_at_a_time_and_asking_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(!is_held(&path).unwrap());
        let held = SupervisorLock::take(&path, Duration::ZERO, never).unwrap();
        assert!(is_held(&path).unwrap());
        let second = SupervisorLock::take(&path, Duration::ZERO, never).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        assert_eq!(ChangeLock::take(&path, Duration::ZERO).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        assert!(!is_held(&path).unwrap());
        let change = ChangeLock::take(&path, Duration::ZERO).unwrap();
        assert!(!is_held(&path).unwrap());
        drop(change);
        SupervisorLock::take(&path, Duration::ZERO, never).unwrap();
    }

    #[test]
    fn a_supervisor_that_ends_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = SupervisorLock::take(&path, Duration::ZERO, never).unwrap();
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            drop(held);
        });
        SupervisorLock::take(&path, Duration::from_secs(10), || true).unwrap();
        ending.join().unwrap();
    }
}
