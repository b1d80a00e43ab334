//! What a container uses, read from its cgroups: in the words of `runc events --stats`, which containerd, podman and
//! others read.

mod pids;
mod read;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use self::pids::cgroup_pids;
use self::read::exists;

/// Why nothing is known of what a container uses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatsError {
    /// It has no cgroup, or none any more.
    #[error("the container has no cgroup: it doesn't run, or runs without")]
    NoCgroup,
    /// A file can't be read.
    #[error("can't read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file isn't what the kernel writes.
    #[error("`{}` can't be understood: `{text}`", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, or a part of it.
        text: String,
    },
}

/// What a container uses. What its cgroups don't count is zero, and left out where runc leaves it out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CgroupStats {
    /// Processors.
    pub cpu: Cpu,
    /// Which processors and memory nodes (v1).
    pub cpuset: CpuSet,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Processes.
    pub pids: Pids,
    /// Block devices.
    pub blkio: Blkio,
    /// Huge pages, by their size.
    pub hugetlb: BTreeMap<String, HugeTlb>,
    /// Cache allocation, which containers don't have here.
    pub intel_rdt: IntelRdt,
    /// Network interfaces, which aren't a cgroup's.
    pub network_interfaces: Option<Vec<()>>,
}

/// Nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdt {}

/// Processors.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpu {
    /// Time, in nanoseconds.
    pub usage: CpuUsage,
    /// How a quota was felt.
    #[serde(skip_serializing_if = "is_default")]
    pub throttling: Throttling,
    /// How long it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Time on processors, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    /// A processor each (v1).
    #[serde(skip_serializing_if = "is_default")]
    pub percpu: Vec<u64>,
    /// Of that, in the kernel.
    #[serde(skip_serializing_if = "is_default")]
    pub percpu_kernel: Vec<u64>,
    /// Of that, in programs.
    #[serde(skip_serializing_if = "is_default")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// How a quota was felt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which something ran.
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    /// Of those, in which the quota was used up.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// How long it was held up, in nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// How long something waited for what there wasn't enough of (v2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// While others ran.
    #[serde(skip_serializing_if = "is_default")]
    pub some: PressureData,
    /// While nothing ran.
    #[serde(skip_serializing_if = "is_default")]
    pub full: PressureData,
}

/// Shares of time in per cent, and the sum in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PressureData {
    /// Over ten seconds.
    pub avg10: f64,
    /// Over a minute.
    pub avg60: f64,
    /// Over five minutes.
    pub avg300: f64,
    /// Ever.
    pub total: u64,
}

/// Which processors and memory nodes, and the switches beside them, by the names of their files (v1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuSet {
    /// Processors.
    #[serde(skip_serializing_if = "is_default")]
    pub cpus: Vec<u16>,
    /// `cpu_exclusive`
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "is_default")]
    pub mems: Vec<u16>,
    /// `mem_hardwall`
    pub mem_hardwall: u64,
    /// `mem_exclusive`
    pub mem_exclusive: u64,
    /// `memory_migrate`
    pub memory_migrate: u64,
    /// `memory_spread_page`
    pub memory_spread_page: u64,
    /// `memory_spread_slab`
    pub memory_spread_slab: u64,
    /// `memory_pressure`
    pub memory_pressure: u64,
    /// `sched_load_balance`
    pub sched_load_balance: u64,
    /// `sched_relax_domain_level`
    pub sched_relax_domain_level: i64,
}

/// Memory, in bytes. No limit is the greatest number that the file can hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    /// All of it.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: MemoryEntry,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "is_default")]
    pub swap: MemoryEntry,
    /// The kernel's (v1).
    #[serde(skip_serializing_if = "is_default")]
    pub kernel: MemoryEntry,
    /// The kernel's for TCP (v1).
    #[serde(rename = "kernelTCP", skip_serializing_if = "is_default")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`
    #[serde(skip_serializing_if = "is_default")]
    pub raw: BTreeMap<String, u64>,
    /// How long it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// Memory of one sort, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEntry {
    /// The most that it may be.
    pub limit: u64,
    /// What it is.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most that it was.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often it reached its limit (v1).
    pub failcnt: u64,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pids {
    /// How many there are.
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// How many there may be; zero is no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

/// Block devices.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    /// Bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Requests.
    #[serde(skip_serializing_if = "is_default")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Requests that wait.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "is_default")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    /// Nanoseconds from the device's beginning of a request to its end.
    #[serde(skip_serializing_if = "is_default")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds in queues.
    #[serde(skip_serializing_if = "is_default")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Requests that became one with others.
    #[serde(skip_serializing_if = "is_default")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Milliseconds that devices were its own.
    #[serde(skip_serializing_if = "is_default")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "is_default")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long it waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One number of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// The device's major number.
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    /// The device's minor number.
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// `Read`, `Write`, …
    #[serde(skip_serializing_if = "is_default")]
    pub op: String,
    /// The number.
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HugeTlb {
    /// What it is.
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    /// The most that it was (v1).
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    /// How often there were none.
    pub failcnt: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What a container uses, whose cgroups are these directories: those of its record, or of
/// [`CgroupPlan::directories`](brig_runtime::plan::CgroupPlan::directories).
///
/// # Errors
/// [`StatsError`].
pub fn cgroup_stats(cgroups: &[PathBuf]) -> Result<CgroupStats, StatsError> {
    let there: Vec<&Path> = cgroups.iter().map(PathBuf::as_path).filter(|dir| dir.is_dir()).collect();
    if there.is_empty() {
        return Err(StatsError::NoCgroup);
    }
    let (unified, legacy): (Vec<&Path>, Vec<&Path>) =
        there.into_iter().partition(|dir| exists(dir, "cgroup.controllers"));
    let mut stats = CgroupStats::default();
    // A v2 cgroup counts something even where its controllers are elsewhere; those know better.
    for dir in &unified {
        v2::add(dir, &mut stats)?;
    }
    for dir in &legacy {
        v1::add(dir, &mut stats)?;
    }
    if stats.pids.current == 0 {
        stats.pids.current = cgroup_pids(cgroups)?.len() as u64;
    }
    Ok(stats)
}

#[cfg(test)]
mod tests;
