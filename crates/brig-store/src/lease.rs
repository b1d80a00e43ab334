//! What running operations and containers need, so that garbage collection leaves it.
//!
//! A lease is a file of lines, appended to. A temporary one is locked by its process: with the process it is void.
//! Whoever adds content that no ref needs yet says so first, and looks then whether the content is there: garbage
//! collection has either removed it before, or sees the lease.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use brig_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::lock::Lock;
use crate::store::Store;

/// The most that is read of a lease.
const MAX_LEASE: u64 = 64 * 1024 * 1024;
const TEMPORARY: &str = ".tmp";

/// A lease that is held. A temporary one ends when it is dropped; a lasting one stays until it is removed.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    path: PathBuf,
    file: File,
    temporary: bool,
}

/// A lease as it is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Its name, and for a temporary one its process.
    pub name: String,
    /// Whether it ends with its process.
    pub temporary: bool,
    /// Blobs that stay.
    pub blobs: Vec<Digest>,
    /// Layers that stay, by diffID.
    pub layers: Vec<Digest>,
}

/// One line of a lease.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    #[serde(default)]
    blobs: Vec<Digest>,
    #[serde(default)]
    layers: Vec<Digest>,
}

impl Store {
    /// A lease that ends when it is dropped or its process dies.
    pub fn lease(&self, name: &str) -> Result<Lease> {
        check_name(name)?;
        let _gc = Lock::shared(&self.gc_lock_path())?;
        let pid = std::process::id();
        for number in 0_u64.. {
            let path = self.dir("leases").join(format!("{name}-{pid}-{number}{TEMPORARY}"));
            let opened = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => {
                    file.lock().context("lock", &path)?;
                    return Ok(Lease { store: self.clone(), path, file, temporary: true });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context("create", &path),
            }
        }
        unreachable!("a directory doesn't hold 2^64 files")
    }

    /// A lease that stays until [`Store::remove_lease`]; opened if it is there.
    pub fn lasting_lease(&self, name: &str) -> Result<Lease> {
        check_name(name)?;
        let _gc = Lock::shared(&self.gc_lock_path())?;
        let path = self.lasting_path(name);
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = opened.context("open", &path)?;
        Ok(Lease { store: self.clone(), path, file, temporary: false })
    }

    /// Ends a lasting lease; `false` where there is none.
    pub fn remove_lease(&self, name: &str) -> Result<bool> {
        check_name(name)?;
        fsutil::remove_file(&self.lasting_path(name))
    }

    /// The leases that are not void.
    pub fn leases(&self) -> Result<Vec<LeaseRecord>> {
        let mut records = Vec::new();
        for file_name in fsutil::names(&self.dir("leases"))? {
            records.extend(self.read_lease(&file_name)?);
        }
        Ok(records)
    }

    fn lasting_path(&self, name: &str) -> PathBuf {
        self.dir("leases").join(format!("{name}.lease"))
    }

    fn read_lease(&self, file_name: &str) -> Result<Option<LeaseRecord>> {
        let path = self.dir("leases").join(file_name);
        let temporary = file_name.ends_with(TEMPORARY);
        if temporary && is_void(&path)? {
            return Ok(None);
        }
        let Some(bytes) = fsutil::read_small(&path, MAX_LEASE)? else { return Ok(None) };
        let name = file_name.trim_end_matches(TEMPORARY).trim_end_matches(".lease").to_owned();
        let mut record = LeaseRecord { name, temporary, blobs: Vec::new(), layers: Vec::new() };
        for line in bytes.split(|byte| *byte == b'\n') {
            // A torn line was written by somebody who died before the lease was theirs.
            let line: Line = serde_json::from_slice(line).unwrap_or_default();
            record.blobs.extend(line.blobs);
            record.layers.extend(line.layers);
        }
        Ok(Some(record))
    }

    /// Removes the leases of processes that died.
    pub(crate) fn remove_void_leases(&self) -> Result<()> {
        for file_name in fsutil::names(&self.dir("leases"))? {
            let path = self.dir("leases").join(&file_name);
            if file_name.ends_with(TEMPORARY) && is_void(&path)? {
                fsutil::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

impl Lease {
    /// Keeps these blobs and layers (by diffID), whether they are there yet or not. Waits while garbage is collected.
    pub fn protect(&self, blobs: &[Digest], layers: &[Digest]) -> Result<()> {
        let _gc = Lock::shared(&self.store.gc_lock_path())?;
        let line = Line { blobs: blobs.to_vec(), layers: layers.to_vec() };
        // A line feed in front too, after what somebody tore.
        let mut bytes = vec![b'\n'];
        bytes.extend(crate::store::to_json(&self.path, &line)?);
        bytes.push(b'\n');
        (&self.file).write_all(&bytes).context("write", &self.path)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.temporary {
            // Nobody to tell; void without its lock, it is removed later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether nobody holds the temporary lease at `path`.
fn is_void(path: &std::path::Path) -> Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error).context("open", path),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) => Err(error).context("lock", path),
    }
}

fn check_name(name: &str) -> Result<()> {
    if fsutil::is_safe_name(name) {
        return Ok(());
    }
    Err(StoreError::InvalidName { what: "lease name", name: name.chars().take(200).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[test]
    fn a_temporary_lease_ends_with_its_holder() {
        let (_dir, store) = store();
        let lease = store.lease("pull").unwrap();
        let other = store.lease("pull").unwrap();
        let digest = Digest::sha256("x");
        lease.protect(std::slice::from_ref(&digest), &[]).unwrap();
        lease.protect(&[], std::slice::from_ref(&digest)).unwrap();
        let records = store.leases().unwrap();
        assert_eq!(records.len(), 2);
        assert!(
            records
                .iter()
                .any(|record| record.blobs == [digest.clone()] && record.layers == [digest.clone()])
        );
        drop((lease, other));
        assert!(store.leases().unwrap().is_empty());
    }

    #[test]
    fn a_lasting_lease_survives_and_a_torn_line_does_no_harm() {
        let (dir, store) = store();
        let digest = Digest::sha256("x");
        store.lasting_lease("container-1").unwrap().protect(std::slice::from_ref(&digest), &[]).unwrap();
        let path = dir.path().join("leases/container-1.lease");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"blobs\":[\"sha2").unwrap();
        store.lasting_lease("container-1").unwrap().protect(&[], std::slice::from_ref(&digest)).unwrap();
        let record = store.leases().unwrap().remove(0);
        assert_eq!((record.name.as_str(), record.temporary), ("container-1", false));
        assert_eq!((record.blobs, record.layers), (vec![digest.clone()], vec![digest]));
        assert!(store.remove_lease("container-1").unwrap());
        assert!(!store.remove_lease("container-1").unwrap());
    }

    #[test]
    fn names_are_no_paths() {
        let (_dir, store) = store();
        assert!(store.lease("../x").is_err());
        assert!(store.lasting_lease("").is_err());
    }
}
