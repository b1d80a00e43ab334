//! The engine process of a wasm container: the runner, with nothing but what it was given.
//!
//! Its walls, each of which would do: a root file system that is empty but for the grants, no network, no other
//! process in sight, no capabilities, no new privileges, a seccomp filter with the calls that a wasm engine makes, and
//! a landlock domain with the grants once more.

use std::path::{Path, PathBuf};

use brig_runtime::Limits;
use brig_runtime::plan::{
    Bytes, IdMap, IdMaps, LandlockPlan, MountKind, MountPlan, PayloadPlan, ProcessPlan, RootFs, UserPlan,
};

use crate::host::Host;
use crate::plan::{PlanError, Wanted, cgroup_plan, seccomp_plan};
use crate::seccomp::engine_policy;

const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP)
    .cast_unsigned();
const NETWORK: u32 = libc::CLONE_NEWNET.cast_unsigned();
/// What grants are, whatever else.
const GRANT: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// A directory or file that the engine process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On the host.
    pub source: PathBuf,
    /// Where the engine process finds it: absolute.
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
    /// The image's files.
    pub root: Option<EngineRoot>,
    /// The compiled module, and directories of the host.
    pub grants: Vec<Grant>,
    /// Whether it has the host's network.
    pub network: bool,
    /// The host name, for what the engine may show of it.
    pub hostname: Option<String>,
    /// Limits. The time is the supervisor's business.
    pub limits: Limits,
}

/// The plan for an engine process.
///
/// # Errors
/// [`PlanError`]: a path that isn't text, or a limit that this host can't give.
pub fn plan_engine(engine: &EngineProcess, host: &Host, id: &str) -> Result<PayloadPlan, PlanError> {
    let mounts = mounts(engine)?;
    let new_namespaces = NAMESPACES | if engine.network { 0 } else { NETWORK };
    let seccomp = seccomp_plan(&engine_policy(engine.network))?;
    let process = ProcessPlan {
        args: engine.args.clone(),
        program: Some(engine.program.clone()),
        env: engine.env.clone(),
        cwd: "/".to_owned(),
        input: Some(Bytes(engine.input.clone())),
        user: UserPlan { uid: engine.uid, gid: engine.gid, groups: Vec::new(), umask: None },
        no_new_privileges: true,
        seccomp: Some(seccomp),
        landlock: Some(landlock(engine, &mounts)),
        ..ProcessPlan::default()
    };
    Ok(PayloadPlan {
        user_namespace: host.rootless.then(|| own_ids(engine, host)),
        new_namespaces,
        cgroup: cgroup_plan(&host.cgroups, &Path::new("brig").join(id), &wishes(&engine.limits))?,
        loopback: false,
        hostname: engine.hostname.clone(),
        root: RootFs::Empty,
        seals: vec![("/".to_owned(), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV)],
        mounts,
        process,
        ..PayloadPlan::default()
    })
}

fn own_ids(engine: &EngineProcess, host: &Host) -> IdMaps {
    let one = |container, host| vec![IdMap { container, host, count: 1 }];
    IdMaps { uids: one(engine.uid, host.uid), gids: one(engine.gid, host.gid) }
}

fn wishes(limits: &Limits) -> Vec<Wanted> {
    let memory = limits.memory.map(|limit| Wanted::memory(Some(limit)));
    let pids = limits.pids.map(|limit| Wanted::pids(Some(limit)));
    memory.into_iter().chain(pids).collect()
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
    root.chain(grants).collect()
}

fn mount(target: &str, what: MountKind, writable: bool) -> Result<MountPlan, PlanError> {
    if !target.starts_with('/') {
        let value = target.to_owned();
        return Err(PlanError::Invalid { field: "grant", value, reason: "isn't absolute" });
    }
    let set = GRANT | libc::MOUNT_ATTR_NOEXEC | if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    Ok(MountPlan { target: target.to_owned(), what, set, clear: 0, recursive: true, propagation: 0 })
}

fn landlock(engine: &EngineProcess, mounts: &[MountPlan]) -> LandlockPlan {
    let (readable, writable): (Vec<_>, Vec<_>) =
        mounts.iter().partition(|mount| mount.set & libc::MOUNT_ATTR_RDONLY != 0);
    let targets = |mounts: Vec<&MountPlan>| mounts.into_iter().map(|mount| mount.target.clone()).collect();
    LandlockPlan { readable: targets(readable), writable: targets(writable), network: engine.network }
}
