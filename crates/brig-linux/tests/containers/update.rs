//! Other limits for a container that runs.

use std::fs;

use brig_linux::{CgroupMode, CgroupUpdate, HostOptions, UpdateError, plan_linux, plan_resources_update};
use serde_json::json;

use super::support::{Machine, Running, machine, script_options};

/// A container in every hierarchy, with limits in this machine's words.
fn start(machine: &Machine, limits: serde_json::Value) -> Running {
    let mut json = serde_json::to_value(machine.spec(&script_options("echo up; read x"))).unwrap();
    json["linux"]["cgroupsPath"] = json!(format!("/{}", machine.id()));
    json["linux"]["resources"] = limits;
    let spec = serde_json::from_value(json).unwrap();
    let options = HostOptions { as_runc: true, ..HostOptions::new(&machine.host, "id") };
    let plan = plan_linux(&spec, &machine.overlay(), &options).unwrap();
    let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
    assert_eq!(running.line(), "up");
    running
}

fn end(mut running: Running) {
    running.type_in("x\n");
    assert_eq!(running.outcome().status.code, 0);
}

fn update(machine: &Machine, running: &Running, resources: serde_json::Value) -> CgroupUpdate {
    let cgroups = running.plan.payload.cgroup.directories();
    plan_resources_update(&serde_json::from_value(resources).unwrap(), &machine.host, &cgroups).unwrap()
}

/// What the files of an update say.
fn values(update: &CgroupUpdate) -> Vec<String> {
    let read = |(path, _): &(std::path::PathBuf, String)| fs::read_to_string(path).unwrap().trim().to_owned();
    update.settings().iter().map(read).collect()
}

/// A machine with v1's memory, pids and cpu or all of v2.
fn with_controllers() -> Option<Machine> {
    let machine = machine()?;
    let cgroups = &machine.host.cgroups;
    let there = |name: &&str| match cgroups.mode {
        CgroupMode::V2 => cgroups.unified_controllers().iter().any(|known| known == name),
        _ => cgroups.legacy_writable && cgroups.legacy(name).is_some(),
    };
    if ["memory", "pids", "cpu"].iter().all(there) {
        return Some(machine);
    }
    eprintln!("skipped: needs the cgroup controllers memory, pids and cpu");
    None
}

const MIB: u64 = 1 << 20;

#[test]
fn memory_grows_and_shrinks_with_its_swap() {
    let Some(machine) = with_controllers() else { return };
    let running = start(&machine, json!({"memory": {"limit": 50 * MIB}, "pids": {"limit": 100}}));
    for (limit, swap) in [(200, 300), (20, 30), (100, 100), (30, 500), (60, 60)] {
        let memory = json!({"memory": {"limit": limit * MIB, "swap": swap * MIB}, "pids": {"limit": limit}});
        let update = update(&machine, &running, memory);
        update.apply().unwrap();
        let wanted: Vec<String> = update.settings().iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(values(&update), wanted);
    }
    let free = update(&machine, &running, json!({"memory": {"limit": -1}, "pids": {"limit": -1}}));
    let undo = free.apply().unwrap();
    assert!(values(&free).iter().all(|value| value == "max" || value.len() > 17), "{:?}", values(&free));
    undo.undo();
    assert!(values(&free).contains(&(60 * MIB).to_string()), "{:?}", values(&free));
    end(running);
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_all_as_they_were() {
    let Some(machine) = with_controllers() else { return };
    let running =
        start(&machine, json!({"pids": {"limit": 100}, "cpu": {"quota": 50_000, "period": 100_000}}));
    let refused = json!({"pids": {"limit": 50}, "cpu": {"shares": 512, "quota": 20_000, "cpus": "5000"}});
    let update = update(&machine, &running, refused);
    let before = values(&update);
    assert!(matches!(update.apply(), Err(UpdateError::Write { .. })));
    assert_eq!(values(&update), before);
    end(running);
}

#[test]
fn processors_are_shared_otherwise() {
    let Some(machine) = with_controllers() else { return };
    let running = start(&machine, json!({"cpu": {"quota": 50_000, "period": 100_000}}));
    let cpu = json!({"cpu": {"shares": 512, "quota": 10_000, "period": 20_000, "burst": 5_000, "cpus": "0"}});
    let update = update(&machine, &running, cpu);
    update.apply().unwrap();
    let wanted: Vec<String> = update.settings().iter().map(|(_, value)| value.clone()).collect();
    assert_eq!(values(&update), wanted);
    end(running);
}

#[test]
fn a_controller_of_v2_comes_with_its_first_limit() {
    let Some(machine) = machine() else { return };
    let known = machine.host.cgroups.unified_controllers();
    let limits = [
        ("pids", json!({"pids": {"limit": 7}})),
        ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]})),
    ];
    let Some((name, limit)) = limits.into_iter().find(|(name, _)| known.iter().any(|known| known == name))
    else {
        eprintln!("skipped: needs a controller in cgroup v2");
        return;
    };
    let running = start(&machine, json!({}));
    let update = update(&machine, &running, limit);
    // Where another container has brought it here, it is there.
    let control = machine.host.cgroups.unified.as_ref().unwrap().join("cgroup.subtree_control");
    let before = fs::read_to_string(&control).unwrap().split_whitespace().any(|known| known == name);
    assert_eq!(update.settings()[0].0.exists(), before);
    update.apply().unwrap();
    assert_eq!(values(&update), [update.settings()[0].1.clone()]);
    end(running);
    if !before {
        // Somebody else may need it by now.
        let _ = fs::write(control, format!("-{name}"));
    }
}
