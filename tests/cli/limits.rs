//! What a container may use and what it is given, for both kinds: there as asked, or refused.

use std::fs;
use std::path::PathBuf;

use brig_testing::{Guest, TestEnv, Unavailable, is_root, need};

use super::with_busybox;

/// What a cgroup file of a running container says: on v1 the first one, on v2 the second.
fn setting(env: &TestEnv, name: &str, v1: &str, v2: &str) -> Option<String> {
    let id = env.brig(&["inspect", name]).success().json()[0]["Id"].as_str().unwrap().to_owned();
    let state = fs::read(env.root().join("containers").join(id).join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let dirs = state["cgroups"].as_array().into_iter().flatten();
    let dirs: Vec<_> = dirs.map(|dir| PathBuf::from(dir.as_str().unwrap())).collect();
    let files = [v1, v2].into_iter().flat_map(|file| dirs.iter().map(move |dir| dir.join(file)));
    files.into_iter().find_map(|file| fs::read_to_string(file).ok()).map(|text| text.trim().to_owned())
}

#[track_caller]
fn has(env: &TestEnv, name: &str, (v1, expected1): (&str, &str), (v2, expected2): (&str, &str)) {
    let found = setting(env, name, v1, v2);
    let matches = found.as_deref().is_some_and(|found| found == expected1 || found == expected2);
    assert!(matches, "{v1} is {found:?}");
}

/// A home with `busybox`, on a machine where limits can be set.
fn with_limits() -> Result<TestEnv, Unavailable> {
    let env = with_busybox()?;
    if !is_root() {
        return Err(Unavailable::new("an ordinary user may have no cgroups"));
    }
    Ok(env)
}

/// What runs until it is killed, as a container of each kind.
fn sleepers(env: &TestEnv) -> [(&'static str, Vec<String>); 2] {
    let wasm = env.write("spin.wat", SPIN);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    [("linux", words(&["busybox", "sleep", "600"])), ("wasm", words(&[wasm.to_str().unwrap()]))]
}

fn start(env: &TestEnv, name: &str, flags: &[&str], what: &[String]) {
    let mut args = [&["run", "-d", "--name", name], flags].concat();
    args.extend(what.iter().map(String::as_str));
    let _ = env.brig(&args).success();
}

#[test]
fn limits_reach_the_cgroups_of_both_kinds() {
    let env = need!(with_limits());
    for (kind, what) in sleepers(&env) {
        let flags = [
            "--cpus=0.5",
            "-c",
            "512",
            "-m",
            "64m",
            "--memory-reservation",
            "32m",
            "--memory-swap",
            "128m",
            "--cpuset-cpus",
            "0",
            "--pids-limit",
            "50",
            "--oom-score-adj",
            "300",
            "--ulimit",
            "nofile=512:600",
        ];
        start(&env, kind, &flags, &what);
        has(&env, kind, ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000"));
        has(&env, kind, ("cpu.shares", "512"), ("cpu.weight", "20"));
        has(&env, kind, ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864"));
        has(&env, kind, ("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432"));
        has(&env, kind, ("memory.memsw.limit_in_bytes", "134217728"), ("memory.swap.max", "67108864"));
        has(&env, kind, ("cpuset.cpus", "0"), ("cpuset.cpus", "0"));
        has(&env, kind, ("pids.max", "50"), ("pids.max", "50"));
        let document = env.brig(&["inspect", kind]).success().json();
        let config = &document[0]["HostConfig"];
        for (key, value) in [
            ("NanoCpus", 500_000_000),
            ("CpuShares", 512),
            ("Memory", 64 << 20),
            ("MemorySwap", 128 << 20),
            ("MemoryReservation", 32 << 20),
            ("PidsLimit", 50),
            ("OomScoreAdj", 300),
        ] {
            assert_eq!(config[key], value, "{kind} {key}");
        }
        assert_eq!(config["CpusetCpus"], "0");
        assert_eq!(config["Ulimits"], serde_json::json!([{ "Name": "nofile", "Soft": 512, "Hard": 600 }]));
        let pid = document[0]["State"]["Pid"].to_string();
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "300\n");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(files.split_whitespace().collect::<Vec<_>>()[3..5], ["512", "600"], "{kind}");
        let _ = env.brig(&["rm", "-f", kind]).success();
    }
}

#[test]
fn quota_period_and_nodes_by_themselves() {
    let env = need!(with_limits());
    for (kind, what) in sleepers(&env) {
        start(&env, kind, &["--cpu-period", "50000", "--cpu-quota", "25000", "--cpuset-mems", "0"], &what);
        has(&env, kind, ("cpu.cfs_period_us", "50000"), ("cpu.max", "25000 50000"));
        has(&env, kind, ("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 50000"));
        has(&env, kind, ("cpuset.mems", "0"), ("cpuset.mems", "0"));
        let _ = env.brig(&["rm", "-f", kind]).success();
    }
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    let env = need!(with_busybox());
    for (flags, says) in [
        (&["-m", "5m"][..], "minimum memory limit allowed is 6MB"),
        (&["--memory-swap", "64m"], "always set the memory limit"),
        (&["-m", "64m", "--memory-swap", "32m"], "larger than the memory limit"),
        (&["-m", "64m", "--memory-reservation", "65m"], "less than the memory reservation"),
        (&["--memory-swappiness", "101"], "range is 0-100"),
        (&["--cpus", "5000"], "range of CPUs is from 0.01"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "--cpus and --cpu-quota cannot both be set"),
        (&["--cpu-period", "10"], "CPU cfs period can not be less than 1ms"),
        (&["--cpu-quota", "10"], "CPU cfs quota can not be less than 1ms"),
        (&["--cpuset-cpus", "5000"], "requested CPUs are not available"),
        (&["--cpuset-mems", "x"], "invalid value `x` for cpuset mems"),
        (&["--oom-score-adj", "1001"], "[-1000, 1000]"),
        (&["--oom-kill-disable"], "--oom-kill-disable is not supported"),
        (&["--cap-add", "NOPE"], "there is no such capability"),
        (&["--group-add", "nobody-here"], "no group `nobody-here`"),
        (&["--tmpfs", "relative"], "must be absolute"),
        (&["--tmpfs", "/t:huge=1"], "invalid tmpfs option `huge=1`"),
        (&["--tmpfs", "/t", "-v", "/tmp:/t"], "something else is mounted there"),
        (&["--stop-signal", "NOPE"], "invalid signal"),
        (&["--annotation", "x"], "KEY=VALUE"),
        (&["--env-file", "/does/not/exist"], "can't read"),
    ] {
        let _ = env.brig(&[&["create"], flags, &["busybox"]].concat()).exits(1).says(says);
    }
    for (flags, says) in [
        (&["--ulimit", "nofile=2:1"][..], "less than or equal to hard limit"),
        (&["--ulimit", "as=1"], "invalid ulimit type"),
        (&["--cpus", "many"], "expected a number"),
        (&["--memory-swap", "-2"], "expected a number"),
    ] {
        let _ = env.brig(&[&["create"], flags, &["busybox"]].concat()).exits(2).says(says);
    }
    env.write("x.wasm", Guest::TINY.module().unwrap());
    for flags in [
        ["--tmpfs", "/t"],
        ["--shm-size", "1m"],
        ["--cap-add", "ALL"],
        ["--group-add", "5"],
        ["--domainname", "x"],
    ] {
        let _ =
            env.brig(&[&["create"], &flags[..], &["./x.wasm"]].concat()).exits(1).says("a wasm container");
    }
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn a_process_gets_what_it_was_given() {
    let env = need!(with_busybox());
    let sh = |flags: &[&str], script: &str| {
        env.brig(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()).success()
    };
    let mounted = "grep ' /scratch ' /proc/mounts";
    let options = sh(&["--tmpfs", "/scratch:size=1m,mode=1770"], mounted).stdout;
    for option in ["tmpfs", "nosuid", "nodev", "noexec", "size=1024k", "mode=1770"] {
        assert!(options.contains(option), "{option}: {options}");
    }
    assert!(!sh(&["--tmpfs", "/scratch:exec"], mounted).stdout.contains("noexec"));
    let volume = format!("{}:/scratch/below", env.work().display());
    let _ = sh(&["-v", &volume, "--tmpfs", "/scratch"], "grep -c ' /scratch' /proc/mounts").prints("2\n");
    let _ = sh(&["--shm-size", "8m"], "grep ' /dev/shm ' /proc/mounts").shows("size=8192k");
    let _ = sh(&["--ulimit", "nofile=5", "--ulimit", "nofile=100:200"], "ulimit -n; ulimit -Hn")
        .prints("100\n200\n");
    let _ = sh(&["--domainname", "example.org", "--hostname", "h"], "cat /proc/sys/kernel/domainname")
        .prints("example.org\n");
    let _ =
        sh(&["--domainname", "example.org", "--hostname", "h"], "cat /etc/hosts").shows("h.example.org h");
    let effective = "grep CapEff /proc/self/status";
    let _ = sh(&["--cap-drop", "ALL"], effective).prints("CapEff:\t0000000000000000\n");
    let _ =
        sh(&["--cap-drop", "all", "--cap-add", "cap_chown"], effective).prints("CapEff:\t0000000000000001\n");
    let all = sh(&["--cap-add", "ALL"], effective).stdout;
    assert!(all.as_str() > "CapEff:\t00000000a80425fb\n", "{all}");
    if is_root() {
        let _ = sh(&["--group-add", "4711", "-u", "5:6"], "id -G").prints("6 4711\n");
    }
    let _ = env.brig(&["create", "--name", "noted", "--annotation", "a.b=c=d", "busybox"]).success();
    let document = env.brig(&["inspect", "noted"]).success().json();
    assert_eq!(document[0]["Spec"]["annotations"], serde_json::json!({ "a.b": "c=d" }));
    assert_eq!(document[0]["HostConfig"]["Annotations"], serde_json::json!({ "a.b": "c=d" }));
}

#[test]
fn variables_and_labels_come_from_files() {
    let env = need!(with_busybox());
    let variables = env.write("env", "# ours\nA=file\nB=\"as it is\"\nOURS\nUNSET_HERE\n");
    let flags = ["run", "--rm", "--env-file", variables.to_str().unwrap(), "-e", "A=flag", "busybox", "env"];
    let shown = env.command(&flags).env("OURS", "taken").run().success().stdout;
    for line in ["A=flag", "B=\"as it is\"", "OURS=taken"] {
        assert!(shown.lines().any(|have| have == line), "{line}: {shown}");
    }
    assert!(!shown.contains("UNSET_HERE"), "{shown}");
    let labels = env.write("labels", "a=file\nb=file\nbare\n");
    let create =
        ["create", "--name", "labelled", "--label-file", labels.to_str().unwrap(), "-l", "a=flag", "busybox"];
    let _ = env.brig(&create).success();
    let document = env.brig(&["inspect", "labelled"]).success().json();
    assert_eq!(document[0]["Config"]["Labels"], serde_json::json!({ "a": "flag", "b": "file", "bare": "" }));
    let wrong = env.write("wrong", "A B=1\n");
    let _ = env
        .brig(&["create", "--env-file", wrong.to_str().unwrap(), "busybox"])
        .exits(1)
        .says("contains whitespaces");
}

#[test]
fn the_id_is_written_where_there_is_a_container() {
    let env = need!(with_busybox());
    let path = env.work().join("cid");
    let cid = path.to_str().unwrap();
    let _ = env.brig(&["run", "--rm", "--cidfile", cid, "no-such-image:here", "true"]).exits(125);
    assert!(!path.exists());
    let id = env.brig(&["create", "--cidfile", cid, "busybox"]).success().line().to_owned();
    assert_eq!(fs::read_to_string(&path).unwrap(), id);
    let _ =
        env.brig(&["run", "--rm", "--cidfile", cid, "busybox"]).exits(125).says("container ID file found");
    assert_eq!(env.containers().len(), 1);
}

#[test]
fn a_container_says_how_it_wants_to_be_stopped() {
    let env = need!(with_busybox());
    let script = "trap 'echo usr1; exit 3' USR1; trap '' TERM; while :; do sleep 0.1; done";
    let run = |name: &str, flags: &[&str]| {
        let args = [&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", script]].concat();
        let _ = env.brig(&args).success();
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    run("polite", &["--stop-signal", "SIGUSR1"]);
    let _ = env.brig(&["stop", "polite"]).success();
    let _ = env.brig(&["wait", "polite"]).success().prints("3\n");
    run("stubborn", &["--stop-timeout", "1"]);
    let started = std::time::Instant::now();
    let _ = env.brig(&["stop", "stubborn"]).success();
    assert!((1..9).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
    let _ = env.brig(&["wait", "stubborn"]).success().prints("137\n");
    let document = env.brig(&["inspect", "stubborn"]).success().json();
    assert_eq!(document[0]["Config"]["StopTimeout"], 1);
}

#[test]
fn limits_of_a_running_container_change_at_once() {
    let env = need!(with_limits());
    for (kind, what) in sleepers(&env) {
        start(&env, kind, &["-m", "64m", "--pids-limit", "50", "--cpus", "0.5"], &what);
        let update = |flags: &[&str]| env.brig(&[&["update"], flags, &[kind]].concat());
        let _ = update(&["-m", "256m", "--cpus", "0.25", "--pids-limit", "-1"])
            .success()
            .prints(&format!("{kind}\n"));
        has(&env, kind, ("memory.limit_in_bytes", "268435456"), ("memory.max", "268435456"));
        has(&env, kind, ("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 100000"));
        has(&env, kind, ("pids.max", "max"), ("pids.max", "max"));
        let _ = update(&["-m", "128m", "--memory-swap", "128m"]).success();
        has(&env, kind, ("memory.limit_in_bytes", "134217728"), ("memory.max", "134217728"));
        has(&env, kind, ("memory.memsw.limit_in_bytes", "134217728"), ("memory.swap.max", "0"));
        let config = || env.brig(&["inspect", kind]).success().json()[0]["HostConfig"].clone();
        assert_eq!(
            (config()["Memory"].as_u64(), config()["NanoCpus"].as_u64()),
            (Some(128 << 20), Some(250_000_000))
        );
        assert_eq!(config()["PidsLimit"], serde_json::Value::Null);
        // What fails changes nothing.
        let before = config();
        let _ = update(&["-m", "256m"]).exits(1).says("larger than the memory limit");
        let _ = update(&["-m", "64m", "--memory-swap", "64m", "--cpu-quota", "5000"])
            .exits(1)
            .says("cannot both be set");
        if setting(&env, kind, "cpuset.cpus", "cpuset.cpus").is_none() {
            let _ = update(&["--pids-limit", "7", "--cpuset-cpus", "0"]).exits(1).says("controller `cpuset`");
        }
        assert_eq!(config(), before);
        has(&env, kind, ("memory.limit_in_bytes", "134217728"), ("memory.max", "134217728"));
        has(&env, kind, ("pids.max", "max"), ("pids.max", "max"));
        let _ = env.brig(&["rm", "-f", kind]).success();
    }
}

#[test]
fn limits_of_a_stopped_container_hold_at_its_next_start() {
    let env = need!(with_limits());
    for (kind, what) in sleepers(&env) {
        start(&env, kind, &[], &what);
        let _ = env.brig(&["kill", kind]).success();
        let _ = env.brig(&["wait", kind]).success();
        let _ = env.brig(&["update", "-m", "64m", "-c", "512", kind]).success();
        let _ = env.brig(&["start", kind]).success();
        has(&env, kind, ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864"));
        has(&env, kind, ("cpu.shares", "512"), ("cpu.weight", "20"));
        let _ = env.brig(&["update", kind]).exits(1).says("one or more flags");
        let _ = env.brig(&["update", "-m", "5m", kind, "not-there"]).exits(1).says("no such container");
        has(&env, kind, ("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864"));
        let _ = env.brig(&["rm", "-f", kind]).success();
    }
}

/// Runs for ever.
const SPIN: &str = r#"(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))"#;
