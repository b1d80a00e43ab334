//! Namespaces that exist.

use std::fs;
use std::os::unix::fs::{chown, lchown};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use brig_linux::{HostOptions, RootFs, plan_linux};
use brig_runtime::plan::PayloadPlan;
use serde_json::{Value, json};

use super::support::{Machine, has_program, machine, script_options, with_time_namespaces};

/// The first id of the user namespaces here.
const FIRST: u32 = 100_000;

/// A process that lives in namespaces.
struct Holder(Child);

impl Holder {
    /// In new namespaces of these kinds, by unshare(1).
    fn new(kinds: &[&str], command: &[&str]) -> Option<Self> {
        if !has_program("unshare") {
            return None;
        }
        let child = Command::new("unshare").args(kinds).args(command).spawn().unwrap();
        let holder = Self(child);
        // It is there when it is another program.
        let end = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(format!("/proc/{}/comm", holder.0.id())).unwrap().starts_with("sleep") {
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(holder)
    }

    /// In a user namespace with maps, and others of its own.
    fn user(kinds: &[&str]) -> Option<Self> {
        let holder = Self::new(&[&["-U"], kinds].concat(), &["sleep", "1000"])?;
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", holder.0.id()), format!("0 {FIRST} 65536\n")).unwrap();
        }
        Some(holder)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }

    fn identity(&self, name: &str) -> String {
        fs::read_link(self.path(name)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The default spec with these namespaces.
fn spec(machine: &Machine, script: &str, namespaces: Value) -> Value {
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    json["linux"]["namespaces"] = namespaces;
    json
}

/// A plan whose root file system belongs to the first id of the user namespaces here.
fn plan(machine: &Machine, json: Value) -> PayloadPlan {
    let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
    let RootFs::Overlay { upper: Some(upper), work: Some(work), lowers, .. } = &plan.root else { panic!() };
    for path in [upper, work, &lowers[0], &lowers[0].join("bin"), &lowers[0].join("bin/busybox")] {
        chown(path, Some(FIRST), Some(FIRST)).unwrap();
    }
    for applet in ["sh", "cat", "readlink", "id", "true"] {
        lchown(lowers[0].join("bin").join(applet), Some(FIRST), Some(FIRST)).unwrap();
    }
    plan
}

const LOOK: &str =
    "for n in user net ipc uts mnt pid; do readlink /proc/self/ns/$n; done; id -u; cat /proc/self/uid_map";

#[test]
fn a_user_namespace_is_entered_with_others_in_any_order() {
    let Some(machine) = machine() else { return };
    let Some(holder) = Holder::user(&["-n", "-i", "-u"]) else { return };
    // Another network namespace, which isn't the user namespace's.
    let Some(other) = Holder::new(&["-n"], &["sleep", "1000"]) else { return };
    let joined = |typ: &str, path: String| json!({ "type": typ, "path": path });
    let user = joined("user", holder.path("user"));
    let rest = [joined("ipc", holder.path("ipc")), joined("uts", holder.path("uts"))];
    let new = [json!({ "type": "mount" }), json!({ "type": "pid" }), json!({ "type": "cgroup" })];
    for (network, user_first) in [(&holder, true), (&holder, false), (&other, true), (&other, false)] {
        let mut all = vec![joined("network", network.path("net"))];
        all.extend(rest.iter().chain(&new).cloned());
        let place = if user_first { 0 } else { all.len() };
        all.insert(place, user.clone());
        let script = format!("{LOOK}; cat /proc/self/oom_score_adj; echo up; read x");
        let mut json = spec(&machine, &script, all.into());
        json["process"]["oomScoreAdj"] = 300.into();
        json.as_object_mut().unwrap().remove("hostname");
        let mut running =
            machine.start_with(plan(&machine, json), |supervisor| supervisor.stdin_open = true).unwrap();
        let lines = running.lines_until("up");
        let expected = ["user", "ipc", "uts"].map(|name| holder.identity(name));
        assert_eq!([&lines[0], &lines[2], &lines[3]], expected.each_ref(), "{lines:?}");
        assert_eq!(lines[1], network.identity("net"));
        for (at, name) in [(4, "mnt"), (5, "pid")] {
            let host = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
            assert_ne!(lines[at], host.to_str().unwrap(), "{name}");
            assert_ne!(lines[at], holder.identity(name), "{name}");
        }
        assert_eq!(lines[6], "0");
        assert_eq!(lines[7].split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
        assert_eq!(lines[8], "300");
        let other =
            running.exec(|request| request.args = vec!["readlink".into(), "/proc/self/ns/user".into()]);
        assert_eq!(other.unwrap().stdout.trim(), holder.identity("user"));
        running.type_in("\n");
        assert_eq!(running.outcome().status.code, 0);
    }
}

#[test]
fn new_namespaces_belong_to_the_user_namespace_that_is_entered() {
    let Some(machine) = with_time_namespaces() else { return };
    let Some(holder) = Holder::user(&[]) else { return };
    let mut all: Vec<Value> =
        ["mount", "pid", "network", "ipc", "uts", "cgroup", "time"].map(|typ| json!({ "type": typ })).into();
    all.push(json!({ "type": "user", "path": holder.path("user") }));
    let script =
        "readlink /proc/self/ns/user; hostname; cat /proc/uptime; mount -t tmpfs none /tmp && echo mounted";
    let mut json = spec(&machine, script, all.into());
    json["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000 } });
    json["linux"]["seccomp"] = Value::Null;
    for set in ["bounding", "effective", "permitted"] {
        json["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_SYS_ADMIN".into());
    }
    let outcome = machine.start(plan(&machine, json)).unwrap().outcome();
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], holder.identity("user"), "{outcome:?}");
    assert_eq!(lines[1], "boat");
    assert!(lines[2].starts_with("1000"), "{outcome:?}");
    assert_eq!(lines[3], "mounted", "{outcome:?}");
}

#[test]
fn the_clocks_of_a_new_user_namespace_are_set() {
    let Some(machine) = with_time_namespaces() else { return };
    let all = ["mount", "pid", "ipc", "uts", "network", "user", "time"].map(|typ| json!({ "type": typ }));
    let mut json = spec(&machine, "cat /proc/uptime", Vec::from(all).into());
    let ids = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    (json["linux"]["uidMappings"], json["linux"]["gidMappings"]) = (ids.clone(), ids);
    json["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1_000_000_000 } });
    let outcome = machine.start(plan(&machine, json)).unwrap().outcome();
    assert!(outcome.stdout.starts_with("1000"), "{outcome:?}");
}

#[test]
fn a_new_user_namespace_needs_no_rights_over_what_is_entered() {
    let Some(machine) = machine() else { return };
    let Some(other) = Holder::new(&["-n"], &["sleep", "1000"]) else { return };
    let all = json!([
        { "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "user" },
        { "type": "network", "path": other.path("net") },
    ]);
    let mut json = spec(&machine, LOOK, all);
    let ids = json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    (json["linux"]["uidMappings"], json["linux"]["gidMappings"]) = (ids.clone(), ids);
    json.as_object_mut().unwrap().remove("hostname");
    let outcome = machine.start(plan(&machine, json)).unwrap().outcome();
    assert_eq!(outcome.stdout.lines().nth(1), Some(other.identity("net").as_str()), "{outcome:?}");
    assert!(outcome.stdout.contains("100000"), "{outcome:?}");
}

#[test]
fn what_can_t_be_entered_is_said() {
    let Some(machine) = machine() else { return };
    let Some(holder) = Holder::user(&[]) else { return };
    let all = json!([
        { "type": "mount" }, { "type": "user", "path": holder.path("user") },
        { "type": "network", "path": holder.path("ipc") },
    ]);
    let mut json = spec(&machine, "true", all.clone());
    json.as_object_mut().unwrap().remove("hostname");
    let Err(brig_linux::HelperError::Step { source }) = machine.start(plan(&machine, json.clone())) else {
        panic!("it started");
    };
    assert_eq!(source.step, "enter namespaces");
    assert_eq!(source.subject, Some(holder.path("ipc")));
    json["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 5, "size": 1 }]);
    let error = machine.plan(&serde_json::from_value(json).unwrap()).unwrap_err();
    assert!(error.to_string().contains("maps others"), "{error}");
}

#[test]
fn a_mount_namespace_is_entered_as_it_is() {
    let Some(machine) = machine() else { return };
    let tree = machine.directory("tree");
    let command =
        format!("mount -t tmpfs none {0} && echo seen > {0}/file && exec sleep 1000", tree.display());
    let Some(holder) = Holder::new(&["-m", "--propagation", "private"], &["sh", "-c", &command]) else {
        return;
    };
    let file = tree.join("file");
    assert!(!file.exists());
    let script = format!("cat {}; readlink /proc/self/ns/mnt; echo up; read x", file.display());
    let all = json!([{ "type": "mount", "path": holder.path("mnt") }, { "type": "pid" }, { "type": "uts" }]);
    let mut json = spec(&machine, &script, all);
    let error = machine.plan(&serde_json::from_value(json.clone()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`mounts`"), "{error}");
    json["mounts"] = json!([]);
    (json["linux"]["maskedPaths"], json["linux"]["readonlyPaths"]) = (json!([]), json!([]));
    json["process"]["env"] = json!(["PATH=/usr/bin:/bin"]);
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", holder.0.id())).unwrap();
    let before = mounts();
    let start = |json: &Value, root: &str| {
        let root = RootFs::Path { path: root.into() };
        let options = HostOptions::new(&machine.host, "joined");
        let plan = plan_linux(&serde_json::from_value(json.clone()).unwrap(), &root, &options).unwrap();
        machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap()
    };
    let mut running = start(&json, "/");
    // Its `/proc` is of another pid namespace, where it has another number; `self` is right all the same.
    assert_eq!(running.lines_until("up"), ["seen".to_owned(), holder.identity("mnt")]);
    let exec = |request: &mut brig_runtime::protocol::ExecRequest| {
        request.args = vec!["/bin/cat".into(), file.to_str().unwrap().into()];
    };
    assert_eq!(running.exec(exec).unwrap().stdout, "seen\n");
    running.type_in("\n");
    assert_eq!(running.outcome().status.code, 0);
    // A directory of it can be the root.
    json["process"]["args"] = json!(["/bin/sh", "-c", "echo /*; echo up; read x"]);
    let mut running = start(&json, machine.lower().to_str().unwrap());
    assert_eq!(running.lines_until("up"), ["/bin /etc /tmp"]);
    let other = running.exec(|request| request.args = ["/bin/sh", "-c", "echo /*"].map(str::to_owned).into());
    assert_eq!(other.unwrap().stdout, "/bin /etc /tmp\n");
    running.type_in("\n");
    assert_eq!(running.outcome().status.code, 0);
    assert_eq!(mounts(), before);
}

#[test]
fn an_ordinary_user_enters_its_own_user_namespace() {
    let Some(machine) = machine() else { return };
    if !machine.host.rootless {
        return;
    }
    let Some(holder) = Holder::new(&["-U", "-r", "-n"], &["sleep", "1000"]) else { return };
    let all = json!([
        { "type": "network", "path": holder.path("net") },
        { "type": "mount" }, { "type": "pid" }, { "type": "ipc" },
        { "type": "user", "path": holder.path("user") },
    ]);
    let mut json = spec(&machine, LOOK, all);
    json.as_object_mut().unwrap().remove("hostname");
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[..2], [holder.identity("user"), holder.identity("net")], "{outcome:?}");
    assert_eq!(lines[6], "0");
}
