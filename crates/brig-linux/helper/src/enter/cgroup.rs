//! The container's cgroups: made before its process, entered by it, removed after it.
//!
//! On v2 the process is born in its cgroup (`CLONE_INTO_CGROUP`), which costs nothing; on v1 it writes itself into
//! each, so only those hierarchies are used that something was asked of.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use brig_runtime::plan::{CgroupDir, CgroupPlan};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::failure::{Failure, On};
use super::{read_value, sys, write_value};

/// The cgroup namespace takes its root from where the process is, so it is made once the process is there.
pub(super) const LATER: u32 = libc::CLONE_NEWCGROUP.cast_unsigned();

/// How long freezing and removing may take before they count as failed. Freezing waits for processes in
/// uninterruptible sleep; removing waits for killed ones.
const PATIENCE: Duration = Duration::from_secs(5);

/// How deep a container's own cgroups are followed.
const MAX_DEPTH: usize = 64;

/// Where processes go that are in the way (see [`make_room`]). No container's id.
const OTHERS: &str = "brig/processes";

/// The cgroups, open.
#[derive(Debug)]
pub(super) struct Made {
    /// The directory of the unified one.
    pub(super) unified: Option<OwnedFd>,
    /// `tasks` of the others, opened for writing by somebody who may.
    pub(super) legacy: Vec<OwnedFd>,
}

/// Makes the cgroups and sets their limits. Those that exist are taken over: an earlier start left them.
pub(super) fn make(plan: &CgroupPlan) -> Result<Made, Failure> {
    let unified = plan.unified.as_ref().map(make_one).transpose()?;
    if let Some(program) = &plan.devices {
        let cgroup = unified.as_ref().ok_or(Errno::OPNOTSUPP)?;
        sys::attach_device_program(cgroup.as_fd(), &program.0).on("BPF_CGROUP_DEVICE")?;
    }
    let legacy = plan.legacy.iter().map(|dir| tasks(&make_one(dir)?, dir)).collect::<Result<_, _>>()?;
    Ok(Made { unified, legacy })
}

/// Writes this process into each v1 cgroup, by its one thread: the kernel moves a thread that moves itself without waiting
/// until no processor is in the middle of a fork, which for a whole process takes some 5 ms.
pub(super) fn join(tasks: &[OwnedFd]) -> Result<(), Failure> {
    for file in tasks {
        rustix::io::write(file, b"0")?;
    }
    Ok(())
}

/// `tasks` of each v1 cgroup that exists, for another process to join.
pub(super) fn open(plan: &CgroupPlan) -> Result<Made, Failure> {
    let directory = |dir: &CgroupDir| {
        let path = dir.path();
        rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).on(path)
    };
    let unified = plan.unified.as_ref().map(directory).transpose()?;
    let legacy = plan.legacy.iter().map(|dir| tasks(&directory(dir)?, dir)).collect::<Result<_, _>>()?;
    Ok(Made { unified, legacy })
}

fn tasks(directory: &OwnedFd, dir: &CgroupDir) -> Result<OwnedFd, Failure> {
    rustix::fs::openat(directory, "tasks", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .on(dir.path().join("tasks"))
}

fn make_one(dir: &CgroupDir) -> Result<OwnedFd, Failure> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(&dir.parent, flags, Mode::empty()).on(&dir.parent)?;
    make_directories(parent.as_fd(), &dir.name).on(dir.path())?;
    let made = rustix::fs::openat(&parent, &dir.name, flags, Mode::empty()).on(dir.path())?;
    if dir.controller == "cpuset" {
        inherit_cpuset(parent.as_fd(), dir)?;
    }
    for (file, value) in &dir.settings {
        let written = match write_value(made.as_fd(), file, value) {
            // v2 shows a controller's files only once every directory above has passed the controller on.
            Err(failure) if is(&failure, Errno::NOENT) && dir.controller.is_empty() => {
                pass_controllers_on(parent.as_fd(), dir)?;
                write_value(made.as_fd(), file, value)
            }
            written => written,
        };
        written.map_err(|failure| Failure {
            subject: Some(dir.path().join(file).display().to_string()),
            ..failure
        })?;
    }
    Ok(made)
}

/// A v1 cpuset begins with nothing in it, and nobody can enter it then: each level takes what the one above has, unless
/// it has something.
fn inherit_cpuset(parent: BorrowedFd<'_>, dir: &CgroupDir) -> Result<(), Failure> {
    let mut levels: Vec<&Path> = dir.name.ancestors().collect();
    levels.pop();
    levels.reverse();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut above = std::fs::read_to_string(dir.parent.join(file)).on(dir.parent.join(file))?;
        for level in &levels {
            let path = dir.parent.join(level).join(file);
            let own = std::fs::read_to_string(&path).on(&path)?;
            if own.trim().is_empty() {
                write_value(parent, &level.join(file).to_string_lossy(), above.trim()).on(&path)?;
            } else {
                above = own;
            }
        }
    }
    Ok(())
}

fn is(failure: &Failure, errno: Errno) -> bool {
    failure.errno == errno.raw_os_error()
}

/// Makes the last directory, and the ones before it when they are missing.
fn make_directories(parent: BorrowedFd<'_>, name: &Path) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdirat(parent, name, mode) {
        Err(Errno::NOENT) => {
            let above = name.parent().filter(|above| !above.as_os_str().is_empty()).ok_or(Errno::NOENT)?;
            make_directories(parent, above)?;
            make_directories(parent, name)
        }
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// Turns the controllers of the settings on, from the parent down to the directory above the cgroup.
fn pass_controllers_on(parent: BorrowedFd<'_>, dir: &CgroupDir) -> Result<(), Failure> {
    let mut wanted: Vec<&str> =
        dir.settings.iter().filter_map(|(file, _)| Some(file.split_once('.')?.0)).collect();
    wanted.retain(|controller| *controller != "cgroup");
    wanted.sort_unstable();
    wanted.dedup();
    let value: String = wanted.iter().map(|controller| format!("+{controller} ")).collect();
    make_room(parent).on(&dir.parent)?;
    let mut levels: Vec<&Path> = dir.name.ancestors().skip(1).collect();
    levels.reverse();
    for level in levels {
        let control = Path::new(".").join(level).join("cgroup.subtree_control");
        let control = control.to_string_lossy();
        write_value(parent, &control, value.trim_end()).on(dir.parent.join(level))?;
    }
    Ok(())
}

/// A cgroup with processes passes no controllers on, or makes the cgroups below into such of threads, but for the root of
/// all. That is where a service to which its cgroup was delegated has its processes, this one and its creators among them,
/// and so has a container with a cgroup namespace: they move into a cgroup beside those of the containers, which stays.
fn make_room(parent: BorrowedFd<'_>) -> Result<(), Failure> {
    match rustix::fs::accessat(parent, "cgroup.type", rustix::fs::Access::EXISTS, AtFlags::empty()) {
        // The root of all.
        Err(Errno::NOENT) => return Ok(()),
        exists => exists?,
    }
    let end = Instant::now() + PATIENCE;
    let to = format!("{OTHERS}/cgroup.procs");
    loop {
        let processes = read_value(parent, "cgroup.procs")?;
        if processes.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Errno::BUSY.into());
        }
        make_directories(parent, Path::new(OTHERS)).on(OTHERS)?;
        for process in processes.lines() {
            match write_value(parent, &to, process) {
                // It has ended meanwhile.
                Err(failure) if is(&failure, Errno::SRCH) => {}
                moved => moved?,
            }
        }
    }
}

/// Freezes or thaws, and waits until it has happened.
pub(super) fn freeze(plan: &CgroupPlan, frozen: bool) -> Result<(), Failure> {
    brig_runtime::cgroup::freeze(plan, frozen).map_err(|error| match error.kind() {
        ErrorKind::Unsupported => Errno::OPNOTSUPP.into(),
        ErrorKind::TimedOut => Errno::TIMEDOUT.into(),
        _ => error.into(),
    })
}

/// Kills what is left, and removes the directories.
pub(super) fn remove(plan: &CgroupPlan) -> Result<(), Failure> {
    let mut first = Ok(());
    for dir in plan.unified.iter().chain(&plan.legacy) {
        let removed = remove_one(dir);
        // The first error is the one to tell; the other directories are removed all the same.
        if first.is_ok() {
            first = removed;
        }
    }
    first
}

fn remove_one(dir: &CgroupDir) -> Result<(), Failure> {
    let path = dir.path();
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::unlinkat(rustix::fs::CWD, &path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < end => empty(&path, 0)?,
            Err(errno) => return Err(errno).on(path),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills everything in a cgroup, and removes those that the container has made in it. What is still busy is left to the
/// next time.
fn empty(path: &Path, depth: usize) -> Result<(), Failure> {
    kill_all(path)?;
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.on(path)?,
    };
    for entry in entries {
        let entry = entry.on(path)?;
        if entry.file_type().on(path)?.is_dir() && depth < MAX_DEPTH {
            empty(&entry.path(), depth + 1)?;
            // Its processes may be about to end.
            let _ = rustix::fs::unlinkat(rustix::fs::CWD, entry.path(), AtFlags::REMOVEDIR);
        }
    }
    Ok(())
}

/// Kills everything in a cgroup: at once where the kernel can (v2), else one by one; the caller comes back until
/// nobody is left.
fn kill_all(path: &Path) -> Result<(), Failure> {
    match std::fs::write(path.join("cgroup.kill"), "1") {
        Ok(()) => return Ok(()),
        // v1, where creating such a file isn't allowed, or a kernel before 5.14.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::ENOENT)) => {}
        Err(error) => return Err(error).on(path),
    }
    let procs = match std::fs::read_to_string(path.join("cgroup.procs")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        procs => procs.on(path)?,
    };
    for pid in procs.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
        // Gone meanwhile is what we want.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    Ok(())
}
