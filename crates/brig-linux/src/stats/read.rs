//! Files of cgroups. One that isn't there belongs to a controller that isn't, or to a cgroup that is being removed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::StatsError;

/// More than the kernel writes about the largest machine.
const MAX_BYTES: u64 = 4 << 20;

/// Whether a file is there.
pub(super) fn exists(dir: &Path, file: &str) -> bool {
    dir.join(file).exists()
}

/// What a file says.
pub(super) fn text(dir: &Path, file: &str) -> Result<Option<String>, StatsError> {
    let path = dir.join(file);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(StatsError::Read { path, source }),
    }
}

/// Files of a switched-off mechanism can be opened and not be read.
fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EOPNOTSUPP))
}

/// One number; `max` is the greatest.
pub(super) fn number(dir: &Path, file: &str) -> Result<Option<u64>, StatsError> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    match text.trim() {
        "max" => Ok(Some(u64::MAX)),
        // v1 shows some limits as -1.
        "-1" => Ok(Some(u64::MAX)),
        digits => digits.parse().map(Some).map_err(|_| malformed(dir, file, digits)),
    }
}

/// One number, or zero where there is no such file.
pub(super) fn number_or_zero(dir: &Path, file: &str) -> Result<u64, StatsError> {
    Ok(number(dir, file)?.unwrap_or(0))
}

/// Lines of a word and a number. Others are left out.
pub(super) fn table(dir: &Path, file: &str) -> Result<Option<BTreeMap<String, u64>>, StatsError> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    });
    Ok(Some(pairs.collect()))
}

pub(super) fn malformed(dir: &Path, file: &str, text: &str) -> StatsError {
    let text = text.chars().take(100).collect();
    StatsError::Malformed { path: dir.join(file), text }
}
