//! From a container that waits to be started to its end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use brig_runtime::bundle::GO;
use brig_runtime::hooks::HookError;
use brig_runtime::packets;
use brig_runtime::protocol::StepError;
use brig_runtime::record::ProcessId;
use oci_spec::runtime::{LinuxResources, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::make::{run_late, run_poststart};
use super::record::{Entry, is_alive};
use super::{BundleError, Runtime, Status};
use crate::plan::late_hooks;
use crate::sys;
use crate::update::plan_resources_update;

/// How long a killed container may take to go.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

impl Runtime {
    /// Starts the program of a created container (runtime specification, Start). Returns the hooks that have failed
    /// afterwards, which changes nothing else.
    ///
    /// # Errors
    /// It isn't `created`, a hook before the program fails, or the program can't be executed: then it has ended.
    pub fn start(&self, id: &str) -> Result<Vec<HookError>, BundleError> {
        let entry = self.hold(id)?;
        let status = entry.status()?;
        let Some(init) = entry.record.init.filter(|_| status == Status::Created) else {
            return Err(BundleError::Status { what: "start", id: id.to_owned(), status });
        };
        let spec = entry.spec()?;
        match go(&entry.start_socket()) {
            // Somebody else's start is under way, or it has ended.
            Err(BundleError::Io { source, .. }) if source.kind() == io::ErrorKind::ConnectionRefused => {
                let status = match entry.status()? {
                    Status::Created => Status::Running,
                    status => status,
                };
                return Err(BundleError::Status { what: "start", id: id.to_owned(), status });
            }
            started => started?,
        }
        run_poststart(&spec, &entry, init.pid)
    }

    /// Sends a signal to a container's first process (runtime specification, Kill), or to everything in its cgroups.
    ///
    /// # Errors
    /// [`BundleError::NotRunning`]: it has ended.
    pub fn kill(&self, id: &str, signal: i32, all: bool) -> Result<(), BundleError> {
        let entry = self.find(id)?;
        if all {
            return entry.signal_all(signal);
        }
        match (entry.status()?, entry.record.init) {
            (Status::Created | Status::Running | Status::Paused, Some(init)) => {
                signal_process(init, signal)?;
                entry.let_die(signal)
            }
            _ => Err(BundleError::NotRunning),
        }
    }

    /// Removes a container that has ended, or was never started (runtime specification, Delete). With `force` it is
    /// killed first, and one that isn't there is removed. Returns the hooks that have failed, which changes nothing
    /// else.
    ///
    /// # Errors
    /// It runs, or something of it can't be removed.
    pub fn delete(&self, id: &str, force: bool) -> Result<Vec<HookError>, BundleError> {
        let entry = match self.hold(id) {
            Err(BundleError::NotFound { .. } | BundleError::Document { .. }) if force => {
                return self.delete_remains(id);
            }
            entry => entry?,
        };
        let status = entry.status()?;
        if !force && !matches!(status, Status::Stopped | Status::Created) {
            return Err(BundleError::Status { what: "delete", id: id.to_owned(), status });
        }
        if let Some(init) = entry.record.init {
            entry.end(init)?;
        }
        match entry.spec() {
            // A deletion has got so far before it was killed.
            Err(BundleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                entry.undo(None)
            }
            Err(_) if force => entry.undo(None),
            spec => entry.undo(Some(&spec?)),
        }
    }

    /// A directory without a record that can be read: its creator was killed before it had made anything else, or
    /// somebody has damaged it. What can be known of it is where its cgroups are when its spec names none.
    fn delete_remains(&self, id: &str) -> Result<Vec<HookError>, BundleError> {
        let dir = self.directory(id)?;
        for path in self.host.cgroups.places(&self.cgroup(id)) {
            remove_cgroup(&path)?;
        }
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            removed => removed.map(|()| Vec::new()).map_err(BundleError::io("remove", &dir)),
        }
    }

    /// Freezes a container, or lets it go on.
    ///
    /// # Errors
    /// It doesn't run, or isn't paused, or has no cgroup that freezes.
    pub fn pause(&self, id: &str, paused: bool) -> Result<(), BundleError> {
        let entry = self.hold(id)?;
        let what = if paused { "pause" } else { "resume" };
        let status = entry.status()?;
        let fits = match status {
            Status::Running | Status::Created => paused,
            Status::Paused => !paused,
            _ => false,
        };
        if !fits {
            return Err(BundleError::Status { what, id: id.to_owned(), status });
        }
        let frozen = brig_runtime::cgroup::freeze(&entry.record.cgroups, paused);
        frozen.map_err(|source| BundleError::Cgroup { what, source })
    }
}

impl Runtime {
    /// Changes a container's limits, all or none: what isn't in `resources` stays as it is, and -1 is no limit.
    ///
    /// # Errors
    /// It has ended, or a limit can't be had.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<(), BundleError> {
        let entry = self.hold(id)?;
        if !matches!(entry.status()?, Status::Created | Status::Running | Status::Paused) {
            return Err(BundleError::NotRunning);
        }
        let update = plan_resources_update(resources, &self.host, &entry.record.cgroups.directories())?;
        update.apply()?;
        Ok(())
    }
}

/// With everything that is in it.
fn remove_cgroup(path: &Path) -> Result<(), BundleError> {
    // Nobody is in most of them, and nothing below.
    if std::fs::remove_dir(path).is_ok() {
        return Ok(());
    }
    let removed = brig_runtime::cgroup::kill_all(path).and_then(|()| brig_runtime::cgroup::remove(path));
    removed.map_err(|source| BundleError::Cgroup { what: "remove", source })
}

/// Tells the process that waits at a socket to go on, and waits until it is the program.
fn go(path: &Path) -> Result<(), BundleError> {
    let failed = |error: io::Error| BundleError::io("reach the container at", path)(error);
    let connection = connection(path).map_err(failed)?;
    packets::send(&connection, GO, &[]).map_err(failed)?;
    match packets::receive(&connection, 0).map_err(failed)?.bytes.as_slice() {
        [] => Ok(()),
        [_, json @ ..] => {
            let source: StepError = serde_json::from_slice(json)
                .map_err(|error| BundleError::Helpless { source: error.into() })?;
            Err(BundleError::Step { what: "start the container", source })
        }
    }
}

impl Entry {
    /// Removes what the container has: processes, cgroups, its record; then its hooks are run.
    pub(super) fn undo(&self, spec: Option<&Spec>) -> Result<Vec<HookError>, BundleError> {
        for path in self.record.cgroups.directories() {
            remove_cgroup(&path)?;
        }
        if let Some(group) = &self.record.resctrl {
            group.remove().map_err(|(path, error)| BundleError::io("remove", &path)(error))?;
        }
        self.forget()?;
        match spec {
            Some(spec) => Ok(run_late(&late_hooks(spec)?.poststop, spec, self, "stopped", None)),
            None => Ok(Vec::new()),
        }
    }

    /// A frozen process of v1 dies when it is thawed.
    fn let_die(&self, signal: i32) -> Result<(), BundleError> {
        let cgroups = &self.record.cgroups;
        if signal != libc::SIGKILL {
            return Ok(());
        }
        let thawed = brig_runtime::cgroup::is_frozen(cgroups)
            .and_then(|frozen| if frozen { brig_runtime::cgroup::freeze(cgroups, false) } else { Ok(()) });
        match thawed {
            // It has gone with the container.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            thawed => thawed.map_err(|source| BundleError::Cgroup { what: "thaw", source }),
        }
    }

    /// Kills the first process, and waits until it has ended.
    fn end(&self, init: ProcessId) -> Result<(), BundleError> {
        let deadline = Instant::now() + PATIENCE;
        while is_alive(init) {
            match signal_process(init, libc::SIGKILL) {
                Ok(()) | Err(BundleError::NotRunning) => {}
                Err(error) => return Err(error),
            }
            self.let_die(libc::SIGKILL)?;
            if Instant::now() > deadline {
                return Err(BundleError::Unending { pid: init.pid });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// To everything in its cgroups. Without any it has its pid namespace, which goes with its first process.
    fn signal_all(&self, signal: i32) -> Result<(), BundleError> {
        let pids = self.pids()?;
        for pid in pids {
            // One that can't be found has ended meanwhile.
            if let Ok(process) = ProcessId::of(pid.cast_signed()) {
                match signal_process(process, signal) {
                    Ok(()) | Err(BundleError::NotRunning) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.let_die(signal)
    }
}

/// By way of its directory, since a socket's address is short.
fn connection(path: &Path) -> io::Result<OwnedFd> {
    let (directory, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(&short)?)?;
    Ok(socket)
}

/// Sends a signal to a process, if it is still the one that is meant.
///
/// # Errors
/// [`BundleError::NotRunning`]: it has ended.
pub fn signal_process(process: ProcessId, signal: i32) -> Result<(), BundleError> {
    let path = Path::new("/proc").join(process.pid.to_string());
    let pid = Pid::from_raw(process.pid).ok_or(BundleError::NotRunning)?;
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Err(BundleError::NotRunning),
        opened => opened.map_err(|errno| BundleError::io("find", &path)(errno.into()))?,
    };
    // The descriptor can't come to mean another process; that it means the right one is looked at now.
    if !process.exists() {
        return Err(BundleError::NotRunning);
    }
    match sys::send_signal(pidfd.as_fd(), signal) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(BundleError::NotRunning),
        sent => sent.map_err(BundleError::io("signal", &path)),
    }
}
