//! A cgroup of v2.

use std::path::Path;

use super::read::{exists, malformed, number, number_or_zero, table, text};
use super::{BlkioEntry, CgroupStats, HugeTlb, MemoryEntry, Pressure, PressureData, StatsError};

/// Nanoseconds of a microsecond.
const MICRO: u64 = 1000;

/// Adds what the cgroup counts.
pub(super) fn add(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    if let Some(table) = table(dir, "cpu.stat")? {
        let get = |key: &str| table.get(key).copied().unwrap_or(0);
        let cpu = &mut stats.cpu;
        cpu.usage.total = get("usage_usec").saturating_mul(MICRO);
        cpu.usage.user = get("user_usec").saturating_mul(MICRO);
        cpu.usage.kernel = get("system_usec").saturating_mul(MICRO);
        cpu.throttling.periods = get("nr_periods");
        cpu.throttling.throttled_periods = get("nr_throttled");
        cpu.throttling.throttled_time = get("throttled_usec").saturating_mul(MICRO);
    }
    stats.cpu.psi = pressure(dir, "cpu.pressure")?;
    if let Some(raw) = table(dir, "memory.stat")? {
        stats.memory.cache = raw.get("file").copied().unwrap_or(0);
        stats.memory.raw = raw;
        stats.memory.usage = memory(dir, "memory")?;
        stats.memory.swap = with_memory(memory(dir, "memory.swap")?, stats.memory.usage);
    }
    stats.memory.psi = pressure(dir, "memory.pressure")?;
    if let Some(current) = number(dir, "pids.current")? {
        stats.pids.current = current;
        stats.pids.limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX).unwrap_or(0);
    }
    io(dir, stats)?;
    stats.blkio.psi = pressure(dir, "io.pressure")?;
    huge_pages(dir, stats)
}

fn memory(dir: &Path, name: &str) -> Result<MemoryEntry, StatsError> {
    let Some(usage) = number(dir, &format!("{name}.current"))? else { return Ok(MemoryEntry::default()) };
    Ok(MemoryEntry {
        limit: number_or_zero(dir, &format!("{name}.max"))?,
        usage,
        max: number_or_zero(dir, &format!("{name}.peak"))?,
        failcnt: 0,
    })
}

/// Swap in v1's words, which are about memory and swap together. The most that both were isn't known.
fn with_memory(swap: MemoryEntry, memory: MemoryEntry) -> MemoryEntry {
    MemoryEntry {
        limit: swap.limit.saturating_add(memory.limit),
        usage: swap.usage.saturating_add(memory.usage),
        max: 0,
        failcnt: 0,
    }
}

/// Lines `8:0 rbytes=4096 wbytes=0 rios=1 …`
fn io(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    let Some(text) = text(dir, "io.stat")? else { return Ok(()) };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let blkio = &mut stats.blkio;
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            let value = value.parse().map_err(|_| malformed(dir, "io.stat", line))?;
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
    Ok(())
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`
fn pressure(dir: &Path, file: &str) -> Result<Option<Pressure>, StatsError> {
    let Some(text) = text(dir, file)? else { return Ok(None) };
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let (which, rest) = line.split_once(' ').unwrap_or((line, ""));
        let data = data(rest).ok_or_else(|| malformed(dir, file, line))?;
        match which {
            "some" => pressure.some = data,
            "full" => pressure.full = data,
            _ => {}
        }
    }
    Ok(Some(pressure))
}

fn data(line: &str) -> Option<PressureData> {
    let mut data = PressureData::default();
    for (key, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "avg10" => data.avg10 = value.parse().ok()?,
            "avg60" => data.avg60 = value.parse().ok()?,
            "avg300" => data.avg300 = value.parse().ok()?,
            "total" => data.total = value.parse().ok()?,
            _ => {}
        }
    }
    Some(data)
}

fn huge_pages(dir: &Path, stats: &mut CgroupStats) -> Result<(), StatsError> {
    for size in super::v1::page_sizes(dir, ".current") {
        let reserved = exists(dir, &format!("hugetlb.{size}.rsvd.current"));
        let file = format!("hugetlb.{size}{}.current", if reserved { ".rsvd" } else { "" });
        let events = table(dir, &format!("hugetlb.{size}.events"))?.unwrap_or_default();
        let failcnt = events.get("max").copied().unwrap_or(0);
        stats.hugetlb.insert(size, HugeTlb { usage: number_or_zero(dir, &file)?, max: 0, failcnt });
    }
    Ok(())
}
