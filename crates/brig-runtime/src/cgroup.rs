//! The cgroups of a container without a supervisor: who is in them, freezing them, ending what is left in them.
//!
//! The directories come from a record; nothing is done in a directory that isn't a cgroup, nor in the one that this
//! process lives in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::plan::CgroupPlan;

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(5);
/// How deep a payload's own cgroups are followed; the kernel's default is far below.
const MAX_DEPTH: usize = 64;

/// The file that freezes, what is written to it, the file that says how it is, and the line that it says then.
type Freezer = (PathBuf, &'static str, PathBuf, &'static str);

fn freezer(plan: &CgroupPlan, frozen: bool) -> Option<Freezer> {
    let legacy = plan.legacy.iter().find(|dir| dir.controller == "freezer");
    match (&plan.unified, legacy) {
        (Some(dir), _) => {
            let (value, state) = if frozen { ("1", "frozen 1") } else { ("0", "frozen 0") };
            Some((dir.path().join("cgroup.freeze"), value, dir.path().join("cgroup.events"), state))
        }
        (None, Some(dir)) => {
            let file = dir.path().join("freezer.state");
            let value = if frozen { "FROZEN" } else { "THAWED" };
            Some((file.clone(), value, file, value))
        }
        (None, None) => None,
    }
}

/// Freezes or thaws everything in a container's cgroups, and waits until it has happened.
///
/// # Errors
/// There is no cgroup for that, or it takes too long: a process is in a state that nothing interrupts.
pub fn freeze(plan: &CgroupPlan, frozen: bool) -> io::Result<()> {
    let no_cgroup = || io::Error::new(io::ErrorKind::Unsupported, "the container has no cgroup that freezes");
    let (file, value, events, state) = freezer(plan, frozen).ok_or_else(no_cgroup)?;
    retry(|| {
        // v1 may need to be told again when processes are born meanwhile; on v2 saying it again changes nothing.
        fs::write(&file, value)?;
        Ok(fs::read_to_string(&events)?.lines().any(|line| line == state))
    })
}

/// Whether it is frozen. What has no cgroup isn't.
///
/// # Errors
/// The cgroup is there and can't be read.
pub fn is_frozen(plan: &CgroupPlan) -> io::Result<bool> {
    let Some((_, _, events, state)) = freezer(plan, true) else { return Ok(false) };
    match fs::read_to_string(&events) {
        Err(error) if is_gone(&error) => Ok(false),
        text => Ok(text?.lines().any(|line| line == state)),
    }
}

/// How often the kernel's OOM killer has ended a process of a container. A memory cgroup that isn't there has had none: on
/// v2 without a limit of its own it may be there all the same, in the way of somebody else's.
///
/// # Errors
/// It is there and can't be read.
pub fn oom_kills(plan: &CgroupPlan) -> io::Result<u64> {
    let legacy = plan.legacy.iter().find(|dir| dir.controller == "memory");
    let path = match (legacy, &plan.unified) {
        (Some(dir), _) => dir.path().join("memory.oom_control"),
        (None, Some(dir)) => dir.path().join("memory.events"),
        (None, None) => return Ok(0),
    };
    let text = match fs::read_to_string(path) {
        Err(error) if is_gone(&error) => return Ok(0),
        text => text?,
    };
    // Kernels before 4.13 don't count.
    Ok(text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0))
}

/// Whether a file of a cgroup can't be read because that was removed, or is being removed meanwhile.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

/// Kills every process in the cgroup and below. A missing one is empty. Returns when all are gone.
pub fn kill_all(path: &Path) -> io::Result<()> {
    retry(|| {
        let dirs = tree(path)?;
        let pids = dirs.iter().map(|dir| members(dir)).collect::<io::Result<Vec<_>>>()?.concat();
        if pids.iter().any(|&pid| u32::try_from(pid) == Ok(std::process::id())) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this process itself is in it"));
        }
        for &pid in &pids {
            // ESRCH: it has gone by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !pids.is_empty() {
            // A frozen process of v1 dies when it is thawed. Elsewhere there is no such file.
            dirs.iter().for_each(|dir| drop(fs::write(dir.join("freezer.state"), "THAWED")));
        }
        Ok(pids.is_empty())
    })
}

/// Removes the cgroup and those below it. A missing one is fine.
pub fn remove(path: &Path) -> io::Result<()> {
    retry(|| {
        for dir in tree(path)?.iter().rev() {
            match fs::remove_dir(dir) {
                // A process that was killed a moment ago.
                Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => return Ok(false),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    })
}

fn retry(mut attempt: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !attempt()? {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its processes take too long"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The cgroup and all below it, each before its children; nothing when it is missing.
fn tree(path: &Path) -> io::Result<Vec<PathBuf>> {
    match statfs(path).map(|stat| stat.filesystem_type()) {
        Ok(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC) => {}
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a cgroup")),
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut found = Vec::new();
    collect(path, 0, &mut found)?;
    Ok(found)
}

fn collect(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    found.push(path.to_owned());
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && depth < MAX_DEPTH {
            collect(&entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}

/// Its processes. One of a threaded v2 subtree can't be asked; its processes are its parent's members.
fn members(dir: &Path) -> io::Result<Vec<i32>> {
    let unavailable = [Errno::ENODEV as i32, Errno::EOPNOTSUPP as i32];
    match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|&pid| pid > 0).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.raw_os_error().is_some_and(|errno| unavailable.contains(&errno)) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_directory_that_isnt_a_cgroup_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.procs"), "1\n").unwrap();
        assert_eq!(kill_all(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(remove(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        kill_all(&dir.path().join("missing")).unwrap();
        remove(&dir.path().join("missing")).unwrap();
    }

    #[test]
    fn processes_are_killed_and_the_tree_is_removed() {
        let name = format!("brig-runtime-test-{}", std::process::id());
        for parent in ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup"] {
            let dir = Path::new(parent).join(&name);
            let inner = dir.join("inner");
            if !Path::new(parent).join("cgroup.procs").exists() || fs::create_dir_all(&inner).is_err() {
                continue;
            }
            let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
            fs::write(inner.join("cgroup.procs"), child.id().to_string()).unwrap();
            if inner.join("freezer.state").exists() {
                fs::write(inner.join("freezer.state"), "FROZEN").unwrap();
            }
            let reaper = std::thread::spawn(move || child.wait().unwrap());
            kill_all(&dir).unwrap();
            assert!(!reaper.join().unwrap().success());
            remove(&dir).unwrap();
            assert!(!dir.exists());
            return;
        }
        eprintln!("skipped: no cgroup can be made here");
    }
}
