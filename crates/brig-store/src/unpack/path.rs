//! Names in a tar, taken apart before anything is done with them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Result, UnpackError, UnpackOptions};

/// The longest name of a file on Linux.
const NAME_MAX: usize = 255;
const WHITEOUT: &[u8] = b".wh.";
const META: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A relative path without `.`, `..`, empty components and NUL; empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TarPath {
    bytes: Vec<u8>,
}

/// What the name of an entry says about it (image-spec `layer.md`, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Root,
    Plain,
    /// `.wh.name`: the lower layers' `name` is hidden.
    Whiteout {
        hidden: TarPath,
    },
    /// `.wh..wh..opq`: all that the lower layers have in `dir` is hidden.
    Opaque {
        dir: TarPath,
    },
    /// AUFS's own files.
    Ignored,
}

impl TarPath {
    /// An absolute name means the same within the layer's root, as everywhere.
    pub(super) fn new(raw: &[u8], options: &UnpackOptions) -> Result<Self> {
        let wrong = |problem| Err(name_error(raw, problem));
        if raw.contains(&0) {
            return wrong("holds a NUL byte");
        }
        let mut bytes = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return wrong("goes up with `..`"),
                long if long.len() > NAME_MAX => return wrong("has a part of more than 255 bytes"),
                _ => {}
            }
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(component);
            depth += 1;
        }
        if bytes.len() > options.max_path {
            return wrong("is too long");
        }
        if depth > options.max_depth {
            return wrong("is too deep");
        }
        Ok(Self { bytes })
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.bytes)
    }

    pub(super) fn to_path(&self) -> PathBuf {
        Path::new(self.as_os_str()).to_owned()
    }

    pub(super) fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The directory and the last component.
    pub(super) fn split(&self) -> (&[u8], &OsStr) {
        match self.bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.bytes[..slash], OsStr::from_bytes(&self.bytes[slash + 1..])),
            None => (b"", self.as_os_str()),
        }
    }

    pub(super) fn named(&self) -> Result<Named> {
        if self.is_root() {
            return Ok(Named::Root);
        }
        let (dir, name) = self.split();
        for component in dir.split(|byte| *byte == b'/') {
            if component.starts_with(META) {
                return Ok(Named::Ignored);
            }
            if component.starts_with(WHITEOUT) {
                return Err(self.problem("is below a whiteout"));
            }
        }
        let dir = Self { bytes: dir.to_vec() };
        match name.as_bytes() {
            OPAQUE => Ok(Named::Opaque { dir }),
            meta if meta.starts_with(META) => Ok(Named::Ignored),
            name => match name.strip_prefix(WHITEOUT) {
                None => Ok(Named::Plain),
                Some(b"" | b"." | b"..") => Err(self.problem("is a whiteout of nothing")),
                Some(hidden) => Ok(Named::Whiteout { hidden: dir.join(hidden) }),
            },
        }
    }

    pub(super) fn problem(&self, problem: &'static str) -> UnpackError {
        name_error(&self.bytes, problem)
    }

    fn join(mut self, name: &[u8]) -> Self {
        if !self.bytes.is_empty() {
            self.bytes.push(b'/');
        }
        self.bytes.extend_from_slice(name);
        self
    }
}

fn name_error(raw: &[u8], problem: &'static str) -> UnpackError {
    let shown = &raw[..raw.len().min(200)];
    UnpackError::Name { name: shown.escape_ascii().to_string(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<TarPath> {
        TarPath::new(raw.as_bytes(), &UnpackOptions::default())
    }

    #[test]
    fn names_become_relative() {
        for (raw, expected) in
            [("./a/b", "a/b"), ("/etc/passwd", "etc/passwd"), ("a//b/./c/", "a/b/c"), ("./", "")]
        {
            assert_eq!(parse(raw).unwrap().as_bytes(), expected.as_bytes());
        }
    }

    #[test]
    fn what_goes_up_or_is_endless_is_refused() {
        let deep = "a/".repeat(257);
        let long = format!("{}x", "abcdefghi/".repeat(250).repeat(2));
        let wide = "x".repeat(256);
        for raw in ["..", "../x", "a/../b", "a/..", "/..", "a\0b", &deep, &long, &wide] {
            assert!(parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn whiteouts_are_told_apart() {
        let named = |raw: &str| parse(raw).unwrap().named();
        assert_eq!(named("a/.wh.b").unwrap(), Named::Whiteout { hidden: parse("a/b").unwrap() });
        assert_eq!(named(".wh.b").unwrap(), Named::Whiteout { hidden: parse("b").unwrap() });
        assert_eq!(named("a/.wh..wh..opq").unwrap(), Named::Opaque { dir: parse("a").unwrap() });
        for ignored in [".wh..wh.plnk", ".wh..wh.aufs", ".wh..wh.plnk/1.2", "a/.wh..wh.orph/x"] {
            assert_eq!(named(ignored).unwrap(), Named::Ignored, "{ignored}");
        }
        for refused in [".wh.", ".wh..", ".wh...", "a/.wh.", ".wh.x/y"] {
            assert!(named(refused).is_err(), "{refused}");
        }
        assert_eq!(named("a/x.wh.y").unwrap(), Named::Plain);
    }
}
