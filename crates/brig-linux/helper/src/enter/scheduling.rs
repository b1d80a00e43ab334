//! How the payload is scheduled, where its memory comes from, what its clocks show, and what it takes the machine for.

use std::fs::File;
use std::io::Write;

use brig_runtime::plan::{PayloadPlan, SchedulingPlan};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::child::Entry;
use super::failure::{Failure, On};
use super::{join, sys};

/// Made later than the others: its clocks can be set only while nobody lives in it.
pub(super) const NEWTIME: u32 = libc::CLONE_NEWTIME.cast_unsigned();

/// The time namespace that this process will be in once it executes a program, unless a guide has made it.
pub(super) fn make_time_namespace(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if join::needs_guide(entry.plan) {
        return Ok(());
    }
    make_clocks(entry.plan, entry.clocks.take())
}

/// Opens what the clocks are set by, unless a guide has.
pub(super) fn open_own_clocks(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if !join::needs_guide(entry.plan) {
        entry.clocks = open_clocks(entry.plan)?;
    }
    Ok(())
}

/// Where the clocks of the next time namespace are set, when they are.
pub(super) fn open_clocks(plan: &PayloadPlan) -> Result<Option<File>, Failure> {
    if plan.time_offsets.is_empty() {
        return Ok(None);
    }
    let path = "/proc/self/timens_offsets";
    File::options().write(true).open(path).on(path).map(Some)
}

/// A new time namespace, for what this process makes and executes.
pub(super) fn make_clocks(plan: &PayloadPlan, clocks: Option<File>) -> Result<(), Failure> {
    if plan.new_namespaces & NEWTIME == 0 {
        return Ok(());
    }
    sys::unshare(NEWTIME)?;
    let offsets = plan.time_offsets.iter();
    let lines: String =
        offsets.map(|(clock, seconds, nanos)| format!("{clock} {seconds} {nanos}\n")).collect();
    match clocks {
        Some(mut clocks) => clocks.write_all(lines.as_bytes()).on("timens_offsets"),
        None => Ok(()),
    }
}

/// The processors that this process may run on: a bit for each. None is no change.
pub(super) fn set_affinity(processors: &[u64]) -> Result<(), Failure> {
    if processors.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for number in
        (0..processors.len() * 64).filter(|number| processors[number / 64] >> (number % 64) & 1 == 1)
    {
        set.set(number);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Everything that the plan says about processors, I/O and memory.
pub(super) fn schedule(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let SchedulingPlan { cpu, io_priority, memory, personality } = &entry.plan.process.scheduling;
    if let Some(personality) = personality {
        sys::personality(*personality).on("personality")?;
    }
    if let Some(policy) = memory {
        sys::set_memory_policy(policy).on("memory policy")?;
    }
    if let Some(priority) = io_priority {
        sys::set_io_priority(*priority).on("I/O priority")?;
    }
    if let Some(cpu) = cpu {
        sys::set_scheduler(cpu).on("scheduler")?;
    }
    Ok(())
}
