//! Directories that look like cgroups.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;

fn cgroup(files: &[(&str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), text).unwrap();
    }
    let path = dir.path().to_owned();
    (dir, vec![path])
}

#[test]
fn without_anything_it_has_runcs_shape() {
    let json = serde_json::to_value(CgroupStats::default()).unwrap();
    let cpuset = json!({
        "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0, "memory_spread_page": 0,
        "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0, "sched_relax_domain_level": 0,
    });
    let expected = json!({
        "cpu": {"usage": {"kernel": 0, "user": 0}}, "cpuset": cpuset, "memory": {}, "pids": {}, "blkio": {},
        "hugetlb": {}, "intel_rdt": {}, "network_interfaces": null,
    });
    assert_eq!(json, expected);
}

#[test]
fn v2_in_v1_s_words() {
    let (_dir, cgroups) = cgroup(&[
        ("cgroup.controllers", "cpu io memory pids\n"),
        ("cgroup.procs", "7\n"),
        (
            "cpu.stat",
            "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n",
        ),
        (
            "cpu.pressure",
            "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
        ("memory.stat", "anon 1\nfile 4096\n"),
        ("memory.current", "100\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "200\n"),
        ("memory.swap.current", "5\n"),
        ("memory.swap.max", "50\n"),
        ("pids.current", "2\n"),
        ("pids.max", "max\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:0 \n"),
        ("hugetlb.2MB.current", "0\n"),
        ("hugetlb.2MB.rsvd.current", "2097152\n"),
        ("hugetlb.2MB.events", "max 9\n"),
    ]);
    let stats = cgroup_stats(&cgroups).unwrap();
    assert_eq!(
        (stats.cpu.usage.total, stats.cpu.usage.user, stats.cpu.usage.kernel),
        (30_000, 20_000, 10_000)
    );
    let throttling = json!({"periods": 4, "throttledPeriods": 3, "throttledTime": 2000});
    assert_eq!(serde_json::to_value(stats.cpu.throttling).unwrap(), throttling);
    let psi = stats.cpu.psi.unwrap();
    assert_eq!((psi.some.total, psi.full.total), (77, 0));
    assert!((psi.some.avg10 - 1.5).abs() < 0.001);
    assert_eq!(stats.memory.cache, 4096);
    assert_eq!(stats.memory.usage, MemoryEntry { limit: u64::MAX, usage: 100, max: 200, failcnt: 0 });
    assert_eq!(stats.memory.swap, MemoryEntry { limit: u64::MAX, usage: 105, max: 0, failcnt: 0 });
    assert_eq!(stats.pids, Pids { current: 2, limit: 0 });
    let bytes = json!([
        {"major": 8, "op": "Read", "value": 1}, {"major": 8, "op": "Write", "value": 2},
    ]);
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["blkio"]["ioServiceBytesRecursive"], bytes);
    assert_eq!(json["hugetlb"], json!({"2MB": {"usage": 2_097_152, "failcnt": 9}}));
}

#[test]
fn v1_knows_better_than_the_empty_v2_beside_it() {
    let (_unified, mut cgroups) = cgroup(&[
        ("cgroup.controllers", ""),
        ("cgroup.procs", "7\n9\n"),
        ("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\n"),
    ]);
    assert_eq!(cgroup_stats(&cgroups).unwrap().pids.current, 2);
    let (_legacy, legacy) = cgroup(&[
        ("cgroup.procs", "7\n9\n"),
        ("tasks", "7\n9\n"),
        ("cpuacct.usage", "31000\n"),
        ("cpuacct.usage_percpu", "1000 30000 \n"),
        ("cpuacct.usage_all", "cpu user system\n0 900 100\n1 20000 10000\n"),
        ("cpuacct.stat", "user 2\nsystem 1\n"),
        ("cpuset.cpus", "0-2,5\n"),
        ("cpuset.mems", "0\n"),
        ("cpuset.sched_load_balance", "1\n"),
        ("cpuset.sched_relax_domain_level", "-1\n"),
        ("memory.stat", "cache 4\nrss 5\n"),
        ("memory.usage_in_bytes", "10\n"),
        ("memory.limit_in_bytes", "20\n"),
        ("memory.max_usage_in_bytes", "15\n"),
        ("memory.failcnt", "3\n"),
        ("memory.kmem.usage_in_bytes", "1\n"),
        ("pids.current", "3\n"),
        ("pids.max", "100\n"),
        ("blkio.reset_stats", ""),
        ("blkio.throttle.io_service_bytes", "8:16 Read 7\n8:16 Total 7\nTotal 7\n"),
        ("hugetlb.1GB.usage_in_bytes", "0\n"),
        ("hugetlb.1GB.failcnt", "0\n"),
    ]);
    cgroups.extend(legacy);
    let stats = cgroup_stats(&cgroups).unwrap();
    let usage = &stats.cpu.usage;
    assert_eq!((usage.total, usage.user, usage.kernel), (31_000, 20_000_000, 10_000_000));
    assert_eq!((&usage.percpu, &usage.percpu_user), (&vec![1000, 30_000], &vec![900, 20_000]));
    assert_eq!(usage.percpu_kernel, [100, 10_000]);
    assert_eq!((stats.cpuset.cpus, stats.cpuset.sched_relax_domain_level), (vec![0, 1, 2, 5], -1));
    assert_eq!(stats.memory.usage, MemoryEntry { limit: 20, usage: 10, max: 15, failcnt: 3 });
    assert_eq!((stats.memory.kernel.usage, stats.memory.swap), (1, MemoryEntry::default()));
    assert_eq!(stats.pids, Pids { current: 3, limit: 100 });
    assert_eq!(stats.blkio.io_service_bytes_recursive.len(), 2);
    assert!(stats.hugetlb.contains_key("1GB"));
}

#[test]
fn nothing_is_known_without_a_cgroup() {
    assert!(matches!(cgroup_stats(&[]), Err(StatsError::NoCgroup)));
    assert!(matches!(cgroup_stats(&["/not/there".into()]), Err(StatsError::NoCgroup)));
    let (_dir, cgroups) = cgroup(&[("pids.current", "many\n")]);
    assert!(matches!(cgroup_stats(&cgroups), Err(StatsError::Malformed { .. })));
}

#[test]
fn processes_below_are_the_container_s() {
    let (_dir, cgroups) = cgroup(&[
        ("cgroup.procs", "30\n4\n0\n"),
        ("a/cgroup.procs", "4\n5\n"),
        ("a/b/cgroup.procs", "1\n"),
        ("not-a-cgroup/file", "77\n"),
    ]);
    let twice = [cgroups[0].clone(), cgroups[0].clone(), "/not/there".into()];
    assert_eq!(cgroup_pids(&twice).unwrap(), [1, 4, 5, 30]);
}
