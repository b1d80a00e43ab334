//! Looking into a stack of layers without mounting it.
//!
//! The same answers that overlayfs would give: a whiteout or an opaque directory hides what is below, a directory
//! merges with those below it, anything else covers them. Symbolic links are resolved within the stack, as a program
//! with this root would see them. A look-up costs a few system calls for each component and layer.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// As many as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Directories of a root file system, opened.
#[derive(Debug)]
pub struct LayerStack {
    /// Highest first.
    roots: Rc<Vec<OwnedFd>>,
}

/// Why a look-up failed. That something isn't there is no failure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The file system refused.
    #[error("can't look up `{}` in the image", path.display())]
    Io {
        /// What was looked for.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// More symbolic links after another than the kernel follows.
    #[error("`{}` in the image leads through more than {MAX_LINKS} symbolic links", path.display())]
    TooManyLinks {
        /// What was looked for.
        path: PathBuf,
    },
    /// A file is larger than the caller takes.
    #[error("`{}` in the image has more than {limit} bytes", path.display())]
    TooLarge {
        /// What was looked for.
        path: PathBuf,
        /// The most that was allowed.
        limit: u64,
    },
}

type Result<T> = std::result::Result<T, LookupError>;

/// What [`LayerStack::which`] found.
#[derive(Debug)]
pub enum Which {
    /// The program: the path to execute, not resolved further, and the file.
    Found {
        /// Absolute, within the root.
        path: PathBuf,
        /// The file, to look at its first bytes.
        file: File,
    },
    /// There is such a file, but it is a directory or may not be executed.
    NotExecutable {
        /// Absolute, within the root.
        path: PathBuf,
    },
    /// There is none.
    NotFound,
}

/// What a path leads to.
enum Target {
    Missing,
    Directory(Rc<Vec<OwnedFd>>),
    Regular(File, Stat),
    Link(Vec<u8>),
    /// A device, a FIFO or a socket.
    Special,
}

impl LayerStack {
    /// Opens the roots of layers, lowest first as images list them, and the writable top.
    pub fn new<P: AsRef<Path>>(layers: &[P], upper: Option<&Path>) -> Result<Self> {
        let lowest_first = layers.iter().map(AsRef::as_ref).chain(upper);
        let roots = lowest_first.rev().map(open_root).collect::<Result<_>>()?;
        Ok(Self { roots: Rc::new(roots) })
    }

    /// Opens a regular file for reading; `None` where there is none.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Option<File>> {
        match self.walk(path.as_ref())? {
            Target::Regular(file, _) => Ok(Some(file)),
            _ => Ok(None),
        }
    }

    /// The content of a regular file of at most `limit` bytes; `None` where there is none.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Option<Vec<u8>>> {
        let path = path.as_ref();
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| LookupError::Io { path: path.to_owned(), source })?;
        if bytes.len() as u64 > limit {
            return Err(LookupError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(Some(bytes))
    }

    /// Whether there is a directory at `path`.
    pub fn is_dir(&self, path: impl AsRef<Path>) -> Result<bool> {
        Ok(matches!(self.walk(path.as_ref())?, Target::Directory(_)))
    }

    /// Finds a program as execvp(3) does: by its path if it has a slash, relative to `cwd`, or else in the directories
    /// of `path_env`.
    pub fn which(&self, program: &str, path_env: &str, cwd: &str) -> Result<Which> {
        let root = Path::new("/").join(cwd.trim_start_matches('/'));
        if program.is_empty() {
            return Ok(Which::NotFound);
        }
        if program.contains('/') {
            return self.executable(root.join(program));
        }
        let mut refused = Which::NotFound;
        for dir in path_env.split(':') {
            match self.executable(root.join(dir).join(program))? {
                found @ Which::Found { .. } => return Ok(found),
                other @ Which::NotExecutable { .. } if matches!(refused, Which::NotFound) => refused = other,
                _ => {}
            }
        }
        Ok(refused)
    }

    fn executable(&self, path: PathBuf) -> Result<Which> {
        Ok(match self.walk(&path)? {
            Target::Regular(file, stat) if stat.st_mode & 0o111 != 0 => Which::Found { path, file },
            Target::Missing => Which::NotFound,
            _ => Which::NotExecutable { path },
        })
    }

    fn walk(&self, path: &Path) -> Result<Target> {
        let failed = |errno: Errno| LookupError::Io { path: path.to_owned(), source: errno.into() };
        // Components still to go, the next one last.
        let mut ahead = components(path.as_os_str().as_bytes());
        // The directories down to where we are, the root first.
        let mut trail = vec![Rc::clone(&self.roots)];
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                trail.truncate(trail.len().saturating_sub(1).max(1));
                continue;
            }
            let Some(here) = trail.last() else { return Ok(Target::Missing) };
            match step(here, OsStr::from_bytes(&name)).map_err(failed)? {
                Target::Directory(dirs) => trail.push(dirs),
                Target::Link(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(LookupError::TooManyLinks { path: path.to_owned() });
                    }
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    ahead.extend(components(&target));
                }
                // A file has nothing below it.
                _ if !ahead.is_empty() => return Ok(Target::Missing),
                end => return Ok(end),
            }
        }
        Ok(trail.pop().map_or(Target::Missing, Target::Directory))
    }
}

/// The components of a path, the first one last.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').rev();
    parts.filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// What `name` is in directories that lie one above the other, highest first.
fn step(dirs: &[OwnedFd], name: &OsStr) -> rustix::io::Result<Target> {
    let mut merged = Vec::new();
    for (index, dir) in dirs.iter().enumerate() {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            let lowest = index + 1 == dirs.len() || is_opaque(&open);
            merged.push(open);
            if lowest {
                break;
            }
            continue;
        }
        // A whiteout hides what is below, and so does anything else; below a directory it is hidden itself.
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        if whiteout || !merged.is_empty() {
            break;
        }
        return open_target(dir, name, kind);
    }
    Ok(if merged.is_empty() { Target::Missing } else { Target::Directory(Rc::new(merged)) })
}

fn open_target(dir: &OwnedFd, name: &OsStr, kind: FileType) -> rustix::io::Result<Target> {
    match kind {
        FileType::Symlink => Ok(Target::Link(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes())),
        FileType::RegularFile => {
            // A program in the container may exchange the file for a FIFO or a link meanwhile: neither waits nor
            // follows.
            let flags =
                OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(Target::Special);
            }
            Ok(Target::Regular(file.into(), stat))
        }
        _ => Ok(Target::Special),
    }
}

fn is_opaque(dir: &OwnedFd) -> bool {
    let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
    let marked = |name: &std::ffi::CStr| {
        let mut value = [0_u8; 2];
        rustix::fs::getxattr(&path, name, &mut value) == Ok(1) && value[0] == b'y'
    };
    marked(c"trusted.overlay.opaque") || marked(c"user.overlay.opaque")
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| LookupError::Io { path: path.to_owned(), source: errno.into() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct Dirs(tempfile::TempDir);

    impl Dirs {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, content: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        fn link(&self, path: &str, target: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
            self
        }

        fn whiteout(&self, path: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
            self
        }

        fn opaque(&self, path: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(&path).unwrap();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, c"user.overlay.opaque", b"y", flags).unwrap();
            self
        }

        fn stack(&self) -> LayerStack {
            let layers: Vec<_> = ["1", "2", "3"]
                .iter()
                .map(|name| self.0.path().join(name))
                .filter(|path| path.exists())
                .collect();
            LayerStack::new(&layers, None).unwrap()
        }

        fn read(&self, path: &str) -> Option<String> {
            self.stack().read(path, 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
        }
    }

    #[test]
    fn the_highest_wins_and_directories_merge() {
        let dirs = Dirs::new();
        dirs.file("1/etc/a", "1").file("1/etc/b", "1").file("2/etc/b", "2").file("3/other", "3");
        assert_eq!(dirs.read("/etc/a").as_deref(), Some("1"));
        assert_eq!(dirs.read("etc/./b").as_deref(), Some("2"));
        assert_eq!(dirs.read("/etc/../other").as_deref(), Some("3"));
        assert_eq!(dirs.read("/../../other").as_deref(), Some("3"));
        assert_eq!(dirs.read("/etc"), None);
        assert_eq!(dirs.read("/etc/a/x"), None);
        assert!(dirs.stack().is_dir("/etc").unwrap());
        assert!(dirs.stack().is_dir("/").unwrap());
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide() {
        let dirs = Dirs::new();
        dirs.file("1/a", "1").file("1/d/x", "1").file("1/e/x", "1").file("1/f/x", "1");
        dirs.whiteout("2/a").whiteout("2/d").opaque("2/e").file("2/e/y", "2").file("2/f", "2");
        dirs.file("3/d/z", "3").file("3/f/z", "3");
        for (path, content) in [
            ("a", None),
            ("d/x", None),
            ("d/z", Some("3")),
            ("e/x", None),
            ("e/y", Some("2")),
            ("f/x", None),
            ("f/z", Some("3")),
        ] {
            assert_eq!(dirs.read(path).as_deref(), content, "{path}");
        }
    }

    #[test]
    fn links_stay_within_the_stack() {
        let dirs = Dirs::new();
        dirs.file("1/usr/bin/sh", "sh").link("2/bin", "usr/bin").link("2/abs", "/usr/bin/sh");
        dirs.link("2/out", "../../../../usr/bin/sh").link("2/loop", "loop").link("2/usr/up", "../bin/sh");
        for path in ["/bin/sh", "/abs", "/out", "/usr/up"] {
            assert_eq!(dirs.read(path).as_deref(), Some("sh"), "{path}");
        }
        assert_eq!(dirs.read("/bin/none"), None);
        assert!(matches!(dirs.stack().open("/loop"), Err(LookupError::TooManyLinks { .. })));
    }

    #[test]
    fn devices_and_fifos_are_not_opened() {
        let dirs = Dirs::new();
        dirs.file("1/x", "");
        let fifo = dirs.0.path().join("1/fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        assert!(dirs.stack().open("/fifo").unwrap().is_none());
    }

    #[test]
    fn files_are_bounded() {
        let dirs = Dirs::new();
        dirs.file("1/x", "12345");
        assert!(matches!(dirs.stack().read("x", 4), Err(LookupError::TooLarge { limit: 4, .. })));
        assert!(dirs.stack().read("x", 5).unwrap().is_some());
    }

    #[test]
    fn programs_are_found_as_execvp_does() {
        let dirs = Dirs::new();
        dirs.file("1/usr/bin/tool", "x")
            .file("1/bin/tool", "y")
            .file("1/work/run", "z")
            .file("1/bin/other", "w");
        for executable in ["1/usr/bin/tool", "1/work/run"] {
            let path = dirs.0.path().join(executable);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let which = |program: &str| match dirs.stack().which(program, "/bin:/usr/bin", "/work").unwrap() {
            Which::Found { path, .. } => format!("found {}", path.display()),
            Which::NotExecutable { path } => format!("refused {}", path.display()),
            Which::NotFound => "none".into(),
        };
        assert_eq!(which("tool"), "found /usr/bin/tool");
        assert_eq!(which("./run"), "found /work/./run");
        assert_eq!(which("/usr/bin/tool"), "found /usr/bin/tool");
        assert_eq!(which("other"), "refused /bin/other");
        assert_eq!(which("/bin"), "refused /bin");
        assert_eq!(which("nothing"), "none");
        assert_eq!(which(""), "none");
    }
}
