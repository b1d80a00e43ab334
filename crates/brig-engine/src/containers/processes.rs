//! What a container's processes are, and what they take: `top` and `stats`. Read from the host's `/proc` and the
//! container's cgroups; nothing of the container is executed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The most that is read of one file of `/proc`, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The unit of times in `/proc/<pid>/stat`, in parts of a second: `USER_HZ`, the same on all architectures that brig is
/// built for.
const TICKS: u64 = 100;
/// How deep a payload's own cgroups are followed.
const MAX_DEPTH: usize = 32;

/// A process of a container, as the host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// The user, by the host's number.
    pub uid: u32,
    /// The processor time that it has taken.
    pub cpu: Duration,
    /// How long it has lived.
    pub age: Duration,
    /// The device number of its terminal, 0 for none.
    pub terminal: i32,
    /// Its arguments, or its name in brackets where it has none.
    pub command: String,
}

/// What a container takes, at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Instant,
    /// The processor time that it has taken.
    pub cpu: Duration,
    /// Memory in use, in bytes, without file pages that can be given back.
    pub memory: u64,
    /// The most that it may use: its limit, or all that the machine has.
    pub memory_limit: u64,
    /// Bytes received and sent by its own interfaces, without the loopback.
    pub network: (u64, u64),
    /// Bytes read from and written to devices.
    pub block: (u64, u64),
    /// Processes and threads.
    pub tasks: u64,
    /// Open files, sockets and pipes of all processes; of a wasm container those of its engine process.
    pub handles: u64,
}

impl Engine {
    /// The processes of a running container, the oldest first.
    pub fn processes(&self, name: &str) -> Result<Vec<Process>> {
        let container = self.container(name)?;
        let uptime = uptime().map_err(Error::io("read", "/proc/uptime"))?;
        // One that has ended meanwhile isn't among them.
        Ok(pids(&container)?.into_iter().filter_map(|pid| process(pid, uptime)).collect())
    }

    /// What a running container takes now.
    pub fn sample(&self, name: &str) -> Result<Sample> {
        let container = self.container(name)?;
        let pids = pids(&container)?;
        let cgroups = &container.state.cgroups;
        let main = container.state.payload.map_or(0, |payload| payload.pid);
        Ok(Sample {
            at: Instant::now(),
            cpu: cgroup_cpu(cgroups).unwrap_or_else(|| pids.iter().map(|pid| cpu_time(*pid)).sum()),
            memory: cgroup_memory(cgroups).unwrap_or_else(|| pids.iter().map(|pid| own_memory(*pid)).sum()),
            memory_limit: container.spec.limits.memory.unwrap_or_else(machine_memory),
            network: if container.spec.network == "host" { (0, 0) } else { network(main) },
            block: pids.iter().map(|pid| block(*pid)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1)),
            tasks: pids.iter().map(|pid| entries(&proc(*pid, "task"))).sum(),
            handles: pids.iter().map(|pid| entries(&proc(*pid, "fd"))).sum(),
        })
    }
}

/// All processes of a running container: those of its cgroup; where it has none, those of its pid namespace, or the
/// payload alone.
fn pids(container: &ContainerInfo) -> Result<Vec<i32>> {
    let payload = container.state.payload.ok_or_else(|| container.wrong_state("look into"))?;
    let mut pids = BTreeSet::from([payload.pid]);
    if let Some(dir) = container.state.cgroups.first() {
        members(dir, 0, &mut pids);
        return Ok(pids.into_iter().collect());
    }
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs = namespace(&payload.pid.to_string());
    if theirs.is_some() && theirs != namespace("self") {
        let all = fs::read_dir("/proc").map_err(Error::io("read", "/proc"))?;
        let numbers = all.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbers = numbers.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        pids.extend(numbers.filter(|pid| namespace(pid) == theirs).filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Ok(pids.into_iter().collect())
}

/// A cgroup that goes meanwhile has no members.
fn members(dir: &Path, depth: usize, pids: &mut BTreeSet<i32>) {
    if let Ok(text) = read(&dir.join("cgroup.procs")) {
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
    }
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if depth < MAX_DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), depth + 1, pids);
        }
    }
}

fn process(pid: i32, uptime: Duration) -> Option<Process> {
    let stat = read(&proc(pid, "stat")).ok()?;
    let (front, fields) = stat.rsplit_once(')')?;
    // The first of these is field 3 of proc_pid_stat(5).
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let name = front.split_once('(').map_or("", |(_, name)| name);
    let started = in_ticks(number(22)?);
    let arguments = read(&proc(pid, "cmdline")).unwrap_or_default();
    let arguments = arguments.trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        uid: std::os::unix::fs::MetadataExt::uid(&fs::metadata(proc(pid, "")).ok()?),
        cpu: in_ticks(number(14)? + number(15)?),
        age: uptime.saturating_sub(started),
        terminal: fields.get(4)?.parse().ok()?,
        command: if arguments.is_empty() { format!("[{name}]") } else { arguments },
    })
}

/// With that of the children that it has waited for.
fn cpu_time(pid: i32) -> Duration {
    let Ok(stat) = read(&proc(pid, "stat")) else { return Duration::ZERO };
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_ascii_whitespace().skip(14 - 3).take(4);
    let total: u64 = times.filter_map(|text| text.parse::<u64>().ok()).sum();
    in_ticks(total)
}

/// Its proportional share of the memory that it has mapped; where that can't be read, all that is resident.
fn own_memory(pid: i32) -> u64 {
    let kilobytes = |file: &str, key: &str| {
        let text = read(&proc(pid, file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<u64>().ok())
    };
    kilobytes("smaps_rollup", "Pss:").or_else(|| kilobytes("status", "VmRSS:")).unwrap_or(0) << 10
}

/// Time in microseconds (v2), or in nanoseconds (v1).
fn cgroup_cpu(cgroups: &[PathBuf]) -> Option<Duration> {
    cgroups.iter().find_map(|dir| {
        let v1 = || number(&dir.join("cpuacct.usage")).map(Duration::from_nanos);
        keyed(&dir.join("cpu.stat"), "usage_usec").map(Duration::from_micros).or_else(v1)
    })
}

/// docker's number: what is in use, without the file pages that haven't been used lately.
fn cgroup_memory(cgroups: &[PathBuf]) -> Option<u64> {
    cgroups.iter().find_map(|dir| {
        let stat = dir.join("memory.stat");
        let (used, cache) = match number(&dir.join("memory.current")) {
            Some(used) => (used, keyed(&stat, "inactive_file")),
            None => (number(&dir.join("memory.usage_in_bytes"))?, keyed(&stat, "total_inactive_file")),
        };
        Some(used.saturating_sub(cache.unwrap_or(0)))
    })
}

/// All memory of this machine, in bytes.
pub fn machine_memory() -> u64 {
    let text = read(Path::new("/proc/meminfo")).unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    total.map_or(0, |kilobytes: u64| kilobytes << 10)
}

/// Bytes received and sent in the network namespace of a process.
fn network(pid: i32) -> (u64, u64) {
    let text = read(&proc(pid, "net/dev")).unwrap_or_default();
    let interfaces = text.lines().filter_map(|line| line.split_once(':'));
    interfaces.filter(|(name, _)| name.trim() != "lo").fold((0, 0), |(received, sent), (_, counters)| {
        let counters: Vec<u64> = counters.split_whitespace().filter_map(|text| text.parse().ok()).collect();
        let counter = |index: usize| counters.get(index).copied().unwrap_or(0);
        (received + counter(0), sent + counter(8))
    })
}

fn block(pid: i32) -> (u64, u64) {
    let path = proc(pid, "io");
    let text = read(&path).unwrap_or_default();
    let counter = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    (counter("read_bytes:").unwrap_or(0), counter("write_bytes:").unwrap_or(0))
}

fn entries(dir: &Path) -> u64 {
    fs::read_dir(dir).map_or(0, |entries| entries.count() as u64)
}

fn number(path: &Path) -> Option<u64> {
    read(path).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = read(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn uptime() -> io::Result<Duration> {
    let text = read(Path::new("/proc/uptime"))?;
    let seconds = text.split_whitespace().next().and_then(|text| text.parse().ok());
    Ok(Duration::from_secs_f64(seconds.unwrap_or(0.0)))
}

fn in_ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000 / TICKS))
}

fn proc(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}

/// A container chooses the names and arguments of its processes, so that this isn't always text.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_as_the_host_sees_it() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = process(pid, uptime().unwrap()).unwrap();
        assert_eq!(process.pid, pid);
        assert!(process.parent > 0);
        assert!(process.age < Duration::from_secs(3600));
        assert!(!process.command.is_empty() && !process.command.contains('\0'));
        assert!(own_memory(pid) > 100_000);
        assert!(entries(&super::proc(pid, "fd")) >= 3);
    }

    #[test]
    fn counters_of_cgroups_of_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let dirs = [dir.path().to_owned()];
        assert_eq!((cgroup_cpu(&dirs), cgroup_memory(&dirs)), (None, None));
        file("cpuacct.usage", "1500000000\n");
        file("memory.usage_in_bytes", "5000\n");
        file("memory.stat", "cache 9\ninactive_file 7\ntotal_inactive_file 1000\n");
        assert_eq!(cgroup_cpu(&dirs), Some(Duration::from_millis(1500)));
        assert_eq!(cgroup_memory(&dirs), Some(4000));
        file("cpu.stat", "usage_usec 2000\nuser_usec 1\n");
        file("memory.current", "9000\n");
        assert_eq!(cgroup_cpu(&dirs), Some(Duration::from_millis(2)));
        assert_eq!(cgroup_memory(&dirs), Some(8993));
    }
}
