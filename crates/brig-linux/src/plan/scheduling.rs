//! How the process of a spec is scheduled, where its memory comes from, and its personality.

use brig_runtime::plan::{CpuScheduling, ExecAffinity, MemoryPolicy, SchedulingPlan};
use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};

use super::{Context, PlanError};

/// `PER_LINUX32` of `linux/personality.h`.
const PER_LINUX32: u32 = 8;
/// How far the class is from the level in an I/O priority (`linux/ioprio.h`), and the lowest level.
const IOPRIO_CLASS_SHIFT: u16 = 13;
const IOPRIO_LEVELS: u16 = 8;
/// The most nodes of memory that the kernel can be built for.
const MAX_NODES: usize = 1024;
/// As many processors as the C library's sets of them have.
const MAX_PROCESSORS: usize = 1024;

pub(super) fn scheduling(context: &Context<'_>, process: &Process) -> Result<SchedulingPlan, PlanError> {
    Ok(SchedulingPlan {
        cpu: process.scheduler().as_ref().map(cpu).transpose()?,
        io_priority: process.io_priority().as_ref().map(io_priority).transpose()?,
        memory: context.linux.memory_policy().as_ref().map(memory).transpose()?,
        personality: context.linux.personality().as_ref().map(personality).transpose()?,
    })
}

fn cpu(scheduler: &Scheduler) -> Result<CpuScheduling, PlanError> {
    let priority = scheduler.priority().unwrap_or_default();
    Ok(CpuScheduling {
        policy: policy(*scheduler.policy())?,
        flags: scheduler.flags().iter().flatten().fold(0, |all, flag| all | flag_bit(*flag)),
        nice: scheduler.nice().unwrap_or_default(),
        priority: u32::try_from(priority).map_err(|_| PlanError::Invalid {
            field: "process.scheduler.priority",
            value: priority.to_string(),
            reason: "is negative",
        })?,
        runtime: scheduler.runtime().unwrap_or_default(),
        deadline: scheduler.deadline().unwrap_or_default(),
        period: scheduler.period().unwrap_or_default(),
    })
}

/// `linux/sched.h`.
fn policy(policy: LinuxSchedulerPolicy) -> Result<u32, PlanError> {
    match policy {
        LinuxSchedulerPolicy::SchedOther => Ok(0),
        LinuxSchedulerPolicy::SchedFifo => Ok(1),
        LinuxSchedulerPolicy::SchedRr => Ok(2),
        LinuxSchedulerPolicy::SchedBatch => Ok(3),
        LinuxSchedulerPolicy::SchedIdle => Ok(5),
        LinuxSchedulerPolicy::SchedDeadline => Ok(6),
        LinuxSchedulerPolicy::SchedIso => {
            Err(PlanError::unsupported("process.scheduler.policy", "no kernel has SCHED_ISO"))
        }
    }
}

/// `linux/sched.h`.
fn flag_bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(priority: &LinuxIOPriority) -> Result<u16, PlanError> {
    let class: u16 = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(priority.priority()).ok().filter(|level| *level < IOPRIO_LEVELS);
    match level {
        Some(level) => Ok(class << IOPRIO_CLASS_SHIFT | level),
        None => Err(PlanError::Invalid {
            field: "process.ioPriority.priority",
            value: priority.priority().to_string(),
            reason: "isn't one of 0 to 7",
        }),
    }
}

fn memory(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy, PlanError> {
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| all | memory_flag(*flag));
    let nodes = policy.nodes().as_deref().map(nodes).transpose()?.unwrap_or_default();
    Ok(MemoryPolicy { mode: memory_mode(policy.mode()) | flags, nodes })
}

/// `linux/mempolicy.h`.
fn memory_mode(mode: MemoryPolicyModeType) -> u32 {
    match mode {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    }
}

/// `linux/mempolicy.h`.
fn memory_flag(flag: MemoryPolicyFlagType) -> u32 {
    match flag {
        MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
        MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
        MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
    }
}

/// A list such as `0-3,7`, with the freedom that other runtimes allow.
fn nodes(list: &str) -> Result<Vec<u64>, PlanError> {
    let parts = list.split(',').map(str::trim).filter(|range| !range.is_empty());
    mask(parts, MAX_NODES).ok_or_else(|| PlanError::Invalid {
        field: "linux.memoryPolicy.nodes",
        value: list.to_owned(),
        reason: "isn't a list such as `0-3,7` of nodes below 1024",
    })
}

/// `process.execCPUAffinity`: of other programs than the container's first.
pub(super) fn exec_affinity(process: &Process) -> Result<ExecAffinity, PlanError> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok(ExecAffinity::default()) };
    Ok(ExecAffinity {
        first: processors("process.execCPUAffinity.initial", affinity.initial().as_deref())?,
        last: processors("process.execCPUAffinity.final", affinity.cpu_affinity_final().as_deref())?,
    })
}

fn processors(field: &'static str, list: Option<&str>) -> Result<Vec<u64>, PlanError> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(Vec::new()) };
    mask(list.split(','), MAX_PROCESSORS).ok_or_else(|| PlanError::Invalid {
        field,
        value: list.to_owned(),
        reason: "isn't a list such as `0-3,7` of processors below 1024",
    })
}

/// A bit for each number of some ranges.
fn mask<'a>(ranges: impl Iterator<Item = &'a str>, most: usize) -> Option<Vec<u64>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|number| digits && *number < most)
    };
    let mut mask = Vec::new();
    for range in ranges {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        mask.resize(mask.len().max(last / 64 + 1), 0);
        for bit in first..=last {
            mask[bit / 64] |= 1 << (bit % 64);
        }
    }
    Some(mask)
}

fn personality(personality: &LinuxPersonality) -> Result<u32, PlanError> {
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        return Err(PlanError::unsupported("linux.personality.flags", "the specification has none"));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes_become_masks() {
        for (list, mask) in [
            ("", vec![]),
            ("0", vec![1]),
            ("0-3,7", vec![0b1000_1111]),
            (" 1 , 64", vec![2, 1]),
            ("1023", [vec![0; 15], vec![1 << 63]].concat()),
        ] {
            assert_eq!(nodes(list).unwrap(), mask, "{list}");
        }
        for list in ["1024", "3-1", "a", "-1", "1-", "0-99999999999"] {
            assert!(nodes(list).is_err(), "{list}");
        }
    }

    #[test]
    fn lists_of_processors_are_read_strictly() {
        let read = |list| processors("field", Some(list));
        assert_eq!(read("0-3,7").unwrap(), [0b1000_1111]);
        assert_eq!(read("").unwrap(), [0; 0]);
        for list in ["1,,2", " 1", "1-", "+1", "3-1", "1024", "0x1", "1;2", ",", "-"] {
            assert!(read(list).is_err(), "{list}");
        }
    }

    #[test]
    fn levels_of_io_priorities_have_a_range() {
        let priority = |class, level: i64| {
            let json = serde_json::json!({ "class": class, "priority": level });
            io_priority(&serde_json::from_value(json).unwrap())
        };
        assert_eq!(priority("IOPRIO_CLASS_BE", 7).unwrap(), 2 << 13 | 7);
        assert_eq!(priority("IOPRIO_CLASS_IDLE", 0).unwrap(), 3 << 13);
        assert!(priority("IOPRIO_CLASS_RT", 8).is_err());
        assert!(priority("IOPRIO_CLASS_RT", -1).is_err());
    }
}
