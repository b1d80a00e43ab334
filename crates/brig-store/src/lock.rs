//! Locks between processes, with flock(2): they end with their holder, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};

/// A lock on a file; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

#[derive(Clone, Copy)]
enum Mode {
    Shared,
    Exclusive,
}

impl Lock {
    /// Waits for the only lock on `path`, which is made if it isn't there.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        Self::wait(path, Mode::Exclusive)
    }

    /// Waits until nobody has the only lock on `path`, and keeps others from taking it.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        Self::wait(path, Mode::Shared)
    }

    /// The only lock on `path`, unless somebody has one.
    pub(crate) fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(source).context("lock", path),
            }
            if is_current(&file, path)? {
                return Ok(Some(Self { path: path.to_owned(), file }));
            }
        }
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Removes the lock's file with the lock. Whoever waits for it notices and makes a new one.
    pub(crate) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).context("remove", &self.path)
    }

    fn wait(path: &Path, mode: Mode) -> Result<Self> {
        loop {
            let file = open(path)?;
            loop {
                let locked = match mode {
                    Mode::Shared => file.lock_shared(),
                    Mode::Exclusive => file.lock(),
                };
                match locked {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other.context("lock", path)?,
                }
            }
            if is_current(&file, path)? {
                return Ok(Self { path: path.to_owned(), file });
            }
        }
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .context("open", path)
}

/// Whether `path` still names `file`: its last holder may have moved or removed it while we waited.
fn is_current(file: &File, path: &Path) -> Result<bool> {
    let ours = file.metadata().context("look at", path)?;
    match std::fs::symlink_metadata(path) {
        Ok(theirs) => Ok(ours.ino() == theirs.ino() && ours.dev() == theirs.dev()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("look at", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn a_removed_lock_is_made_anew_by_those_who_waited() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::exclusive(&path).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::exclusive(&path).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
            held.remove().unwrap();
            let now = waiter.join().unwrap();
            assert!(is_current(now.file(), &path).unwrap());
        });
    }
}
