//! Who is in a container.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::StatsError;
use super::read::text;

/// How deep a container's own cgroups are followed.
const MAX_DEPTH: usize = 64;

/// The processes in these cgroups and below, each once, in the order of their numbers. They are this process's numbers
/// for them.
///
/// # Errors
/// [`StatsError`]. A cgroup that isn't there is empty.
pub fn cgroup_pids(cgroups: &[PathBuf]) -> Result<Vec<u32>, StatsError> {
    let mut pids = BTreeSet::new();
    for dir in cgroups {
        collect(dir, 0, &mut pids)?;
    }
    Ok(pids.into_iter().collect())
}

/// A cgroup may be removed meanwhile. One of a threaded subtree can't be asked for processes; they are above it.
fn collect(dir: &Path, depth: usize, pids: &mut BTreeSet<u32>) -> Result<(), StatsError> {
    let Some(text) = text(dir, "cgroup.procs")? else { return Ok(()) };
    // Zero is a process that this one's pid namespace doesn't have.
    pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid > 0));
    let failed = |source| StatsError::Read { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if depth < MAX_DEPTH && entry.file_type().is_ok_and(|typ| typ.is_dir()) {
            collect(&entry.path(), depth + 1, pids)?;
        }
    }
    Ok(())
}
