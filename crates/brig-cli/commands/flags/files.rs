//! Files that flags name: of variables and labels, and for the container's id.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use brig_engine::{Error, Result};
use clap::Args;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Flags of `run` and `create`.
#[derive(Args, Debug)]
pub(crate) struct FileFlags {
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Read labels from a file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Write the container's id to a file, which must not exist
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
}

impl FileFlags {
    /// The variables of the files, and after them those of the command line, which win. A bare name takes ours.
    pub(crate) fn env(&self, given: Vec<String>) -> Result<Vec<String>> {
        Ok(read_all(&self.env_file)?.into_iter().chain(given).collect())
    }

    /// The labels of the files, and after them those of the command line.
    pub(crate) fn labels(&self, given: &[String]) -> Result<Vec<String>> {
        Ok(read_all(&self.label_file)?.into_iter().chain(given.iter().cloned()).collect())
    }

    pub(crate) fn cid_file(&self) -> Option<PathBuf> {
        self.cidfile.clone()
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut entries = Vec::new();
    for path in paths {
        let failed = |source| Error::Io { action: "read", path: Some(path.clone()), source };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)).map_err(failed)?;
        let invalid = |problem| Error::Invalid { what: "file", value: path.display().to_string(), problem };
        if bytes.len() as u64 > MAX_FILE {
            return Err(invalid(format!("it is longer than {} MiB", MAX_FILE >> 20)));
        }
        entries.extend(parse(&bytes).map_err(invalid)?);
    }
    Ok(entries)
}

/// docker's file: `NAME=value` or a bare `NAME`, a line each; what is behind the first `=` is the value as it stands.
fn parse(bytes: &[u8]) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut entries = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("it contains invalid utf8 bytes at line {}", number + 1))?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        entries.push(line.to_owned());
    }
    Ok(entries)
}

/// A file that gets a container's id, taken before there is one.
#[derive(Debug)]
pub(crate) struct CidFile {
    path: PathBuf,
    file: File,
}

impl CidFile {
    pub(crate) fn take(path: &Path) -> Result<Self> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Error::Invalid {
                what: "--cidfile",
                value: path.display().to_string(),
                problem: "container ID file found, make sure the other container isn't running or delete it"
                    .into(),
            }),
            Err(source) => Err(Error::Io { action: "make", path: Some(path.to_owned()), source }),
        }
    }

    /// There is a container.
    pub(crate) fn keep(mut self, id: &str) -> Result<()> {
        let written = self.file.write_all(id.as_bytes());
        written.map_err(|source| Error::Io { action: "write", path: Some(self.path), source })
    }

    /// There is none.
    pub(crate) fn discard(self) {
        // The error to tell is why there is no container.
        let _ = fs::remove_file(self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_as_docker_reads_them() {
        for (text, expected) in [
            ("A=1\nB=2", &["A=1", "B=2"][..]),
            ("\u{feff}A=1\r\n\r\n  # no\n\t B= x y \n", &["A=1", "B= x y "]),
            ("A=\"quoted\" 'as it is' # all of it", &["A=\"quoted\" 'as it is' # all of it"]),
            ("A=b=c\nEMPTY=\nBARE", &["A=b=c", "EMPTY=", "BARE"]),
            ("dots.and-dashes=1", &["dots.and-dashes=1"]),
            ("", &[]),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
        for (bytes, says) in [
            (&b"A=1\n=x"[..], "no variable name on line '=x'"),
            (b"A B=1", "variable 'A B' contains whitespaces"),
            (b"bare with spaces", "contains whitespaces"),
            (b"A=1\nB=\xff", "invalid utf8 bytes at line 2"),
        ] {
            let error = parse(bytes).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn an_id_goes_to_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cid");
        CidFile::take(&path).unwrap().keep("abc").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "abc");
        assert!(CidFile::take(&path).unwrap_err().to_string().contains("container ID file found"));
        let path = dir.path().join("other");
        CidFile::take(&path).unwrap().discard();
        assert!(!path.exists());
    }
}
