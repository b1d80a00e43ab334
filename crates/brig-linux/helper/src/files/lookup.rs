//! Looking at one path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use brig_runtime::files::PathStat;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::node::Node;
use super::{Result, failed};
use crate::enter::place::Tree;

/// As many as the kernel follows in one look-up.
const MAX_LINKS: usize = 40;

/// Describes a path.
pub(super) fn stat(tree: &Tree, path: &str) -> Result<PathStat> {
    let node = find(tree, path)?;
    let link_target = match node.kind() {
        FileType::Symlink => {
            follow(tree, Path::new(path)).map_err(|errno| failed("follow", path.as_bytes(), errno))?
        }
        _ => PathBuf::new(),
    };
    let name = Path::new(path).file_name().unwrap_or(OsStr::new("/"));
    let (mtime, mtime_nsec) = node.mtime();
    Ok(PathStat {
        name: name.to_string_lossy().into_owned(),
        size: node.size(),
        mode: node.stat.st_mode,
        mtime,
        mtime_nsec,
        link_target: link_target.to_string_lossy().into_owned(),
    })
}

/// The file of a path. Links above it are followed within the tree, and itself where a slash says that a directory is
/// meant.
pub(super) fn find(tree: &Tree, path: &str) -> Result<Node> {
    let directory = path.ends_with('/') || path.ends_with("/.") || [".", ""].contains(&path);
    open(tree, path, if directory { OFlags::DIRECTORY } else { OFlags::NOFOLLOW })
}

/// The directory of a path, or of the link that it is.
pub(super) fn find_directory(tree: &Tree, path: &str) -> Result<Node> {
    open(tree, path, OFlags::DIRECTORY)
}

fn open(tree: &Tree, path: &str, flags: OFlags) -> Result<Node> {
    let absolute = Path::new("/").join(path);
    let opened = tree.open(&absolute, flags | OFlags::PATH | OFlags::CLOEXEC).and_then(Node::of);
    opened.map_err(|errno| failed("find", path.as_bytes(), errno))
}

/// Where a path leads when every link in it is followed; what isn't there is taken as it is written.
fn follow(tree: &Tree, path: &Path) -> std::result::Result<PathBuf, Errno> {
    let mut links = 0;
    let mut resolved = PathBuf::from("/");
    let mut rest: Vec<Vec<u8>> = components(path.as_os_str().as_bytes());
    while let Some(name) = rest.pop() {
        if name == b".." {
            resolved.pop();
            continue;
        }
        let next = resolved.join(OsStr::from_bytes(&name));
        match link_of(tree, &next)? {
            Some(_) if links == MAX_LINKS => return Err(Errno::LOOP),
            Some(text) => {
                links += 1;
                if text.starts_with(b"/") {
                    resolved = PathBuf::from("/");
                }
                rest.extend(components(&text));
            }
            None => resolved = next,
        }
    }
    Ok(resolved)
}

/// The last one first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = Path::new(OsStr::from_bytes(path)).components().rev();
    parts
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.as_bytes().to_vec()),
            Component::ParentDir => Some(b"..".to_vec()),
            _ => None,
        })
        .collect()
}

fn link_of(tree: &Tree, path: &Path) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let node = match tree.open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC) {
        Ok(fd) => Node::of(fd)?,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match node.kind() {
        FileType::Symlink => node.link_text().map(Some),
        _ => Ok(None),
    }
}
