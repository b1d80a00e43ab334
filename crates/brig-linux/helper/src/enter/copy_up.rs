//! A new tmpfs that begins with what the image has in its place.
//!
//! Everything is reached from a directory's descriptor by one name that isn't followed, so that no link leads anywhere.
//! How much there may be of it is the tmpfs's own business, which is full when it is full.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::failure::{Failure, On};

/// How deep directories may be: each level holds descriptors and a part of the stack.
const MAX_DEPTH: usize = 100;
const BLOCK: usize = 64 * 1024;
/// Permissions, set-id bits and the sticky one.
const MODE: RawMode = 0o7777;

/// Fills `made` with what is in `from`. What the options say of the root of a tmpfs is stronger than what is there.
pub(super) fn fill(
    made: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    options: &[(String, Option<String>)],
) -> Result<(), Failure> {
    let from = open_directory(from, c".")?;
    let to = open_directory(made, c".")?;
    let stat = rustix::fs::fstat(&from)?;
    copy_directory(&from, &to, 0)?;
    let said = |name: &str| options.iter().any(|(key, _)| key == name);
    let uid = (!said("uid")).then(|| Uid::from_raw(stat.st_uid));
    let gid = (!said("gid")).then(|| Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(&to, uid, gid)?;
    if !said("mode") {
        rustix::fs::fchmod(&to, Mode::from_raw_mode(stat.st_mode & MODE))?;
    }
    copy_attributes(&from, &to)?;
    Ok(rustix::fs::futimens(&to, &times(&stat))?)
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// What is in a directory, not the directory.
fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Failure> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG.into());
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy(from, to, name, depth).on(name.to_string_lossy().as_ref())?;
        }
    }
    Ok(())
}

fn copy(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Failure> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let from = open_directory(from.as_fd(), name)?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let made = open_directory(to.as_fd(), name)?;
            copy_directory(&from, &made, depth + 1)?;
            copy_attributes_after_owner(&from, &made, &stat)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let from = rustix::fs::openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
            let new = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let made = rustix::fs::openat(to, name, new, Mode::RUSR | Mode::WUSR)?;
            copy_bytes(&from, &made)?;
            copy_attributes_after_owner(&from, &made, &stat)?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
            give(to, name, &stat)?;
        }
        kind => {
            rustix::fs::mknodat(to, name, kind, Mode::from_raw_mode(stat.st_mode & MODE), stat.st_rdev)?;
            give(to, name, &stat)?;
            // The umask may have taken bits away.
            rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & MODE), AtFlags::empty())?;
        }
    }
    rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn copy_bytes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut block))?;
        let mut left = &block[..count];
        if left.is_empty() {
            return Ok(());
        }
        while !left.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(to, left))?;
            left = &left[written..];
        }
    }
}

/// A change of owner takes set-id bits and capabilities away, so they come after it.
fn copy_attributes_after_owner(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & MODE))?;
    copy_attributes(from, to)
}

fn give(to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Extended attributes, as far as a tmpfs can have them.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    // `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` of linux/limits.h.
    const MAX: usize = 64 * 1024;
    let mut names = vec![0; MAX];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0; if length == 0 { 0 } else { MAX }];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        let length = rustix::fs::fgetxattr(from, name, &mut value)?;
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: nanos };
    Timestamps {
        last_access: time(stat.st_atime, i64::try_from(stat.st_atime_nsec).unwrap_or(0)),
        last_modification: time(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_is_copied_with_its_modes_and_times_and_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to, outside] = ["from", "to", "outside"].map(|name| dir.path().join(name));
        for path in [&from, &to, &outside] {
            fs::create_dir(path).unwrap();
        }
        fs::write(outside.join("secret"), "secret").unwrap();
        symlink(&outside, from.join("link")).unwrap();
        symlink(outside.join("secret"), from.join("file link")).unwrap();
        fs::create_dir(from.join("below")).unwrap();
        fs::write(from.join("below/file"), vec![7; 3 * BLOCK + 1]).unwrap();
        fs::set_permissions(from.join("below/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o710)).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, from.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let [a, b] = [&from, &to].map(|path| fs::File::open(path).unwrap());
        fill(b.as_fd(), a.as_fd(), &[]).unwrap();
        assert_eq!(fs::read_link(to.join("link")).unwrap(), outside);
        assert_eq!(fs::read_link(to.join("file link")).unwrap(), outside.join("secret"));
        assert_eq!(fs::read(to.join("below/file")).unwrap(), vec![7; 3 * BLOCK + 1]);
        for path in [".", "below", "below/file", "link", "fifo"] {
            let [a, b] = [&from, &to].map(|dir| fs::symlink_metadata(dir.join(path)).unwrap());
            let of = |stat: &fs::Metadata| (stat.mode(), stat.uid(), stat.mtime(), stat.mtime_nsec());
            assert_eq!(of(&a), of(&b), "{path}");
        }
        fill(b.as_fd(), a.as_fd(), &[]).unwrap_err();
    }

    #[test]
    fn a_tree_without_end_isn_t_copied() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::create_dir(&to).unwrap();
        fs::create_dir_all(from.join(["d"; MAX_DEPTH + 2].join("/"))).unwrap();
        let [from, to] = [&from, &to].map(|path| fs::File::open(path).unwrap());
        let failure = fill(to.as_fd(), from.as_fd(), &[]).unwrap_err();
        assert_eq!(failure.errno, Errno::NAMETOOLONG.raw_os_error());
    }
}
