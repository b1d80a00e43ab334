//! What can be done with devices: by files that nobody can open, or by the rules of a cgroup of either version.
//!
//! No device has such numbers as those of these tests, so what may be opened says that there is no such device; what a mount
//! forbids, permission denied; what a cgroup forbids, operation not permitted.

use brig_linux::CgroupMode;
use oci_spec::runtime::{Capability, Spec};
use serde_json::json;

use super::support::{Machine, machine, script_options};

const NO_DEVICE: &str = "No such device or address";
const BY_MOUNT: &str = "Permission denied";
const BY_CGROUP: &str = "Operation not permitted";

/// Runs a test with the rules in the devices controller of v1 and in a program of v2, where this machine has them.
fn in_both(test: impl Fn(&Machine)) {
    let Some(mut machine) = machine() else { return };
    let legacy = machine.host.cgroups.legacy_writable && machine.host.cgroups.legacy("devices").is_some();
    if legacy {
        test(&machine);
    }
    if machine.host.cgroups.unified.is_none() {
        eprintln!("skipped: needs cgroup v2");
        return;
    }
    // The limits of the hybrid machine stay away too, which these tests don't need.
    machine.host.cgroups.legacy_writable = false;
    test(&machine);
    assert!(legacy || machine.host.cgroups.mode != CgroupMode::V1);
}

fn with_rules(spec: &Spec, rules: serde_json::Value) -> Spec {
    let mut json = serde_json::to_value(spec).unwrap();
    json["linux"]["resources"]["devices"] = rules;
    serde_json::from_value(json).unwrap()
}

fn lines(machine: &Machine, spec: &Spec) -> Vec<String> {
    let outcome = machine.run_spec(spec);
    let lines = outcome.stdout.lines().map(|line| line.rsplit(": ").next().unwrap_or_default().to_owned());
    lines.collect()
}

#[test]
fn made_devices_are_dead_by_their_mounts() {
    let Some(machine) = machine() else { return };
    let script = "cd /tmp; mknod c c 600 1; cat c 2>&1; cd /dev; mknod c c 600 1; cat c 2>&1";
    let spec = machine.spec(&script_options(script));
    let plan = machine.plan(&spec).unwrap();
    assert!(
        plan.cgroup.devices.is_none() && plan.cgroup.legacy.iter().all(|dir| dir.controller != "devices")
    );
    assert_eq!(lines(&machine, &spec), [BY_MOUNT, BY_MOUNT]);
}

#[test]
fn rules_say_which_devices_work() {
    in_both(|machine| {
        let script = "cd /tmp; for n in '600 1' '600 2' '601 1'; do mknod c c $n; cat c 2>&1; rm c; done; \
            echo x > /dev/null; head -c 2 /dev/zero | wc -c";
        let rules = json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 600, "minor": 1, "access": "rw"},
            {"allow": true, "type": "c", "major": 601, "access": "r"},
        ]);
        let spec = with_rules(&machine.spec(&script_options(script)), rules);
        assert_eq!(lines(machine, &spec), [NO_DEVICE, BY_CGROUP, NO_DEVICE, "2"]);
    });
}

#[test]
fn a_device_may_be_read_and_not_written() {
    in_both(|machine| {
        let script = "cat /dev/thing 2>&1; (echo x > /dev/thing) 2>&1; (echo x <> /dev/thing) 2>&1";
        let rules = json!([
            {"allow": false},
            {"allow": true, "type": "c", "major": 600, "minor": 3, "access": "r"},
        ]);
        let mut json =
            serde_json::to_value(with_rules(&machine.spec(&script_options(script)), rules)).unwrap();
        json["linux"]["devices"] = json!([{"path": "/dev/thing", "type": "c", "major": 600, "minor": 3}]);
        let spec = serde_json::from_value(json).unwrap();
        assert_eq!(lines(machine, &spec), [NO_DEVICE, BY_CGROUP, BY_CGROUP]);
    });
}

#[test]
fn all_but_some_devices_work() {
    in_both(|machine| {
        let script = "cd /tmp; mknod a c 600 1; mknod b c 600 2; cat a b 2>&1; (echo x > b) 2>&1";
        let rules = json!([
            {"allow": true, "type": "a", "access": "rwm"},
            {"allow": false, "type": "c", "major": 600, "minor": 2, "access": "w"},
        ]);
        let spec = with_rules(&machine.spec(&script_options(script)), rules);
        assert_eq!(lines(machine, &spec), [NO_DEVICE, NO_DEVICE, BY_CGROUP]);
    });
}

#[test]
fn a_container_that_can_mount_has_the_rules_in_a_cgroup() {
    in_both(|machine| {
        let script = "mount -t tmpfs none /tmp; mknod /tmp/c c 600 1; cat /tmp/c 2>&1; echo x > /dev/null && echo null";
        let mut options = script_options(script);
        options.add_capabilities = vec![Capability::SysAdmin];
        assert_eq!(lines(machine, &machine.spec(&options)), [BY_CGROUP, "null"]);
        let everything = with_rules(&machine.spec(&options), json!([{"allow": true, "access": "rwm"}]));
        assert_eq!(lines(machine, &everything), [NO_DEVICE, "null"]);
    });
}

#[test]
fn what_is_executed_later_has_the_rules_too() {
    in_both(|machine| {
        let rules = json!([{"allow": false}, {"allow": true, "type": "c", "major": 600, "access": "rw"}]);
        let spec = with_rules(&machine.spec(&script_options("echo up; read x")), rules);
        let plan = machine.plan(&spec).unwrap();
        let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
        assert_eq!(running.line(), "up");
        let script = "cd /tmp; mknod a c 600 1; mknod b c 601 1; cat a b 2>&1";
        let outcome =
            running.exec(|request| request.args = ["sh", "-c", script].map(str::to_owned).to_vec()).unwrap();
        let (allowed, denied) = outcome.stdout.split_once('\n').unwrap();
        assert!(allowed.ends_with(NO_DEVICE) && denied.trim_end().ends_with(BY_CGROUP), "{outcome:?}");
        running.type_in("x\n");
        running.outcome();
    });
}

#[test]
fn without_a_cgroup_rules_that_need_one_are_an_error() {
    let Some(mut machine) = machine() else { return };
    machine.host.cgroups.unified = None;
    machine.host.cgroups.legacy_writable = false;
    let mut options = script_options("true");
    assert!(machine.plan(&machine.spec(&options)).is_ok());
    let some = json!([{"allow": true}, {"allow": false, "type": "c", "major": 1, "minor": 1}]);
    assert!(machine.plan(&with_rules(&machine.spec(&options), some)).is_err());
    options.add_capabilities = vec![Capability::SysAdmin];
    // Nobody asked for it by a rule.
    assert!(machine.plan(&machine.spec(&options)).is_ok());
    let asked = with_rules(&machine.spec(&options), json!([{"allow": false, "access": "rwm"}]));
    let error = machine.plan(&asked).unwrap_err().to_string();
    assert!(error.contains("linux.resources.devices"), "{error}");
}
