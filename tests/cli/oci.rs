//! `brig oci`: bundles, as callers of runc drive them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use brig_testing::image::{BUSYBOX_APPLETS, busybox_binary};
use brig_testing::{Output, Signal, TestEnv, Unavailable, need, need_root};
use serde_json::{Value, json};

use super::eventually;

/// A bundle with busybox in it, and a root directory of its own. What is left of its containers goes with it.
struct Bundle {
    env: TestEnv,
    dir: PathBuf,
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.oci(&["list", "-q"]).stdout.lines() {
            let _ = self.oci(&["delete", "--force", id]);
        }
    }
}

impl Bundle {
    fn new(args: &[&str]) -> Result<Self, Unavailable> {
        need_root()?;
        let env = super::env();
        let dir = env.work().join("bundle");
        make_root(&dir.join("rootfs"))?;
        let bundle = Self { env, dir };
        let _ = bundle.oci(&["spec", "--bundle", bundle.dir.to_str().unwrap()]).success();
        bundle.change(|spec| {
            spec["process"]["terminal"] = false.into();
            spec["process"]["args"] = json!(args);
        });
        Ok(bundle)
    }

    fn sh(script: &str) -> Result<Self, Unavailable> {
        Self::new(&["sh", "-c", script])
    }

    /// Changes its config.json.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.dir.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        fs::write(&path, spec.to_string()).unwrap();
    }

    fn command(&self, args: &[&str]) -> brig_testing::Invocation {
        let root = self.env.path().join("oci");
        let args = [&["oci", "--root", root.to_str().unwrap()], args].concat();
        self.env.command(&args).cwd(&self.dir)
    }

    #[track_caller]
    fn oci(&self, args: &[&str]) -> Output {
        self.command(args).run()
    }

    /// Creates a container.
    #[track_caller]
    fn create(&self, flags: &[&str], id: &str) -> Output {
        self.detached(&[&["create"], flags, &[id]].concat())
    }

    /// A verb that leaves a process, whose output goes to a file, as nobody waits for it.
    #[track_caller]
    fn detached(&self, args: &[&str]) -> Output {
        let shell = "exec \"$@\" >\"$OUT\" 2>&1 </dev/null";
        let root = self.env.path().join("oci");
        let brig = env!("CARGO_BIN_EXE_brig");
        let brig = ["-c", shell, "sh", brig, "oci", "--root", root.to_str().unwrap()];
        let args = [&brig[..], args].concat();
        self.env.program("/bin/sh", &args).env("OUT", self.out()).cwd(&self.dir).run()
    }

    fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn state(&self, id: &str) -> Value {
        self.oci(&["state", id]).success().json()
    }

    fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }
}

fn make_root(root: &Path) -> Result<(), Unavailable> {
    for dir in ["bin", "dev", "proc", "sys", "tmp", "etc"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    fs::write(&busybox, busybox_binary()?).unwrap();
    fs::set_permissions(&busybox, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for applet in BUSYBOX_APPLETS {
        let _ = symlink("busybox", root.join("bin").join(applet));
    }
    Ok(())
}

#[test]
fn a_container_runs_in_the_foreground_and_is_gone_then() {
    let bundle = need!(Bundle::sh("echo out; echo err >&2; cat; exit 7"));
    let output = bundle.command(&["run", "box"]).stdin("in").run().exits(7).prints("out\nin");
    assert_eq!(output.stderr, "err\n");
    let _ = bundle.oci(&["list", "-q"]).success().prints("");
    let _ = bundle.oci(&["run", "--keep", "kept"]).exits(7);
    assert_eq!(bundle.status("kept"), "stopped");
    let _ = bundle.oci(&["delete", "kept"]).success();
}

#[test]
fn create_start_kill_delete() {
    let bundle = need!(Bundle::sh("echo started >/tmp/started; sleep 60"));
    bundle.change(|spec| spec["root"]["readonly"] = false.into());
    let _ = bundle.create(&["--pid-file", "pid"], "box").success();
    let state = bundle.state("box");
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), bundle.read("pid"));
    assert_eq!(state["bundle"].as_str().unwrap(), bundle.dir.to_str().unwrap());
    assert_eq!(state["owner"], "root");
    let started = bundle.dir.join("rootfs/tmp/started");
    assert!(!started.exists(), "its program waits");
    let _ = bundle.oci(&["create", "box"]).exits(1).says("container with ID `box` exists");

    let _ = bundle.oci(&["start", "box"]).success().prints("");
    eventually("the program runs", || started.exists());
    assert_eq!(bundle.status("box"), "running");
    let _ = bundle.oci(&["start", "box"]).exits(1).says("it is running");
    let _ = bundle.oci(&["delete", "box"]).exits(1).says("it is running");

    let _ = bundle.oci(&["pause", "box"]).success();
    assert_eq!(bundle.status("box"), "paused");
    let _ = bundle.oci(&["exec", "box", "true"]).exits(255).says("it is paused");
    let _ = bundle.oci(&["resume", "box"]).success();

    let _ = bundle.oci(&["kill", "box", "0"]).success();
    let _ = bundle.oci(&["kill", "box", "SIGKILL"]).success();
    eventually("it has ended", || bundle.status("box") == "stopped");
    let _ = bundle.oci(&["kill", "box", "0"]).exits(1).says("container not running");
    assert_eq!(bundle.state("box")["pid"], 0);
    let _ = bundle.oci(&["kill", "box"]).exits(1).says("container not running");
    let _ = bundle.oci(&["delete", "box"]).success();
    let _ = bundle.oci(&["state", "box"]).exits(1).says("container `box` does not exist");
    let _ = bundle.oci(&["delete", "box"]).exits(1).says("does not exist");
    let _ = bundle.oci(&["delete", "--force", "box"]).success();
}

#[test]
fn a_container_that_waits_to_be_started_ends_by_a_signal() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    for signal in ["TERM", "9"] {
        let _ = bundle.create(&[], "box").success();
        let _ = bundle.oci(&["kill", "box", signal]).success();
        eventually("it has ended", || bundle.status("box") == "stopped");
        let _ = bundle.oci(&["start", "box"]).exits(1).says("it is stopped");
        let _ = bundle.oci(&["delete", "box"]).success();
    }
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["delete", "box"]).success();
}

#[test]
fn a_missing_program_is_told_by_create_and_by_exec() {
    let bundle = need!(Bundle::new(&["no-such-program"]));
    let text = "executable file not found in $PATH";
    let _ = bundle.oci(&["create", "box"]).exits(1).says("no-such-program").says(text);
    let _ = bundle.oci(&["run", "box"]).exits(1).says(text);
    let _ = bundle.oci(&["list", "-q"]).success().prints("");
    bundle.change(|spec| spec["process"]["args"] = json!(["/etc"]));
    let _ = bundle.oci(&["create", "box"]).exits(1).says("execute `/etc`: Permission denied");
    // What only the kernel finds out.
    fs::write(bundle.dir.join("rootfs/bin/empty"), "").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.dir.join("rootfs/bin/empty"), executable).unwrap();
    bundle.change(|spec| spec["process"]["args"] = json!(["empty"]));
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["start", "box"]).exits(1).says("execute `empty`: Exec format error");
    eventually("it has ended", || bundle.status("box") == "stopped");
    let _ = bundle.oci(&["delete", "box"]).success();
    bundle.change(|spec| spec["process"]["args"] = json!(["sleep", "60"]));
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["exec", "box", "no-such-program"]).exits(255).says(text);
}

#[test]
fn processes_are_brought_in() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["start", "box"]).success();
    let _ = bundle.command(&["exec", "box", "cat"]).stdin("in").run().success().prints("in");
    let _ = bundle
        .oci(&["exec", "-e", "A=b", "--cwd", "/tmp", "box", "sh", "-c", "echo $A; pwd; exit 4"])
        .exits(4)
        .prints("b\n/tmp\n");
    let _ =
        bundle.oci(&["exec", "-u", "7:8", "-g", "9", "box", "id"]).success().shows("uid=7 gid=8 groups=9");
    let _ = bundle.oci(&["exec", "-u", "root", "box", "id"]).exits(1).says("isn't a number");
    let _ = bundle.oci(&["exec", "-u", "4294967295", "box", "id"]).exits(255).says("is no user");
    let process = json!({
        "user": { "uid": 5, "gid": 6 }, "args": ["sh", "-c", "id; echo $X"], "cwd": "/", "env": ["PATH=/bin", "X=y"],
    });
    let process = bundle.env.write("process.json", process.to_string());
    let _ = bundle
        .oci(&["exec", "--process", process.to_str().unwrap(), "box"])
        .success()
        .prints("uid=5 gid=6\ny\n");
    let _ = bundle.detached(&["exec", "--detach", "--pid-file", "pid", "box", "sleep", "61"]).success();
    let pid: i32 = bundle.read("pid").parse().unwrap();
    let init = bundle.state("box")["pid"].as_i64().unwrap();
    let pids: Vec<i64> = serde_json::from_value(bundle.oci(&["ps", "-f", "json", "box"]).json()).unwrap();
    assert_eq!(pids.len(), 2, "{pids:?}");
    assert!(pids.contains(&i64::from(pid)) && pids.contains(&init), "{pids:?}");
    let table = bundle.oci(&["ps", "box"]).success();
    assert_eq!(table.stdout.lines().count(), 3, "{}", table.stdout);
    let _ = bundle.oci(&["kill", "--all", "box", "KILL"]).success();
    eventually("all are gone", || {
        !Path::new(&format!("/proc/{pid}")).exists() && bundle.status("box") == "stopped"
    });
}

#[test]
fn hooks_are_run_in_their_order_and_told_the_state() {
    let bundle = need!(Bundle::sh("echo program >>/log"));
    bundle.change(|spec| {
        spec["root"]["readonly"] = false.into();
        spec["annotations"] = json!({ "a": "b" });
        // The last one is in the container, where there is no log of the host's.
        let hook = |name: &str, log: &str| {
            let script =
                format!("read -r state; echo {name} $(readlink /proc/self/ns/mnt) \"$state\" >>{log}");
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }])
        };
        let log = bundle.dir.join("rootfs/log");
        let log = log.to_str().unwrap();
        spec["hooks"] = json!({
            "prestart": hook("prestart", log), "createRuntime": hook("createRuntime", log),
            "createContainer": hook("createContainer", log), "startContainer": hook("startContainer", "/log"),
            "poststart": hook("poststart", log), "poststop": hook("poststop", log),
        });
    });
    let _ = bundle.create(&[], "box").success();
    let pid = bundle.state("box")["pid"].clone();
    let _ = bundle.oci(&["start", "box"]).success();
    eventually("it has ended", || bundle.status("box") == "stopped");
    let _ = bundle.oci(&["delete", "box"]).success();
    let log = bundle.read("rootfs/log");
    let line = |name: &str| log.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let state =
        |name: &str| -> Value { serde_json::from_str(line(name).splitn(3, ' ').nth(2).unwrap()).unwrap() };
    let statuses = [
        ("prestart", "created"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ];
    for (name, status) in statuses {
        let state = state(name);
        assert_eq!(state["status"], status, "{name}");
        assert_eq!((&state["id"], &state["annotations"]["a"]), (&"box".into(), &"b".into()), "{name}");
        let expected = if name == "poststop" { &Value::Null } else { &pid };
        assert_eq!(&state["pid"], expected, "{name}");
    }
    let before: Vec<_> = log.lines().map(|line| line.split(' ').next().unwrap()).take(4).collect();
    assert_eq!(before, ["prestart", "createRuntime", "createContainer", "startContainer"]);
    assert!(log.lines().next_back().unwrap().starts_with("poststop"));
    let namespace = |name: &str| line(name).split(' ').nth(1).unwrap().to_owned();
    let ours = fs::read_link("/proc/self/ns/mnt").unwrap().to_str().unwrap().to_owned();
    assert_eq!([namespace("createRuntime"), namespace("poststop")], [ours.clone(), ours.clone()]);
    assert_eq!(namespace("createContainer"), namespace("startContainer"));
    assert_ne!(namespace("createContainer"), ours);
}

#[test]
fn a_hook_that_fails_leaves_no_container() {
    let bundle = need!(Bundle::new(&["true"]));
    for kind in ["prestart", "createRuntime", "createContainer"] {
        bundle.change(|spec| spec["hooks"] = json!({ kind: [{ "path": "/bin/false" }] }));
        let _ = bundle.oci(&["create", "box"]).exits(1).says("the hook `/bin/false` failed: exit status: 1");
        let _ = bundle.oci(&["list", "-q"]).success().prints("");
    }
    // In the container, whose creation is over.
    bundle.change(|spec| spec["hooks"] = json!({ "startContainer": [{ "path": "/bin/false" }] }));
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["start", "box"]).exits(1).says("the hook `/bin/false` failed");
    eventually("it has ended", || bundle.status("box") == "stopped");
    let _ = bundle.oci(&["delete", "box"]).success();
    // What comes after is told, and changes nothing.
    bundle.change(|spec| spec["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] }));
    let _ = bundle.oci(&["run", "box"]).success().says("the hook `/bin/false` failed");
    bundle.change(|spec| {
        spec["hooks"] =
            json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }] });
    });
    let _ = bundle.oci(&["run", "box"]).exits(1).says("was killed after 1 s");
}

#[test]
fn a_console_socket_gets_the_terminal() {
    let bundle = need!(Bundle::sh("tty; stty size; read line; echo got $line"));
    let _ = need!(brig_testing::need_tool("python3"));
    bundle.change(|spec| {
        spec["process"]["terminal"] = true.into();
        spec["process"]["consoleSize"] = json!({ "height": 11, "width": 99 });
    });
    let _ = bundle.oci(&["create", "box"]).exits(1).says("needs --console-socket");
    let receiver = "
import os, socket, sys
server = socket.socket(socket.AF_UNIX); server.bind('console'); server.listen()
open('ready', 'w').close()
connection, _ = server.accept()
_, fds, _, _ = socket.recv_fds(connection, 100, 1)
os.write(fds[0], b'typed\\n')
try:
    while data := os.read(fds[0], 1000): sys.stdout.buffer.write(data)
except OSError: pass
";
    let receiver = bundle.env.program("python3", &["-c", receiver]).cwd(&bundle.dir).spawn();
    eventually("somebody listens", || bundle.dir.join("ready").exists());
    let _ = bundle.create(&["--console-socket", "console"], "box").success();
    let _ = bundle.oci(&["start", "box"]).success();
    let shown = receiver.wait().success().stdout;
    for expected in ["/dev/pts/0", "11 99", "got typed"] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
}

#[test]
fn the_listener_of_a_filter_comes_with_create() {
    let bundle = need!(Bundle::new(&["true"]));
    let _ = need!(brig_testing::need_tool("python3"));
    let socket = bundle.dir.join("listener");
    bundle.change(|spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": socket, "listenerMetadata": "words",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
        });
    });
    let receiver = "
import socket
server = socket.socket(socket.AF_UNIX); server.bind('listener'); server.listen()
open('ready', 'w').close()
connection, _ = server.accept()
state, fds, _, _ = socket.recv_fds(connection, 10000, 1)
assert len(fds) == 1
print(state.decode())
";
    let receiver = bundle.env.program("python3", &["-c", receiver]).cwd(&bundle.dir).spawn();
    eventually("somebody listens", || bundle.dir.join("ready").exists());
    let _ = bundle.create(&[], "box").success();
    let state: Value = receiver.wait().success().json();
    assert_eq!((&state["metadata"], &state["fds"]), (&"words".into(), &json!(["seccompFd"])));
    assert_eq!((&state["state"]["id"], &state["pid"]), (&"box".into(), &bundle.state("box")["pid"]));
    assert_eq!(bundle.status("box"), "created");
    let _ = bundle.oci(&["start", "box"]).success();
}

#[test]
fn a_terminal_hides_no_file_that_a_link_leads_to() {
    let bundle = need!(Bundle::new(&["true"]));
    bundle.change(|spec| {
        spec["process"]["terminal"] = true.into();
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["destination"] == "/proc" || mount["destination"] == "/dev/pts");
    });
    symlink("/proc/sys/kernel/ostype", bundle.dir.join("rootfs/dev/console")).unwrap();
    fs::create_dir(bundle.dir.join("rootfs/dev/pts")).unwrap();
    let output = bundle.command(&["run", "box"]).run_on_terminal("").exits(1);
    assert!(output.stdout.contains("/dev/console"), "{}", output.stdout);
}

#[test]
fn a_terminal_in_the_foreground_is_the_callers() {
    let bundle = need!(Bundle::sh("tty; read line; echo got $line; exit 5"));
    bundle.change(|spec| spec["process"]["terminal"] = true.into());
    let output = bundle.command(&["run", "box"]).run_on_terminal("typed\n").exits(5);
    assert!(output.stdout.contains("/dev/pts/0") && output.stdout.contains("got typed"), "{}", output.stdout);
}

#[test]
fn descriptors_are_kept_and_no_others_get_in() {
    let bundle = need!(Bundle::sh("ls /proc/self/fd; cat <&4; echo $LISTEN_FDS $LISTEN_PID"));
    let root = bundle.env.path().join("oci");
    let script = "exec 3</dev/null 4<config.json 5</dev/null 7</dev/null; exec \"$@\"";
    let try_run = |env: &[(&str, &str)], flags: &[&str]| {
        let brig = env!("CARGO_BIN_EXE_brig");
        let args = ["-c", script, "sh", brig, "oci", "--root", root.to_str().unwrap(), "run"];
        let args = [&args[..], flags, &["box"]].concat();
        let mut program = bundle.env.program("/bin/sh", &args).cwd(&bundle.dir);
        for (name, value) in env {
            program = program.env(name, value);
        }
        program.run()
    };
    let run = |env: &[(&str, &str)], flags: &[&str]| try_run(env, flags).success();
    let config = bundle.read("config.json");
    // `ls` has one more open: the directory.
    let _ = run(&[], &["--preserve-fds", "2"]).prints(&format!("0\n1\n2\n3\n4\n5\n{config}\n"));
    let _ = run(&[("LISTEN_FDS", "2")], &[]).prints(&format!("0\n1\n2\n3\n4\n5\n{config}2 1\n"));
    // A hole stays one: 7 is that. (What is between may come from whoever runs the tests.)
    let kept = run(&[], &["--preserve-fds", "5"]).stdout;
    assert!(kept.starts_with("0\n1\n2\n3\n4\n5\n") && kept.contains("\n7\n"), "{kept}");
    // What brig itself has open isn't the caller's: signals' pipe, the helper's socket.
    let kept = run(&[], &["--preserve-fds", "100"]).stdout;
    let (shell, _) = kept.split_once('{').unwrap();
    assert!(shell.lines().count() <= 10, "{shell}");
    let _ = try_run(&[], &["--preserve-fds", "1000"]).exits(1).says("249 can be");
}

#[test]
fn errors_go_to_the_log_as_callers_read_them() {
    let bundle = need!(Bundle::new(&["true"]));
    let _ = bundle.oci(&["--log", "log", "--log-format", "json", "state", "none"]).exits(1);
    let line: Value = serde_json::from_str(&bundle.read("log")).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&"error".into(), &"container `none` does not exist".into()));
    let _ = bundle.oci(&["state", "--log=text", "none"]).exits(1);
    assert!(bundle.read("text").contains("level=error msg=\"container `none` does not exist\""));
}

#[test]
fn it_is_also_a_program_of_its_own() {
    let bundle = need!(Bundle::new(&["true"]));
    for name in ["brig-oci", "runc"] {
        let link = bundle.dir.join(name);
        symlink(env!("CARGO_BIN_EXE_brig"), &link).unwrap();
        let output = bundle.env.program(&link, &["--version"]).run().success();
        assert!(output.stdout.starts_with("brig-oci version") && output.stdout.contains("\nspec: 1."));
        let root = bundle.env.path().join("oci");
        let args = ["--root", root.to_str().unwrap(), "run", "--bundle", bundle.dir.to_str().unwrap(), "box"];
        let _ = bundle.env.program(&link, &args).run().success();
    }
}

#[test]
fn lists_are_runcs() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    let _ = bundle
        .oci(&["list"])
        .success()
        .prints("ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    let _ = bundle.create(&[], "b").success();
    let _ = bundle.create(&[], "a").success();
    let _ = bundle.oci(&["list", "--quiet"]).success().prints("a\nb\n");
    let list = bundle.oci(&["list", "--format", "json"]).success().json();
    assert_eq!(list[0]["id"], "a");
    assert_eq!(list[1], bundle.state("b"));
    let table = bundle.oci(&["list"]).success().stdout;
    assert!(table.lines().nth(1).unwrap().starts_with("a           "), "{table}");
}

#[test]
fn what_is_not_a_bundle_is_refused() {
    let bundle = need!(Bundle::new(&["true"]));
    let _ = bundle.oci(&["run", "a/b"]).exits(1).says("invalid container ID `a/b`");
    let _ = bundle.oci(&["run", "--bundle", "/none", "box"]).exits(1).says("`/none`");
    bundle.change(|spec| spec["ociVersion"] = "2.0.0".into());
    let _ = bundle.oci(&["run", "box"]).exits(1).says("`ociVersion` is `2.0.0`");
    bundle.change(|spec| spec["ociVersion"] = "1.0.2-dev".into());
    let _ = bundle.oci(&["run", "box"]).success();
    bundle.change(|spec| spec["root"]["path"] = "none".into());
    let _ = bundle.oci(&["run", "box"]).exits(1).says("bundle/none`");
    bundle.change(|spec| {
        spec["root"]["path"] = "rootfs".into();
        spec["process"]["capabilities"]["bounding"] = json!(["CAP_NONE", "CAP_KILL"]);
        spec["process"]["capabilities"]["inheritable"] = json!([]);
    });
    let _ = bundle.oci(&["run", "box"]).success().says("warning: the capability `CAP_NONE` is unknown");
    fs::write(bundle.dir.join("config.json"), "{").unwrap();
    let _ = bundle.oci(&["run", "box"]).exits(1).says("isn't a valid runtime spec");
    let _ = bundle.oci(&["spec"]).exits(1).says("File exists");
    let _ = bundle.oci(&["list", "-q"]).success().prints("");
}

#[test]
fn signals_reach_a_program_in_the_foreground() {
    let bundle = need!(Bundle::sh("trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.1; done"));
    let running = bundle.command(&["run", "box"]).spawn();
    eventually("it runs", || {
        bundle.oci(&["list", "-q"]).stdout == "box\n" && bundle.status("box") == "running"
    });
    // Its trap is set a moment later.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::TERM);
    let _ = running.wait().exits(9).prints("ready\nterm\n");
}

#[test]
fn a_creator_that_is_killed_leaves_nothing_that_runs() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    bundle.change(|spec| {
        spec["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "2"] }] });
    });
    let creator = bundle.command(&["run", "box"]).spawn();
    eventually("it is being made", || bundle.oci(&["list", "-q"]).stdout == "box\n");
    assert_eq!(bundle.status("box"), "creating");
    creator.signal(Signal::KILL);
    drop(creator.wait());
    let _ = bundle.oci(&["delete", "box"]).exits(1).says("it is creating");
    let _ = bundle.oci(&["delete", "--force", "box"]).success();
    let _ = bundle.oci(&["list", "-q"]).success().prints("");
}

#[test]
fn what_it_uses_is_told_until_it_ends() {
    let bundle = need!(Bundle::sh("while [ ! -e /tmp/end ]; do sleep 0.1; done"));
    bundle.change(|spec| spec["linux"]["cgroupsPath"] = format!("/brig-test-{}", std::process::id()).into());
    let _ = bundle.oci(&["events", "--stats", "box"]).exits(1).says("does not exist");
    let _ = bundle.create(&[], "box").success();
    let _ = bundle.oci(&["start", "box"]).success();
    let event = bundle.oci(&["events", "--stats", "box"]).success().json();
    assert_eq!((&event["type"], &event["id"]), (&"stats".into(), &"box".into()));
    assert!(event["data"]["pids"]["current"].as_u64().unwrap() >= 1, "{event}");
    let events = bundle.command(&["events", "--interval", "200ms", "box"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let _ = bundle.oci(&["kill", "box", "KILL"]).success();
    let told = events.wait().success().json_lines();
    assert!(told.len() >= 2, "{told:?}");
    let _ = bundle.oci(&["events", "--stats", "box"]).exits(1).says("container not running");
}

#[test]
fn limits_change_while_it_runs() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    bundle
        .change(|spec| spec["linux"]["cgroupsPath"] = format!("/brig-update-{}", std::process::id()).into());
    let _ = bundle.create(&[], "box").success();
    let pids = || bundle.oci(&["events", "--stats", "box"]).success().json()["data"]["pids"]["limit"].clone();
    let _ = bundle.oci(&["update", "--pids-limit", "17", "box"]).success();
    assert_eq!(pids(), 17);
    let document = r#"{ "pids": { "limit": 18 } }"#;
    let _ = bundle.command(&["update", "--resources", "-", "box"]).stdin(document).run().success();
    assert_eq!(pids(), 18);
    let _ = bundle.oci(&["update", "--memory", "64m", "--cpu-quota", "-1", "box"]).success();
    let memory = bundle.oci(&["events", "--stats", "box"]).json()["data"]["memory"]["usage"]["limit"].clone();
    assert_eq!(memory, 64 << 20);
    // All or none.
    let _ = bundle
        .oci(&["update", "--pids-limit", "19", "--cpuset-cpus", "999", "box"])
        .exits(1)
        .says("cpuset.cpus");
    assert_eq!(pids(), 18);
    let _ = bundle.oci(&["update", "--memory", "much", "box"]).exits(1).says("much");
    let _ =
        bundle.command(&["update", "-r", "-", "box"]).stdin("{]").run().exits(1).says("list of resources");
    let _ = bundle.oci(&["kill", "box", "KILL"]).success();
    eventually("it has ended", || bundle.status("box") == "stopped");
    let _ = bundle.oci(&["update", "--pids-limit", "1", "box"]).exits(1).says("container not running");
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let bundle = need!(Bundle::new(&["sleep", "60"]));
    for (verb, signal) in [("kill", "KILL"), ("delete", "")] {
        let _ = bundle.create(&[], "box").success();
        let _ = bundle.oci(&["start", "box"]).success();
        let _ = bundle.oci(&["pause", "box"]).success();
        let started = std::time::Instant::now();
        match verb {
            "kill" => {
                let _ = bundle.oci(&["kill", "box", signal]).success();
                eventually("it has ended", || bundle.status("box") == "stopped");
                let _ = bundle.oci(&["delete", "box"]).success();
            }
            _ => drop(bundle.oci(&["delete", "--force", "box"]).success()),
        }
        assert!(started.elapsed().as_secs() < 8, "{verb}");
    }
}

#[test]
fn a_home_and_no_ignored_signals_are_what_a_program_begins_with() {
    let bundle = need!(Bundle::sh("echo $HOME"));
    fs::write(
        bundle.dir.join("rootfs/etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nal:x:7:7::/home/al:/bin/sh\n",
    )
    .unwrap();
    let _ = bundle.oci(&["run", "box"]).success().prints("/root\n");
    bundle.change(|spec| spec["process"]["user"] = json!({ "uid": 7, "gid": 7 }));
    let _ = bundle.oci(&["run", "box"]).success().shows("/home/al\n");
    bundle.change(|spec| spec["process"]["user"] = json!({ "uid": 8, "gid": 7 }));
    let _ = bundle.oci(&["run", "box"]).success().shows("/\n");
    bundle.change(|spec| spec["process"]["env"] = json!(["PATH=/bin", "HOME=/mine"]));
    let _ = bundle.oci(&["run", "box"]).success().shows("/mine\n");
    bundle.change(|spec| spec["process"]["args"] = json!(["grep", "SigIgn", "/proc/self/status"]));
    let _ = bundle.oci(&["run", "box"]).success().prints("SigIgn:\t0000000000000000\n");
}

#[test]
fn features_are_told() {
    let bundle = need!(Bundle::new(&["true"]));
    let features = bundle.oci(&["features"]).success().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    for (pointer, word) in [
        ("/hooks", "createContainer"),
        ("/mountOptions", "rro"),
        ("/linux/namespaces", "time"),
        ("/linux/capabilities", "CAP_BPF"),
        ("/linux/seccomp/actions", "SCMP_ACT_NOTIFY"),
    ] {
        let list = features.pointer(pointer).and_then(Value::as_array).unwrap();
        assert!(list.iter().any(|have| have == word), "{pointer} has {word}: {list:?}");
    }
}
