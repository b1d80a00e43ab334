//! Memory, processes, freezing.

use std::fs;

use brig_linux::{CgroupMode, PlanError};
use brig_runtime::ExitReason;
use brig_runtime::protocol::{Request, Response};

use super::support::{Machine, machine, script_options};

fn allowed(machine: &Machine, controller: &str) -> bool {
    let cgroups = &machine.host.cgroups;
    let there = (cgroups.legacy_writable && cgroups.legacy(controller).is_some())
        || cgroups.unified_controllers().iter().any(|known| known == controller);
    if !there {
        eprintln!("skipped: needs the cgroup controller {controller}");
    }
    there
}

#[test]
fn too_much_memory_is_a_reason() {
    let Some(machine) = machine() else { return };
    if !allowed(&machine, "memory") {
        return;
    }
    let mut options = script_options("exec head -c 200m /dev/zero | tail -c 150m | wc -c");
    options.args = ["tail", "-c", "100m", "/dev/zero"].map(str::to_owned).to_vec();
    options.limits.memory = Some(20 << 20);
    let outcome = machine.run(&options);
    assert_eq!((outcome.status.code, outcome.status.reason), (137, ExitReason::Memory), "{outcome:?}");
}

#[test]
fn too_many_processes_can_t_be_made() {
    let Some(machine) = machine() else { return };
    if !allowed(&machine, "pids") {
        return;
    }
    let mut options = script_options("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo made");
    options.limits.pids = Some(4);
    let outcome = machine.run(&options);
    assert!(outcome.stderr.contains("fork"), "{outcome:?}");
}

#[test]
fn a_limit_that_can_t_be_given_is_an_error() {
    let Some(mut machine) = machine() else { return };
    machine.host.cgroups.unified = None;
    machine.host.cgroups.legacy_writable = false;
    let mut options = script_options("true");
    assert!(machine.plan(&machine.spec(&options)).unwrap().cgroup.directories().is_empty());
    options.limits.memory = Some(1 << 30);
    let error = machine.plan(&machine.spec(&options)).unwrap_err();
    assert!(matches!(&error, PlanError::Limit { limit, .. } if limit == "memory"), "{error}");
}

#[test]
fn everything_stands_still_while_it_is_paused() {
    let Some(machine) = machine() else { return };
    let script = "i=0; while :; do i=$((i+1)); echo $i > /dev/shm/n; done & echo up; read x; exit 3";
    let plan = machine.plan(&machine.spec(&script_options(script))).unwrap();
    let counter = |running: &super::support::Running| {
        let path = format!("/proc/{}/root/dev/shm/n", running.spawned.payload.pid);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    assert_eq!(running.ask(&Request::Pause), Response::Ok);
    let before = counter(&running);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(counter(&running), before);
    assert_eq!(running.ask(&Request::Resume), Response::Ok);
    running.type_in("x\n");
    assert_eq!(running.outcome().status.code, 3);
}

/// A block device of this machine, `major:minor`.
fn block_device() -> Option<(i64, i64)> {
    let devices = fs::read_dir("/sys/block").ok()?.filter_map(Result::ok);
    let mut numbers = devices.filter_map(|device| fs::read_to_string(device.path().join("dev")).ok());
    numbers.find_map(|numbers| {
        let (major, minor) = numbers.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

#[test]
fn block_devices_are_read_and_written_as_fast_as_the_spec_says() {
    let Some(machine) = machine() else { return };
    let Some((major, minor)) = block_device() else {
        eprintln!("skipped: this machine has no block device");
        return;
    };
    let controller = if machine.host.cgroups.mode == CgroupMode::V2 { "io" } else { "blkio" };
    if !allowed(&machine, controller) {
        return;
    }
    let script = "cat /sys/fs/cgroup/blkio/blkio.throttle.*_device 2>/dev/null || cat /sys/fs/cgroup/io.max";
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    let rate = |rate: u64| serde_json::json!([{ "major": major, "minor": minor, "rate": rate }]);
    json["linux"]["resources"]["blockIO"] = serde_json::json!({
        "throttleReadBpsDevice": rate(1_048_576), "throttleWriteIOPSDevice": rate(77),
    });
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    for rate in ["1048576", "77"] {
        assert!(outcome.stdout.contains(rate), "{outcome:?}");
    }
}

#[test]
fn the_oom_killer_is_kept_away_where_the_kernel_can() {
    let Some(machine) = machine() else { return };
    if machine.host.cgroups.legacy("memory").is_none() {
        eprintln!("skipped: only cgroup v1 has a switch for the OOM killer");
        return;
    }
    let script = "grep oom_kill_disable /sys/fs/cgroup/memory/memory.oom_control";
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    json["linux"]["resources"]["memory"] = serde_json::json!({ "limit": 50 << 20, "disableOOMKiller": true });
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    assert_eq!(outcome.stdout, "oom_kill_disable 1\n", "{outcome:?}");
}
