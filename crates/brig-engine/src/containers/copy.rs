//! Copies between a container and the host, by docker's rules.
//!
//! | source | destination | what happens |
//! |---|---|---|
//! | a file | is missing | it becomes the destination |
//! | a file | is missing and ends in `/` | an error: no such directory |
//! | a file | is a file | it takes its place |
//! | a file | is a directory | it goes into it |
//! | a directory | is missing | its content becomes the destination's |
//! | a directory | is a file | an error: cannot copy a directory to a file |
//! | a directory | is a directory | it goes into it; with `/.` behind its name, its content does |

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use brig_runtime::files::{Operation, Owner, PathStat};

use super::files::{Located, Side, again, written};
use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// How many links in a row a destination may be.
const MAX_LINKS: usize = 10;

/// How files are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Whether files keep their owners; else they become those of who copies, and root's in a container.
    pub archive: bool,
    /// Whether a source that is a symbolic link stands for what it points to.
    pub follow_link: bool,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The size of the tar that carried it, in bytes.
    pub bytes: u64,
    /// How many owners and extended attributes couldn't be set.
    pub unset: u64,
    /// Where it went, links resolved.
    pub destination: String,
}

/// What is at a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Existing {
    Missing,
    Directory,
    Other,
}

impl Engine {
    /// Copies a file or directory of a container to the host.
    pub fn copy_from(
        &self,
        name: &str,
        source: &str,
        destination: &Path,
        options: &CopyOptions,
    ) -> Result<Copied> {
        let container = self.container(name)?;
        let (path, stat, called) = self.container_source(&container, source, options)?;
        let (target, existing) = host_destination(destination)?;
        let target = target.to_str().ok_or_else(|| not_text(&target))?;
        let (directory, called) = arrange(&stat, &called, target, existing)?;
        let directory = std::path::absolute(&directory).map_err(Error::io("find", &directory))?;
        let to = Located::on_host(directory, "/".into());
        let owner = if options.archive { Owner::Tar } else { Owner::Caller };
        let copied = again(|| {
            let from = self.locate(&container, &path)?;
            let source = (Side::Container(&container), &from, called.clone());
            self.carry(source, (Side::Host, &to, owner))
        })?;
        Ok(Copied { bytes: copied.0, unset: copied.1, destination: destination.display().to_string() })
    }

    /// Copies a file or directory of the host into a container.
    pub fn copy_to(
        &self,
        source: &Path,
        name: &str,
        destination: &str,
        options: &CopyOptions,
    ) -> Result<Copied> {
        let container = self.container(name)?;
        let (path, stat, called) = host_source(source, options)?;
        let (target, existing) = self.container_destination(&container, destination)?;
        let (directory, called) = arrange(&stat, &called, &target, existing)
            .map_err(|error| in_container(error, &container.spec.name))?;
        let from = Located::on_host("/".into(), path);
        let copied = again(|| {
            let to = self.locate(&container, &directory)?;
            let target = (Side::Container(&container), &to, owner_in_container(options));
            self.carry((Side::Host, &from, called.clone()), target)
        })?;
        Ok(Copied { bytes: copied.0, unset: copied.1, destination: target })
    }

    /// Writes a file or directory of a container as a tar.
    pub fn archive_from(
        &self,
        name: &str,
        source: &str,
        options: &CopyOptions,
        to: &mut dyn Write,
    ) -> Result<Copied> {
        let container = self.container(name)?;
        let (path, _, name) = self.container_source(&container, source, options)?;
        let mut bytes = 0;
        again(|| {
            let from = self.locate(&container, &path)?;
            let operation = Operation::Read { path: from.path().to_owned(), name: name.clone() };
            self.operate(Side::Container(&container), &from, operation, |piece| {
                bytes += piece.len() as u64;
                to.write_all(piece).map_err(written)
            })
        })?;
        to.flush().map_err(written)?;
        Ok(Copied { bytes, ..Copied::default() })
    }

    /// Takes a tar into a directory of a container.
    pub fn archive_to(
        &self,
        from: &mut dyn Read,
        name: &str,
        destination: &str,
        options: &CopyOptions,
    ) -> Result<Copied> {
        let container = self.container(name)?;
        let (target, existing) = self.container_destination(&container, destination)?;
        if existing != Existing::Directory {
            let destination = format!("{}:{destination}", container.spec.name);
            return Err(Error::Copy { destination, problem: "the destination must be a directory".into() });
        }
        let to = self.locate(&container, &target)?;
        let side = Side::Container(&container);
        let (bytes, unset) = self.write_from(side, &to, owner_in_container(options), from)?;
        Ok(Copied { bytes, unset, destination: target })
    }

    /// A source in a container: its path, what it is, and what it is to be called.
    fn container_source(
        &self,
        container: &ContainerInfo,
        source: &str,
        options: &CopyOptions,
    ) -> Result<(String, PathStat, String)> {
        let stat = self.stat_in(container, source)?;
        let called = called(source);
        if stat.is_symlink() && options.follow_link {
            let target = self.stat_in(container, &stat.link_target)?;
            return Ok((stat.link_target, target, called));
        }
        Ok((source.to_owned(), stat, called))
    }

    /// A destination in a container. What it is can't be seen where its directory is missing; that is told by the
    /// attempt to write there.
    fn container_destination(&self, container: &ContainerInfo, path: &str) -> Result<(String, Existing)> {
        let absolute = format!("/{}", path.trim_start_matches('/'));
        match self.stat_if_there(container, &absolute)? {
            Some(stat) if stat.is_symlink() => {
                let target = self.stat_if_there(container, &stat.link_target)?;
                Ok((stat.link_target.clone(), existing_in_container(target, container, path)?))
            }
            stat => Ok((absolute, existing_in_container(stat, container, path)?)),
        }
    }

    fn stat_if_there(&self, container: &ContainerInfo, path: &str) -> Result<Option<PathStat>> {
        match self.stat_in(container, path) {
            Ok(stat) => Ok(Some(stat)),
            Err(Error::PathNotFound { .. } | Error::FileNotFound { .. }) => Ok(None),
            Err(Error::Files { source, .. }) if source.errno == libc::ENOTDIR => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn owner_in_container(options: &CopyOptions) -> Owner {
    if options.archive { Owner::Tar } else { Owner::Root }
}

/// docker's rule: neither a device nor a pipe nor a socket is written to.
fn existing_in_container(stat: Option<PathStat>, container: &ContainerInfo, path: &str) -> Result<Existing> {
    match stat {
        None => Ok(Existing::Missing),
        Some(stat) if stat.is_dir() => Ok(Existing::Directory),
        Some(stat) if stat.is_file() => Ok(Existing::Other),
        Some(_) => {
            let destination = format!("{}:{path}", container.spec.name);
            let problem = "the destination must be a directory or a regular file".into();
            Err(Error::Copy { destination, problem })
        }
    }
}

fn in_container(error: Error, container: &str) -> Error {
    match error {
        Error::Copy { destination, problem } => {
            Error::Copy { destination: format!("{container}:{destination}"), problem }
        }
        error => error,
    }
}

/// The directory to write to, and what the source is called in it.
fn arrange(
    source: &PathStat,
    called: &str,
    destination: &str,
    existing: Existing,
) -> Result<(String, String)> {
    let fails =
        |problem: &str| Err(Error::Copy { destination: destination.to_owned(), problem: problem.into() });
    match existing {
        Existing::Directory => Ok((destination.to_owned(), called.to_owned())),
        Existing::Other if source.is_dir() => fails("cannot copy a directory to a file"),
        Existing::Missing if !source.is_dir() && says_directory(destination) => fails("no such directory"),
        _ => match split(destination) {
            Some((above, name)) => Ok((above, name)),
            None => fails("no such directory"),
        },
    }
}

/// What a source is called in a directory that it is copied to; `.` for its content alone.
fn called(source: &str) -> String {
    if source.ends_with("/.") || source == "." {
        return ".".into();
    }
    match Path::new(source).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => ".".into(),
    }
}

fn says_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

fn split(path: &str) -> Option<(String, String)> {
    let path = Path::new(path);
    let name = path.file_name()?.to_str()?.to_owned();
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some((above.to_str()?.to_owned(), name))
}

/// A source on the host: its path, what it is, and what it is to be called.
fn host_source(source: &Path, options: &CopyOptions) -> Result<(String, PathStat, String)> {
    let text = source.to_str().ok_or_else(|| not_text(source))?;
    let absolute = std::path::absolute(source).map_err(Error::io("find", source))?;
    let called = match called(text) {
        // `..` has a name, too.
        name if name == "." && !text.ends_with("/.") && text != "." => called(&absolute_name(source)?),
        name => name,
    };
    let path = if options.follow_link { fs::canonicalize(source) } else { Ok(absolute) };
    let path = path.map_err(|error| missing_or(error, source))?;
    let says = says_directory(text) || text == ".";
    let meta = if says { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
    let meta = meta.map_err(|error| missing_or(error, source))?;
    let mut path = path.to_str().ok_or_else(|| not_text(source))?.to_owned();
    if says {
        path.push('/');
    }
    Ok((path, described(&called, &meta), called))
}

fn absolute_name(path: &Path) -> Result<String> {
    let found = fs::canonicalize(path).map_err(|error| missing_or(error, path))?;
    Ok(found.to_string_lossy().into_owned())
}

fn described(name: &str, meta: &fs::Metadata) -> PathStat {
    use std::os::unix::fs::MetadataExt;
    PathStat {
        name: name.into(),
        size: meta.len(),
        mode: meta.mode(),
        mtime: meta.mtime(),
        mtime_nsec: u32::try_from(meta.mtime_nsec()).unwrap_or(0),
        link_target: String::new(),
    }
}

/// A destination on the host: where its links lead in the end, and what is there.
fn host_destination(path: &Path) -> Result<(PathBuf, Existing)> {
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_symlink() => {
                let link = fs::read_link(&target).map_err(Error::io("read the link", &target))?;
                target = target.parent().unwrap_or(Path::new("")).join(link);
            }
            Ok(meta) if meta.is_dir() => return Ok((target, Existing::Directory)),
            Ok(meta) if meta.is_file() => return Ok((target, Existing::Other)),
            Ok(_) => {
                let destination = path.display().to_string();
                let problem = "the destination must be a directory or a regular file".into();
                return Err(Error::Copy { destination, problem });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_parent(&target, path)?;
                return Ok((target, Existing::Missing));
            }
            Err(error) => return Err(Error::io("look at", &target)(error)),
        }
    }
    Err(Error::Copy { destination: path.display().to_string(), problem: "it is a circle of links".into() })
}

fn check_parent(target: &Path, given: &Path) -> Result<()> {
    let above = target.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let problem = match fs::metadata(above) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => format!("`{}` is not a directory", above.display()),
        Err(_) => format!("the directory `{}` does not exist", above.display()),
    };
    Err(Error::Copy { destination: given.display().to_string(), problem })
}

fn missing_or(error: io::Error, path: &Path) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
        _ => Error::io("look at", path)(error),
    }
}

fn not_text(path: &Path) -> Error {
    Error::invalid("path", path.display().to_string(), "it isn't UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(mode: u32) -> PathStat {
        PathStat { name: String::new(), size: 0, mode, mtime: 0, mtime_nsec: 0, link_target: String::new() }
    }

    #[test]
    fn dockers_table() {
        let (file, dir) = (stat(0o100_644), stat(0o040_755));
        let at = |source: &PathStat, called, destination, existing| {
            arrange(source, called, destination, existing)
                .map(|(dir, name)| format!("{dir} {name}"))
                .map_err(|error| error.to_string())
        };
        assert_eq!(at(&file, "f", "/d/x", Existing::Missing).unwrap(), "/d x");
        assert_eq!(at(&file, "f", "x", Existing::Missing).unwrap(), ". x");
        assert!(at(&file, "f", "/d/x/", Existing::Missing).unwrap_err().contains("no such directory"));
        assert_eq!(at(&file, "f", "/d/x", Existing::Other).unwrap(), "/d x");
        assert_eq!(at(&file, "f", "/d", Existing::Directory).unwrap(), "/d f");
        assert_eq!(at(&dir, "s", "/d/x", Existing::Missing).unwrap(), "/d x");
        assert_eq!(at(&dir, "s", "/d/x/", Existing::Missing).unwrap(), "/d x");
        assert_eq!(at(&dir, ".", "/d/x", Existing::Missing).unwrap(), "/d x");
        assert!(
            at(&dir, "s", "/d/x", Existing::Other).unwrap_err().contains("cannot copy a directory to a file")
        );
        assert_eq!(at(&dir, "s", "/d", Existing::Directory).unwrap(), "/d s");
        assert_eq!(at(&dir, ".", "/d", Existing::Directory).unwrap(), "/d .");
    }

    #[test]
    fn names_of_sources() {
        for (source, name) in
            [("/a/b", "b"), ("/a/b/", "b"), ("/a/b/.", "."), (".", "."), ("/", "."), ("x", "x")]
        {
            assert_eq!(called(source), name, "{source}");
        }
    }
}
