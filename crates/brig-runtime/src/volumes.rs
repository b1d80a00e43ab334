//! How a volume is locked and removed: by the engine, and by the supervisor of an `--rm` container.
//!
//! A volume is a directory, and its lock is that of the directory. It is removed by one rename to a name beside it that
//! no volume has, and then for good; while somebody is at that, `<root>/volumes` is locked for sharing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::ContainerSpec;
use crate::record::MountRecord;
use crate::remove::remove_tree;

/// The beginning of the name of what isn't a volume yet, or no longer.
pub const HALF: char = '.';

/// Locks a volume by its directory, waiting for who has it; `None` without such a volume.
pub fn lock(dir: &Path) -> io::Result<Option<File>> {
    lock_by(dir, |file| file.lock().map(|()| true))
}

/// Locks a volume by its directory; `None` without such a volume, and if somebody else has it.
pub fn try_lock(dir: &Path) -> io::Result<Option<File>> {
    lock_by(dir, try_lock_file)
}

/// Locks a file that nobody else has locked; says whether it did.
pub fn try_lock_file(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn lock_by(dir: &Path, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<Option<File>> {
    loop {
        let file = match File::open(dir) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !lock(&file)? {
            return Ok(None);
        }
        // It may have been removed, and made anew, while it was waited for.
        if is_at(&file, dir)? {
            return Ok(Some(file));
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let now = match fs::metadata(path) {
        Ok(now) => now,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    Ok((meta.dev(), meta.ino()) == (now.dev(), now.ino()))
}

/// Removes a volume that is locked, and all that is in it.
pub fn discard(dir: &Path, lock: File) -> io::Result<()> {
    let all = dir.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let _halves = use_halves(all)?;
    // No other directory has this number as long as this one is there.
    let gone = all.join(format!("{HALF}gone-{}", lock.metadata()?.ino()));
    fs::rename(dir, &gone)?;
    drop(lock);
    remove_tree(&gone, &[])
}

/// Locks the directory of all volumes: held while there is a half of somebody's.
pub fn use_halves(all: &Path) -> io::Result<File> {
    let file = File::open(all)?;
    file.lock_shared()?;
    Ok(file)
}

/// Whether the record of a container below `containers` names a volume, or is one that can't be read: then it may.
pub fn may_be_used(containers: &Path, name: &str) -> io::Result<bool> {
    let names_it = |mount: &MountRecord| mount.volume.as_deref() == Some(name);
    for entry in fs::read_dir(containers)? {
        let record = entry?.path().join("spec.json");
        let used = match ContainerSpec::read(&record) {
            Ok(spec) => spec.mounts.iter().any(names_it),
            // One without a record holds the locks of its volumes, or will never have any.
            Err(_) => record.exists(),
        };
        if used {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_that_of_the_volume_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        assert!(lock(&volume).unwrap().is_none() && try_lock(&volume).unwrap().is_none());
        fs::create_dir_all(volume.join("_data/deep")).unwrap();
        let held = lock(&volume).unwrap().unwrap();
        assert!(try_lock(&volume).unwrap().is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&volume).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
            discard(&volume, held).unwrap();
            assert!(waiting.join().unwrap().is_none());
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_record_names_is_used_and_a_damaged_record_may_name_anything() {
        let dir = tempfile::tempdir().unwrap();
        let one = dir.path().join("one");
        fs::create_dir_all(&one).unwrap();
        assert!(!may_be_used(dir.path(), "v").unwrap());
        fs::write(one.join("spec.json"), "damaged").unwrap();
        assert!(may_be_used(dir.path(), "v").unwrap());
        let text = r#"{"version":1,"id":"a","name":"one","kind":"linux","kind_reason":"","image":{"reference":"r",
            "manifest":"m","id":"i","platform":"linux/amd64"},"created_at":"2026-01-01T00:00:00Z","args":["x"],"env":[],
            "cwd":"/","user":"","hostname":"h","tty":false,"stdin_open":false,"read_only":false,"auto_remove":false,
            "network":"none","isolation":"namespaces","mounts":[{"source":"/s","target":"/t","read_only":true,"volume":"v"}],
            "labels":{},"limits":{},"stop_signal":15,"security_opt":[],"layers":[]}"#;
        fs::write(one.join("spec.json"), text).unwrap();
        assert!(may_be_used(dir.path(), "v").unwrap());
        assert!(!may_be_used(dir.path(), "w").unwrap());
    }
}
