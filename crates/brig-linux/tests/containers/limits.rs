//! Memory, processes, freezing.

use std::fs;

use brig_linux::{CgroupMode, HostOptions, PlanError, StatsError, cgroup_pids, cgroup_stats, plan_linux};
use brig_runtime::ExitReason;
use brig_runtime::protocol::{Request, Response};
use oci_spec::runtime::{Capability, Spec};

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

/// A spec whose cgroup is named.
fn with_path(machine: &Machine, script: &str, path: &str) -> Spec {
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    json["linux"]["cgroupsPath"] = serde_json::json!(path);
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_name_of_systemd_s_is_a_directory() {
    let Some(machine) = machine() else { return };
    let id = machine.id();
    let spec = with_path(&machine, "true", &format!("-.slice:brig:{id}"));
    let plan = machine.plan(&spec).unwrap();
    if plan.cgroup.directories().is_empty() {
        eprintln!("skipped: no cgroup can be made here");
        return;
    }
    let name = format!("brig-{id}.scope");
    assert!(plan.cgroup.directories().iter().all(|dir| dir.ends_with(&name)), "{plan:?}");
    assert_eq!(machine.start(plan).unwrap().outcome().status.code, 0);
}

#[test]
fn a_container_may_be_in_every_hierarchy() {
    let Some(machine) = machine() else { return };
    let path = format!("/{}", machine.id());
    let spec = with_path(&machine, "cat /proc/self/cgroup; ls /sys/fs/cgroup", &path);
    let mut options = HostOptions::new(&machine.host, "id");
    let few = plan_linux(&spec, &machine.overlay(), &options).unwrap().cgroup.legacy.len();
    options.as_runc = true;
    let plan = plan_linux(&spec, &machine.overlay(), &options).unwrap();
    if plan.cgroup.legacy.len() == few {
        eprintln!("skipped: needs cgroup v1");
        return;
    }
    let controllers: Vec<String> = plan.cgroup.legacy.iter().map(|dir| dir.controller.clone()).collect();
    let outcome = machine.start(plan).unwrap().outcome();
    for controller in &controllers {
        assert!(outcome.stdout.lines().any(|line| line == controller), "{controller}: {outcome:?}");
    }
    // In its cgroup namespace it is at the root of each.
    let groups = outcome.stdout.lines().filter(|line| line.contains(':'));
    assert!(groups.clone().count() >= controllers.len());
    assert!(groups.clone().all(|line| line.ends_with(":/")), "{outcome:?}");
}

#[test]
fn cgroups_that_a_container_has_made_go_with_it() {
    let Some(mut machine) = machine() else { return };
    if machine.host.cgroups.unified.is_none() {
        eprintln!("skipped: needs cgroup v2");
        return;
    }
    let script = |name: &str| {
        format!(
            "mount -t cgroup2 none /tmp && mkdir -p /tmp/a/b /tmp/c && {{ sleep 100 & }} && \
            echo $! > /tmp/a/b/cgroup.procs && echo {name}"
        )
    };
    let mut options = script_options(&script("v2"));
    options.add_capabilities = vec![Capability::SysAdmin];
    // The rules for devices in a program, so that there is no other cgroup.
    let legacy = std::mem::replace(&mut machine.host.cgroups.legacy_writable, false);
    assert_eq!(machine.run(&options).stdout, "v2\n");
    machine.host.cgroups.legacy_writable = legacy;
    if !legacy || machine.host.cgroups.legacy("devices").is_none() {
        return;
    }
    options.args[2] = script("v1").replace("cgroup2 none", "cgroup -o devices none");
    assert_eq!(machine.run(&options).stdout, "v1\n");
}

#[test]
fn what_a_container_uses_is_counted() {
    let Some(machine) = machine() else { return };
    let path = format!("/{}", machine.id());
    let script = "sleep 100 & i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo up; read x";
    let mut options = HostOptions::new(&machine.host, "id");
    options.as_runc = true;
    let plan = plan_linux(&with_path(&machine, script, &path), &machine.overlay(), &options).unwrap();
    let dirs = plan.cgroup.directories();
    if dirs.is_empty() {
        eprintln!("skipped: no cgroup can be made here");
        return;
    }
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    let stats = cgroup_stats(&dirs).unwrap();
    assert!(stats.cpu.usage.total > 1_000_000, "{stats:?}");
    assert_eq!(stats.pids.current, 2, "{stats:?}");
    if allowed(&machine, "memory") {
        assert!(stats.memory.usage.usage > 0 && !stats.memory.raw.is_empty(), "{stats:?}");
    }
    let pids = cgroup_pids(&dirs).unwrap();
    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&running.spawned.payload.pid.unsigned_abs()), "{pids:?}");
    running.type_in("x\n");
    running.outcome();
    assert!(matches!(cgroup_stats(&dirs), Err(StatsError::NoCgroup)));
}

#[test]
fn buffers_of_tcp_have_a_limit_where_the_kernel_has_one() {
    let Some(machine) = machine() else { return };
    let there = machine.host.cgroups.legacy("memory");
    let file = "memory.kmem.tcp.limit_in_bytes";
    if !allowed(&machine, "memory") || !there.is_some_and(|memory| memory.join(file).exists()) {
        eprintln!("skipped: needs {file}");
        return;
    }
    let script = format!("cat /sys/fs/cgroup/memory/{file}");
    let mut json = serde_json::to_value(machine.spec(&script_options(&script))).unwrap();
    // The limit of the kernel's own memory is none any more, on any kernel, and is left out as elsewhere.
    json["linux"]["resources"]["memory"] = serde_json::json!({ "kernel": 1 << 20, "kernelTCP": 1 << 20 });
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    assert_eq!(outcome.stdout, "1048576\n", "{outcome:?}");
}
