//! Files that appear whole or not at all, and trees that vanish.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::error::{IoContext, Result};

/// A file under a temporary name, which gets its own when it is complete.
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl TempFile {
    /// A new file in `dir`, which must be on the file system of the final place.
    pub(crate) fn new(dir: &Path) -> Result<Self> {
        let pid = std::process::id();
        for number in 0_u64.. {
            let path = dir.join(format!("tmp-{pid}-{number}"));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => return Ok(Self { path, file, kept: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context("create", &path),
            }
        }
        unreachable!("a directory doesn't hold 2^64 files")
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the content is on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().context("write", &self.path)
    }

    /// Gives the file its name, in place of what had it.
    pub(crate) fn persist(mut self, name: &Path) -> Result<()> {
        fs::rename(&self.path, name).context("create", name)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody to tell, and garbage collection removes it later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Replaces `name` by a file with `bytes`, which is on the disk before it has the name.
pub(crate) fn replace(temp_dir: &Path, name: &Path, bytes: &[u8]) -> Result<()> {
    let temp = filled(temp_dir, bytes)?;
    temp.sync()?;
    temp.persist(name)
}

/// Replaces `name` by a file with `bytes`, which a power cut may take away again.
pub(crate) fn replace_unsynced(temp_dir: &Path, name: &Path, bytes: &[u8]) -> Result<()> {
    filled(temp_dir, bytes)?.persist(name)
}

fn filled(temp_dir: &Path, bytes: &[u8]) -> Result<TempFile> {
    let mut temp = TempFile::new(temp_dir)?;
    let path = temp.path().to_owned();
    temp.file().write_all(bytes).context("write", &path)?;
    Ok(temp)
}

/// The content of a small file of ours; `None` where there is no file.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("open", path),
    };
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).context("read", path)?;
    Ok(Some(bytes))
}

/// Makes a directory of mode 0700 unless it is there.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).context("create", path),
        _ => Ok(()),
    }
}

/// The names in a directory; none where there is no directory.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("list", dir),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.context("list", dir)?;
        // Names that aren't UTF-8 aren't ours.
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file; `false` where there is none.
pub(crate) fn remove_file(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("remove", path),
    }
}

/// Removes a directory and all in it, also where an ordinary user took permissions from own directories. Follows no
/// symbolic links.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent =
        match rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(parent) => parent,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).context("open", path),
        };
    remove_tree_at(parent.as_fd(), name, &mut |_| ()).context("remove", path)
}

/// Removes `name` in `parent` and all in it; `removed` is told of each name that went.
pub(crate) fn remove_tree_at(
    parent: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    removed: &mut dyn FnMut(&rustix::fs::Stat),
) -> io::Result<()> {
    let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        unlink(&parent, name, AtFlags::empty())?;
        removed(&stat);
        return Ok(());
    }
    let dir = match open_for_removal(&parent, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for child in rustix::fs::Dir::read_from(&dir)? {
        let child = child?;
        if !matches!(child.file_name().to_bytes(), b"." | b"..") {
            remove_tree_at(&dir, child.file_name(), removed)?;
        }
    }
    unlink(&parent, name, AtFlags::REMOVEDIR)?;
    removed(&stat);
    Ok(())
}

/// Somebody else may remove the same.
fn unlink(parent: impl AsFd, name: impl rustix::path::Arg, flags: AtFlags) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, flags) {
        Err(error) if error != rustix::io::Errno::NOENT => Err(error.into()),
        _ => Ok(()),
    }
}

fn open_for_removal(parent: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(&parent, name, flags, Mode::empty());
    let writable = |dir: &OwnedFd| {
        rustix::fs::fstat(dir).is_ok_and(|stat| stat.st_mode & 0o300 == 0o300)
            || rustix::process::geteuid().is_root()
    };
    match opened {
        Ok(dir) if writable(&dir) => Ok(dir),
        Ok(dir) => {
            rustix::fs::fchmod(&dir, Mode::RWXU)?;
            Ok(dir)
        }
        Err(rustix::io::Errno::ACCESS) => {
            // The type was looked at just now, and nobody else writes here: not a symbolic link.
            rustix::fs::chmodat(&parent, name, Mode::RWXU, AtFlags::empty())?;
            Ok(rustix::fs::openat(&parent, name, flags, Mode::empty())?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether `name` is safe as a file name and no hidden one.
pub(crate) fn is_safe_name(name: &str) -> bool {
    name.len() <= 128
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string doesn't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_go_with_links_but_not_what_the_links_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("keep"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("keep").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn a_dropped_temporary_file_goes() {
        let dir = tempfile::tempdir().unwrap();
        let temp = TempFile::new(dir.path()).unwrap();
        let other = TempFile::new(dir.path()).unwrap();
        drop(temp);
        other.persist(&dir.path().join("name")).unwrap();
        assert_eq!(names(dir.path()).unwrap(), ["name"]);
    }
}
