//! A cgroup of one hierarchy of v1: whatever controllers it has files of.

use std::path::Path;

use super::read::{exists, malformed, number, number_or_zero, table, text};
use super::{BlkioEntry, CgroupStats, HugeTlb, MemoryEntry, StatsError};

/// Nanoseconds of the unit in which `cpuacct.stat` counts (`USER_HZ`).
const TICK: u64 = 1_000_000_000 / 100;

/// Adds what the cgroup counts.
pub(super) fn add(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    if exists(dir, "cpuacct.usage") {
        usage(dir, stats)?;
    }
    if let Some(table) = table(dir, "cpu.stat")? {
        let get = |key: &str| table.get(key).copied().unwrap_or(0);
        stats.cpu.throttling.periods = get("nr_periods");
        stats.cpu.throttling.throttled_periods = get("nr_throttled");
        stats.cpu.throttling.throttled_time = get("throttled_time");
    }
    if exists(dir, "cpuset.cpus") {
        cpuset(dir, stats)?;
    }
    if let Some(raw) = table(dir, "memory.stat")? {
        stats.memory.cache = raw.get("cache").copied().unwrap_or(0);
        stats.memory.raw = raw;
        stats.memory.usage = memory(dir, "memory")?;
        stats.memory.swap = memory(dir, "memory.memsw")?;
        stats.memory.kernel = memory(dir, "memory.kmem")?;
        stats.memory.kernel_tcp = memory(dir, "memory.kmem.tcp")?;
    }
    if let Some(current) = number(dir, "pids.current")? {
        stats.pids.current = current;
        stats.pids.limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
    }
    blkio(dir, stats)?;
    huge_pages(dir, stats)
}

fn usage(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    let usage = &mut stats.cpu.usage;
    usage.total = number_or_zero(dir, "cpuacct.usage")?;
    let file = "cpuacct.usage_percpu";
    let each = text(dir, file)?.unwrap_or_default();
    usage.percpu = each
        .split_whitespace()
        .map(|word| word.parse().map_err(|_| malformed(dir, file, word)))
        .collect::<Result<_, _>>()?;
    if let Some(table) = table(dir, "cpuacct.stat")? {
        let get = |key: &str| table.get(key).copied().unwrap_or(0).saturating_mul(TICK);
        usage.user = get("user");
        usage.kernel = get("system");
    }
    // A heading, then a line a processor: its number, time in programs, time in the kernel.
    let modes = text(dir, "cpuacct.usage_all")?.unwrap_or_default();
    let modes = modes.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?))
    });
    (usage.percpu_user, usage.percpu_kernel) = modes.unzip();
    Ok(())
}

fn cpuset(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    let switch = |name: &str| number_or_zero(dir, &format!("cpuset.{name}"));
    let set = &mut stats.cpuset;
    set.cpus = list(dir, "cpuset.cpus")?;
    set.mems = list(dir, "cpuset.mems")?;
    set.cpu_exclusive = switch("cpu_exclusive")?;
    set.mem_hardwall = switch("mem_hardwall")?;
    set.mem_exclusive = switch("mem_exclusive")?;
    set.memory_migrate = switch("memory_migrate")?;
    set.memory_spread_page = switch("memory_spread_page")?;
    set.memory_spread_slab = switch("memory_spread_slab")?;
    set.memory_pressure = switch("memory_pressure")?;
    set.sched_load_balance = switch("sched_load_balance")?;
    let file = "cpuset.sched_relax_domain_level";
    let level = text(dir, file)?.unwrap_or_default();
    let level = level.trim();
    set.sched_relax_domain_level =
        if level.is_empty() { 0 } else { level.parse().map_err(|_| malformed(dir, file, level))? };
    Ok(())
}

/// `0-3,7`
fn list(dir: &Path, file: &str) -> Result<Vec<u16>, StatsError> {
    let text = text(dir, file)?.unwrap_or_default();
    let mut numbers = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => numbers.extend(first..=last),
            _ => return Err(malformed(dir, file, part)),
        }
    }
    Ok(numbers)
}

/// Memory of one sort. Swap and the kernel's aren't counted everywhere.
fn memory(dir: &Path, name: &str) -> Result<MemoryEntry, StatsError> {
    let Some(usage) = number(dir, &format!("{name}.usage_in_bytes"))? else {
        return Ok(MemoryEntry::default());
    };
    Ok(MemoryEntry {
        limit: number_or_zero(dir, &format!("{name}.limit_in_bytes"))?,
        usage,
        max: number_or_zero(dir, &format!("{name}.max_usage_in_bytes"))?,
        failcnt: number_or_zero(dir, &format!("{name}.failcnt"))?,
    })
}

/// The scheduler BFQ counts, or the throttling; which of them does is seen by whether they have counted anything.
fn blkio(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    let first = |files: &[&str]| -> Result<Vec<BlkioEntry>, StatsError> {
        for file in files {
            let found = entries(dir, file)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    };
    if !exists(dir, "blkio.reset_stats") {
        return Ok(());
    }
    let blkio = &mut stats.blkio;
    blkio.io_service_bytes_recursive = first(&[
        "blkio.bfq.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes_recursive",
        "blkio.throttle.io_service_bytes",
    ])?;
    blkio.io_serviced_recursive = first(&[
        "blkio.bfq.io_serviced_recursive",
        "blkio.throttle.io_serviced_recursive",
        "blkio.throttle.io_serviced",
    ])?;
    blkio.io_queued_recursive = first(&["blkio.bfq.io_queued_recursive"])?;
    blkio.io_service_time_recursive = first(&["blkio.bfq.io_service_time_recursive"])?;
    blkio.io_wait_time_recursive = first(&["blkio.bfq.io_wait_time_recursive"])?;
    blkio.io_merged_recursive = first(&["blkio.bfq.io_merged_recursive"])?;
    blkio.io_time_recursive = first(&["blkio.bfq.time_recursive"])?;
    blkio.sectors_recursive = first(&["blkio.bfq.sectors_recursive"])?;
    Ok(())
}

/// Lines `8:0 Read 4096` or `8:0 4096`; the sum of all devices at the end isn't one's.
fn entries(dir: &Path, file: &str) -> Result<Vec<BlkioEntry>, StatsError> {
    let Some(text) = text(dir, file)? else { return Ok(Vec::new()) };
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let (first, second) = (words.next()?, words.next());
        let (op, value) = second.map_or(("", first), |value| (first, value));
        let (major, minor, value) = (major.parse().ok()?, minor.parse().ok()?, value.parse().ok()?);
        Some(BlkioEntry { major, minor, op: op.to_owned(), value })
    };
    let lines = text.lines().filter(|line| line.contains(':'));
    lines.map(|line| entry(line).ok_or_else(|| malformed(dir, file, line))).collect()
}

fn huge_pages(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    for size in page_sizes(dir, ".usage_in_bytes") {
        // Where reservations are counted, they are what a limit is about.
        let reserved = exists(dir, &format!("hugetlb.{size}.rsvd.usage_in_bytes"));
        let name = format!("hugetlb.{size}{}", if reserved { ".rsvd" } else { "" });
        let pages = HugeTlb {
            usage: number_or_zero(dir, &format!("{name}.usage_in_bytes"))?,
            max: number_or_zero(dir, &format!("{name}.max_usage_in_bytes"))?,
            failcnt: number_or_zero(dir, &format!("{name}.failcnt"))?,
        };
        stats.hugetlb.insert(size, pages);
    }
    Ok(())
}

/// The sizes of huge pages that a cgroup counts, by the names of its files: `hugetlb.2MB` and the suffix.
pub(super) fn page_sizes(dir: &Path, suffix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| {
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
            (!size.contains('.')).then(|| size.to_owned())
        })
        .collect()
}
