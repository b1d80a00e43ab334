//! The steps of the process that becomes the payload, in their order.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use brig_runtime::plan::PayloadPlan;
use rustix::io::Errno;

use super::failure::{Failure, On};
use super::release::Release;
use super::streams::EngineEnds;
use super::{
    ChildIo, cgroup, devices, identity, join, labels, landlock, masks, mounts, program, propagation, release,
    rootfs, scheduling, streams, sys, wire,
};

/// A step: its name, as a verb phrase, and what it does.
pub(super) type Step = (&'static str, fn(&mut Entry<'_>) -> Result<(), Failure>);

/// What the steps share.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) plan: &'a PayloadPlan,
    pub(super) terminal_size: Option<(u16, u16)>,
    pub(super) wire: OwnedFd,
    pub(super) io: ChildIo,
    pub(super) engine: Option<EngineEnds>,
    pub(super) cgroups: Vec<OwnedFd>,
    /// The v2 cgroup, where this process isn't born in it.
    pub(super) unified: Option<OwnedFd>,
    /// Mounts that the supervisor has made, and those that the host shares: the place in the plan, and the mount.
    pub(super) mapped: Vec<(usize, OwnedFd)>,
    /// The root file system, once it is mounted.
    pub(super) root: Option<OwnedFd>,
    /// The slave of the terminal, once there is one.
    pub(super) terminal: Option<OwnedFd>,
    /// A program of the host, to be executed after the host is out of sight.
    pub(super) program: Option<OwnedFd>,
    /// The landlock domain, once it is made.
    pub(super) domain: Option<OwnedFd>,
    /// What the program has from descriptor 3 up, by number, in order. An engine has its own there.
    pub(super) preserved: Vec<(i32, OwnedFd)>,
    /// What it takes to outlive whoever makes this process.
    pub(super) release: Option<Release>,
    /// This process's pid outside of the container, once it was asked for.
    pub(super) host_pid: Option<i32>,
    /// Whether its last walls are up already.
    pub(super) guarded: bool,
    /// Where the clocks of a new time namespace are set.
    pub(super) clocks: Option<File>,
}

/// Everything from the clone to the program, but for [`FINISH`].
const STEPS: &[Step] = &[
    // First, so that nothing that goes wrong with the supervisor later leaves this process behind.
    ("follow the supervisor into death", identity::die_with_supervisor),
    ("start a session", start_session),
    // While `/proc/self` is this process's own: another user's isn't, to the kernel, until it executes a program.
    ("set the OOM score", identity::oom_score),
    ("open the clocks", scheduling::open_own_clocks),
    // Before anything that needs the rights that a user namespace gives to its root.
    ("map ids", identity::map_ids),
    // While the files that stand for the namespaces are in sight.
    ("enter namespaces", join::join_namespaces),
    ("enter the cgroup", |entry| cgroup::join(&entry.cgroups)),
    // The namespace's root is where this process is now.
    ("make the cgroup namespace", make_cgroup_namespace),
    // Before anything is executed, which is when this process comes into it.
    ("make the time namespace", scheduling::make_time_namespace),
    ("take network devices", take_network_devices),
    ("bring up the loopback interface", loopback),
    ("set the host name", hostname),
    // While they hear of each other.
    ("open a shared mount", propagation::open_shared),
    // Before the first mount, or it would be seen by the host.
    ("make mounts private", rootfs::make_private),
    // While the host's files are in sight.
    ("open the program", program::open_host_program),
    ("mount the root file system", rootfs::mount_root),
    ("mount", mounts::mount_all),
    // Into the `/dev` that was mounted just now.
    ("make the device", devices::make_devices),
    ("make the link", devices::make_links),
    // From the devpts that was mounted just now, onto the `/dev` with its files.
    ("make the terminal", streams::make_terminal),
    // The files of these are in the `/proc` that was mounted just now, and about to become read-only.
    ("set the kernel parameter", masks::set_sysctls),
    ("make read-only", masks::make_read_only),
    ("hide", masks::hide),
    // The working directory may be missing in a root that becomes read-only.
    ("make the working directory", program::make_working_directory),
    // The container is whole, and its host still in sight.
    ("run hooks", release::run_hooks),
    // Nothing is mounted or made below the root any more.
    ("seal", rootfs::seal),
    ("change the root", rootfs::pivot),
    // From here on paths are the container's.
    ("make the landlock domain", landlock::make),
];

/// The same in a mount namespace that exists: nothing is mounted, and the root is what is there.
const STEPS_IN_MOUNTS: &[Step] = &[
    ("follow the supervisor into death", identity::die_with_supervisor),
    ("start a session", start_session),
    ("set the OOM score", identity::oom_score),
    ("open the clocks", scheduling::open_own_clocks),
    ("map ids", identity::map_ids),
    // While the host's files are in sight.
    ("open the program", program::open_host_program),
    ("make the time namespace", scheduling::make_time_namespace),
    ("enter namespaces", join::join_namespaces),
    ("enter the cgroup", |entry| cgroup::join(&entry.cgroups)),
    ("make the cgroup namespace", make_cgroup_namespace),
    ("take network devices", take_network_devices),
    ("bring up the loopback interface", loopback),
    ("set the host name", hostname),
    ("open the root file system", join::open_root),
    ("make the terminal", streams::make_exec_terminal),
    ("set the kernel parameter", masks::set_sysctls),
    ("run hooks", release::run_hooks),
];

/// From its place in the container to the program: the end of all of them, and of other programs in the container.
pub(super) const FINISH: &[Step] = &[
    ("set up the standard streams", streams::place),
    // While it may mount a `/proc` of its own. It concerns the next program that is executed.
    ("ask the security module", labels::ask),
    // Not one directory of the host is open when paths of the container's are looked up, least of all the working
    // directory's and the program's (CVE-2024-21626).
    ("close descriptors", streams::close_others),
    ("set a resource limit", identity::rlimits),
    // While it has the rights that a better place in a queue takes.
    ("schedule", scheduling::schedule),
    ("change to the working directory", program::change_directory),
    // Dropping them takes a capability that goes with the user.
    ("drop capabilities", identity::drop_bounding),
    ("become the user", identity::become_user),
    // The change of user has made the kernel forget it.
    ("follow the supervisor into death", identity::die_with_supervisor),
    // With all capabilities still, so that no other container in a shared pid namespace looks into this process; and
    // before a filter that may forbid to wait.
    ("execute", program::find),
    ("load the seccomp filter", release::be_guarded),
    ("be released", release::be_released),
    ("run hooks", release::run_start_hooks),
    ("forbid new privileges", |entry| release::unless_guarded(entry, identity::no_new_privileges)),
    // Needs no_new_privs or CAP_SYS_ADMIN, and forbids nothing that comes after it but the execution of other programs.
    ("enter the landlock domain", landlock::enter),
    // One of the two, see there: a filter may forbid changing capabilities, but may need one to be loaded.
    ("set capabilities", |entry| release::unless_guarded(entry, identity::set_capabilities_early)),
    ("load the seccomp filter", |entry| release::unless_guarded(entry, identity::load_seccomp)),
    ("set capabilities", |entry| release::unless_guarded(entry, identity::set_capabilities_late)),
    ("execute", program::execute),
];

/// The steps of a plan's payload.
pub(super) fn steps(plan: &PayloadPlan) -> [&'static [Step]; 2] {
    if plan.in_place {
        [STEPS_IN_PLACE, &[]]
    } else if join::joins_mounts(plan) {
        [STEPS_IN_MOUNTS, FINISH]
    } else {
        [STEPS, FINISH]
    }
}

/// The same for an engine process that stays where it is: no mounts, no other root, no other user.
const STEPS_IN_PLACE: &[Step] = &[
    ("follow the supervisor into death", identity::die_with_supervisor),
    ("start a session", start_session),
    ("enter the cgroup", |entry| cgroup::join(&entry.cgroups)),
    ("set the OOM score", identity::oom_score),
    ("open the program", program::open_host_program),
    ("open the root file system", join::open_root),
    ("make the terminal", streams::make_exec_terminal),
    ("make the landlock domain", landlock::make),
    ("set up the standard streams", streams::place),
    ("close descriptors", streams::close_others),
    ("set a resource limit", identity::rlimits),
    ("change to the working directory", program::change_directory),
    ("set the file mode mask", identity::set_umask),
    ("forbid new privileges", identity::no_new_privileges),
    ("enter the landlock domain", landlock::enter),
    ("set capabilities", identity::set_capabilities_early),
    ("load the seccomp filter", identity::load_seccomp),
    ("execute", program::execute),
];

impl<'a> Entry<'a> {
    pub(super) fn new(
        plan: &'a PayloadPlan,
        terminal_size: Option<(u16, u16)>,
        wire: OwnedFd,
        io: ChildIo,
        engine: Option<EngineEnds>,
        cgroups: Vec<OwnedFd>,
    ) -> Self {
        Self {
            plan,
            terminal_size,
            wire,
            io,
            engine,
            cgroups,
            unified: None,
            mapped: Vec::new(),
            root: None,
            terminal: None,
            program: None,
            domain: None,
            preserved: Vec::new(),
            release: None,
            host_pid: None,
            guarded: false,
            clocks: None,
        }
    }

    /// The root file system.
    pub(super) fn root(&self) -> Result<std::os::fd::BorrowedFd<'_>, Failure> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Failure::new(Errno::BADF))
    }
}

/// Takes the steps. The last one doesn't return but to say why it failed.
pub(super) fn become_payload(mut entry: Entry<'_>, steps: [&[Step]; 2]) -> ! {
    for (name, step) in steps.into_iter().flatten() {
        if let Err(failure) = step(&mut entry) {
            // Without a supervisor that hears it, there is nobody to tell.
            let _ = wire::send_failure(entry.wire.as_fd(), &failure.named(name));
            break;
        }
    }
    sys::exit_now(i32::from(brig_runtime::exit::CODE_ENGINE))
}

/// A session of its own: the terminal will be its, and signals from the creator's terminal don't reach it.
pub(super) fn start_session(entry: &mut Entry<'_>) -> Result<(), Failure> {
    streams::lift_all(entry)?;
    sys::reset_signals()?;
    rustix::process::setsid()?;
    Ok(())
}

fn make_cgroup_namespace(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.new_namespaces & cgroup::LATER != 0 {
        sys::unshare(cgroup::LATER)?;
    }
    Ok(())
}

/// The supervisor has the rights to them, and knows where they are.
fn take_network_devices(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.net_devices.is_empty() {
        return Ok(());
    }
    wire::ask(entry.wire.as_fd(), wire::Asked::NetDevices).map(drop)
}

fn loopback(entry: &mut Entry<'_>) -> Result<(), Failure> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    if entry.plan.loopback {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        sys::loopback_up(socket.as_fd())?;
    }
    Ok(())
}

fn hostname(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if let Some(name) = &entry.plan.hostname {
        rustix::system::sethostname(name.as_bytes()).on(name)?;
    }
    if let Some(name) = &entry.plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).on(name)?;
    }
    Ok(())
}
