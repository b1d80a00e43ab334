//! Where the helper is executed from: a file behind a read-only mount, or a sealed copy in memory.
//!
//! Copying and freeing 1.4 MB costs 0.7 ms of each start; a mount of a file that is there anyway 0.1. Both keep a
//! container from writing to the program: the copy is sealed against everybody, and a file that was executed through a
//! read-only mount can be opened for writing through `/proc/<pid>/exe` by nobody, whatever its mode. The mount is
//! in no mount namespace and ends with its last descriptor and process, so that nothing can be left of it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::OpenTreeFlags;

use super::HelperError;
use crate::sys;

/// The first half of the program's SHA-256, in hexadecimal.
#[cfg(feature = "embed")]
const DIGEST: &str = env!("BRIG_HELPER_DIGEST");
#[cfg(not(feature = "embed"))]
const DIGEST: &str = "none";

/// The program's file in `dir`, through a read-only mount. `None` where that can't be had: without privileges, before
/// Linux 5.12, in a root that can't be written or from which nothing may be executed.
pub(super) fn on_disk(dir: &Path, program: &[u8]) -> Option<OwnedFd> {
    // Only root's files are root's alone to change; everybody else couldn't mount either.
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let path = brig_runtime::program::install(dir, "brig-helper", DIGEST, program).ok()?;
    mount(&path).ok()
}

fn mount(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let mount = rustix::mount::open_tree(rustix::fs::CWD, path, flags)?;
    sys::make_read_only(mount.as_fd())?;
    if rustix::fs::fstatvfs(&mount)?.f_flag.contains(StatVfsMountFlags::from_bits_retain(NOEXEC)) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(mount)
}

/// `ST_NOEXEC` of `statvfs(3)`.
const NOEXEC: u64 = libc::ST_NOEXEC;

/// A sealed copy of the program in memory.
pub(super) fn in_memory(program: &[u8]) -> Result<OwnedFd, HelperError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let executable = flags | MemfdFlags::EXEC;
    let copy = match rustix::fs::memfd_create("brig-helper", executable) {
        // `MFD_EXEC` is of Linux 6.3; before, all of them can be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("brig-helper", flags),
        made => made,
    };
    let copy =
        copy.map_err(|errno| HelperError::Seal { step: "make a file in memory", source: errno.into() })?;
    let mut file = File::from(copy);
    file.write_all(program).map_err(HelperError::seal("copy the helper into memory"))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&file, seals)
        .map_err(|errno| HelperError::Seal { step: "seal the helper", source: errno.into() })?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;

    use super::*;

    fn writable(program: &OwnedFd) -> io::Result<File> {
        OpenOptions::new().write(true).open(format!("/proc/self/fd/{}", program.as_raw_fd()))
    }

    #[test]
    fn neither_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let copy = in_memory(b"program").unwrap();
        // Opening it for writing is allowed; the seal is on what follows.
        writable(&copy).unwrap().write_all(b"x").unwrap_err();
        let Some(file) = on_disk(dir.path(), b"program") else {
            eprintln!("skipped: a mount needs root");
            return;
        };
        let error = writable(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(
            std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path(),
            &link,
        )
        .unwrap();
        assert!(mount(&link).and_then(|link| writable(&link)).is_err(), "a link isn't followed");
    }
}
