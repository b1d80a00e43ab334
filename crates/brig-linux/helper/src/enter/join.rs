//! Into namespaces that exist: those that a plan names by path, and those of a container in which another program is
//! to run.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use brig_runtime::hooks::Hooks;
use brig_runtime::plan::{PayloadPlan, Plan, ProcessPlan, RootFs, UserPlan};
use brig_runtime::protocol::{ExecRequest, StepError};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::{Entry, FINISH, Step as Action, become_payload, start_session};
use super::desk::Desk;
use super::failure::{Failure, On, Step};
use super::sys::Cloned;
use super::{
    ChildIo, Making, Owner, Payload, Target, cgroup, child, identity, landlock, listen, reap, resctrl,
    scheduling, streams, sys, wire,
};

const NEWNS: u32 = libc::CLONE_NEWNS.cast_unsigned();
const NEWPID: u32 = libc::CLONE_NEWPID.cast_unsigned();
const NEWUSER: u32 = libc::CLONE_NEWUSER.cast_unsigned();

/// How long another program may take until it is executed. In the container's pid namespace it can be stopped from inside.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a plan names a namespace of this kind.
fn joins(plan: &PayloadPlan, kind: u32) -> bool {
    plan.joined_namespaces.iter().any(|(joined, _)| *joined == kind)
}

/// Whether the payload lives in a mount namespace that exists, where nothing is mounted.
pub(super) fn joins_mounts(plan: &PayloadPlan) -> bool {
    joins(plan, NEWNS)
}

/// Whether a user namespace is made. What a plan maps may also be what is mapped in the one that it enters.
pub(super) fn makes_user_namespace(plan: &PayloadPlan) -> bool {
    plan.user_namespace.is_some() && !joins(plan, NEWUSER)
}

/// Whether the payload is made by a guide that has entered namespaces already: new ones then belong to the user
/// namespace that it has entered, and the payload's new user namespace needs no rights over those that it enters.
pub(super) fn needs_guide(plan: &PayloadPlan) -> bool {
    joins(plan, NEWUSER) || plan.user_namespace.is_some() && !plan.joined_namespaces.is_empty()
}

/// A pid namespace is entered by a process's children, so the supervisor steps into the one that the plan names before
/// it makes the payload. Returns its own, to step back.
pub(super) fn hold_pid_namespace(plan: &PayloadPlan) -> Result<Option<File>, Failure> {
    let Some((kind, path)) = plan.joined_namespaces.iter().find(|(kind, _)| *kind == NEWPID) else {
        return Ok(None);
    };
    if needs_guide(plan) {
        return Ok(None);
    }
    let own = File::open("/proc/self/ns/pid").on("/proc/self/ns/pid")?;
    sys::setns(File::open(path).on(path)?.as_fd(), *kind).on(path)?;
    Ok(Some(own))
}

/// The way back.
pub(super) fn release_pid_namespace(own: Option<File>) -> Result<(), Failure> {
    match own {
        Some(own) => sys::setns(own.as_fd(), NEWPID).map_err(Failure::from),
        None => Ok(()),
    }
}

/// Enters the other namespaces that the plan names, unless a guide has.
pub(super) fn join_namespaces(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if needs_guide(entry.plan) {
        return Ok(());
    }
    enter(open_namespaces(entry.plan, NEWPID)?)
}

/// A namespace to enter.
struct Named<'a> {
    kind: u32,
    path: &'a Path,
    file: File,
}

/// Opens the files of all namespaces, but those of one kind, while all paths mean what the plan means.
fn open_namespaces(plan: &PayloadPlan, but: u32) -> Result<Vec<Named<'_>>, Failure> {
    let named = plan.joined_namespaces.iter().filter(|(kind, _)| *kind != but);
    named.map(|(kind, path)| Ok(Named { kind: *kind, path, file: File::open(path).on(path)? })).collect()
}

/// Enters namespaces in whatever order they come. Those that this process may enter come first, then the user namespace,
/// and then those that only its root may enter.
fn enter(mut named: Vec<Named<'_>>) -> Result<(), Failure> {
    let user = named.iter().position(|one| one.kind == NEWUSER).map(|place| named.remove(place));
    let mut left = Vec::new();
    for one in named {
        match sys::setns(one.file.as_fd(), one.kind) {
            Err(error) if user.is_some() && error.raw_os_error() == Some(libc::EPERM) => left.push(one),
            entered => entered.on(one.path)?,
        }
    }
    for one in user.into_iter().chain(left) {
        sys::setns(one.file.as_fd(), one.kind).on(one.path)?;
    }
    Ok(())
}

/// What a guide to namespaces that exist does: it makes the payload once it is there, a child of the supervisor
/// (`flags`: the new namespaces), and says its pid.
///
/// ```text
/// supervisor ── clone3 ──▶ guide: setns
///     │                      └─ clone3(CLONE_PARENT, new namespaces) ──▶ the payload
///     └────────── parent of both
/// ```
pub(super) fn guide_payload(mut entry: Entry<'_>, flags: u64, steps: [&[Action]; 2]) -> ! {
    let made = lead_payload(&mut entry, flags);
    follow(made, entry, steps)
}

fn lead_payload(entry: &mut Entry<'_>, flags: u64) -> Result<Cloned, StepError> {
    // What is in these namespaces must not look into this process, which still has the supervisor's descriptors.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("hide from the container")?;
    // While `/proc/self` is this process's own.
    identity::set_oom_score(&entry.plan.process).step("set the OOM score")?;
    let clocks = scheduling::open_clocks(entry.plan).step("make the time namespace")?;
    enter(open_namespaces(entry.plan, 0).step("enter namespaces")?).step("enter namespaces")?;
    scheduling::make_clocks(entry.plan, clocks).step("make the time namespace")?;
    sys::clone3(libc::CLONE_PARENT as u64 | flags, None).step("make namespaces")
}

/// From the namespaces of a container to another program in it, but for [`FINISH`]: in a payload's order, without what
/// the payload has made already.
const STEPS: &[Action] = &[
    ("follow the supervisor into death", identity::die_with_supervisor),
    ("start a session", start_session),
    ("become root in the user namespace", identity::become_mapped),
    ("open the root file system", open_root),
    ("make the terminal", streams::make_exec_terminal),
    ("make the landlock domain", landlock::make),
];

/// Runs another program in a container.
///
/// ```text
/// supervisor ── clone3 ──▶ guide: cgroups, setns
///     │                      └─ clone3(CLONE_PARENT) ──▶ the program
///     └────────── parent of both; the guide's last word is the program's pid
/// ```
///
/// The guide is needed because a process enters a pid namespace only through a child, and a user namespace only once.
pub(super) fn exec(
    plan: &Plan,
    payload: &Payload,
    request: &ExecRequest,
    io: ChildIo,
) -> Result<Payload, StepError> {
    let process = process_of(&plan.payload.process, request).step("read the request")?;
    // Hooks are for the container's own program.
    let inner = PayloadPlan { process, hooks: Hooks::default(), ..plan.payload.clone() };
    let size = request.tty.then_some(request.size.unwrap_or((24, 80)));
    let target = Target { pid: payload.pid, pidfd: payload.pidfd.as_fd() };
    bring_in(Making::new(&inner, size, io), target, None)
}

/// Makes a process in the container of `target`.
pub(super) fn bring_in(
    making: Making<'_>,
    target: Target<'_>,
    owner: Option<&mut dyn Owner>,
) -> Result<Payload, StepError> {
    let inner = making.payload;
    let (engine, report) = streams::engine_ends(&inner.process).step("make the engine's descriptors")?;
    // While the host's files are in sight.
    let program = inner.process.program.as_deref().filter(|_| !inner.in_place);
    let program = program.map(super::open_path).transpose().step("open the program")?;
    let mut cgroups = cgroup::open(&inner.cgroup).step("open the cgroup")?;
    cgroups.legacy.extend(resctrl::open(inner.resctrl.as_ref()).step("open the resctrl group")?);
    let mut desk = Desk::new(inner, owner).listening(Some(target.pid))?;
    let (ours, theirs) = wire::pair().step("make a socket pair")?;
    wire::set_patience(&ours, PATIENCE).step("make a socket pair")?;
    // A process that is born in the cgroup has no affinity before it is there.
    let (born, later) = match cgroups.unified {
        unified if inner.process.exec_affinity.first.is_empty() => (unified, None),
        unified => (None, unified),
    };
    let guide = match sys::clone3(0, born.as_ref().map(AsFd::as_fd)).step("make a process")? {
        Cloned::Child => {
            let entry = making.entry(theirs, engine, cgroups.legacy);
            guide(Entry { program, unified: later, ..entry }, target.pidfd)
        }
        Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop((theirs, making, engine, program, born, later, cgroups.legacy));
    let heard = listen(&ours, None, &mut desk);
    reap(&guide);
    Ok(Payload { report, ..started(heard?)? })
}

/// What is known of the program once its guide is gone.
pub(super) fn started(heard: super::Heard) -> Result<Payload, StepError> {
    let Some(pid) = heard.pid else {
        // The guide has said why there is none, or has died.
        return Err(heard.failed.unwrap_or_else(silent));
    };
    let known = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH).step("hear the new process")?;
    // It is our child, so its number is its own until we have waited for it.
    let pidfd = pidfd_open(known, PidfdFlags::empty()).step("open the new process")?;
    match heard.failed {
        None => Ok(Payload { pid, pidfd, pty: heard.terminal, report: None, mounts: None }),
        Some(error) => {
            // While it is a zombie, the container's pid namespace can't end.
            reap(&pidfd);
            Err(error)
        }
    }
}

fn silent() -> StepError {
    Failure::new(rustix::io::Errno::CHILD).named("hear the new process")
}

fn process_of(payload: &ProcessPlan, request: &ExecRequest) -> std::io::Result<ProcessPlan> {
    let inner = ProcessPlan { args: request.args.clone(), ..payload.clone() };
    if let Some(engine) = &request.engine {
        // Behind the walls of the payload, which is an engine process too.
        let input = Some(engine.input()?.into());
        return Ok(ProcessPlan { program: Some(engine.program.clone()), input, ..inner });
    }
    Ok(ProcessPlan {
        program: None,
        env: request.env.clone(),
        cwd: request.cwd.clone(),
        input: None,
        user: UserPlan {
            uid: request.uid,
            gid: request.gid,
            groups: request.groups.clone(),
            umask: payload.user.umask,
        },
        ..inner
    })
}

fn guide(entry: Entry<'_>, target: BorrowedFd<'_>) -> ! {
    let steps = if entry.plan.in_place { child::steps(entry.plan) } else { [STEPS, FINISH] };
    let made = lead(&entry, target);
    follow(made, entry, steps)
}

/// What a guide and the process that it has made do from then on.
fn follow(made: Result<Cloned, StepError>, entry: Entry<'_>, steps: [&[Action]; 2]) -> ! {
    match made {
        Ok(Cloned::Child) => become_payload(entry, steps),
        Ok(Cloned::Parent { pid, .. }) => {
            // Without a supervisor that hears it, the program ends too.
            let _ = wire::send_pid(entry.wire.as_fd(), pid);
        }
        Err(error) => {
            let _ = wire::send_failure(entry.wire.as_fd(), &error);
        }
    }
    sys::exit_now(0)
}

fn lead(entry: &Entry<'_>, target: BorrowedFd<'_>) -> Result<Cloned, StepError> {
    // Processes of the container must not look into this one, which still has the supervisor's descriptors.
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).step("hide from the container")?;
    let plan = entry.plan;
    let affinity = &plan.process.exec_affinity;
    scheduling::set_affinity(&affinity.first).step("set the first CPU affinity")?;
    if let Some(unified) = &entry.unified {
        super::write_value(unified.as_fd(), "cgroup.procs", "0").step("enter the cgroup")?;
    }
    cgroup::join(&entry.cgroups).step("enter the cgroup")?;
    scheduling::set_affinity(&affinity.last).step("set the CPU affinity")?;
    let mut kinds = plan.joined_namespaces.iter().fold(plan.new_namespaces, |all, (kind, _)| all | kind);
    if plan.user_namespace.is_some() {
        kinds |= NEWUSER;
    }
    if kinds != 0 {
        sys::setns(target, kinds).step("enter the container")?;
    }
    sys::clone3(libc::CLONE_PARENT as u64, None).step("make a process")
}

/// Here, and not where a name leads to later. In a mount namespace that exists the plan may name a directory of it.
pub(super) fn open_root(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if let RootFs::Path { path } = &entry.plan.root
        && joins_mounts(entry.plan)
        && path != Path::new("/")
    {
        rustix::process::chroot(path).on(path)?;
        rustix::process::chdir("/")?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root: OwnedFd = rustix::fs::openat(CWD, "/", flags, Mode::empty())?;
    entry.root = Some(root);
    Ok(())
}
