//! Removal of a directory tree that a container has written.
//!
//! Every step is relative to an open directory and follows no symbolic link, so that nothing outside is reached
//! whatever the tree holds and whoever changes it meanwhile. Directories that their owner may not read are opened up
//! first: overlayfs leaves `work/work` with mode 000, and a container may make such ones too.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How deep a tree may be. A descriptor is open for every level.
const MAX_DEPTH: usize = 4096;

/// Removes the directory `path` and all that is in it, and the names `last` at its top after everything else, so that
/// a removal that is interrupted leaves what tells about the rest. A missing `path` is fine.
pub fn remove_tree(path: &Path, last: &[&str]) -> io::Result<()> {
    match open_dir(AT_FDCWD, path) {
        Ok(mut dir) => {
            empty(&mut dir, 0, last)?;
            for name in last {
                ignore_missing(unlinkat(&dir, *name, UnlinkatFlags::NoRemoveDir))?;
            }
        }
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    Ok(ignore_missing(unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir))?)
}

/// Removes all entries but `keep`.
fn empty(dir: &mut Dir, depth: usize, keep: &[&str]) -> nix::Result<()> {
    if depth >= MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    // Collected first: whether entries are found that vanish or come during the walk is not defined.
    let entries = dir.iter().map(|e| e.map(|e| (e.file_name().to_owned(), e.file_type())));
    let entries = entries.collect::<nix::Result<Vec<(CString, Option<Type>)>>>()?;
    for (name, kind) in entries {
        let bytes = name.to_bytes();
        if bytes == b"." || bytes == b".." || keep.iter().any(|keep| keep.as_bytes() == bytes) {
            continue;
        }
        remove_entry(dir, &name, kind, depth)?;
    }
    Ok(())
}

fn remove_entry(dir: &Dir, name: &CString, kind: Option<Type>, depth: usize) -> nix::Result<()> {
    if kind != Some(Type::Directory) {
        match unlinkat(dir, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            // A file system that doesn't tell types: it was a directory.
            Err(Errno::EISDIR) => {}
            other => return ignore_missing(other),
        }
    }
    // An empty one needs no look into it.
    match unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir) {
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
        other => return ignore_missing(other),
    }
    empty(&mut open_dir(dir.as_fd(), name.as_c_str())?, depth + 1, &[])?;
    ignore_missing(unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir))
}

/// Opens a directory for emptying: its owner gets all rights first where it has to.
fn open_dir<P: nix::NixPath + ?Sized>(at: BorrowedFd<'_>, name: &P) -> nix::Result<Dir> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match Dir::openat(at, name, flags | OFlag::O_RDONLY, Mode::empty()).and_then(writable) {
        Err(Errno::EACCES) => {
            let handle = openat(at, name, flags | OFlag::O_PATH, Mode::empty())?;
            let own = format!("/proc/self/fd/{}", handle.as_raw_fd());
            fchmodat(AT_FDCWD, own.as_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
            Dir::openat(at, name, flags | OFlag::O_RDONLY, Mode::empty())
        }
        other => other,
    }
}

/// A directory that may be read but not written can't be emptied either.
fn writable(dir: Dir) -> nix::Result<Dir> {
    let write = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    nix::unistd::faccessat(&dir, ".", write, nix::fcntl::AtFlags::AT_EACCESS)?;
    Ok(dir)
}

fn ignore_missing(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        fs::write(tree.join("state.json"), "x").unwrap();
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink(dir.path(), tree.join("up")).unwrap();
        remove_tree(&tree, &["state.json"]).unwrap();
        assert!(!tree.exists());
        assert!(outside.exists());
        remove_tree(&tree, &[]).unwrap();
    }

    #[test]
    fn directories_without_any_rights_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("work/work/inner")).unwrap();
        for (path, mode) in [("work/work/inner", 0o000), ("work/work", 0o000), ("work", 0o500)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_tree(&tree, &[]).unwrap();
        assert!(!tree.exists());
    }
}
