//! How the payload is scheduled, where its memory comes from, what its clocks show, and what it takes the machine for.

use brig_runtime::plan::SchedulingPlan;

use super::child::Entry;
use super::failure::{Failure, On};
use super::sys;

/// Made later than the others: its clocks can be set only while nobody lives in it.
pub(super) const NEWTIME: u32 = libc::CLONE_NEWTIME.cast_unsigned();

/// The time namespace that this process will be in once it executes a program.
pub(super) fn make_time_namespace(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if entry.plan.new_namespaces & NEWTIME == 0 {
        return Ok(());
    }
    sys::unshare(NEWTIME)?;
    let offsets = entry.plan.time_offsets.iter();
    let lines: String =
        offsets.map(|(clock, seconds, nanos)| format!("{clock} {seconds} {nanos}\n")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let path = "/proc/self/timens_offsets";
    std::fs::write(path, lines).on(path)
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
