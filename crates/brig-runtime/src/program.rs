//! Programs that brig carries inside itself and writes to its own directory when they are first needed.
//!
//! A file's name holds the digest of what is in it, so that a brig never executes the program of another version.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Writes `program` to `<dir>/<name>-<digest>`, executable and read-only, and returns that path. When it is there
/// already, that is one `stat`. Nobody but brig writes to `dir`; it is made (0755) when it isn't there.
///
/// # Errors
/// Those of writing the file; nothing of it is left then.
pub fn install(dir: &Path, name: &str, digest: &str, program: &[u8]) -> io::Result<PathBuf> {
    let path = dir.join(format!("{name}-{digest}"));
    if !is_complete(&path, program) {
        fs::create_dir_all(dir)?;
        write(&path, program)?;
    }
    Ok(path)
}

fn is_complete(path: &Path, program: &[u8]) -> bool {
    // It gets its name when it is whole; the size is for the case that the machine went down in between.
    fs::symlink_metadata(path)
        .is_ok_and(|found| found.is_file() && u64::try_from(program.len()) == Ok(found.len()))
}

fn write(path: &Path, program: &[u8]) -> io::Result<()> {
    // Two processes may do this at once: each has its own temporary file, and both results are the same.
    let temporary = path.with_extension(std::process::id().to_string());
    let written = write_new(&temporary, program).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, program: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(program)?;
    file.set_permissions(fs::Permissions::from_mode(0o555))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_written_once_and_repaired_when_it_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let install = || install(dir.path(), "program", "0123", b"#!/bin/sh\n").unwrap();
        let path = install();
        assert_eq!(path, dir.path().join("program-0123"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o555);
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        install();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "#!/b").unwrap();
        install();
        assert_eq!(fs::read(&path).unwrap(), b"#!/bin/sh\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_an_error() {
        install(Path::new("/proc/nonexistent"), "program", "0123", b"x").unwrap_err();
    }
}
