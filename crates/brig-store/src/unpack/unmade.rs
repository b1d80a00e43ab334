//! What an image has and this process could not make.

use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::path::TarPath;
use super::{Result, UnpackError};
use crate::fsutil::hex;

/// One line of a layer's `unmade.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmade {
    /// The entry, relative to the layer's root.
    pub path: PathText,
    /// What is missing.
    #[serde(flatten)]
    pub why: Why,
}

/// What an entry should have had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "unmade", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Why {
    /// Another owner, and with it setuid or setgid: these bits are not set where the owner isn't the image's.
    Owner {
        /// User id.
        uid: u64,
        /// Group id.
        gid: u64,
        /// Permissions as the image has them.
        mode: u32,
    },
    /// A device: there is no file of this name.
    Device {
        /// `char` or `block`.
        kind: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
        /// User id.
        uid: u64,
        /// Group id.
        gid: u64,
        /// Permissions.
        mode: u32,
    },
    /// An extended attribute that needs privileges, that the file system doesn't keep, or that an image may not set
    /// (those of overlayfs, labels of SELinux and everything else outside `user.*`, `security.capability` and the
    /// POSIX access lists).
    Xattr {
        /// Its name.
        name: String,
        /// Its value in hexadecimal.
        value: String,
    },
}

/// A path that need not be UTF-8: a string if it is, and bytes if not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PathText {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl PathText {
    /// As a path.
    pub fn to_path(&self) -> PathBuf {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => std::ffi::OsString::from_vec(bytes.clone()).into(),
        }
    }

    fn new(path: &TarPath) -> Self {
        match std::str::from_utf8(path.as_os_str().as_bytes()) {
            Ok(text) => Self::Text(text.into()),
            Err(_) => Self::Bytes(path.as_bytes().to_vec()),
        }
    }
}

/// Writes the lines.
pub(super) struct Recorder<'w> {
    out: &'w mut dyn Write,
    pub(super) count: u64,
}

impl<'w> Recorder<'w> {
    pub(super) fn new(out: &'w mut dyn Write) -> Self {
        Self { out, count: 0 }
    }

    pub(super) fn xattr(&mut self, path: &TarPath, name: &[u8], value: &[u8]) -> Result<()> {
        let name = String::from_utf8_lossy(name).into_owned();
        self.record(path, Why::Xattr { name, value: hex(value) })
    }

    pub(super) fn record(&mut self, path: &TarPath, why: Why) -> Result<()> {
        self.count += 1;
        let line = Unmade { path: PathText::new(path), why };
        serde_json::to_writer(&mut *self.out, &line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|source| UnpackError::Entry {
                action: "record what is missing of",
                path: path.to_path(),
                source,
            })
    }
}
