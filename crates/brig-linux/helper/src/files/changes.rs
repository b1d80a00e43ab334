//! What a container has changed: its writable layer against the layers below, as overlayfs keeps them apart.
//!
//! ```text
//! upper                                   below                        it is
//! character device 0/0                    anything                     D
//! anything                                nothing                      A
//! a file                                  the same to the last byte    nothing
//! a directory with the mark `opaque`      a directory                  C, and D for what isn't in it any more
//! a directory                             the same                     C if something in it differs, else nothing
//! anything else                           something else               C
//! ```
//!
//! All is opened by single names in open directories, without following a link, so that names lead nowhere else.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use brig_runtime::files::{Change, ChangeKind};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::archive::Archive;
use super::node::{Names, Node, xattr, xattrs};
use super::tar::{self, Entry};
use super::{MAX_PATH, Result, failed, problem};
use crate::enter::place::Tree;

/// image-spec `layer.md`: what a layer hides of those below.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A writable layer and those below it.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    tree: &'a Tree,
    mount_points: &'a [String],
    /// What overlayfs's marks are called here.
    opaque_mark: &'static [u8],
    whiteout_mark: &'static [u8],
}

impl<'a> Layers<'a> {
    pub(super) fn new(tree: &'a Tree, mount_points: &'a [String], user_marks: bool) -> Self {
        let (opaque_mark, whiteout_mark): (&[u8], &[u8]) = match user_marks {
            true => (b"user.overlay.opaque", b"user.overlay.whiteout"),
            false => (b"trusted.overlay.opaque", b"trusted.overlay.whiteout"),
        };
        Self { tree, mount_points, opaque_mark, whiteout_mark }
    }

    /// Lists what differs.
    pub(super) fn list(self, out: impl Write) -> Result<()> {
        let mut sink = List { out };
        self.walk(&mut sink)?;
        sink.out.flush().map_err(|error| failed("hand on the list", b"", error))
    }

    /// Writes what differs as a layer.
    pub(super) fn write(self, out: impl Write) -> Result<()> {
        let mut sink = LayerTar { archive: Archive::new(self.tree, out) };
        self.walk(&mut sink)?;
        sink.archive.finish()
    }

    fn walk(self, sink: &mut impl Sink) -> Result<()> {
        let open = |fd| {
            rustix::io::fcntl_dupfd_cloexec(fd, 0).and_then(Node::of).and_then(|node| node.open(self.tree))
        };
        let upper = open(&self.tree.root).map_err(|errno| failed("open the writable layer", b"", errno))?;
        let mut below = Below::new();
        for lower in &self.tree.lowers {
            below.push(open(lower).map_err(|errno| failed("open a layer", b"", errno))?);
        }
        Walk { layers: self, sink, pending: Vec::new() }.children(&upper, b"", &below, false)
    }

    fn is_whiteout(self, node: &Node) -> std::result::Result<bool, Errno> {
        match node.kind() {
            FileType::CharacterDevice => Ok(node.stat.st_rdev == 0),
            FileType::RegularFile if node.stat.st_size == 0 => {
                Ok(xattr(&node.open(self.tree)?, self.whiteout_mark)?.is_some())
            }
            _ => Ok(false),
        }
    }

    fn is_opaque(self, directory: &File) -> std::result::Result<bool, Errno> {
        Ok(xattr(directory, self.opaque_mark)?.is_some_and(|value| value == b"y"))
    }

    /// What the layers below have under a name; of a directory, also those whose content is seen.
    fn find_below(self, below: &Below, name: &CStr) -> std::result::Result<(Option<Node>, Below), Errno> {
        let (mut found, mut inside) = (None, Below::new());
        for lower in below {
            let node = match Node::find(lower.as_fd(), name) {
                Err(Errno::NOENT) => continue,
                node => node?,
            };
            if self.is_whiteout(&node)? {
                break;
            }
            if !node.is_dir() {
                // Below a directory it isn't seen.
                found = found.or(Some(node));
                break;
            }
            let open = node.open(self.tree)?;
            let last = self.is_opaque(&open)?;
            inside.push(open);
            found = found.or(Some(node));
            if last {
                break;
            }
        }
        Ok((found, inside))
    }

    fn names_below(self, below: &Below) -> std::result::Result<BTreeSet<CString>, Errno> {
        let mut all = BTreeSet::new();
        for lower in below {
            for name in all_names(lower)? {
                if !all.contains(&name) && self.find_below(below, &name)?.0.is_some() {
                    all.insert(name);
                }
            }
        }
        Ok(all)
    }

    fn is_mount_point(self, path: &[u8]) -> bool {
        self.mount_points.iter().any(|point| point.as_bytes() == path)
    }

    /// Whether a start makes this directory on its way to a mount point.
    fn leads_to_mount_point(self, path: &[u8]) -> bool {
        let below =
            |point: &String| point.as_bytes().strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"));
        self.is_mount_point(path) || self.mount_points.iter().any(below)
    }

    fn is_same(self, one: &Node, other: &Node) -> std::result::Result<bool, Errno> {
        if !has_same_attributes(one, other) || one.mtime() != other.mtime() {
            return Ok(false);
        }
        match one.kind() {
            FileType::RegularFile => {
                let (one_open, other_open) = (one.open(self.tree)?, other.open(self.tree)?);
                Ok(one.size() == other.size()
                    && xattrs(&one_open)? == xattrs(&other_open)?
                    && has_same_content(&one_open, &other_open)?)
            }
            FileType::Symlink => Ok(one.link_text()? == other.link_text()?),
            _ => Ok(one.stat.st_rdev == other.stat.st_rdev),
        }
    }

    /// A start that makes mount points in a directory changes its time.
    fn is_same_directory(self, path: &[u8], one: &Node, other: &Node) -> std::result::Result<bool, Errno> {
        let same_time = one.mtime() == other.mtime()
            || self.mount_points.iter().any(|point| parent_of(point.as_bytes()) == path);
        Ok(same_time
            && has_same_attributes(one, other)
            && xattrs(&one.open(self.tree)?)? == xattrs(&other.open(self.tree)?)?)
    }
}

/// The directories of the layers below at one place: those whose content is seen, the uppermost first.
type Below = Vec<File>;

/// Where changes go.
trait Sink {
    fn change(&mut self, kind: ChangeKind, path: &[u8], node: Option<&Node>) -> Result<()>;

    /// Says that nothing of the layers below is seen in a directory, if there is a word for that. Then all that is in
    /// it is new.
    fn opaque(&mut self, path: &[u8]) -> Result<bool>;
}

struct Walk<'a, S: Sink> {
    layers: Layers<'a>,
    sink: &'a mut S,
    /// Directories that this walk is in and that nothing was said of: they are told when something in them is.
    pending: Vec<(ChangeKind, Vec<u8>, Rc<Node>)>,
}

impl<S: Sink> Walk<'_, S> {
    fn say(&mut self, kind: ChangeKind, path: &[u8], node: Option<&Node>) -> Result<()> {
        for (kind, path, node) in std::mem::take(&mut self.pending) {
            self.sink.change(kind, &path, Some(&node))?;
        }
        self.sink.change(kind, path, node)
    }

    /// What is in a directory. `forced`: it counts as changed, whatever it is like.
    fn children(&mut self, open: &File, path: &[u8], below: &Below, forced: bool) -> Result<()> {
        let list = |errno| failed("list", path, errno);
        let mut names = Names::of(open).map_err(list)?;
        loop {
            let batch = names.batch().map_err(list)?;
            if batch.is_empty() {
                return Ok(());
            }
            for name in batch {
                self.child(open, &name, &[path, b"/", name.as_bytes()].concat(), below, forced)?;
            }
        }
    }

    fn child(&mut self, open: &File, name: &CStr, path: &[u8], below: &Below, forced: bool) -> Result<()> {
        if path.len() > MAX_PATH {
            return Err(problem("list", &path[..MAX_PATH], "its path is too long"));
        }
        match Node::find(open.as_fd(), name) {
            Ok(node) => self.one(node, name, path, below, forced),
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("look at", path, errno)),
        }
    }

    fn one(&mut self, node: Node, name: &CStr, path: &[u8], below: &Below, forced: bool) -> Result<()> {
        let compare = |errno| failed("compare", path, errno);
        let (lower, inside) = self.layers.find_below(below, name).map_err(compare)?;
        if self.layers.is_whiteout(&node).map_err(compare)? {
            return if lower.is_some() { self.say(ChangeKind::Deleted, path, None) } else { Ok(()) };
        }
        if node.is_dir() {
            return self.directory(Rc::new(node), path, lower.as_ref(), &inside, forced);
        }
        match lower {
            None if self.layers.is_mount_point(path) && node.stat.st_size == 0 => Ok(()),
            None => self.say(ChangeKind::Added, path, Some(&node)),
            Some(lower) if !forced && self.layers.is_same(&node, &lower).map_err(compare)? => Ok(()),
            Some(_) => self.say(ChangeKind::Modified, path, Some(&node)),
        }
    }

    fn directory(
        &mut self,
        node: Rc<Node>,
        path: &[u8],
        lower: Option<&Node>,
        inside: &Below,
        forced: bool,
    ) -> Result<()> {
        let compare = |errno| failed("compare", path, errno);
        let layers = self.layers;
        let open = node.open(layers.tree).map_err(compare)?;
        let replaced = lower.is_some_and(Node::is_dir) && layers.is_opaque(&open).map_err(compare)?;
        let (kind, certain) = match lower {
            None => (ChangeKind::Added, !layers.leads_to_mount_point(path)),
            Some(lower) if !lower.is_dir() || replaced || forced => (ChangeKind::Modified, true),
            Some(lower) => {
                (ChangeKind::Modified, !layers.is_same_directory(path, &node, lower).map_err(compare)?)
            }
        };
        if certain {
            self.say(kind, path, Some(&node))?;
        } else {
            self.pending.push((kind, path.to_vec(), node));
        }
        if !replaced {
            self.children(&open, path, inside, forced)?;
        } else if self.sink.opaque(path)? {
            self.children(&open, path, &Below::new(), true)?;
        } else {
            self.gone(&open, path, inside)?;
            self.children(&open, path, inside, true)?;
        }
        self.pending.pop_if(|(_, pending, _)| pending == path);
        Ok(())
    }

    /// What a directory that took another one's place doesn't have any more.
    fn gone(&mut self, open: &File, path: &[u8], inside: &Below) -> Result<()> {
        let compare = |errno| failed("compare", path, errno);
        let now = all_names(open).map_err(compare)?;
        for name in self.layers.names_below(inside).map_err(compare)?.difference(&now) {
            self.say(ChangeKind::Deleted, &[path, b"/", name.as_bytes()].concat(), None)?;
        }
        Ok(())
    }
}

/// All names in a directory that replaces another one, or in the other one: rare, and an image's.
fn all_names(directory: &File) -> std::result::Result<BTreeSet<CString>, Errno> {
    let mut names = Names::of(directory)?;
    let mut all = BTreeSet::new();
    loop {
        let batch = names.batch()?;
        if batch.is_empty() {
            return Ok(all);
        }
        all.extend(batch);
    }
}

fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |at| &path[..at])
}

fn has_same_attributes(one: &Node, other: &Node) -> bool {
    let of = |node: &Node| (node.stat.st_mode, node.stat.st_uid, node.stat.st_gid);
    of(one) == of(other)
}

fn has_same_content(one: &File, other: &File) -> std::result::Result<bool, Errno> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let count = one.read_at(&mut left, at).map_err(errno_of)?;
        other.read_exact_at(&mut right[..count], at).map_err(errno_of)?;
        if left[..count] != right[..count] {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
        at += count as u64;
    }
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Lines for who lists.
struct List<W: Write> {
    out: W,
}

impl<W: Write> Sink for List<W> {
    fn change(&mut self, kind: ChangeKind, path: &[u8], _: Option<&Node>) -> Result<()> {
        let change = Change { kind, path: String::from_utf8_lossy(path).into_owned() };
        let written = serde_json::to_writer(&mut self.out, &change).map_err(io::Error::from);
        written
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|error| failed("hand on the list", b"", error))
    }

    fn opaque(&mut self, _: &[u8]) -> Result<bool> {
        Ok(false)
    }
}

/// A layer for an image.
struct LayerTar<'a, W: Write> {
    archive: Archive<'a, W>,
}

impl<W: Write> Sink for LayerTar<'_, W> {
    fn change(&mut self, _: ChangeKind, path: &[u8], node: Option<&Node>) -> Result<()> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => path.split_at(at + 1),
            None => (&path[..0], path),
        };
        if name.starts_with(WHITEOUT) {
            return Err(problem("keep", path, "in a layer, a name that begins with `.wh.` removes a file"));
        }
        match node {
            Some(node) => self.archive.one(node, path),
            None => self.mark([above, WHITEOUT, name].concat()),
        }
    }

    fn opaque(&mut self, path: &[u8]) -> Result<bool> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        self.mark([path, b"/", OPAQUE].concat()).map(|()| true)
    }
}

impl<W: Write> LayerTar<'_, W> {
    fn mark(&mut self, path: Vec<u8>) -> Result<()> {
        self.archive.entry(&Entry { kind: tar::FILE, path, ..Entry::default() })
    }
}
