//! Limits, as cgroups and their files.

use std::borrow::Cow;
use std::path::Path;

use brig_runtime::plan::{CgroupDir, CgroupPlan};
use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{Context, PlanError, cgroup_path, devices, input_output};
use crate::host::{CgroupMode, Cgroups};

/// Where containers' cgroups are when nobody says otherwise.
const DEFAULT_PARENT: &str = "brig";

/// The limit of buffers of TCP connections, in v1 hierarchies of kernels that have it.
const KERNEL_TCP: &str = "memory.kmem.tcp.limit_in_bytes";
/// How many files and directories are looked at for a file that cgroups may have.
const MAX_LOOKED_AT: usize = 1000;

/// One limit, in the words of both versions. `None` where a version has no word for it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The controller.
    pub(crate) controller: &'static str,
    /// What it is called in messages.
    pub(crate) name: &'static str,
    /// File and value on v1.
    pub(crate) v1: Option<(Cow<'static, str>, String)>,
    /// File and value on v2.
    pub(crate) v2: Option<(Cow<'static, str>, String)>,
}

impl Wanted {
    pub(super) fn same(
        controller: &'static str,
        name: &'static str,
        file: &'static str,
        value: String,
    ) -> Self {
        Self { controller, name, v1: Some((file.into(), value.clone())), v2: Some((file.into(), value)) }
    }

    /// At most so many processes and threads; none is no limit.
    pub(crate) fn pids(limit: Option<u64>) -> Self {
        Self::same(
            "pids",
            "pids",
            "pids.max",
            limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string()),
        )
    }

    /// At most so much memory, in bytes.
    pub(crate) fn memory(limit: Option<u64>) -> Self {
        let or = |word: &str| limit.map_or_else(|| word.to_owned(), |limit| limit.to_string());
        Self {
            controller: "memory",
            name: "memory",
            v1: Some(("memory.limit_in_bytes".into(), or("-1"))),
            v2: Some(("memory.max".into(), or("max"))),
        }
    }
}

/// The cgroups of a spec.
pub(super) fn cgroups(context: &Context<'_>) -> Result<CgroupPlan, PlanError> {
    let path = context.linux.cgroups_path().clone().filter(|path| !path.as_os_str().is_empty());
    let name = match &path {
        Some(path) => cgroup_path::below_root(path)?,
        None => match context.options.cgroup {
            Some(name) => name.to_owned(),
            None => Path::new(DEFAULT_PARENT).join(context.options.id),
        },
    };
    let cgroups = &context.options.host.cgroups;
    let resources = context.linux.resources().as_ref();
    let wanted = resources.map(|resources| wanted(resources, cgroups)).transpose()?.unwrap_or_default();
    let mut plan = cgroup_plan(cgroups, &name, &wanted)?;
    if let Some(resources) = resources {
        add_unified(&mut plan, resources)?;
    }
    if let Some(rules) = &context.device_rules {
        put_devices(cgroups, &mut plan, &name, rules);
    }
    if context.options.as_runc {
        fill_hierarchies(cgroups, &mut plan, &name);
    }
    Ok(plan)
}

/// A cgroup in the hierarchies of v1 that have none yet. Controllers that are mounted together have one directory under
/// two names; making, entering and removing it twice changes nothing.
fn fill_hierarchies(cgroups: &Cgroups, plan: &mut CgroupPlan, name: &Path) {
    for (controller, parent) in cgroups.writable_hierarchies() {
        if plan.legacy.iter().all(|dir| dir.controller != controller) {
            plan.legacy.push(directory(&parent, name, controller));
        }
    }
}

/// The rules for devices: lines for v1, a program for v2.
fn put_devices(cgroups: &Cgroups, plan: &mut CgroupPlan, name: &Path, rules: &devices::Rules) {
    match cgroups.writable("devices") {
        Some(parent) => {
            let mut dir = directory(&parent, name, "devices");
            dir.settings = rules.settings();
            plan.legacy.push(dir);
        }
        None => plan.devices = Some(devices::program(rules).into()),
    }
}

/// Directories for what is wanted on this host. Without wishes there is at most one, for freezing and killing.
pub(crate) fn cgroup_plan(
    cgroups: &Cgroups,
    name: &Path,
    wanted: &[Wanted],
) -> Result<CgroupPlan, PlanError> {
    let unified = cgroups.unified.as_ref().map(|parent| directory(parent, name, ""));
    let mut plan = CgroupPlan { unified, ..CgroupPlan::default() };
    if cgroups.mode == CgroupMode::V2 {
        put_unified(cgroups, &mut plan, wanted)?;
    } else {
        put_legacy(cgroups, &mut plan, name, wanted)?;
    }
    if plan.unified.is_none()
        && cgroups.legacy_writable
        && let Some(parent) = cgroups.legacy("freezer")
    {
        plan.legacy.push(directory(&parent, name, "freezer"));
    }
    Ok(plan)
}

/// What the hierarchy of a v1 cgroup is mounted with: all of its controllers, where several are mounted together
/// (`cpu` is a link to `cpu,cpuacct` then), or its name.
pub(super) fn hierarchy_options(dir: &CgroupDir) -> Vec<(String, Option<String>)> {
    if dir.controller == "systemd" {
        return vec![("none".to_owned(), None), ("name".to_owned(), Some("systemd".to_owned()))];
    }
    // One that can't be looked at can't be mounted either, under whichever name; the kernel says why.
    let place = dir.parent.canonicalize().unwrap_or_default();
    let together = place.file_name().and_then(|name| name.to_str()).filter(|name| name.contains(','));
    together.unwrap_or(&dir.controller).split(',').map(|controller| (controller.to_owned(), None)).collect()
}

fn directory(parent: &Path, name: &Path, controller: &str) -> CgroupDir {
    CgroupDir {
        parent: parent.to_owned(),
        name: name.to_owned(),
        controller: controller.to_owned(),
        settings: Vec::new(),
    }
}

fn put_unified(cgroups: &Cgroups, plan: &mut CgroupPlan, wanted: &[Wanted]) -> Result<(), PlanError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let controllers = cgroups.unified_controllers();
    for one in wanted {
        let Some((file, value)) = &one.v2 else {
            return Err(limit(one, "cgroup v2 has no such limit"));
        };
        let Some(unified) = &mut plan.unified else {
            return Err(limit(
                one,
                "no cgroup is delegated to this user; start brig in a delegated one, as by `systemd-run --user --scope -p Delegate=yes`",
            ));
        };
        if !controllers.iter().any(|controller| controller == one.controller) {
            return Err(limit(
                one,
                &format!("the cgroup controller `{}` isn't delegated here", one.controller),
            ));
        }
        unified.settings.push((file.clone().into_owned(), value.clone()));
    }
    Ok(())
}

fn put_legacy(
    cgroups: &Cgroups,
    plan: &mut CgroupPlan,
    name: &Path,
    wanted: &[Wanted],
) -> Result<(), PlanError> {
    for one in wanted {
        let Some((file, value)) = &one.v1 else {
            return Err(limit(one, "cgroup v1 has no such limit"));
        };
        let Some(parent) = cgroups.legacy(one.controller) else {
            return Err(limit(one, &format!("the cgroup controller `{}` isn't mounted", one.controller)));
        };
        if !cgroups.legacy_writable {
            return Err(limit(one, "with cgroup v1 only root can set limits"));
        }
        let setting = (file.clone().into_owned(), value.clone());
        match plan.legacy.iter_mut().find(|dir| dir.controller == one.controller) {
            Some(dir) => dir.settings.push(setting),
            None => {
                let mut dir = directory(&parent, name, one.controller);
                dir.settings.push(setting);
                plan.legacy.push(dir);
            }
        }
    }
    Ok(())
}

fn limit(wanted: &Wanted, reason: &str) -> PlanError {
    PlanError::Limit { limit: wanted.name.to_owned(), reason: reason.to_owned() }
}

/// Everything in `resources` that is a setting of a cgroup, or the error that it can't be one.
pub(crate) fn wanted(resources: &LinuxResources, cgroups: &Cgroups) -> Result<Vec<Wanted>, PlanError> {
    let mut wanted = Vec::new();
    if let Some(memory) = resources.memory() {
        wanted.extend(memory_wishes(memory, cgroups)?);
    }
    if let Some(cpu) = resources.cpu() {
        wanted.extend(cpu_wishes(cpu));
    }
    if let Some(pids) = resources.pids() {
        // Zero and below are no limit in runc, and in docker's flag.
        wanted.extend(
            u64::try_from(pids.limit())
                .ok()
                .filter(|limit| *limit > 0)
                .map(|limit| Wanted::pids(Some(limit))),
        );
    }
    if let Some(limits) = resources.block_io() {
        wanted.extend(input_output::block_io(limits, cgroups)?);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        wanted.push(input_output::huge_pages(limit)?);
    }
    wanted.extend(resources.network().iter().flat_map(input_output::network));
    wanted.extend(resources.rdma().iter().flatten().map(|(device, limit)| input_output::rdma(device, limit)));
    Ok(wanted)
}

fn memory_wishes(memory: &LinuxMemory, cgroups: &Cgroups) -> Result<Vec<Wanted>, PlanError> {
    let bytes = |value: i64| u64::try_from(value).ok();
    let mut wanted = Vec::new();
    if let Some(limit) = memory.limit().filter(|limit| *limit != 0) {
        wanted.push(Wanted::memory(bytes(limit)));
    }
    if let Some(soft) = memory.reservation().and_then(bytes) {
        wanted.push(Wanted {
            controller: "memory",
            name: "memory reservation",
            v1: Some(("memory.soft_limit_in_bytes".into(), soft.to_string())),
            v2: Some(("memory.low".into(), soft.to_string())),
        });
    }
    wanted.extend(swap(memory, cgroups)?);
    if let Some(swappiness) = memory.swappiness() {
        let v1 = Some(("memory.swappiness".into(), swappiness.to_string()));
        wanted.push(Wanted { controller: "memory", name: "swappiness", v1, v2: None });
    }
    // `kernel` is nothing any more: since Linux 5.16 the kernel's memory counts as memory, and has no limit of its own.
    if let Some(limit) = memory.kernel_tcp().filter(|_| has_kernel_tcp(cgroups)) {
        let v1 = Some((KERNEL_TCP.into(), limit.to_string()));
        wanted.push(Wanted { controller: "memory", name: "kernel TCP memory", v1, v2: None });
    }
    if memory.disable_oom_killer() == Some(true) {
        let v1 = Some(("memory.oom_control".into(), "1".to_owned()));
        wanted.push(Wanted { controller: "memory", name: "OOM killer", v1, v2: None });
    }
    Ok(wanted)
}

/// Kernels that have no such limit count those buffers as memory.
fn has_kernel_tcp(cgroups: &Cgroups) -> bool {
    cgroups.legacy("memory").is_some_and(|memory| memory.join(KERNEL_TCP).exists())
}

/// `swap` is memory and swap together. With a memory limit alone docker allows as much swap again; so does this, where
/// the kernel counts swap.
fn swap(memory: &LinuxMemory, cgroups: &Cgroups) -> Result<Option<Wanted>, PlanError> {
    let limit = memory.limit().and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
    let sum = match (memory.swap(), limit) {
        (None | Some(0), Some(limit)) if counts_swap(cgroups) => Some(limit.saturating_mul(2)),
        (None | Some(0), _) => return Ok(None),
        // On v1 the file says whether swap is counted; on v2 it is there once there is a cgroup.
        (Some(swap), _) if cgroups.mode != CgroupMode::V2 && !counts_swap(cgroups) => {
            if swap == -1 {
                return Ok(None);
            }
            let reason = "the kernel doesn't count swap here (it does with `swapaccount=1`)".to_owned();
            return Err(PlanError::Limit { limit: "swap".to_owned(), reason });
        }
        (Some(swap), _) => u64::try_from(swap).ok(),
    };
    let v2 = match (sum, limit) {
        (None, _) => "max".to_owned(),
        (Some(sum), Some(limit)) if sum >= limit => (sum - limit).to_string(),
        (Some(sum), _) => {
            let value = sum.to_string();
            return Err(PlanError::Invalid {
                field: "linux.resources.memory.swap",
                value,
                reason: "isn't at least the memory limit, which it includes",
            });
        }
    };
    Ok(Some(Wanted {
        controller: "memory",
        name: "swap",
        v1: Some((
            "memory.memsw.limit_in_bytes".into(),
            sum.map_or_else(|| "-1".to_owned(), |sum| sum.to_string()),
        )),
        v2: Some(("memory.swap.max".into(), v2)),
    }))
}

fn counts_swap(cgroups: &Cgroups) -> bool {
    match cgroups.mode {
        // The file isn't in the root of the hierarchy, and every cgroup below has it when swap is counted.
        CgroupMode::V2 => Path::new("/proc/swaps").exists() && has_below(cgroups, "memory.swap.max"),
        _ => {
            cgroups.legacy("memory").is_some_and(|memory| memory.join("memory.memsw.limit_in_bytes").exists())
        }
    }
}

/// Whether cgroups below the one in which ours are made have a file: those that others have made tell as well.
pub(super) fn has_below(cgroups: &Cgroups, file: &str) -> bool {
    let Some(parent) = &cgroups.unified else { return false };
    let inner = || std::fs::read_dir(parent).into_iter().flatten().filter_map(Result::ok).take(MAX_LOOKED_AT);
    parent.join(file).exists()
        || parent.join(DEFAULT_PARENT).join(file).exists()
        || inner().map(|entry| entry.path().join(file)).any(|path| path.exists())
}

fn cpu_wishes(cpu: &LinuxCpu) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        wanted.push(Wanted {
            controller: "cpu",
            name: "CPU shares",
            v1: Some(("cpu.shares".into(), shares.to_string())),
            v2: Some(("cpu.weight".into(), weight(shares).to_string())),
        });
    }
    let (quota, period) =
        (cpu.quota().filter(|quota| *quota > 0), cpu.period().filter(|period| *period != 0));
    if quota.is_some() || period.is_some() {
        wanted.extend(bandwidth(quota, period));
    }
    wanted.extend(more_of_cpu(cpu, false));
    for (name, file, list) in
        [("CPU set", "cpuset.cpus", cpu.cpus()), ("memory node", "cpuset.mems", cpu.mems())]
    {
        if let Some(list) = list.clone().filter(|list| !list.is_empty()) {
            wanted.push(Wanted::same("cpuset", name, file, list));
        }
    }
    wanted
}

/// What is of one version alone, or newer than both. Zeros are what a new cgroup has; one that exists may have others.
pub(crate) fn more_of_cpu(cpu: &LinuxCpu, exists: bool) -> Vec<Wanted> {
    let one = |name, v1: Option<&'static str>, v2: Option<&'static str>, value: Option<String>| {
        let file = |file: Option<&'static str>, value: &String| Some((file?.into(), value.clone()));
        value.map(|value| Wanted { controller: "cpu", name, v1: file(v1, &value), v2: file(v2, &value) })
    };
    let text = |value: Option<u64>| value.filter(|value| *value != 0).map(|value| value.to_string());
    let runtime = cpu.realtime_runtime().filter(|value| *value != 0).map(|value| value.to_string());
    let idle = cpu.idle().filter(|value| exists || *value != 0).map(|value| value.to_string());
    let burst = cpu.burst().filter(|value| exists || *value != 0).map(|value| value.to_string());
    // The period of real-time processes comes before their share of it.
    [
        one("real-time CPU", Some("cpu.rt_period_us"), None, text(cpu.realtime_period())),
        one("real-time CPU", Some("cpu.rt_runtime_us"), None, runtime),
        one("CPU burst", Some("cpu.cfs_burst_us"), Some("cpu.max.burst"), burst),
        one("idle CPU", Some("cpu.idle"), Some("cpu.idle"), idle),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// v1's 2 to 262144 on v2's 1 to 10000, as runc and systemd convert it.
pub(crate) fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// v1 has a file for each, v2 one for both. The period comes first: a quota is judged by it.
fn bandwidth(quota: Option<i64>, period: Option<u64>) -> Vec<Wanted> {
    let limit = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
    let both = format!("{limit} {}", period.unwrap_or(100_000));
    let one = |v1, v2| Wanted { controller: "cpu", name: "CPU", v1, v2 };
    let mut wanted = Vec::new();
    if let Some(period) = period {
        wanted.push(one(
            Some(("cpu.cfs_period_us".into(), period.to_string())),
            Some(("cpu.max".into(), both.clone())),
        ));
    }
    if let Some(quota) = quota {
        wanted
            .push(one(Some(("cpu.cfs_quota_us".into(), quota.to_string())), Some(("cpu.max".into(), both))));
    }
    wanted
}

/// `unified`: files of v2, as they are.
fn add_unified(plan: &mut CgroupPlan, resources: &LinuxResources) -> Result<(), PlanError> {
    let Some(files) = resources.unified().as_ref().filter(|files| !files.is_empty()) else { return Ok(()) };
    let Some(unified) = &mut plan.unified else {
        return Err(PlanError::unsupported("linux.resources.unified", "no v2 cgroup can be made here"));
    };
    let mut files: Vec<_> = files.iter().collect();
    files.sort_unstable();
    for (file, value) in files {
        unified_controller(file)?;
        unified.settings.push((file.clone(), value.clone()));
    }
    Ok(())
}

/// The controller of a file of v2.
pub(crate) fn unified_controller(file: &str) -> Result<&str, PlanError> {
    match file.split_once('.') {
        Some((controller, _)) if !file.contains('/') => Ok(controller),
        _ => Err(PlanError::Invalid {
            field: "linux.resources.unified",
            value: file.to_owned(),
            reason: "isn't the name of a cgroup file",
        }),
    }
}
