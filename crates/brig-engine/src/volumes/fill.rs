//! The first content of a volume, and whose its files are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use brig_runtime::ContainerSpec;
use brig_runtime::record::MountRecord;
use brig_store::LayerStack;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::store::{DATA, Lock};
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::users;

/// How deep the tree of a volume may be whose owner is changed. A descriptor is open for every level.
const MAX_DEPTH: usize = 512;

impl Engine {
    /// docker's rule: an empty volume gets what the image has there, with the directory's own attributes.
    pub(super) fn fill(
        &self,
        spec: &ContainerSpec,
        target: &str,
        lock: &Lock,
        stack: &LayerStack,
    ) -> Result<()> {
        if spec.layers.is_empty() || !self.can_make_namespaces() {
            return Ok(());
        }
        if !stack.is_dir(target)? {
            if stack.open(target)?.is_some() {
                let problem = format!("cannot mount volume over existing file, file exists {target}");
                return Err(Error::invalid("volume", target, problem));
            }
            return Ok(());
        }
        let dir = self.volume_dir(&lock.name);
        let is_used = self.volume_users()?.contains_key(&lock.name);
        if !lock.is_empty(&dir)? {
            return Ok(());
        }
        lock.fill(&dir, is_used, |into| {
            self.copy_of_image(&crate::layers::of_record(spec)?, target, into, DATA)
        })
    }

    /// `U`: the files become those of the container's user.
    pub(super) fn give_to_user(
        &self,
        spec: &ContainerSpec,
        mount: &MountRecord,
        stack: &LayerStack,
    ) -> Result<()> {
        let host = self.host();
        // A wasm container's engine process, and an ordinary user's container, has one user.
        let (uid, gid) = if spec.kind == "wasm" || host.rootless {
            (host.uid, host.gid)
        } else {
            let user = users::from_stack(stack, &spec.user)?;
            (user.uid, user.gid)
        };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        let failed = |errno: Errno| Error::io("change the owner of", &mount.source)(errno.into());
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(&mount.source, flags, Mode::empty()).map_err(failed)?;
        give(root.as_fd(), Path::new(""), AtFlags::EMPTY_PATH, (uid, gid)).map_err(failed)?;
        match directory(root.as_fd(), Path::new(".")) {
            Ok(dir) => give_all(&dir, (uid, gid), 0).map_err(failed),
            Err(Errno::NOTDIR) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// All that is in a directory. No link is followed, whoever changes names meanwhile.
fn give_all(dir: &OwnedFd, owner: (Uid, Gid), depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match give(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW, owner) {
            // Gone in this moment.
            Err(Errno::NOENT) => continue,
            given => given?,
        }
        if !matches!(entry.file_type(), FileType::Directory | FileType::Unknown) {
            continue;
        }
        match directory(dir.as_fd(), name) {
            Ok(below) => give_all(&below, owner, depth + 1)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn directory<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// What has its owner already keeps its set-id bits.
fn give<P: rustix::path::Arg + Copy>(
    at: BorrowedFd<'_>,
    name: P,
    flags: AtFlags,
    (uid, gid): (Uid, Gid),
) -> Result<(), Errno> {
    let stat = rustix::fs::statat(at, name, flags)?;
    if (stat.st_uid, stat.st_gid) == (uid.as_raw(), gid.as_raw()) {
        return Ok(());
    }
    rustix::fs::chownat(at, name, Some(uid), Some(gid), flags)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn owners_change_in_the_tree_and_nowhere_else() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(tree.join("a/f"), "").unwrap();
        fs::write(outside.join("f"), "").unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let open = File::open(&tree).unwrap();
        let owner = (Uid::from_raw(1234), Gid::from_raw(4321));
        give_all(&open.into(), owner, 0).unwrap();
        let ids = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        for name in ["a", "a/b", "a/f", "link"] {
            assert_eq!(ids(&tree.join(name)), (1234, 4321), "{name}");
        }
        for path in [outside.clone(), outside.join("f"), tree.clone()] {
            assert_eq!(ids(&path), (0, 0), "{path:?}");
        }
    }
}
