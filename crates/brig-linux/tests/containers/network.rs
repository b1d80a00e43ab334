//! Network devices of the host's.

use std::process::Command;

use brig_linux::HelperError;
use serde_json::json;

use super::support::{Machine, host, in_own_namespaces, machine, script_options};

fn spec(machine: &Machine, script: &str, devices: serde_json::Value) -> oci_spec::runtime::Spec {
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    json["linux"]["netDevices"] = devices;
    serde_json::from_value(json).unwrap()
}

fn has_device(name: &str) -> bool {
    Command::new("ip").args(["link", "show", name]).output().unwrap().status.success()
}

#[test]
fn devices_of_the_host_come_in_with_their_addresses() {
    if !in_own_namespaces("network::devices_of_the_host_come_in_with_their_addresses", &["-n"]) {
        return;
    }
    let Some(machine) = machine() else { return };
    if Command::new("ip").arg("-V").output().is_err() {
        eprintln!("skipped: needs ip");
        return;
    }
    let veth = ["link", "add", "zero", "type", "veth", "peer", "name", "peer0"];
    if !Command::new("ip").args(veth).output().unwrap().status.success() {
        eprintln!("skipped: needs network devices of type veth");
        return;
    }
    for (a, b) in [("one", "peer1"), ("two", "peer2"), ("three", "peer3")] {
        host(&["ip", "link", "add", a, "type", "veth", "peer", "name", b]);
        host(&["ip", "link", "set", a, "up"]);
    }
    host(&["ip", "addr", "add", "10.9.8.7/24", "dev", "one"]);
    host(&["ip", "addr", "add", "10.9.9.1", "peer", "10.9.9.2", "dev", "one"]);
    host(&["ip", "addr", "add", "169.254.3.4/16", "scope", "link", "dev", "one"]);
    host(&["ip", "-6", "addr", "add", "fd00:1::5/64", "dev", "one", "nodad"]);
    let script =
        "for d in cargo two three0; do ifconfig $d || echo no $d; done; ifconfig -a | grep -c HWaddr";
    let devices = json!({ "one": { "name": "cargo" }, "two": {}, "three": { "name": "three%d" } });
    let outcome = machine.run_spec(&spec(&machine, script, devices));
    assert!(!outcome.stdout.contains("no "), "{outcome:?}");
    assert!(outcome.stdout.ends_with("3\n"), "{outcome:?}");
    for word in ["10.9.8.7", "Mask:255.255.255.0", "fd00:1::5/64", "UP"] {
        assert!(outcome.stdout.contains(word), "{word}: {outcome:?}");
    }
    assert!(!outcome.stdout.contains("169.254"), "{outcome:?}");
    assert!(["one", "two", "three"].iter().all(|name| !has_device(name)));
    // A name that is taken, and a device that isn't there.
    host(&["ip", "link", "add", "four", "type", "veth", "peer", "name", "peer4"]);
    for (name, new, errno) in [("four", "lo", 17), ("missing", "x", 19)] {
        let devices = json!({ name: { "name": new } });
        let plan = machine.plan(&spec(&machine, "true", devices)).unwrap();
        let Err(HelperError::Step { source }) = machine.start(plan) else { panic!("it started") };
        assert_eq!(source.step, "move the network device");
        assert_eq!((source.subject.as_deref(), source.errno), (Some(name), errno));
    }
    assert!(has_device("four"));
}
