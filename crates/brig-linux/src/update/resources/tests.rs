//! Directories that look like the cgroups of a container.

use serde_json::json;

use super::*;
use crate::host::CgroupMode;

struct Fake {
    dir: tempfile::TempDir,
    host: Host,
    cgroups: Vec<PathBuf>,
}

impl Fake {
    /// A container with a cgroup of each controller of v1, or with one of v2.
    fn new(unified: bool, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::probe();
        let mut cgroups = Vec::new();
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        if unified {
            host.cgroups.mode = CgroupMode::V2;
            host.cgroups.unified = Some(dir.path().to_owned());
            write(dir.path().join("cgroup.controllers"), "cpu cpuset io memory pids hugetlb");
            write(dir.path().join("c/cgroup.controllers"), "");
            cgroups.push(dir.path().join("c"));
        } else {
            host.cgroups.mode = CgroupMode::V1;
            host.cgroups.unified = None;
        }
        for (file, text) in files {
            let controller = file.split('.').next().unwrap();
            let place = dir.path().join(if unified { "c" } else { controller });
            write(place.join(file), text);
            if !cgroups.contains(&place) {
                cgroups.push(place);
            }
        }
        Self { dir, host, cgroups }
    }

    fn plan(&self, resources: serde_json::Value) -> Result<CgroupUpdate, PlanError> {
        plan_resources_update(&serde_json::from_value(resources).unwrap(), &self.host, &self.cgroups)
    }

    /// What is written, without the directories.
    fn lines(&self, resources: serde_json::Value) -> Vec<String> {
        let update = self.plan(resources).unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        update.settings().iter().map(|(path, value)| format!("{} {value}", name(path))).collect()
    }
}

const MEMORY: [(&str, &str); 3] = [
    ("memory.limit_in_bytes", "100\n"),
    ("memory.memsw.limit_in_bytes", "150\n"),
    ("memory.soft_limit_in_bytes", "9223372036854771712\n"),
];

#[test]
fn memory_and_swap_are_written_in_the_order_that_the_kernel_takes() {
    let fake = Fake::new(false, &MEMORY);
    let memory = |limit: i64, swap: i64| fake.lines(json!({"memory": {"limit": limit, "swap": swap}}));
    let (limit, sum) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    assert_eq!(memory(200, 300), [format!("{sum} 300"), format!("{limit} 200")]);
    assert_eq!(memory(50, 60), [format!("{limit} 50"), format!("{sum} 60")]);
    assert_eq!(memory(120, 130), [format!("{limit} 120"), format!("{sum} 130")]);
    assert_eq!(memory(-1, 0), [format!("{sum} -1"), format!("{limit} -1")]);
    assert_eq!(memory(0, 200), [format!("{sum} 200")]);
    assert_eq!(memory(110, 0), [format!("{limit} 110")]);
    assert_eq!(memory(0, -1), [format!("{sum} -1")]);
    for (limit, swap) in [(100, 50), (0, 50), (160, 0), (-1, 50)] {
        assert!(fake.plan(json!({"memory": {"limit": limit, "swap": swap}})).is_err(), "{limit} {swap}");
    }
}

#[test]
fn docker_s_swap_grows_with_the_memory() {
    let fake =
        Fake::new(false, &[("memory.limit_in_bytes", "100\n"), ("memory.memsw.limit_in_bytes", "200\n")]);
    let lines = fake.lines(json!({"memory": {"limit": 300}}));
    assert_eq!(lines, ["memory.memsw.limit_in_bytes 600", "memory.limit_in_bytes 300"]);
}

#[test]
fn v2_has_swap_alone() {
    let files = [
        ("memory.max", "100\n"),
        ("memory.swap.max", "50\n"),
        ("memory.low", "0\n"),
        ("memory.current", "30\n"),
    ];
    let fake = Fake::new(true, &files);
    let memory = |limit: i64, swap: i64| fake.lines(json!({"memory": {"limit": limit, "swap": swap}}));
    assert_eq!(memory(200, 300), ["memory.max 200", "memory.swap.max 100"]);
    assert_eq!(memory(0, 100), ["memory.swap.max 0"]);
    // The sum stays.
    assert_eq!(memory(120, 0), ["memory.max 120", "memory.swap.max 30"]);
    assert_eq!(memory(-1, 0), ["memory.max max", "memory.swap.max max"]);
    assert!(fake.plan(json!({"memory": {"limit": 160}})).is_err());
    assert_eq!(fake.lines(json!({"memory": {"reservation": 7}})), ["memory.low 7"]);
    let checked = |limit: i64| fake.plan(json!({"memory": {"limit": limit, "checkBeforeUpdate": true}}));
    assert!(checked(30).is_err() && checked(31).is_ok());
}

#[test]
fn a_kernel_without_swap_takes_no_limit_of_it() {
    let fake = Fake::new(false, &[("memory.limit_in_bytes", "100\n")]);
    assert_eq!(fake.lines(json!({"memory": {"limit": 300}})), ["memory.limit_in_bytes 300"]);
    assert_eq!(fake.lines(json!({"memory": {"limit": -1}})), ["memory.limit_in_bytes -1"]);
    assert!(fake.plan(json!({"memory": {"limit": 300, "swap": 400}})).is_err());
    assert_eq!(fake.lines(json!({"memory": {"swap": -1}})), Vec::<String>::new());
    assert!(fake.plan(json!({"memory": {"kernel": 400}})).is_err());
    let fake = Fake::new(true, &[("memory.max", "max\n")]);
    assert!(fake.plan(json!({"memory": {"limit": 300, "swap": 400}})).is_err());
    assert_eq!(fake.lines(json!({"memory": {"limit": 300, "swap": 300}})), ["memory.max 300"]);
}

#[test]
fn processors() {
    let all = json!({"cpu": {
        "shares": 512, "quota": 5000, "period": 10000, "burst": 0, "idle": 1, "realtimePeriod": 1000,
        "realtimeRuntime": 500, "cpus": "0-1", "mems": "0",
    }});
    let names = [
        "cpu.shares",
        "cpu.cfs_period_us",
        "cpu.cfs_quota_us",
        "cpu.cfs_burst_us",
        "cpu.idle",
        "cpu.rt_period_us",
        "cpu.rt_runtime_us",
        "cpuset.cpus",
        "cpuset.mems",
    ];
    let legacy = Fake::new(false, &names.map(|name| (name, "1\n")));
    let expected = [
        "cpu.shares 512",
        "cpu.cfs_period_us 10000",
        "cpu.cfs_quota_us 5000",
        "cpu.rt_period_us 1000",
        "cpu.rt_runtime_us 500",
        "cpu.cfs_burst_us 0",
        "cpu.idle 1",
        "cpuset.cpus 0-1",
        "cpuset.mems 0",
    ];
    assert_eq!(legacy.lines(all.clone()), expected);
    assert_eq!(legacy.lines(json!({"cpu": {"quota": -1}})), ["cpu.cfs_quota_us -1"]);

    let unified = Fake::new(true, &[("cpu.max", "7000 20000\n"), ("cpu.weight", "100\n")]);
    assert_eq!(unified.lines(json!({"cpu": {"quota": 5000}})), ["cpu.max 5000 20000"]);
    assert_eq!(unified.lines(json!({"cpu": {"period": 50000}})), ["cpu.max 7000 50000"]);
    assert_eq!(unified.lines(json!({"cpu": {"quota": -1}})), ["cpu.max max 20000"]);
    assert_eq!(unified.lines(json!({"cpu": {"shares": 1024}})), ["cpu.weight 39"]);
    assert!(unified.plan(all).is_err(), "there is no real-time share on v2");
}

#[test]
fn what_is_nothing_changes_nothing() {
    let fake = Fake::new(false, &MEMORY);
    let nothing = json!({
        "memory": {"limit": 0, "swap": 0, "reservation": 0}, "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": ""},
        "pids": {"limit": 0}, "blockIO": {"weight": 0}, "devices": [{"allow": false, "access": "rwm"}],
    });
    assert_eq!(fake.lines(nothing), Vec::<String>::new());
    // Neither does taking away what isn't there.
    assert_eq!(fake.lines(json!({"pids": {"limit": -1}, "cpu": {"quota": -1}})), Vec::<String>::new());
    let error = fake.plan(json!({"pids": {"limit": 5}})).unwrap_err();
    assert!(matches!(&error, PlanError::Limit { limit, .. } if limit == "pids"), "{error}");
}

#[test]
fn controllers_come_with_the_first_limit_on_v2() {
    let fake = Fake::new(true, &[("memory.max", "max\n")]);
    let update = fake
        .plan(json!({"pids": {"limit": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}))
        .unwrap();
    let above = fake.dir.path().join("cgroup.subtree_control");
    assert_eq!(update.switches, [(above.clone(), "+pids".to_owned()), (above, "+hugetlb".to_owned())]);
    let unified = json!({"unified": {"io.latency": "8:0 target=100", "cgroup.freeze": "0"}});
    assert_eq!(fake.lines(unified), ["cgroup.freeze 0", "io.latency 8:0 target=100"]);
    assert!(fake.plan(json!({"unified": {"../x.y": "1"}})).is_err());
    assert!(fake.plan(json!({"unified": {"rdma.max": "1"}})).is_err());
}
