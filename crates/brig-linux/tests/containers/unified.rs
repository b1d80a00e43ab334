//! What takes a machine with nothing but cgroup v2, such as that of `tests/vm/run`.

use std::fs;
use std::process::Command;

use brig_linux::{CgroupMode, cgroup_stats};
use brig_runtime::protocol::{Request, Response};
use serde_json::json;

use super::support::{Machine, has_program, machine, program, remove_tree, script_options};

const MIB: u64 = 1 << 20;

/// A machine whose v2 hierarchy has these controllers.
pub(crate) fn with_controllers(names: &[&str]) -> Option<Machine> {
    let machine = machine()?;
    let known = machine.host.cgroups.unified_controllers();
    if machine.host.cgroups.mode == CgroupMode::V2
        && names.iter().all(|name| known.iter().any(|known| known == name))
    {
        return Some(machine);
    }
    eprintln!("skipped: needs a machine with cgroup v2 alone and its controllers {}", names.join(", "));
    None
}

/// What a container with these resources reads in files of its cgroup.
fn files(machine: &Machine, resources: serde_json::Value, files: &[&str]) -> Vec<String> {
    let script = format!("cd /sys/fs/cgroup; for f in {}; do echo $(cat $f); done", files.join(" "));
    let mut json = serde_json::to_value(machine.spec(&script_options(&script))).unwrap();
    json["linux"]["resources"] = resources;
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    assert_eq!(outcome.stderr, "", "{outcome:?}");
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn memory_is_limited() {
    let Some(machine) = with_controllers(&["memory"]) else { return };
    let memory = json!({"memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB}});
    let said = files(&machine, memory, &["memory.max", "memory.swap.max", "memory.low"]);
    assert_eq!(said, [64 * MIB, 32 * MIB, 32 * MIB].map(|bytes| bytes.to_string()));
    assert_eq!(files(&machine, json!({"memory": {"limit": -1}}), &["memory.max"]), ["max"]);
}

#[test]
fn processors_are_limited() {
    let Some(machine) = with_controllers(&["cpu", "cpuset"]) else { return };
    let cpu = json!({"cpu": {
        "shares": 2048, "quota": 20_000, "period": 50_000, "burst": 10_000, "cpus": "0", "mems": "0",
    }});
    let names =
        ["cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective"];
    assert_eq!(files(&machine, cpu, &names), ["79", "20000 50000", "10000", "0", "0", "0"]);
    assert_eq!(files(&machine, json!({"cpu": {"idle": 1}}), &["cpu.idle"]), ["1"]);
}

#[test]
fn processes_huge_pages_and_files_by_name_are_limited() {
    let Some(machine) = with_controllers(&["pids", "hugetlb", "memory"]) else { return };
    let resources = json!({
        "pids": {"limit": 33},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}],
        "unified": {"memory.high": "50331648", "cgroup.max.depth": "3"},
    });
    let names = ["pids.max", "hugetlb.2MB.max", "memory.high", "cgroup.max.depth"];
    let said = files(&machine, resources, &names);
    assert_eq!(said, ["33", "4194304", "50331648", "3"]);
}

#[test]
fn what_v1_alone_has_is_an_error() {
    let Some(machine) = with_controllers(&["memory", "cpu"]) else { return };
    for resources in [
        json!({"memory": {"swappiness": 10}}),
        json!({"memory": {"disableOOMKiller": true}}),
        json!({"cpu": {"realtimeRuntime": 1000}}),
        json!({"network": {"classID": 5}}),
    ] {
        let mut json = serde_json::to_value(machine.spec(&script_options("true"))).unwrap();
        json["linux"]["resources"] = resources.clone();
        assert!(machine.plan(&serde_json::from_value(json).unwrap()).is_err(), "{resources}");
    }
}

#[test]
fn what_a_container_uses_is_counted_by_every_controller() {
    let Some(machine) = with_controllers(&["memory", "pids", "cpu", "io"]) else { return };
    let script = "dd if=/dev/zero of=/file bs=1M count=4 2>/dev/null; sync; head -c 8m /dev/zero > /dev/shm/x; echo up; read x";
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    json["linux"]["resources"] = json!({"memory": {"limit": 256 * MIB}, "pids": {"limit": 20}, "cpu": {"quota": 50_000}, "unified": {"io.weight": "50"}});
    let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
    let dirs = plan.cgroup.directories();
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    assert_eq!(running.ask(&Request::Pause), Response::Ok);
    let stats = cgroup_stats(&dirs).unwrap();
    assert_eq!(running.ask(&Request::Resume), Response::Ok);
    running.type_in("x\n");
    running.outcome();
    assert!(stats.cpu.usage.total > 0 && stats.cpu.throttling.periods > 0, "{stats:?}");
    assert!(stats.memory.usage.usage >= 8 * MIB && stats.memory.usage.limit == 256 * MIB, "{stats:?}");
    assert!(stats.memory.raw["shmem"] >= 8 * MIB, "{stats:?}");
    assert_eq!((stats.pids.current, stats.pids.limit), (1, 20), "{stats:?}");
    assert!(!stats.blkio.io_service_bytes_recursive.is_empty(), "{stats:?}");
}

/// As in a container that sees its own cgroup as the root of all: the processes in it are in the way of controllers.
#[test]
fn containers_in_a_container_have_limits() {
    const INNER: &str = "limits::too_much_memory_is_a_reason";
    let Some(machine) = with_controllers(&["memory", "pids"]).filter(|machine| !machine.host.rootless) else {
        return;
    };
    if !has_program("unshare") {
        return;
    }
    let root = machine.host.cgroups.unified.clone().unwrap();
    fs::write(root.join("cgroup.subtree_control"), "+memory +pids").unwrap();
    let dir = root.join(machine.id());
    fs::create_dir(&dir).unwrap();
    let script = format!(
        "echo $$ > {}/cgroup.procs; exec \"$0\" --cgroup --mount sh -c \
            'umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" --exact {INNER}' \"$1\"",
        dir.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(program("unshare").unwrap())
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let others = fs::read_to_string(dir.join("brig/processes/cgroup.procs"));
    remove_tree(&dir);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(others.unwrap(), "");
}
