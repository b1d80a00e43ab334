//! A tar into a directory.
//!
//! What an entry can't do, whoever made the tar: have a name that leaves the directory; be written through a link that
//! the tar made before, or somebody else makes meanwhile (the last component is made anew and never followed, and the
//! directories above are opened without following links, or within a tree that is this process's root); replace a
//! directory by something else, or something else by a directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use brig_runtime::files::Owner;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::node::Node;
use super::tar::{self, Entry, Reader};
use super::{Result, failed, lookup, problem};
use crate::enter::attempt;
use crate::enter::place::Tree;

/// What directories have that the tar has no entry for.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);
/// The set-id bits and attributes that make a program more than its caller are their owner's to give.
const PLAIN_MODE: u32 = 0o1777;

/// Writes a tar into the directory `path`; gives how many attributes couldn't be set.
pub(crate) fn write(tree: &Tree, path: &str, owner: Owner, follow: bool, from: impl Read) -> Result<u64> {
    let directory = lookup::find_directory(tree, path)?;
    let mut extract = Extract {
        tree,
        base: directory.fd,
        owner,
        follow: follow && tree.closed,
        parent: None,
        directories: Vec::new(),
        unset: 0,
    };
    let mut reader = Reader::new(from);
    while let Some(entry) = reader.next_entry().map_err(|error| failed("read the tar", b"", error))? {
        extract.entry(&entry, &mut reader)?;
    }
    extract.leave(b"")?;
    Ok(extract.unset)
}

struct Extract<'a> {
    tree: &'a Tree,
    base: OwnedFd,
    owner: Owner,
    follow: bool,
    /// The directory of the last entry, and its name.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// The directories that the tar is in, the outermost first: they get mode and time when it is out of them.
    directories: Vec<(Vec<u8>, Entry)>,
    unset: u64,
}

/// A name below the directory, taken apart.
struct Name<'a> {
    path: &'a [u8],
    above: &'a [u8],
    last: &'a OsStr,
}

impl<'a> Name<'a> {
    fn of(path: &'a [u8]) -> Self {
        let (above, last) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], path),
        };
        Self { path, above, last: OsStr::from_bytes(last) }
    }
}

impl Extract<'_> {
    fn entry(&mut self, entry: &Entry, data: &mut Reader<impl Read>) -> Result<()> {
        let path = clean(&entry.path)?;
        if path.is_empty() {
            // The directory itself, which is there and stays as it is.
            return match entry.kind {
                tar::DIRECTORY => Ok(()),
                _ => Err(problem("write", &entry.path, "the directory itself can't become something else")),
            };
        }
        let name = Name::of(&path);
        self.leave(name.path)?;
        self.open_parent(name.above)?;
        match entry.kind {
            tar::DIRECTORY => self.directory(&name, entry),
            tar::FILE => self.make_room(&name).and_then(|()| self.file(&name, entry, data)),
            tar::HARD_LINK => self.hard_link(&name, &entry.link),
            tar::SYMLINK => self.symlink(&name, entry),
            tar::CHAR_DEVICE => self.special(&name, entry, FileType::CharacterDevice),
            tar::BLOCK_DEVICE => self.special(&name, entry, FileType::BlockDevice),
            tar::FIFO => self.special(&name, entry, FileType::Fifo),
            kind => Err(problem("write", &path, format!("its type `{}` isn't known", char::from(kind)))),
        }
    }

    fn parent(&self) -> Result<BorrowedFd<'_>> {
        let parent = self.parent.as_ref().map(|(_, fd)| fd.as_fd());
        parent.ok_or_else(|| failed("open the directory of", b"", Errno::BADF))
    }

    /// Opens the directory that an entry goes into, and makes it where the tar hasn't.
    fn open_parent(&mut self, above: &[u8]) -> Result<()> {
        if self.parent.as_ref().is_some_and(|(known, _)| known == above) {
            return Ok(());
        }
        let opened = match self.open(above, OFlags::PATH) {
            Err(Errno::NOENT) if !above.is_empty() => {
                self.make_implied(above)?;
                self.open(above, OFlags::PATH)
            }
            opened => opened,
        };
        let opened = opened.map_err(|errno| failed("open the directory", above, errno))?;
        self.parent = Some((above.to_vec(), opened));
        Ok(())
    }

    fn make_implied(&mut self, path: &[u8]) -> Result<()> {
        let name = Name::of(path);
        self.open_parent(name.above)?;
        match rustix::fs::mkdirat(self.parent()?, name.last, IMPLIED_MODE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("make the directory", path, errno)),
        }
    }

    /// Opens a directory below the one that is written to.
    fn open(&self, path: &[u8], flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let path: &[u8] = if path.is_empty() { b"." } else { path };
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let strictly = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match attempt(|| rustix::fs::openat2(&self.base, path, flags, Mode::empty(), strictly)) {
            // Within this process's root, which is the container's: as a program of the container would get there.
            Err(Errno::LOOP) if self.follow => attempt(|| {
                rustix::fs::openat2(&self.base, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
            }),
            opened => opened,
        }
    }

    /// Removes what has the name. Directories stay.
    fn make_room(&self, name: &Name<'_>) -> Result<()> {
        match rustix::fs::unlinkat(self.parent()?, name.last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => {
                Err(problem("overwrite", name.path, "a directory can't be overwritten by something else"))
            }
            // Something is mounted there: its content can be replaced.
            Err(Errno::BUSY) => Ok(()),
            Err(errno) => Err(failed("replace", name.path, errno)),
        }
    }

    fn directory(&mut self, name: &Name<'_>, entry: &Entry) -> Result<()> {
        match rustix::fs::mkdirat(self.parent()?, name.last, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => self.check_directory(name)?,
            Err(errno) => return Err(failed("make the directory", name.path, errno)),
        }
        self.directories.push((name.path.to_vec(), entry.clone()));
        Ok(())
    }

    fn check_directory(&self, name: &Name<'_>) -> Result<()> {
        let stat = rustix::fs::statat(self.parent()?, name.last, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("look at", name.path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(()),
            _ => Err(problem("overwrite", name.path, "what isn't a directory can't be overwritten by one")),
        }
    }

    /// Gives directories their attributes that `path` isn't in.
    fn leave(&mut self, path: &[u8]) -> Result<()> {
        while let Some((directory, _)) = self.directories.last() {
            if path.strip_prefix(directory.as_slice()).is_some_and(|rest| rest.starts_with(b"/")) {
                break;
            }
            let Some((directory, entry)) = self.directories.pop() else { break };
            let open = self.open(&directory, OFlags::RDONLY);
            let open = open.map_err(|errno| failed("open the directory", &directory, errno))?;
            self.attributes(&File::from(open), &directory, &entry)?;
        }
        Ok(())
    }

    fn file(&mut self, name: &Name<'_>, entry: &Entry, data: &mut Reader<impl Read>) -> Result<()> {
        let file = self.create(name)?;
        fill(&file, entry, data).map_err(|error| failed("write", name.path, error))?;
        self.attributes(&file, name.path, entry)
    }

    /// A new file. Where the old one couldn't be removed, since something is mounted there, that one, emptied: if it is
    /// a file, for opening a device or a pipe does something.
    fn create(&self, name: &Name<'_>) -> Result<File> {
        let make = |errno| failed("make", name.path, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.parent()?, name.last, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Ok(File::from(file)),
            Err(Errno::EXIST) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let found = rustix::fs::openat(self.parent()?, name.last, flags, Mode::empty());
                found.and_then(Node::of).and_then(|node| node.overwrite(self.tree)).map_err(make)
            }
            Err(errno) => Err(make(errno)),
        }
    }

    /// Another name of a file in the directory. A link as the target is linked to, not what it points to.
    fn hard_link(&mut self, name: &Name<'_>, target: &[u8]) -> Result<()> {
        let target = clean(target)?;
        if target == name.path {
            return Ok(());
        }
        let target = Name::of(&target);
        let from = self.open(target.above, OFlags::PATH);
        let from = from.map_err(|errno| failed("open the directory", target.above, errno))?;
        self.make_room(name)?;
        rustix::fs::linkat(from, target.last, self.parent()?, name.last, AtFlags::empty())
            .map_err(|errno| failed("make the hard link", name.path, errno))
    }

    fn symlink(&mut self, name: &Name<'_>, entry: &Entry) -> Result<()> {
        self.make_room(name)?;
        rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), self.parent()?, name.last)
            .map_err(|errno| failed("make the symbolic link", name.path, errno))?;
        self.named_attributes(name, entry)
    }

    fn special(&mut self, name: &Name<'_>, entry: &Entry, kind: FileType) -> Result<()> {
        self.make_room(name)?;
        let device = match kind {
            FileType::Fifo => 0,
            _ => rustix::fs::makedev(entry.device.0, entry.device.1),
        };
        let mode = Mode::from_raw_mode(entry.mode & PLAIN_MODE);
        rustix::fs::mknodat(self.parent()?, name.last, kind, mode, device)
            .map_err(|errno| failed("make the device", name.path, errno))?;
        self.named_attributes(name, entry)
    }

    /// Owner and time of what can't be opened.
    fn named_attributes(&mut self, name: &Name<'_>, entry: &Entry) -> Result<()> {
        if let Some((uid, gid)) = self.ids(entry) {
            let set = rustix::fs::chownat(
                self.parent()?,
                name.last,
                Some(uid),
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            );
            self.owned(set, name.path)?;
        }
        rustix::fs::utimensat(self.parent()?, name.last, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", name.path, errno))
    }

    /// Owner, mode, extended attributes and time. In this order: a change of owner takes set-id bits and capabilities.
    fn attributes(&mut self, file: &File, path: &[u8], entry: &Entry) -> Result<()> {
        if let Some((uid, gid)) = self.ids(entry) {
            self.owned(rustix::fs::fchown(file, Some(uid), Some(gid)), path)?;
        }
        let mode = if self.owner == Owner::Caller { entry.mode & PLAIN_MODE } else { entry.mode };
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
            .map_err(|errno| failed("set the mode of", path, errno))?;
        for (name, value) in &entry.xattrs {
            self.xattr(file, path, name, value)?;
        }
        rustix::fs::futimens(file, &times(entry)).map_err(|errno| failed("set the time of", path, errno))
    }

    fn xattr(&mut self, file: &File, path: &[u8], name: &[u8], value: &[u8]) -> Result<()> {
        let marks = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if marks || self.owner == Owner::Caller && !name.starts_with(b"user.") {
            return Ok(());
        }
        match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
            Ok(()) => Ok(()),
            // A file system without them, or a user who may not: docker goes on, too, and says nothing.
            Err(Errno::NOTSUP | Errno::PERM) => {
                self.unset += 1;
                Ok(())
            }
            Err(errno) => Err(failed("set an attribute of", path, errno)),
        }
    }

    fn ids(&self, entry: &Entry) -> Option<(Uid, Gid)> {
        let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        match self.owner {
            Owner::Tar => Some((Uid::from_raw(id(entry.uid)?), Gid::from_raw(id(entry.gid)?))),
            Owner::Root => Some((Uid::ROOT, Gid::ROOT)),
            Owner::Caller => None,
        }
    }

    /// An ordinary user's container has one user, and it owns all there is.
    fn owned(&mut self, set: std::result::Result<(), Errno>, path: &[u8]) -> Result<()> {
        match set {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::INVAL) => {
                self.unset += u64::from(self.owner == Owner::Tar);
                Ok(())
            }
            Err(errno) => Err(failed("set the owner of", path, errno)),
        }
    }
}

fn times(entry: &Entry) -> Timestamps {
    let (tv_sec, nanoseconds) = entry.mtime;
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn fill(mut file: &File, entry: &Entry, data: &mut Reader<impl Read>) -> io::Result<()> {
    let Some(pieces) = &entry.pieces else { return data.each(|chunk| file.write_all(chunk)) };
    let mut pieces = pieces.iter().copied();
    let (mut at, mut left) = (0, 0);
    data.each(|mut chunk| {
        while !chunk.is_empty() {
            while left == 0 {
                let next = pieces.next().ok_or(io::ErrorKind::InvalidData)?;
                (at, left) = next;
            }
            let count = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all_at(&chunk[..count], at)?;
            (at, left) = (at + count as u64, left - count as u64);
            chunk = &chunk[count..];
        }
        Ok(())
    })?;
    file.set_len(entry.size)
}

/// A name without `.`, doubled slashes and `..`: the path below the directory, or an error for one that leaves it.
fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    return Err(problem("write", path, "its name leads out of the directory"));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::fs::CWD;

    /// A directory as an ordinary user writes to it: nothing but the look-ups keep a tar in it.
    fn tree() -> Tree {
        let open = |path| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Tree { root: open("/"), lowers: Vec::new(), numbers: open("/proc/self/fd"), closed: false }
    }

    fn entry(kind: u8, path: &str, link: &str) -> Entry {
        Entry {
            kind,
            path: path.into(),
            link: link.into(),
            mode: 0o4755,
            size: u64::from(kind == tar::FILE),
            ..Entry::default()
        }
    }

    fn extract(into: &std::path::Path, entries: &[Entry]) -> Result<u64> {
        let mut writer = tar::Writer::new(Vec::new());
        for entry in entries {
            writer.begin(entry).unwrap();
            writer.data(b"x").unwrap();
            writer.end().unwrap();
        }
        let bytes = writer.finish().unwrap();
        write(&tree(), into.to_str().unwrap(), Owner::Caller, true, bytes.as_slice())
    }

    #[test]
    fn a_hostile_tar_stays_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (into, outside) = (dir.path().join("into"), dir.path().join("outside"));
        std::fs::create_dir(&into).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        let away = outside.to_str().unwrap();
        let file = |path: &str| entry(tar::FILE, path, "");
        for entries in [
            vec![file("../outside/a")],
            vec![file("x/../../outside/a")],
            vec![entry(tar::SYMLINK, "l", away), file("l/a")],
            vec![entry(tar::SYMLINK, "m", "../outside"), entry(tar::SYMLINK, "n", "m"), file("n/a")],
            vec![entry(tar::SYMLINK, "o", away), entry(tar::DIRECTORY, "o", "")],
            vec![entry(tar::SYMLINK, "p", away), entry(tar::HARD_LINK, "q", "p/secret")],
            vec![entry(tar::HARD_LINK, "r", "../outside/secret")],
            vec![entry(tar::SYMLINK, "s", away), entry(tar::FIFO, "s/a", "")],
        ] {
            extract(&into, &entries).unwrap_err();
        }
        // A name is made anew, not written through.
        extract(&into, &[entry(tar::SYMLINK, "t", &format!("{away}/secret")), file("t")]).unwrap();
        assert!(std::fs::symlink_metadata(into.join("t")).unwrap().is_file());
        // An absolute name is one below the directory.
        extract(&into, &[file(&format!("{away}/b"))]).unwrap();
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_isnt_replaced_and_set_id_bits_arent_given_away() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        extract(dir.path(), &[entry(tar::DIRECTORY, "d", ""), entry(tar::FILE, "d/f", "")]).unwrap();
        let mode = std::fs::metadata(dir.path().join("d/f")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        for kind in [tar::FILE, tar::SYMLINK, tar::FIFO] {
            extract(dir.path(), &[entry(kind, "d", "x")]).unwrap_err();
        }
        extract(dir.path(), &[entry(tar::DIRECTORY, "d/f", "")]).unwrap_err();
        assert!(rustix::fs::statat(CWD, dir.path().join("d/f"), AtFlags::empty()).is_ok());
    }

    #[test]
    fn holes_and_times_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let holes = Entry {
            size: 1 << 30,
            pieces: Some(vec![(1 << 20, 1)]),
            mtime: (7, 9),
            ..entry(tar::FILE, "h", "")
        };
        let closed = Entry { mode: 0o500, mtime: (5, 6), ..entry(tar::DIRECTORY, "c", "") };
        extract(dir.path(), &[closed, entry(tar::FILE, "c/f", ""), holes]).unwrap();
        let stat = rustix::fs::stat(dir.path().join("h")).unwrap();
        assert_eq!((stat.st_size, stat.st_mtime, stat.st_mtime_nsec), (1 << 30, 7, 9));
        assert!(stat.st_blocks < 1000);
        let stat = rustix::fs::stat(dir.path().join("c")).unwrap();
        assert_eq!((stat.st_mode & 0o777, stat.st_mtime, stat.st_mtime_nsec), (0o500, 5, 6));
    }

    #[test]
    fn names_stay_below_the_directory() {
        for (path, expected) in
            [("a/b", "a/b"), ("./a//b/", "a/b"), ("/etc/x", "etc/x"), ("a/../b", "b"), ("./", ""), (".", "")]
        {
            assert_eq!(clean(path.as_bytes()).unwrap(), expected.as_bytes(), "{path}");
        }
        for path in ["..", "../x", "a/../../x", "/../x"] {
            assert!(clean(path.as_bytes()).is_err(), "{path}");
        }
    }
}
