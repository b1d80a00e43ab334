//! The directory that a layer is unpacked into. All names are resolved by the kernel beneath its root.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use super::attributes::{self, Attributes, Identity, Node};
use super::header::Entry;
use super::path::TarPath;
use super::stream::Stream;
use super::unmade::{Recorder, Why};
use super::{Result, UnpackError, UnpackOptions};
use crate::fsutil;

/// How many parents are kept open. Tars list a directory's files together, with excursions into subdirectories.
const PARENTS: usize = 16;

pub(super) struct Tree<'a> {
    root: OwnedFd,
    /// Directories by the path that the tar gave, most recently used first.
    parents: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// What directories get at the end.
    directories: HashMap<Vec<u8>, Attributes>,
    directory_bytes: usize,
    unmade: Recorder<'a>,
    options: &'a UnpackOptions,
    who: Identity,
    tally: Tally,
}

/// Counts, and what was noticed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) names: u64,
    pub(super) bytes: u64,
    pub(super) opaque_root: bool,
    pub(super) user_attributes: bool,
    pub(super) unmade: u64,
    /// All that was written, also what was replaced later.
    written: u64,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: OwnedFd, unmade: &'a mut dyn Write, options: &'a UnpackOptions) -> Self {
        let directories = HashMap::from([(Vec::new(), Attributes::IMPLICIT)]);
        Self {
            root,
            parents: Vec::with_capacity(PARENTS),
            directories,
            directory_bytes: 0,
            unmade: Recorder::new(unmade),
            options,
            who: Identity::current(),
            tally: Tally::default(),
        }
    }

    pub(super) fn file(&mut self, path: &TarPath, entry: &mut Entry, stream: &mut Stream<'_>) -> Result<()> {
        self.claim(entry.size())?;
        let parent = self.parent(path)?;
        let name = path.split().1;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let (file, _) =
            self.create(&parent, path, "create", || rustix::fs::openat(&parent, name, flags, mode))?;
        self.tally.names += 1;
        self.tally.bytes += entry.size();
        let file = std::fs::File::from(file);
        fill(&file, path, entry, stream)?;
        let file = OwnedFd::from(file);
        self.finish_node(&Node::Open(&file), path, entry)
    }

    pub(super) fn directory(&mut self, path: &TarPath, entry: &Entry) -> Result<()> {
        let parent = self.parent(path)?;
        self.make_directory(&parent, path)?;
        self.note_directory(path.as_bytes(), Attributes::of(entry))?;
        self.directory_xattrs(path, entry)
    }

    /// The entry `./`.
    pub(super) fn root(&mut self, entry: &Entry) -> Result<()> {
        self.note_directory(b"", Attributes::of(entry))?;
        self.directory_xattrs(&TarPath::new(b"", self.options)?, entry)
    }

    pub(super) fn symlink(&mut self, path: &TarPath, entry: &Entry) -> Result<()> {
        let parent = self.parent(path)?;
        let name = path.split().1;
        let target = OsStr::from_bytes(&entry.link);
        self.create(&parent, path, "create the symbolic link", || {
            rustix::fs::symlinkat(target, &parent, name)
        })?;
        self.tally.names += 1;
        self.finish_node(&Node::Named(&parent, name), path, entry)
    }

    /// Another name for a file of this layer. Neither the target nor its last component is followed out of the root.
    pub(super) fn hard_link(&mut self, path: &TarPath, target: &TarPath) -> Result<()> {
        if path == target {
            return Ok(());
        }
        let (target_dir, target_name) = target.split();
        let from = self
            .open_dir(target_dir)
            .map_err(|source| failed("find the hard link's target of", path, source))?;
        let parent = self.parent(path)?;
        let name = path.split().1;
        let no_flags = AtFlags::empty();
        self.create(&parent, path, "create the hard link", || {
            rustix::fs::linkat(&from, target_name, &parent, name, no_flags)
        })?;
        self.tally.names += 1;
        let stat = self.stat(&parent, name, path)?;
        self.tally.bytes += stat.as_ref().map_or(0, file_bytes);
        Ok(())
    }

    /// A device or a FIFO.
    pub(super) fn special(&mut self, path: &TarPath, entry: &Entry, kind: FileType) -> Result<()> {
        let parent = self.parent(path)?;
        let name = path.split().1;
        let device = rustix::fs::makedev(entry.device.0, entry.device.1);
        let mode = Mode::RUSR | Mode::WUSR;
        let make = || match rustix::fs::mknodat(&parent, name, kind, mode, device) {
            Ok(()) => Ok(true),
            Err(Errno::PERM) => Ok(false),
            Err(error) => Err(error),
        };
        if !self.create(&parent, path, "create", make)?.0 {
            return self.unmade_device(path, entry, kind);
        }
        self.tally.names += 1;
        self.finish_node(&Node::Named(&parent, name), path, entry)
    }

    /// Hides what the lower layers have at `hidden`. What this layer itself has there stays: a directory becomes
    /// opaque, and anything else hides the lower ones anyway (image-spec `layer.md`: whiteouts apply to lower layers).
    pub(super) fn whiteout(&mut self, hidden: &TarPath) -> Result<()> {
        let parent = self.parent(hidden)?;
        let name = hidden.split().1;
        match self.stat(&parent, name, hidden)? {
            Some(stat) if is_directory(&stat) => self.opaque(hidden),
            Some(_) => Ok(()),
            None => {
                // The one device that everybody may make (since Linux 5.8).
                rustix::fs::mknodat(&parent, name, FileType::CharacterDevice, Mode::empty(), 0)
                    .map_err(|source| failed("create the whiteout", hidden, source))?;
                self.tally.names += 1;
                Ok(())
            }
        }
    }

    /// Hides all that the lower layers have in `dir`.
    pub(super) fn opaque(&mut self, dir: &TarPath) -> Result<()> {
        if dir.is_root() {
            self.tally.opaque_root = true;
            return Ok(());
        }
        self.dir(dir.as_bytes(), dir)?;
        let open = self.open_readable(dir)?;
        let set = |name| rustix::fs::fsetxattr(&open, name, b"y", XattrFlags::empty());
        match set(c"trusted.overlay.opaque") {
            Err(Errno::PERM) => {
                self.tally.user_attributes = true;
                set(c"user.overlay.opaque")
            }
            other => other,
        }
        .map_err(|source| failed("hide the lower layers' content of", dir, source))
    }

    /// Sets the attributes of directories, innermost first: an outer one may forbid the way to the inner one.
    pub(super) fn finish(mut self) -> Result<Tally> {
        self.parents.clear();
        let mut directories: Vec<_> = std::mem::take(&mut self.directories).into_iter().collect();
        directories.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        for (path, attributes) in directories {
            let path = TarPath::new(&path, self.options)?;
            match self.resolve(path.as_bytes(), OFlags::RDONLY) {
                Ok(dir) => self.set_attributes(&Node::Open(&dir), &path, attributes, false)?,
                // Replaced by something else, or removed with a directory above it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(source) => return Err(failed("open", &path, source)),
            }
        }
        self.tally.unmade = self.unmade.count;
        Ok(self.tally)
    }

    /// Counts what is about to be written, holes included.
    fn claim(&mut self, bytes: u64) -> Result<()> {
        self.tally.written = self.tally.written.saturating_add(bytes);
        if self.tally.written > self.options.max_bytes {
            return Err(UnpackError::Limit { what: "bytes in files", limit: self.options.max_bytes });
        }
        Ok(())
    }

    fn finish_node(&mut self, node: &Node<'_>, path: &TarPath, entry: &Entry) -> Result<()> {
        let is_symlink = entry.kind == super::header::Kind::Symlink;
        let attributes = Attributes::of(entry);
        let unmade = attributes::set(node, attributes, self.who, is_symlink)
            .map_err(|source| failed("set the attributes of", path, source))?;
        if let Some(why) = unmade {
            self.unmade.record(path, why)?;
        }
        attributes::set_xattrs(node, path, &entry.xattrs, &mut self.unmade)?;
        attributes::set_time(node, attributes).map_err(|source| failed("set the time of", path, source))
    }

    fn set_attributes(
        &mut self,
        node: &Node<'_>,
        path: &TarPath,
        attributes: Attributes,
        is_symlink: bool,
    ) -> Result<()> {
        let unmade = attributes::set(node, attributes, self.who, is_symlink)
            .and_then(|unmade| attributes::set_time(node, attributes).map(|()| unmade))
            .map_err(|source| failed("set the attributes of", path, source))?;
        unmade.map_or(Ok(()), |why| self.unmade.record(path, why))
    }

    fn unmade_device(&mut self, path: &TarPath, entry: &Entry, kind: FileType) -> Result<()> {
        let kind = if kind == FileType::BlockDevice { "block" } else { "char" };
        let (major, minor) = entry.device;
        let Entry { uid, gid, mode, .. } = *entry;
        self.unmade.record(path, Why::Device { kind: kind.into(), major, minor, uid, gid, mode })
    }

    fn directory_xattrs(&mut self, path: &TarPath, entry: &Entry) -> Result<()> {
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        let open = self.open_readable(path)?;
        attributes::set_xattrs(&Node::Open(&open), path, &entry.xattrs, &mut self.unmade)
    }

    fn note_directory(&mut self, path: &[u8], attributes: Attributes) -> Result<()> {
        if self.directories.insert(path.to_vec(), attributes).is_none() {
            self.directory_bytes += path.len();
        }
        let max = self.options.max_directory_bytes;
        if self.directory_bytes > max {
            return Err(UnpackError::Limit { what: "bytes of directory names", limit: max as u64 });
        }
        Ok(())
    }

    fn parent(&mut self, path: &TarPath) -> Result<Rc<OwnedFd>> {
        self.dir(path.split().0, path)
    }

    /// The directory that the tar calls `dir`, made if it isn't there; `path` is the entry that needs it.
    fn dir(&mut self, dir: &[u8], path: &TarPath) -> Result<Rc<OwnedFd>> {
        if let Some(position) = self.parents.iter().position(|(known, _)| known == dir) {
            self.parents[..=position].rotate_right(1);
            return Ok(Rc::clone(&self.parents[0].1));
        }
        let opened = match self.open_dir(dir) {
            Err(Errno::NOENT | Errno::NOTDIR) if !dir.is_empty() => {
                self.make_implicit(dir, path)?;
                self.open_dir(dir)
            }
            other => other,
        };
        let opened = Rc::new(opened.map_err(|source| failed("open the directory of", path, source))?);
        self.parents.truncate(PARENTS - 1);
        self.parents.insert(0, (dir.to_vec(), Rc::clone(&opened)));
        Ok(opened)
    }

    /// Makes a directory that the tar has no entry for.
    fn make_implicit(&mut self, dir: &[u8], path: &TarPath) -> Result<()> {
        let implicit = TarPath::new(dir, self.options)?;
        let (above, name) = implicit.split();
        let parent = self.dir(above, path)?;
        match self.stat(&parent, name, path)? {
            Some(stat) if !is_whiteout(&stat) => {
                return Err(failed("create the directory of", path, Errno::NOTDIR));
            }
            _ => {}
        }
        self.make_directory(&parent, &implicit)?;
        self.note_directory(dir, Attributes::IMPLICIT)
    }

    /// A directory at `path`, unless there is one. In place of a whiteout it is opaque.
    fn make_directory(&mut self, parent: &OwnedFd, path: &TarPath) -> Result<()> {
        let name = path.split().1;
        match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                if self.stat(parent, name, path)?.is_some_and(|stat| is_directory(&stat)) {
                    return Ok(());
                }
                let was_whiteout = self.make_room(parent, path)?;
                rustix::fs::mkdirat(parent, name, Mode::RWXU)
                    .map_err(|source| failed("create", path, source))?;
                if was_whiteout {
                    self.tally.names += 1;
                    return self.opaque(path);
                }
            }
            Err(source) => return Err(failed("create", path, source)),
        }
        self.tally.names += 1;
        Ok(())
    }

    /// Makes something new; what has its name goes.
    fn create<T>(
        &mut self,
        parent: &OwnedFd,
        path: &TarPath,
        action: &'static str,
        make: impl Fn() -> rustix::io::Result<T>,
    ) -> Result<(T, bool)> {
        let mut was_whiteout = false;
        let made = match make() {
            Err(Errno::EXIST) => {
                was_whiteout = self.make_room(parent, path)?;
                make()
            }
            other => other,
        };
        made.map(|made| (made, was_whiteout)).map_err(|source| failed(action, path, source))
    }

    /// Removes what has the name; says whether it was a whiteout.
    fn make_room(&mut self, parent: &OwnedFd, path: &TarPath) -> Result<bool> {
        let (tally, mut whiteout, mut stale) = (&mut self.tally, false, false);
        let removed = fsutil::remove_tree_at(parent, path.split().1, &mut |stat| {
            tally.names -= 1;
            tally.bytes -= file_bytes(stat);
            whiteout = is_whiteout(stat);
            stale |= matches!(FileType::from_raw_mode(stat.st_mode), FileType::Directory | FileType::Symlink);
        });
        if stale {
            // They may be what was removed, or be found through it.
            self.parents.clear();
        }
        removed.map_err(|source| UnpackError::Entry { action: "replace", path: path.to_path(), source })?;
        Ok(whiteout)
    }

    fn stat(&self, parent: &OwnedFd, name: &OsStr, path: &TarPath) -> Result<Option<Stat>> {
        match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(source) => Err(failed("look at", path, source)),
        }
    }

    fn open_readable(&self, path: &TarPath) -> Result<OwnedFd> {
        self.resolve(path.as_bytes(), OFlags::RDONLY).map_err(|source| failed("open", path, source))
    }

    fn open_dir(&self, dir: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.resolve(dir, OFlags::PATH)
    }

    /// Opens a directory beneath the root. A symbolic link on the way leads where a program in a container with this
    /// root would get by it.
    fn resolve(&self, dir: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir: &[u8] = if dir.is_empty() { b"." } else { dir };
        let open = |resolve| loop {
            match rustix::fs::openat2(&self.root, dir, flags, Mode::empty(), resolve) {
                // Something else was renamed in the meantime; the kernel asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        };
        match open(ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
            Err(Errno::LOOP) => {
                let found = open(ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?;
                self.check_depth(&found)?;
                Ok(found)
            }
            other => other,
        }
    }

    /// Through symbolic links a short name can lead deep down, and each more makes it deeper; what later walks the
    /// tree counts on the limit.
    fn check_depth(&self, found: &OwnedFd) -> rustix::io::Result<()> {
        let depth = |fd: &OwnedFd| {
            let link = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
            let path = rustix::fs::readlink(link, Vec::new())?;
            Ok::<_, Errno>(path.to_bytes().iter().filter(|byte| **byte == b'/').count())
        };
        if depth(found)? - depth(&self.root)? > self.options.max_depth {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(())
    }
}

/// Writes an entry's data.
fn fill(file: &std::fs::File, path: &TarPath, entry: &mut Entry, stream: &mut Stream<'_>) -> Result<()> {
    let write_failed =
        |source: io::Error| UnpackError::Entry { action: "write", path: path.to_path(), source };
    let Some(map) = &entry.sparse else {
        let mut writer = file;
        stream.each(entry.stored, |chunk| writer.write_all(chunk).map_err(write_failed))?;
        entry.took();
        return Ok(());
    };
    for (offset, length) in &map.pieces {
        let mut at = *offset;
        stream.each(*length, |chunk| {
            file.write_all_at(chunk, at).map_err(write_failed)?;
            at += chunk.len() as u64;
            Ok(())
        })?;
    }
    file.set_len(map.size).map_err(write_failed)?;
    entry.took();
    Ok(())
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// What a name counts for in [`Tally::bytes`].
fn file_bytes(stat: &Stat) -> u64 {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or(0),
        _ => 0,
    }
}

fn failed(action: &'static str, path: &TarPath, source: Errno) -> UnpackError {
    UnpackError::Entry { action, path: path.to_path(), source: source.into() }
}
