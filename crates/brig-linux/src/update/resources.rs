//! The resources of a running container in the specification's words, as `runc update --resources` takes them.
//!
//! What isn't there, or is nothing (0, an empty list), stays as it is; -1 takes a limit away. Rules for devices stay too.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{CgroupUpdate, no_cgroup};
use crate::host::{Cgroups, Host};
use crate::plan::{PlanError, Wanted, block_io, huge_pages, more_of_cpu, weight};

/// From here on v1 means that there is no limit: the greatest number of pages, in bytes, with any size of page.
const UNLIMITED: u64 = 1 << 62;
const PERIOD: u64 = 100_000;

/// What changes for a container that runs in these cgroups: those of its record, of either version.
///
/// On v2 a controller that the container has no files of yet is switched on for it. On v1 a container has no cgroup of such
/// a controller, and stays without: a limit is an error.
///
/// # Errors
/// [`PlanError`]: a limit that makes no sense, that this host can't give, or that the container has no cgroup for.
pub fn plan_resources_update(
    resources: &LinuxResources,
    host: &Host,
    cgroups: &[PathBuf],
) -> Result<CgroupUpdate, PlanError> {
    let container = Container { cgroups, host: &host.cgroups };
    let mut update = CgroupUpdate::default();
    if let Some(memory) = resources.memory() {
        container.put(&mut update, container.memory(memory)?)?;
    }
    if let Some(cpu) = resources.cpu() {
        container.put(&mut update, container.cpu(cpu)?)?;
    }
    if let Some(limit) = resources.pids().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        let limit = u64::try_from(limit).ok();
        container.put(&mut update, vec![Change { wanted: Wanted::pids(limit), lifts: limit.is_none() }])?;
    }
    if let Some(limits) = resources.block_io() {
        container.put(&mut update, changes(block_io(limits, &host.cgroups)?))?;
    }
    let pages = resources.hugepage_limits().iter().flatten().map(huge_pages);
    container.put(&mut update, changes(pages.collect::<Result<_, _>>()?))?;
    container.unified(&mut update, resources)?;
    Ok(update)
}

/// One setting, and whether it takes a limit away: where nothing limits, there is nothing to do.
struct Change {
    wanted: Wanted,
    lifts: bool,
}

fn changes(wanted: Vec<Wanted>) -> Vec<Change> {
    wanted.into_iter().map(|wanted| Change { wanted, lifts: false }).collect()
}

fn change(wanted: Wanted, limit: Option<u64>) -> Change {
    Change { wanted, lifts: limit.is_none() }
}

/// Where a container is.
struct Container<'a> {
    cgroups: &'a [PathBuf],
    host: &'a Cgroups,
}

impl Container<'_> {
    fn is_unified(dir: &Path) -> bool {
        dir.join("cgroup.controllers").exists()
    }

    /// The v1 directory that has a file.
    fn legacy(&self, file: &str) -> Option<&Path> {
        let dirs = self.cgroups.iter().map(PathBuf::as_path);
        dirs.filter(|dir| !Self::is_unified(dir)).find(|dir| dir.join(file).exists())
    }

    /// The v2 directory, if the host has a controller there.
    fn unified_with(&self, controller: &str) -> Option<&Path> {
        let there = self.host.unified_controllers().iter().any(|known| known == controller);
        let dirs = self.cgroups.iter().map(PathBuf::as_path);
        dirs.filter(|_| there).find(|dir| Self::is_unified(dir))
    }

    /// A number of a file. No limit and no file are none.
    fn number(dir: &Path, file: &str) -> Option<u64> {
        let text = fs::read_to_string(dir.join(file)).ok()?;
        text.trim().parse().ok().filter(|number| *number < UNLIMITED)
    }

    /// Finds the files.
    fn put(&self, update: &mut CgroupUpdate, changes: Vec<Change>) -> Result<(), PlanError> {
        for Change { wanted, lifts } in changes {
            let legacy = wanted
                .v1
                .as_ref()
                .and_then(|(file, value)| Some((self.legacy(file)?.join(file.as_ref()), value.clone())));
            let found = match (legacy, &wanted.v2) {
                (Some(found), _) => Some(found),
                (None, Some((file, value))) => {
                    self.unified_with(wanted.controller).map(|dir| (dir.join(file.as_ref()), value.clone()))
                }
                (None, None) => None,
            };
            match found {
                Some((path, value)) => {
                    update.switch_on(self.host, &path);
                    update.writes.push((path, value));
                }
                None if lifts => {}
                None => return Err(no_cgroup(wanted.controller)),
            }
        }
        Ok(())
    }

    fn memory(&self, memory: &LinuxMemory) -> Result<Vec<Change>, PlanError> {
        let mut changes = match self.legacy("memory.limit_in_bytes") {
            Some(dir) => legacy_memory(dir, memory)?,
            None => self.unified_memory(memory)?,
        };
        if let Some(soft) = memory.reservation().filter(|soft| *soft != 0) {
            let soft = u64::try_from(soft).ok();
            let value = |none: &str| soft.map_or_else(|| none.to_owned(), |soft| soft.to_string());
            let wanted = Wanted {
                controller: "memory",
                name: "memory reservation",
                v1: Some(("memory.soft_limit_in_bytes".into(), value("-1"))),
                v2: Some(("memory.low".into(), soft.unwrap_or(0).to_string())),
            };
            changes.push(change(wanted, soft));
        }
        for (name, file, limit) in [
            ("kernel memory", "memory.kmem.limit_in_bytes", memory.kernel()),
            ("kernel memory for TCP", "memory.kmem.tcp.limit_in_bytes", memory.kernel_tcp()),
        ] {
            let Some(limit) = limit.filter(|limit| *limit != 0) else { continue };
            if limit > 0 && self.legacy(file).is_none() {
                let reason = "the kernel has no such limit, as none with cgroup v2 has".to_owned();
                return Err(PlanError::Limit { limit: name.to_owned(), reason });
            }
            let v1 = Some((file.into(), limit.max(-1).to_string()));
            changes
                .push(change(Wanted { controller: "memory", name, v1, v2: None }, u64::try_from(limit).ok()));
        }
        if let Some(swappiness) = memory.swappiness() {
            let v1 = Some(("memory.swappiness".into(), swappiness.to_string()));
            let wanted = Wanted { controller: "memory", name: "swappiness", v1, v2: None };
            changes.push(Change { wanted, lifts: false });
        }
        Ok(changes)
    }

    fn unified_memory(&self, memory: &LinuxMemory) -> Result<Vec<Change>, PlanError> {
        let dir = self.unified_with("memory").unwrap_or(Path::new(""));
        let now = |file| Self::number(dir, file);
        let asked = Asked::new(memory, now("memory.max"))?;
        if memory.check_before_update() == Some(true) {
            asked.check(now("memory.current"))?;
        }
        let mut changes = Vec::new();
        if let Some(limit) = asked.limit {
            changes.push(change(Wanted::memory(limit), limit));
        }
        // Without swap in the kernel there is none to limit.
        let counted = dir.join("memory.swap.max").exists() || !dir.join("memory.max").exists();
        match asked.swap_alone(now("memory.swap.max"))? {
            Some(swap) if counted => {
                let value = swap.map_or_else(|| "max".to_owned(), |swap| swap.to_string());
                let v2 = Some(("memory.swap.max".into(), value));
                changes.push(change(Wanted { controller: "memory", name: "swap", v1: None, v2 }, swap));
            }
            Some(Some(1..)) => return Err(no_swap()),
            _ => {}
        }
        Ok(changes)
    }

    fn cpu(&self, cpu: &LinuxCpu) -> Result<Vec<Change>, PlanError> {
        let mut changes = Vec::new();
        let one =
            |controller, name, v1, v2| Change { wanted: Wanted { controller, name, v1, v2 }, lifts: false };
        if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
            let v1 = Some(("cpu.shares".into(), shares.to_string()));
            changes.push(one(
                "cpu",
                "CPU shares",
                v1,
                Some(("cpu.weight".into(), weight(shares).to_string())),
            ));
        }
        changes.extend(self.bandwidth(cpu));
        changes.extend(more_of_cpu(cpu, true).into_iter().map(|wanted| Change { wanted, lifts: false }));
        for (name, file, list) in
            [("CPU set", "cpuset.cpus", cpu.cpus()), ("memory node", "cpuset.mems", cpu.mems())]
        {
            if let Some(list) = list.clone().filter(|list| !list.is_empty()) {
                let setting = Some((file.into(), list));
                changes.push(one("cpuset", name, setting.clone(), setting));
            }
        }
        Ok(changes)
    }

    /// On v1 a file each; on v2 one for both, in which what isn't said stays.
    fn bandwidth(&self, cpu: &LinuxCpu) -> Vec<Change> {
        let quota = cpu.quota().filter(|quota| *quota != 0).map(|quota| u64::try_from(quota).ok());
        let period = cpu.period().filter(|period| *period != 0);
        if quota.is_none() && period.is_none() {
            return Vec::new();
        }
        let now = self.unified_with("cpu").and_then(|dir| fs::read_to_string(dir.join("cpu.max")).ok());
        let now = now.unwrap_or_default();
        let (now_quota, now_period) = now.trim().split_once(' ').unwrap_or(("max", ""));
        let text =
            |quota: Option<u64>, none: &str| quota.map_or_else(|| none.to_owned(), |quota| quota.to_string());
        let both = format!(
            "{} {}",
            quota.map_or_else(|| now_quota.to_owned(), |quota| text(quota, "max")),
            period.or_else(|| now_period.parse().ok()).unwrap_or(PERIOD),
        );
        let one = |file: &'static str, value, lifts| {
            let v2 = Some(("cpu.max".into(), both.clone()));
            Change {
                wanted: Wanted { controller: "cpu", name: "CPU", v1: Some((file.into(), value)), v2 },
                lifts,
            }
        };
        let period = period.map(|period| one("cpu.cfs_period_us", period.to_string(), false));
        let quota = quota.map(|quota| one("cpu.cfs_quota_us", text(quota, "-1"), quota.is_none()));
        period.into_iter().chain(quota).collect()
    }

    /// Files of v2, as they are.
    fn unified(&self, update: &mut CgroupUpdate, resources: &LinuxResources) -> Result<(), PlanError> {
        let mut files: Vec<_> = resources.unified().iter().flatten().collect();
        files.sort_unstable();
        for (file, value) in files {
            let controller = crate::plan::unified_controller(file)?;
            let dir = match controller {
                "cgroup" => self.cgroups.iter().map(PathBuf::as_path).find(|dir| Self::is_unified(dir)),
                controller => self.unified_with(controller),
            };
            let Some(dir) = dir else { return Err(no_cgroup(file)) };
            update.switch_on(self.host, &dir.join(file));
            update.writes.push((dir.join(file), value.clone()));
        }
        Ok(())
    }
}

/// The kernel judges each by the other at every moment: memory may not exceed memory and swap.
fn legacy_memory(dir: &Path, memory: &LinuxMemory) -> Result<Vec<Change>, PlanError> {
    const SUM: &str = "memory.memsw.limit_in_bytes";
    let now = |file| Container::number(dir, file);
    let (old, old_sum) = (now("memory.limit_in_bytes"), now(SUM));
    let asked = Asked::new(memory, old)?;
    if memory.check_before_update() == Some(true) {
        asked.check(now("memory.usage_in_bytes"))?;
    }
    let sum = match (asked.sum(old_sum)?, dir.join(SUM).exists()) {
        (Some(Some(_)), false) if asked.sum.is_some() => return Err(no_swap()),
        (sum, true) => sum,
        (_, false) => None,
    };
    let limit = asked.limit.map(|limit| change(Wanted::memory(limit), limit));
    let sum = sum.map(|sum| {
        let value = sum.map_or_else(|| "-1".to_owned(), |sum| sum.to_string());
        let v1 = Some((SUM.into(), value));
        change(Wanted { controller: "memory", name: "swap", v1, v2: None }, sum)
    });
    let grows = match (asked.limit, old_sum) {
        (Some(Some(limit)), Some(sum)) => limit > sum,
        (Some(None), Some(_)) => true,
        _ => false,
    };
    let (first, then) = if grows { (sum, limit) } else { (limit, sum) };
    Ok(first.into_iter().chain(then).collect())
}

/// What is asked of memory. The outer `None` is nothing, the inner one no limit.
struct Asked {
    limit: Option<Option<u64>>,
    /// Memory and swap together.
    sum: Option<Option<u64>>,
    old: Option<u64>,
}

impl Asked {
    fn new(memory: &LinuxMemory, old: Option<u64>) -> Result<Self, PlanError> {
        let asked =
            |value: Option<i64>| value.filter(|value| *value != 0).map(|value| u64::try_from(value).ok());
        let asked = Self { limit: asked(memory.limit()), sum: asked(memory.swap()), old };
        match (asked.sum, asked.new_limit()) {
            (Some(Some(sum)), Some(limit)) if sum >= limit => Ok(asked),
            (Some(Some(sum)), _) => Err(PlanError::Invalid {
                field: "linux.resources.memory.swap",
                value: sum.to_string(),
                reason: "isn't at least the memory limit, which it includes",
            }),
            _ => Ok(asked),
        }
    }

    /// The limit that there will be.
    fn new_limit(&self) -> Option<u64> {
        self.limit.unwrap_or(self.old)
    }

    /// `checkBeforeUpdate`: a limit below what is used would end processes.
    fn check(&self, used: Option<u64>) -> Result<(), PlanError> {
        let Some(Some(limit)) = self.limit else { return Ok(()) };
        let reason = match used {
            Some(used) if limit > used => return Ok(()),
            Some(used) => format!("{used} bytes are in use, which is not less than {limit}"),
            None => "it can't be seen how much is in use, which was to be looked at before".to_owned(),
        };
        Err(PlanError::Limit { limit: "memory".to_owned(), reason })
    }

    /// The new sum of memory and swap. When nothing is said of it, it stays; no limit for memory is none for both; and
    /// what was twice the memory, as docker has it where nobody has said anything, grows with a limit beyond it.
    fn sum(&self, old_sum: Option<u64>) -> Result<Option<Option<u64>>, PlanError> {
        match (self.sum, self.limit, old_sum) {
            (Some(sum), _, _) => Ok(Some(sum)),
            (None, Some(None), _) => Ok(Some(None)),
            (None, Some(Some(limit)), Some(sum)) if limit > sum => {
                if self.old.is_some_and(|old| old.saturating_mul(2) == sum) {
                    return Ok(Some(Some(limit.saturating_mul(2))));
                }
                let reason =
                    format!("it would exceed {sum}, which memory and swap have together; change both");
                Err(PlanError::Limit { limit: "memory".to_owned(), reason })
            }
            _ => Ok(None),
        }
    }

    /// The same for v2, which limits swap alone.
    fn swap_alone(&self, old_swap: Option<u64>) -> Result<Option<Option<u64>>, PlanError> {
        let old_sum = self.old.zip(old_swap).map(|(limit, swap)| limit.saturating_add(swap));
        let sum = match (self.sum(old_sum)?, self.limit, old_sum) {
            (Some(sum), _, _) => sum,
            // The sum stays, and so its other part changes.
            (None, Some(Some(_)), Some(sum)) => Some(sum),
            _ => return Ok(None),
        };
        Ok(Some(sum.zip(self.new_limit()).map(|(sum, limit)| sum.saturating_sub(limit))))
    }
}

fn no_swap() -> PlanError {
    let reason = "the kernel doesn't count swap here".to_owned();
    PlanError::Limit { limit: "swap".to_owned(), reason }
}

#[cfg(test)]
mod tests;
