//! The process of a spec.

use std::collections::HashSet;

use brig_runtime::plan::{Bytes, CapabilityPlan, IdMap, ProcessPlan, SeccompPlan, UserPlan};
use oci_spec::runtime::{Capability, LinuxCapabilities, LinuxSeccomp, PosixRlimit, PosixRlimitType, User};

use super::{Context, PlanError, labels, notify, scheduling, text};
use crate::capabilities::bits;
use crate::seccomp;

pub(super) fn process(context: &Context<'_>) -> Result<ProcessPlan, PlanError> {
    let process = context.spec.process().as_ref().ok_or(PlanError::Missing { field: "process" })?;
    let args = process.args().clone().filter(|args| !args.is_empty());
    let cwd = text(process.cwd())?;
    if !cwd.starts_with('/') {
        return Err(PlanError::Invalid { field: "process.cwd", value: cwd, reason: "isn't absolute" });
    }
    let seccomp = seccomp(context)?;
    Ok(ProcessPlan {
        args: args.ok_or(PlanError::Missing { field: "process.args" })?,
        program: None,
        env: process.env().clone().unwrap_or_default(),
        cwd,
        input: None,
        user: user(context, process.user())?,
        capabilities: process.capabilities().as_ref().map(capabilities).transpose()?.unwrap_or_default(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        listener: notify::listener(context, seccomp.as_ref())?,
        seccomp,
        landlock: None,
        rlimits: process.rlimits().iter().flatten().map(rlimit).collect(),
        oom_score_adj: process.oom_score_adj(),
        scheduling: scheduling::scheduling(context, process)?,
        exec_affinity: scheduling::exec_affinity(process)?,
        apparmor: labels::apparmor(context, process)?,
        selinux: labels::selinux(context, process)?,
    })
}

fn user(context: &Context<'_>, user: &User) -> Result<UserPlan, PlanError> {
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    // To setresuid(2) this is no user but "leave it as it is": root's.
    if [user.uid(), user.gid()].iter().chain(&groups).any(|id| *id == u32::MAX) {
        let value = u32::MAX.to_string();
        return Err(PlanError::Invalid { field: "process.user", value, reason: "is no user and no group" });
    }
    if let Some(maps) = &context.namespaces.user {
        check_mapped("user", user.uid(), &maps.uids)?;
        check_mapped("group", user.gid(), &maps.gids)?;
        // See plan_linux.
        if matches!(maps.gids.as_slice(), [IdMap { count: 1, .. }]) {
            groups.clear();
        }
        for group in &groups {
            check_mapped("group", *group, &maps.gids)?;
        }
    }
    Ok(UserPlan { uid: user.uid(), gid: user.gid(), groups, umask: user.umask() })
}

fn check_mapped(what: &'static str, id: u32, maps: &[IdMap]) -> Result<(), PlanError> {
    let holds = |map: &IdMap| id.checked_sub(map.container).is_some_and(|offset| offset < map.count);
    if maps.iter().any(holds) { Ok(()) } else { Err(PlanError::Unmapped { what, id }) }
}

/// The kernel refuses what isn't in order here, but only when the process is about to be the program.
fn capabilities(sets: &LinuxCapabilities) -> Result<CapabilityPlan, PlanError> {
    let set = |set: &Option<HashSet<Capability>>| set.as_ref().map(bits).unwrap_or_default();
    let plan = CapabilityPlan {
        bounding: set(sets.bounding()),
        effective: set(sets.effective()),
        permitted: set(sets.permitted()),
        inheritable: set(sets.inheritable()),
        ambient: set(sets.ambient()),
    };
    for (inner, outer, names) in [
        (plan.inheritable, plan.bounding, ("inheritable", "bounding")),
        (plan.effective, plan.permitted, ("effective", "permitted")),
    ] {
        if inner & !outer != 0 {
            let reason = format!(
                "an {} capability isn't in the {} set, for which the kernel's answer is: Operation not permitted",
                names.0, names.1
            );
            return Err(PlanError::unsupported("process.capabilities", reason));
        }
    }
    Ok(plan)
}

fn seccomp(context: &Context<'_>) -> Result<Option<SeccompPlan>, PlanError> {
    match (context.linux.seccomp(), &context.options.seccomp) {
        (None, _) => Ok(None),
        (Some(_), Some(compiled)) => Ok(Some(compiled.clone())),
        (Some(policy), None) => seccomp_plan(policy).map(Some),
    }
}

/// Compiles a policy.
pub(crate) fn seccomp_plan(policy: &LinuxSeccomp) -> Result<SeccompPlan, PlanError> {
    let filter = seccomp::compile(policy).map_err(|source| PlanError::Seccomp { source })?;
    Ok(SeccompPlan { filter: Bytes(filter.to_bytes()), flags: filter.flags() })
}

/// A resource limit as the kernel knows it.
pub(crate) fn rlimit(limit: &PosixRlimit) -> (u32, u64, u64) {
    let resource = match limit.typ() {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    (resource, limit.soft(), limit.hard())
}
