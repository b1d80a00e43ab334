//! What supervisors see to: restarts, health, stops, and what is known after a crash or a boot.

use std::fs;

use brig_testing::{Output, TestEnv, is_root, need, need_root, need_tool};
use serde_json::Value;

use super::{env, eventually, with_busybox};

fn inspect(env: &TestEnv, name: &str) -> Value {
    env.brig(&["inspect", name]).success().json()[0].take()
}

fn status(env: &TestEnv, name: &str) -> String {
    inspect(env, name)["State"]["Status"].as_str().unwrap().to_owned()
}

fn supervisor(env: &TestEnv, name: &str) -> String {
    inspect(env, name)["State"]["SupervisorPid"].to_string()
}

fn kill(pid: &str) {
    assert!(std::process::Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// The actions of a container's events.
fn events(env: &TestEnv, name: &str) -> Vec<String> {
    let id = inspect(env, name)["Id"].as_str().unwrap().to_owned();
    let listed = env.brig(&["events", "--since", "1h", "--until", "now"]).success();
    let ours = listed.stdout.lines().filter(|line| line.contains(&id));
    ours.map(|line| line.split(' ').nth(2).unwrap().to_owned()).collect()
}

#[test]
fn a_failing_container_is_started_again_as_often_as_it_may() {
    let env = need!(with_busybox());
    let script = "echo tried; exit 3";
    let run = ["run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", script];
    let _ = env.brig(&run).success();
    eventually("it has given up", || status(&env, "again") == "exited");
    let document = inspect(&env, "again");
    assert_eq!((&document["RestartCount"], &document["State"]["ExitCode"]), (&2.into(), &3.into()));
    assert_eq!(document["HostConfig"]["RestartPolicy"]["Name"], "on-failure");
    let _ = env.brig(&["logs", "again"]).success().prints("tried\ntried\ntried\n");
    let _ = env.brig(&["start", "again"]).success();
    eventually("it has given up again", || status(&env, "again") == "exited");
    let _ = env.brig(&["rm", "again"]).success();
}

#[test]
fn a_wasm_container_is_started_again_too() {
    let env = env();
    let text = "(module (memory (export \"memory\") 1) (func (export \"_start\") unreachable))";
    let path = env.write("trap.wat", text);
    let path = path.to_str().unwrap();
    let _ = env.brig(&["run", "-d", "--name", "again", "--restart", "on-failure:1", path]).success();
    eventually("it has given up", || status(&env, "again") == "exited");
    let document = inspect(&env, "again");
    assert_eq!((&document["RestartCount"], &document["State"]["Reason"]), (&1.into(), &"trap".into()));
}

#[test]
fn stop_ends_what_always_restarts() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "ever", "--restart", "always", "busybox", "false"]).success();
    eventually("it waits", || status(&env, "ever") == "restarting");
    let listed = env.brig(&["ps"]).success();
    assert!(listed.stdout.contains("Restarting (1)"), "{}", listed.stdout);
    let _ = env.brig(&["rm", "ever"]).fails().says("restarting");
    let _ = env.brig(&["stop", "ever"]).success();
    assert_eq!(status(&env, "ever"), "exited");
    let _ = env.brig(&["start", "ever"]).success();
    eventually("it waits", || status(&env, "ever") == "restarting");
    let _ = env.brig(&["rm", "-f", "ever"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn wrong_policies_are_refused() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--rm", "--restart", "always", "busybox", "true"]).exits(125).says("--rm");
    let _ = env.brig(&["run", "--restart", "sometimes", "busybox", "true"]).exits(125).says("unless-stopped");
    let _ = env.brig(&["run", "--health-retries", "3", "busybox", "true"]).exits(125).says("--health-cmd");
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn health_is_looked_after() {
    let env = need!(with_busybox());
    let mut run = vec!["run", "-d", "--name", "sick", "--health-cmd", "test -e /tmp/well"];
    run.extend(["--health-interval", "100ms", "--health-retries", "2", "busybox", "sleep", "60"]);
    let _ = env.brig(&run).success();
    let health = || inspect(&env, "sick")["State"]["Health"]["Status"].as_str().unwrap().to_owned();
    eventually("it is unhealthy", || health() == "unhealthy");
    assert!(env.brig(&["ps"]).success().stdout.contains("(unhealthy)"));
    let _ = env.brig(&["exec", "sick", "touch", "/tmp/well"]).success();
    eventually("it is healthy", || health() == "healthy");
    let told = events(&env, "sick").into_iter().filter(|event| event.starts_with("health_status"));
    assert_eq!(told.count(), 2);
    let _ = env.brig(&["rm", "-f", "sick"]).success();
}

#[test]
fn an_init_reaps_and_passes_signals_on() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--init", "--name", "first", "busybox", "sleep", "60"]).success();
    let _ = env.brig(&["exec", "first", "cat", "/proc/1/comm"]).success();
    let _ = env.brig(&["stop", "-t", "30", "first"]).success();
    let _ = env.brig(&["wait", "first"]).success().prints("143\n");
    let _ = env.brig(&["run", "--rm", "--init", "busybox", "sh", "-c", "exit 4"]).exits(4);
    let _ = env.brig(&["run", "--rm", "--init", "busybox", "no-such"]).exits(127).says("no-such");
}

#[test]
fn a_lost_container_is_known_as_such_and_brought_back_by_its_policy() {
    let env = need!(with_busybox());
    for (name, policy) in [("kept", "always"), ("left", "no")] {
        let _ =
            env.brig(&["run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "60"]).success();
        kill(&supervisor(&env, name));
    }
    eventually("both are known to have ended", || {
        let listed = env.brig(&["ps", "-a"]).success();
        listed.stdout.matches("Exited (255)").count() == 2
    });
    assert_eq!(inspect(&env, "left")["State"]["Reason"], "supervisor_lost");
    let _ = env.brig(&["system", "start"]).success().prints("kept\n");
    assert_eq!((status(&env, "kept"), status(&env, "left")), ("running".into(), "exited".into()));
    let _ = env.brig(&["system", "start"]).success().prints("");
    let _ = env.brig(&["rm", "-f", "kept", "left"]).success();
}

#[test]
fn a_running_container_is_renamed_and_its_old_name_is_free() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "old", "busybox", "sleep", "60"]).success();
    let _ = env.brig(&["create", "--name", "other", "busybox"]).success();
    let _ = env.brig(&["rename", "old", "other"]).fails().says("in use");
    let _ = env.brig(&["rename", "old", "../evil"]).fails();
    let _ = env.brig(&["rename", "old", "new"]).success();
    let _ = env.brig(&["inspect", "old"]).fails();
    assert_eq!(inspect(&env, "new")["Name"], "/new");
    let _ = env.brig(&["create", "--name", "old", "busybox"]).success();
    let _ = env.brig(&["stop", "-t", "0", "new"]).success();
    let said = env.brig(&["events", "--since", "1h", "--until", "now"]).success();
    // The supervisor knows.
    let die = said.stdout.lines().find(|line| line.contains(" die ")).unwrap();
    assert!(die.contains("name=new"), "{die}");
    let _ = env.brig(&["rm", "new", "other", "old"]).success();
    assert_eq!(fs::read_dir(env.root().join("names")).unwrap().count(), 0);
}

#[test]
fn a_container_that_goes_at_its_end_survives_a_restart_and_goes_under_its_new_name() {
    let env = need!(with_busybox());
    let script = "test -e /tmp/been && echo again; touch /tmp/been; sleep 60";
    let _ = env.brig(&["run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", script]).success();
    eventually("it has been", || env.brig(&["exec", "gone", "test", "-e", "/tmp/been"]).code() == 0);
    let _ = env.brig(&["restart", "-t", "0", "gone"]).success().prints("gone\n");
    eventually("its files are there", || env.brig(&["logs", "gone"]).success().stdout == "again\n");
    let _ = env.brig(&["rename", "gone", "going"]).success();
    let _ = env.brig(&["stop", "-t", "0", "going"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
    assert_eq!(fs::read_dir(env.root().join("names")).unwrap().count(), 0);
}

#[test]
fn a_frozen_container_stands_still() {
    let env = need!(with_busybox());
    if !is_root() {
        return brig_testing::record_skip("a_frozen_container_stands_still", "it needs a freezer cgroup");
    }
    let script = "while :; do echo x; sleep 0.01; done";
    let _ = env.brig(&["run", "-d", "--name", "ice", "busybox", "sh", "-c", script]).success();
    let lines = || env.brig(&["logs", "ice"]).success().stdout.len();
    eventually("it writes", || lines() > 0);
    let _ = env.brig(&["pause", "ice"]).success().prints("ice\n");
    assert_eq!(status(&env, "ice"), "paused");
    let before = lines();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(lines(), before);
    let _ = env.brig(&["pause", "ice"]).fails().says("paused already");
    let _ = env.brig(&["exec", "ice", "true"]).fails().says("paused");
    let _ = env.brig(&["unpause", "ice"]).success();
    eventually("it goes on", || lines() > before);
    let _ = env.brig(&["unpause", "ice"]).fails();
    let _ = env.brig(&["rm", "-f", "ice"]).success();
}

#[test]
fn top_and_stats_look_from_outside() {
    let env = need!(with_busybox());
    let _ =
        env.brig(&["run", "-d", "--name", "busy", "busybox", "sh", "-c", "while :; do :; done"]).success();
    let top = env.brig(&["top", "busy"]).success();
    assert!(top.stdout.starts_with("UID ") && top.stdout.contains("while :; do"), "{}", top.stdout);
    assert_eq!(top.stdout.lines().count(), 2);
    if need_tool("ps").is_ok() {
        let top = env.brig(&["top", "busy", "-eo", "pid,args"]).success();
        assert_eq!(top.stdout.lines().count(), 2, "{}", top.stdout);
        let _ = env.brig(&["top", "busy", "-eo", "args"]).fails().says("PID");
    }
    let stats = env.brig(&["stats", "--no-stream", "--format", "json", "busy"]).success();
    let stats: Value = serde_json::from_str(stats.line()).unwrap();
    let percent: f64 = stats["CPUPerc"].as_str().unwrap().trim_end_matches('%').parse().unwrap();
    assert!(percent > 5.0, "{stats}");
    assert_eq!((&stats["PIDs"], &stats["Name"]), (&"1".into(), &"busy".into()));
    let _ = env.brig(&["rm", "-f", "busy"]).success();
    let _ = env.brig(&["top", "busy"]).fails();
}

#[test]
fn prune_takes_what_has_ended() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--name", "ended", "busybox", "true"]).success();
    let _ = env.brig(&["run", "--name", "kept", "--label", "keep=yes", "busybox", "true"]).success();
    let _ = env.brig(&["run", "-d", "--name", "runs", "busybox", "sleep", "60"]).success();
    let _ = env.brig(&["container", "prune"]).fails().says("--force");
    let _ = env.brig(&["container", "prune", "-f", "--filter", "until=1h"]).success();
    let pruned = env.brig(&["container", "prune", "-f", "--filter", "label!=keep"]).success();
    assert!(pruned.stdout.starts_with("Deleted Containers:\n"), "{}", pruned.stdout);
    let _ = env.brig(&["inspect", "ended"]).fails();
    let _ = env.brig(&["inspect", "kept"]).success();
    let _ = env.brig(&["image", "prune", "-af"]).success();
    assert!(env.brig(&["images"]).success().stdout.contains("busybox"));
    let _ = env.brig(&["rm", "-f", "runs"]).success();
    let pruned = env.brig(&["system", "prune", "-af"]).success();
    assert!(pruned.stdout.contains("Deleted Images:"), "{}", pruned.stdout);
    super::nothing_is_left(&env);
}

#[test]
fn units_are_for_containers_that_nobody_else_restarts() {
    let env = need!(with_busybox());
    for (name, policy) in [("plain", "no"), ("own", "always")] {
        let _ = env.brig(&["create", "--name", name, "--restart", policy, "busybox"]).success();
    }
    let unit =
        env.brig(&["generate", "systemd", "plain"]).success().shows("start --attach").shows("[Install]");
    let _ = env.brig(&["generate", "systemd", "own"]).fails().says("restart policy");
    let boot = env.brig(&["generate", "systemd"]).success().shows(" system start");
    let verify = need!(need_tool("systemd-analyze"));
    for (name, text) in [("plain.service", unit.stdout), ("boot.service", boot.stdout)] {
        let file = env.write(name, text);
        let checked = env.program(&verify, &["verify", file.to_str().unwrap()]).run();
        assert_eq!(checked.stderr, "", "{name}");
    }
}

/// Runs brig as after a boot: in a mount namespace in which the kernel's boot id is another one.
fn after_boot(env: &TestEnv, boot: &str, args: &[&str]) -> Output {
    let file = env.write("boot_id", format!("{boot}\n"));
    let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
    let brig = env!("CARGO_BIN_EXE_brig");
    let mut all =
        vec!["-m", "--propagation", "private", "sh", "-c", script, "sh", file.to_str().unwrap(), brig];
    all.extend(args);
    env.program("unshare", &all).env("BRIG_ROOT", env.root()).env("BRIG_RUN_ROOT", env.run_root()).run()
}

#[test]
fn after_a_boot_the_records_are_true_and_the_policies_act() {
    need!(need_root());
    let env = need!(with_busybox());
    let _ = need!(need_tool("unshare"));
    let policies = ["no", "on-failure", "always", "unless-stopped"];
    for number in 0..20 {
        let (name, policy) = (format!("c{number:02}"), policies[number % 4]);
        let run = ["run", "-d", "--name", &name, "--restart", policy, "busybox", "sleep", "600"];
        let _ = env.brig(&run).success();
    }
    // As somebody did before the machine went down.
    let _ = env.brig(&["stop", "-t", "0", "c02", "c03"]).success();
    for number in (0..20).filter(|number| ![2, 3].contains(number)) {
        kill(&supervisor(&env, &format!("c{number:02}")));
    }
    let cgroups = cgroups_of_all(&env);
    fs::remove_dir_all(env.run_root()).unwrap();
    let boot = "00000000-1111-2222-3333-444444444444";
    let listed = after_boot(&env, boot, &["ps", "-a"]).success();
    assert_eq!(listed.stdout.matches("Exited (255)").count(), 18, "{}", listed.stdout);
    assert_eq!(listed.stdout.matches("Exited (137)").count(), 2, "{}", listed.stdout);
    let inspected = after_boot(&env, boot, &["inspect", "c00"]).success().json();
    assert_eq!(inspected[0]["State"]["Reason"], "supervisor_lost");
    let started = after_boot(&env, boot, &["system", "start"]).success();
    let mut started: Vec<_> = started.stdout.lines().collect();
    started.sort_unstable();
    // All but those without a policy, and the one that was stopped and shall stay so.
    let expected: Vec<_> = (0..20)
        .filter(|number| number % 4 != 0 && *number != 3)
        .map(|number| format!("c{number:02}"))
        .collect();
    assert_eq!(started, expected);
    let listed = after_boot(&env, boot, &["ps", "-q"]).success();
    assert_eq!(listed.stdout.lines().count(), expected.len());
    let all: Vec<_> = (0..20).map(|number| format!("c{number:02}")).collect();
    let mut remove = vec!["rm", "-f"];
    remove.extend(all.iter().map(String::as_str));
    let _ = after_boot(&env, boot, &remove).success();
    assert_eq!(env.containers(), Vec::<String>::new());
    // A real boot leaves no cgroups; this one leaves those of containers that weren't started again.
    for dir in cgroups {
        let _ = fs::remove_dir(dir);
    }
}

/// The cgroups that the records name.
fn cgroups_of_all(env: &TestEnv) -> Vec<String> {
    let record = |entry: fs::DirEntry| {
        let text = fs::read(entry.path().join("state.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["cgroups"].clone()
    };
    let containers = fs::read_dir(env.root().join("containers")).unwrap().flatten();
    let dirs = containers.flat_map(|entry| record(entry).as_array().cloned().unwrap_or_default());
    dirs.map(|dir| dir.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_run_directory_of_nobody_is_removed_by_the_next_look() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--name", "ended", "busybox", "true"]).success();
    let run = env.run_root().join("containers");
    let of_nobody = run.join("0".repeat(64));
    fs::create_dir_all(&of_nobody).unwrap();
    fs::write(of_nobody.join("lock"), "").unwrap();
    let _ = env.brig(&["ps"]).success();
    assert!(!of_nobody.exists());
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
}

#[test]
fn what_update_changes_holds_for_the_next_payload_too() {
    need!(need_root());
    let env = need!(with_busybox());
    let script = "test -e /tmp/been && sleep 60; touch /tmp/been; sleep 1; exit 1";
    let run = ["run", "-d", "--name", "grown", "--memory", "64m", "busybox", "sh", "-c", script];
    let _ = env.brig(&run).success();
    let _ =
        env.brig(&["update", "--restart", "always", "--memory", "80m", "grown"]).success().prints("grown\n");
    eventually("it was started again", || inspect(&env, "grown")["RestartCount"] == 1);
    let document = inspect(&env, "grown");
    assert_eq!(
        (&document["HostConfig"]["Memory"], &document["State"]["Status"]),
        (&(80 << 20).into(), &"running".into())
    );
    let state: Value = serde_json::from_slice(
        &fs::read(env.root().join("containers").join(document["Id"].as_str().unwrap()).join("state.json"))
            .unwrap(),
    )
    .unwrap();
    let limits = ["memory.limit_in_bytes", "memory.max"];
    let mut limit = String::new();
    for dir in state["cgroups"].as_array().unwrap() {
        for file in limits {
            limit += &fs::read_to_string(format!("{}/{file}", dir.as_str().unwrap())).unwrap_or_default();
        }
    }
    assert_eq!(limit.trim(), (80 << 20).to_string());
    let _ = env.brig(&["update", "--restart", "no", "grown"]).success();
    let _ = env.brig(&["rm", "-f", "grown"]).success();
}

#[test]
fn one_damaged_record_keeps_no_other_from_being_pruned() {
    let env = need!(with_busybox());
    for name in ["first", "damaged", "last"] {
        let _ = env.brig(&["create", "--name", name, "busybox"]).success();
    }
    let id = inspect(&env, "damaged")["Id"].as_str().unwrap().to_owned();
    fs::write(env.root().join("containers").join(id).join("state.json"), "{").unwrap();
    let _ = env.brig(&["container", "prune", "-f"]).success().shows("Deleted Containers:");
    assert_eq!(env.containers(), Vec::<String>::new());
}
