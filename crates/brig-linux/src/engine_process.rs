//! The engine process of a wasm container: the runner, with nothing but what it was given.
//!
//! Its walls, each of which would do: a root file system that is empty but for the grants, no network, no other
//! process in sight, no capabilities, no new privileges, a seccomp filter with the calls that a wasm engine makes, and
//! a landlock domain with the grants once more.
//!
//! Where an ordinary user can make no namespaces, the last two are left ([`PayloadPlan::in_place`]), with the same
//! grants.

use std::path::{Path, PathBuf};

use brig_runtime::Limits;
use brig_runtime::plan::{
    Bytes, CgroupPlan, IdMap, IdMaps, LandlockPlan, MountKind, MountPlan, PayloadPlan, ProcessPlan, RootFs,
    UserPlan,
};
use oci_spec::runtime::{LinuxSeccomp, PosixRlimit};

use crate::default_spec::resources;
use crate::host::Host;
use crate::plan::{PlanError, cgroup_plan, rlimit, seccomp_plan, text, wanted};
use crate::seccomp::{engine_policy, engine_policy_in_place};
use crate::sys;

const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP)
    .cast_unsigned();
const NETWORK: u32 = libc::CLONE_NEWNET.cast_unsigned();
/// What grants are, whatever else.
const GRANT: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
/// The first version of landlock that can deny everything that changes a file's contents: `truncate` came last.
const LANDLOCK_TRUNCATE: i64 = 3;

/// A directory or file that the engine process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On the host.
    pub source: PathBuf,
    /// Where the engine process finds it: absolute. Where no namespaces can be made
    /// ([`Host::can_make_namespaces`]), it finds it at its source.
    pub target: String,
    /// Whether it may be written.
    pub writable: bool,
    /// Whether it holds code that is mapped executable: the compiled module, and nothing else.
    pub code: bool,
}

/// A root file system that the engine process sees: the image's own files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRoot {
    /// What is mounted.
    pub root: RootFs,
    /// Where the engine process finds it: absolute.
    pub target: String,
    /// Whether it may be written.
    pub writable: bool,
}

/// Another file system, or a part of one, that the engine process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineMount {
    /// What is mounted.
    pub what: MountKind,
    /// Where the engine process finds it: absolute.
    pub target: String,
    /// Whether it may be written.
    pub writable: bool,
}

/// An engine process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineProcess {
    /// The runner on the host: a static program.
    pub program: PathBuf,
    /// Its arguments, beginning with its name.
    pub args: Vec<String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// What it reads on [`brig_runtime::plan::INPUT_FD`].
    pub input: Vec<u8>,
    /// The user that it runs as. As an ordinary user it is always that user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The image's files. They can't be had where no namespaces can be made.
    pub root: Option<EngineRoot>,
    /// The compiled module, and directories of the host.
    pub grants: Vec<Grant>,
    /// Images that are mounted, and parts of volumes. They can't be had where no namespaces can be made.
    pub mounts: Vec<EngineMount>,
    /// Whether it has the host's network.
    pub network: bool,
    /// The host name, for what the engine may show of it.
    pub hostname: Option<String>,
    /// Limits. The time is the supervisor's business.
    pub limits: Limits,
    /// Resource limits of the process.
    pub rlimits: Vec<PosixRlimit>,
    /// What the kernel's OOM killer adds to its badness.
    pub oom_score_adj: Option<i32>,
}

/// The plan for an engine process.
///
/// # Errors
/// [`PlanError`]: a path that isn't text, a limit that this host can't give, or a host with neither namespaces nor
/// landlock.
pub fn plan_engine(engine: &EngineProcess, host: &Host, id: &str) -> Result<PayloadPlan, PlanError> {
    let cgroup = cgroup_plan(
        &host.cgroups,
        &Path::new("brig").join(id),
        &wanted(&resources(&engine.limits), &host.cgroups)?,
    )?;
    if !host.can_make_namespaces() {
        return plan_in_place(engine, cgroup);
    }
    let mounts = mounts(engine)?;
    let new_namespaces = NAMESPACES | if engine.network { 0 } else { NETWORK };
    let process = process(engine, &engine_policy(engine.network), landlock(engine, &mounts))?;
    Ok(PayloadPlan {
        user_namespace: host.rootless.then(|| own_ids(engine, host)),
        new_namespaces,
        cgroup,
        loopback: false,
        hostname: engine.hostname.clone(),
        root: RootFs::Empty,
        seals: vec![("/".to_owned(), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV)],
        mounts,
        process,
        ..PayloadPlan::default()
    })
}

/// Behind landlock and the filter alone.
fn plan_in_place(engine: &EngineProcess, cgroup: CgroupPlan) -> Result<PayloadPlan, PlanError> {
    match sys::landlock_version() {
        Ok(LANDLOCK_TRUNCATE..) => {}
        Ok(version) => {
            let reason = format!("is too old: version {version}, where {LANDLOCK_TRUNCATE} is needed");
            return Err(PlanError::NoWall { reason });
        }
        Err(error) => return Err(PlanError::NoWall { reason: format!("isn't there: {error}") }),
    }
    let asked = [
        ("root", engine.root.is_some()),
        ("mounts", !engine.mounts.is_empty()),
        ("hostname", engine.hostname.is_some()),
    ];
    for (field, asked) in asked {
        if asked {
            return Err(PlanError::unsupported(field, "it takes namespaces, which can't be made here"));
        }
    }
    let mut landlock = LandlockPlan { network: engine.network, ..LandlockPlan::default() };
    for grant in &engine.grants {
        let paths = if grant.writable { &mut landlock.writable } else { &mut landlock.readable };
        paths.push(text(&grant.source)?);
    }
    let process = process(engine, &engine_policy_in_place(engine.network), landlock)?;
    Ok(PayloadPlan { in_place: true, cgroup, process, ..PayloadPlan::default() })
}

fn process(
    engine: &EngineProcess,
    policy: &LinuxSeccomp,
    landlock: LandlockPlan,
) -> Result<ProcessPlan, PlanError> {
    Ok(ProcessPlan {
        args: engine.args.clone(),
        program: Some(engine.program.clone()),
        env: engine.env.clone(),
        cwd: "/".to_owned(),
        input: Some(Bytes(engine.input.clone())),
        user: UserPlan { uid: engine.uid, gid: engine.gid, groups: Vec::new(), umask: None },
        no_new_privileges: true,
        seccomp: Some(seccomp_plan(policy)?),
        landlock: Some(landlock),
        rlimits: engine.rlimits.iter().map(rlimit).collect(),
        oom_score_adj: engine.oom_score_adj,
        ..ProcessPlan::default()
    })
}

fn own_ids(engine: &EngineProcess, host: &Host) -> IdMaps {
    let one = |container, host| vec![IdMap { container, host, count: 1 }];
    IdMaps { uids: one(engine.uid, host.uid), gids: one(engine.gid, host.gid) }
}

fn mounts(engine: &EngineProcess) -> Result<Vec<MountPlan>, PlanError> {
    // The image's files first: a grant may be a directory in them.
    let root = engine.root.iter().map(|root| {
        // Without capabilities a program can do little with an overlay's set-id files, and none is executed.
        mount(&root.target, MountKind::Root(root.root.clone()), root.writable)
    });
    let grants = engine.grants.iter().map(|grant| {
        let what = MountKind::Bind { source: grant.source.clone(), recursive: true };
        let mounted = mount(&grant.target, what, grant.writable)?;
        // A file of such a mount can't be mapped executable.
        let code = if grant.code { libc::MOUNT_ATTR_NOEXEC } else { 0 };
        Ok(MountPlan { set: mounted.set & !code, ..mounted })
    });
    let more = engine.mounts.iter().map(|more| mount(&more.target, more.what.clone(), more.writable));
    root.chain(grants).chain(more).collect()
}

fn mount(target: &str, what: MountKind, writable: bool) -> Result<MountPlan, PlanError> {
    if !target.starts_with('/') {
        let value = target.to_owned();
        return Err(PlanError::Invalid { field: "grant", value, reason: "isn't absolute" });
    }
    let set = GRANT | libc::MOUNT_ATTR_NOEXEC | if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    Ok(MountPlan { set, recursive: true, ..MountPlan::new(target.to_owned(), what) })
}

fn landlock(engine: &EngineProcess, mounts: &[MountPlan]) -> LandlockPlan {
    let (readable, writable): (Vec<_>, Vec<_>) =
        mounts.iter().partition(|mount| mount.set & libc::MOUNT_ATTR_RDONLY != 0);
    let targets = |mounts: Vec<&MountPlan>| mounts.into_iter().map(|mount| mount.target.clone()).collect();
    LandlockPlan { readable: targets(readable), writable: targets(writable), network: engine.network }
}
