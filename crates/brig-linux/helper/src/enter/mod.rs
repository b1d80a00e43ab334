//! What the process that becomes the payload does: from a [`Plan`] to a running program in its own namespaces.
//!
//! Called by the supervisor, which is the parent of every process that is made here. A step that fails comes back as
//! data, a [`StepError`].
//!
//! ```text
//! supervisor                                payload
//!   make the cgroups
//!   clone3 (all namespaces at once) ───────▶ steps of [child::steps], one after the other
//!   map ids, when asked ◀───────────────────   (only where the child may not do it itself)
//!   move network devices ◀──────────────────   (only with some; both wait for the answer)
//!   take the terminal's master ◀────────────   (only with a terminal)
//!   pass the filter's listener on ◀─────────   (only with one)
//!   read the failed step, or the end ◀────── execve closes the socket
//! ```

mod cgroup;
mod child;
mod copy_up;
mod desk;
mod devices;
pub(crate) mod failure;
mod identity;
mod idmap;
mod join;
mod labels;
mod landlock;
mod masks;
mod mounts;
mod net_devices;
mod netlink;
pub(crate) mod place;
mod program;
mod propagation;
mod release;
mod resctrl;
mod rootfs;
mod scheduling;
mod streams;
pub(crate) mod sys;
mod wire;

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use brig_runtime::plan::{IdMap, IdMaps, PayloadPlan, Plan};
use brig_runtime::protocol::{ExecRequest, StepError};
use rustix::io::Errno;

use self::child::Entry;
use self::desk::Desk;
use self::failure::{Failure, On, Step};
use self::release::Release;
use self::streams::EngineEnds;
use self::sys::Cloned;
use self::wire::Message;

/// The standard streams of a payload. Ignored when it gets a terminal.
#[derive(Debug)]
pub(crate) struct ChildIo {
    /// Descriptor 0.
    pub(crate) stdin: OwnedFd,
    /// Descriptor 1.
    pub(crate) stdout: OwnedFd,
    /// Descriptor 2.
    pub(crate) stderr: OwnedFd,
}

/// A program that was executed. It is a child of this process: `waitid` tells how it ends.
#[derive(Debug)]
pub(crate) struct Payload {
    /// In this process's pid namespace.
    pub(crate) pid: i32,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    /// The master of its terminal.
    pub(crate) pty: Option<OwnedFd>,
    /// The read end of what it has as [`brig_runtime::plan::REPORT_FD`].
    pub(crate) report: Option<OwnedFd>,
    /// Keeps its mounts in being, so that its end isn't delayed by their removal, which syncs a file system. Close it
    /// (drop the payload) once everybody who waits has been told.
    pub(crate) mounts: Option<OwnedFd>,
}

/// What a payload is made of.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    payload: &'a PayloadPlan,
    /// Of its terminal, if it gets one.
    size: Option<(u16, u16)>,
    io: ChildIo,
    preserved: Vec<(i32, OwnedFd)>,
    release: Option<Release>,
}

impl<'a> Making<'a> {
    /// One that goes with this process.
    pub(crate) fn new(payload: &'a PayloadPlan, size: Option<(u16, u16)>, io: ChildIo) -> Self {
        Self { payload, size, io, preserved: Vec::new(), release: None }
    }

    /// One that outlives this process: with `listener` it waits there to be started, and `lock` is locked until its
    /// program is executed.
    pub(crate) fn released(
        self,
        preserved: Vec<(i32, OwnedFd)>,
        listener: Option<OwnedFd>,
        lock: Option<OwnedFd>,
    ) -> Self {
        Self { preserved, release: Some(Release { listener, lock }), ..self }
    }

    /// What the new process knows.
    fn entry(self, wire: OwnedFd, engine: Option<EngineEnds>, cgroups: Vec<OwnedFd>) -> Entry<'a> {
        let entry = Entry::new(self.payload, self.size, wire, self.io, engine, cgroups);
        Entry { preserved: self.preserved, release: self.release, ..entry }
    }
}

/// Who writes down that a payload is there, before it outlives this process.
pub(crate) trait Owner {
    /// Everything is made but the program executed. Returns once that is known to whoever needs to know.
    fn ready(&mut self, pid: i32, terminal: Option<OwnedFd>) -> Result<(), StepError>;
}

/// Starts the payload. Returns once its program has been executed, or with the step that failed; nothing is left then
/// but cgroups, for [`cleanup`].
pub(crate) fn start(plan: &Plan, io: ChildIo) -> Result<Payload, StepError> {
    make(Making::new(&plan.payload, plan.supervisor.tty, io), None)
}

/// The same for a bundle: with an owner, returns once the payload waits to be started.
pub(crate) fn make(making: Making<'_>, owner: Option<&mut dyn Owner>) -> Result<Payload, StepError> {
    let payload = making.payload;
    let mut cgroups = cgroup::make(&payload.cgroup).step("make the cgroup")?;
    cgroups.legacy.extend(resctrl::make(payload.resctrl.as_ref()).step("make the resctrl group")?);
    let (engine, report) = streams::engine_ends(&payload.process).step("make the engine's descriptors")?;
    let mapped = idmap::prepare(payload).step("map ids of the mount")?;
    let mut desk = Desk::new(payload, owner).listening(None)?;
    let (ours, theirs) = wire::pair().step("make a socket pair")?;
    let held = join::hold_pid_namespace(payload).step("enter the pid namespace")?;
    let mut flags = u64::from(payload.new_namespaces & !(cgroup::LATER | scheduling::NEWTIME));
    if join::makes_user_namespace(payload) {
        flags |= libc::CLONE_NEWUSER as u64;
    }
    let led = join::needs_guide(payload);
    let unified = cgroups.unified.as_ref().map(AsFd::as_fd);
    let cloned = sys::clone3(if led { 0 } else { flags }, unified).step("make namespaces")?;
    let (pid, pidfd) = match cloned {
        Cloned::Child => {
            let entry = Entry { mapped, ..making.entry(theirs, engine, cgroups.legacy) };
            let steps = child::steps(payload);
            if led { join::guide_payload(entry, flags, steps) } else { child::become_payload(entry, steps) }
        }
        Cloned::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop((theirs, making, engine, cgroups, mapped));
    join::release_pid_namespace(held).step("return to the pid namespace")?;
    let heard = listen(&ours, (!led).then_some(pid), &mut desk);
    let started = if led {
        reap(&pidfd);
        join::started(heard?)?
    } else {
        match heard {
            Ok(Heard { failed: None, terminal, .. }) => {
                Payload { pid, pidfd, pty: terminal, report: None, mounts: None }
            }
            Ok(Heard { failed: Some(error), .. }) | Err(error) => {
                reap(&pidfd);
                return Err(error);
            }
        }
    };
    // A kernel that can't tell has slower ends, nothing else.
    let mounts = sys::mount_namespace_of(started.pidfd.as_fd()).ok();
    Ok(Payload { report, mounts, ..started })
}

/// Runs another program in the container of `payload`. Returns once it has been executed, or with the step that
/// failed.
pub(crate) fn exec(
    plan: &Plan,
    payload: &Payload,
    request: &ExecRequest,
    io: ChildIo,
) -> Result<Payload, StepError> {
    join::exec(plan, payload, request, io)
}

/// Freezes everything in the container. Returns once it is frozen.
pub(crate) fn pause(plan: &Plan) -> Result<(), StepError> {
    cgroup::freeze(&plan.payload.cgroup, true).step("freeze the container")
}

/// Thaws everything in the container.
pub(crate) fn resume(plan: &Plan) -> Result<(), StepError> {
    cgroup::freeze(&plan.payload.cgroup, false).step("thaw the container")
}

/// Whether the kernel's OOM killer has ended a process of the container. To be asked before [`cleanup`].
pub(crate) fn oom_killed(plan: &Plan) -> Result<bool, StepError> {
    let kills = brig_runtime::cgroup::oom_kills(&plan.payload.cgroup);
    kills.map(|kills| kills > 0).step("read how the memory was used")
}

/// Kills what is left in the container's cgroups, and removes them. Not having made them is no error.
pub(crate) fn cleanup(plan: &Plan) -> Result<(), StepError> {
    remove_groups(&plan.payload)
}

/// The same of a bundle's.
pub(crate) fn remove_groups(payload: &PayloadPlan) -> Result<(), StepError> {
    let removed = resctrl::remove(payload.resctrl.as_ref()).step("remove the resctrl group");
    cgroup::remove(&payload.cgroup).step("remove the cgroup")?;
    removed
}

/// The cgroup directories that belong to the container alone, for its record.
pub(crate) fn cgroup_directories(plan: &Plan) -> Vec<PathBuf> {
    plan.payload.cgroup.directories()
}

/// A process of a container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// In this process's pid namespace.
    pub(crate) pid: i32,
    /// The same.
    pub(crate) pidfd: BorrowedFd<'a>,
}

/// Makes a process in the container of `target`, for a bundle.
pub(crate) fn enter(
    making: Making<'_>,
    target: Target<'_>,
    owner: &mut dyn Owner,
) -> Result<Payload, StepError> {
    join::bring_in(making, target, Some(owner))
}

/// What a child has said until its program was executed, or until it gave up.
#[derive(Debug, Default)]
struct Heard {
    terminal: Option<OwnedFd>,
    pid: Option<i32>,
    failed: Option<StepError>,
}

/// Hears a child to its end: the closing of the socket, by `execve`, by its death, or because it waits to be started.
/// Without a `pid` a guide says it.
fn listen(from: &OwnedFd, pid: Option<i32>, desk: &mut Desk<'_, '_>) -> Result<Heard, StepError> {
    let mut heard = Heard { pid, ..Heard::default() };
    // A process may ask for something before its guide has said who it is.
    let mut waits = None;
    loop {
        let message = match wire::receive(from) {
            // What is known of it is told with the failure: it has to be ended.
            Err(failure) if failure.errno == Errno::AGAIN.raw_os_error() => {
                heard.failed = Some(Failure::new(Errno::TIMEDOUT).named("hear the new process"));
                return Ok(heard);
            }
            message => message.step("hear the new process")?,
        };
        match message {
            Message::End => return Ok(heard),
            Message::Failed(error) => heard.failed = Some(error),
            Message::Terminal(master) => heard.terminal = Some(master),
            Message::Pid(pid) => heard.pid = Some(pid),
            Message::Asked(asked) => waits = Some(asked),
        }
        if let Some(pid) = heard.pid
            && let Some(asked) = waits.take()
            && let Err(error) = desk.answer(from.as_fd(), asked, pid, &mut heard.terminal)
        {
            heard.failed = Some(error);
            return Ok(heard);
        }
    }
}

/// Writes the maps of a child's user namespace, with this process's rights.
fn write_maps(pid: i32, maps: &IdMaps) -> Result<(), Failure> {
    for (name, map) in [("uid_map", &maps.uids), ("gid_map", &maps.gids)] {
        let path = format!("/proc/{pid}/{name}");
        let lines: String = map.iter().map(id_line).collect();
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).on(&path)?;
        file.write_all(lines.as_bytes()).on(&path)?;
    }
    Ok(())
}

fn id_line(map: &IdMap) -> String {
    format!("{} {} {}\n", map.container, map.host, map.count)
}

/// Waits for the end of a child that failed, so that nothing of it is left. It has ended or is about to.
fn reap(pidfd: &OwnedFd) {
    // A child that has said why it failed ends by itself; one that we couldn't hear wouldn't. Errors mean that it is
    // gone already.
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
}

/// A look-up that is disturbed by renames is taken up again. Any rename on the machine disturbs it, also one in a container
/// that does nothing else, so that it is given time.
pub(crate) fn attempt<T>(mut open: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    const AT_ONCE: u32 = 64;
    const IN_ALL: u32 = 4096;
    const PAUSE: std::time::Duration = std::time::Duration::from_micros(100);
    for number in 0..IN_ALL {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) if number < AT_ONCE => {}
            Err(Errno::AGAIN | Errno::INTR) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// A descriptor that is closed on `execve`, for a path of the host.
fn open_path(path: &std::path::Path) -> Result<OwnedFd, Failure> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).on(path)
}

/// Writes a whole value to a file of a kernel file system, which takes it in one call or not at all.
fn write_value(directory: BorrowedFd<'_>, name: &str, value: &str) -> Result<(), Failure> {
    use rustix::fs::{Mode, OFlags};
    let file =
        rustix::fs::openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).on(name)?;
    rustix::io::write(&file, value.as_bytes()).on(name)?;
    Ok(())
}

/// Reads a file of a kernel file system.
fn read_value(directory: BorrowedFd<'_>, name: &str) -> Result<String, Failure> {
    use rustix::fs::{Mode, OFlags};
    let file =
        rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).on(name)?;
    std::io::read_to_string(std::fs::File::from(file)).on(name)
}
