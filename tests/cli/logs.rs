//! Where output is kept, how much of it, and how it is read back.

use brig_testing::{Guest, TestEnv, need};

use super::{env, eventually, with_busybox};

/// The names of a container's log files.
fn files(env: &TestEnv, name: &str) -> Vec<String> {
    let document = env.brig(&["inspect", name]).success().json();
    let path = std::path::PathBuf::from(document[0]["LogPath"].as_str().unwrap());
    let entries = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("log"));
    names.sort();
    names
}

fn counted(from: u32, to: u32) -> String {
    (from..=to).map(|number| format!("{number}\n")).collect()
}

const ROTATING: [&str; 4] = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"];

#[test]
fn a_log_is_rotated_and_read_as_one() {
    let env = need!(with_busybox());
    let run = [&["run", "--name", "talker"], &ROTATING[..], &["busybox", "seq", "1", "5000"]].concat();
    let _ = env.brig(&run).success();
    assert_eq!(files(&env, "talker"), ["log", "log.1", "log.2"]);
    let shown = env.brig(&["logs", "talker"]).success().stdout;
    let first: u32 = shown.lines().next().unwrap().parse().unwrap();
    // 20 kB are some two hundred records.
    assert!((4000..4900).contains(&first), "{first}");
    assert_eq!(shown, counted(first, 5000));
    let _ = env.brig(&["logs", "-n", "450", "talker"]).success().prints(&counted(4551, 5000));
    let _ = env.brig(&["logs", "--tail", "0", "talker"]).success().prints("");
    let _ = env.brig(&["logs", "--since", "1h", "--until", "1h", "talker"]).success().prints("");
    let _ = env.brig(&["rm", "talker"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn followers_lose_nothing_through_rotations() {
    let env = need!(with_busybox());
    // Slow enough that a follower on a busy machine sees every file while it is there.
    let script = "i=0; while [ $i -lt 40 ]; do seq $((i*100+1)) $((i*100+100)); i=$((i+1)); sleep 0.05; done";
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=100"];
    let run = [&["run", "-d", "--name", "talker"], &options[..], &["busybox", "sh", "-c", script]].concat();
    let _ = env.brig(&run).success();
    let following = env.command(&["logs", "-f", "talker"]).spawn();
    let _ = following.wait().success().prints(&counted(1, 4000));
    assert!(files(&env, "talker").len() > 10);
}

const COMPRESSED: [&str; 6] =
    ["--log-opt", "max-size=20k", "--log-opt", "max-file=4", "--log-opt", "compress=true"];

#[test]
fn rotated_files_are_compressed_and_read_as_one() {
    let env = need!(with_busybox());
    let script = "seq 1 5000; sleep 0.2; seq 5001 5300";
    let run = [&["run", "--name", "talker"], &COMPRESSED[..], &["busybox", "sh", "-c", script]].concat();
    let _ = env.brig(&run).success();
    // What the last rotation has left to do is done before the container can be started again.
    eventually("all are compressed", || files(&env, "talker") == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]);
    let shown = env.brig(&["logs", "talker"]).success().stdout;
    let first: u32 = shown.lines().next().unwrap().parse().unwrap();
    assert!((4200..4800).contains(&first), "{first}");
    assert_eq!(shown, counted(first, 5300));
    for tail in [1, 300, 500] {
        let _ = env
            .brig(&["logs", "-n", &tail.to_string(), "talker"])
            .success()
            .prints(&counted(5301 - tail, 5300));
    }
    let _ = env.brig(&["logs", "--since", "1h", "-f", "talker"]).success().prints(&shown);
    // They go on where another supervisor was.
    let _ = env.brig(&["start", "-a", "talker"]).success();
    eventually("all are compressed", || files(&env, "talker") == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]);
    let shown = env.brig(&["logs", "talker"]).success().stdout;
    let first: u32 = shown.lines().next().unwrap().parse().unwrap();
    assert_eq!(shown, counted(first, 5300));
    let _ = env.brig(&["rm", "talker"]).success();
    let _ =
        env.brig(&[&["run", "--rm"], &COMPRESSED[..], &["busybox", "seq", "1", "2000"]].concat()).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn followers_lose_nothing_through_compressions() {
    let env = need!(with_busybox());
    let script = "i=0; while [ $i -lt 40 ]; do seq $((i*100+1)) $((i*100+100)); i=$((i+1)); sleep 0.05; done";
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=100", "--log-opt", "compress=1"];
    let run = [&["run", "-d", "--name", "talker"], &options[..], &["busybox", "sh", "-c", script]].concat();
    let _ = env.brig(&run).success();
    let following = env.command(&["logs", "-f", "talker"]).spawn();
    let _ = following.wait().success().prints(&counted(1, 4000));
    let _ = env.brig(&["logs", "talker"]).success().prints(&counted(1, 4000));
    let names = files(&env, "talker");
    assert!(names.iter().filter(|name| name.ends_with(".gz")).count() > 10, "{names:?}");
}

#[test]
fn the_other_kind_rotates_too() {
    let env = env();
    let hello = env.write("hello.wasm", Guest::TINY.module().unwrap());
    let options = ["--log-opt", "max-size=1", "--log-opt", "max-file=2", "--log-opt", "compress=true"];
    let create = [&["create", "--name", "wasm"], &options[..], &[hello.to_str().unwrap()]].concat();
    let _ = env.brig(&create).success();
    for _ in 0..3 {
        let _ = env.brig(&["start", "-a", "wasm"]).success().prints("hello from wat\n");
    }
    let _ = env.brig(&["logs", "wasm"]).success().prints("hello from wat\nhello from wat\n");
    eventually("it is compressed", || files(&env, "wasm") == ["log", "log.1.gz"]);
}

#[test]
fn drivers_keep_what_they_say() {
    let env = need!(with_busybox());
    let config =
        |name: &str| env.brig(&["inspect", name]).success().json()[0]["HostConfig"]["LogConfig"].clone();
    let _ = env
        .brig(&["run", "--name", "none", "--log-driver", "none", "busybox", "echo", "x"])
        .success()
        .prints("x\n");
    let _ = env
        .brig(&["logs", "none"])
        .exits(1)
        .says("configured logging driver `none` does not support reading");
    assert_eq!(config("none"), serde_json::json!({ "Type": "none", "Config": {} }));
    let _ = env.brig(&["run", "--name", "local", "--log-driver=local", "busybox", "echo", "x"]).success();
    let _ = env.brig(&["logs", "local"]).success().prints("x\n");
    assert_eq!(config("local")["Type"], "local");
    let options = ["--log-driver", "local", "--log-opt", "max-size=1k", "--log-opt", "mode=non-blocking"];
    let run = [&["run", "--name", "packed"], &options[..], &["busybox", "seq", "1", "100"]].concat();
    let _ = env.brig(&run).success();
    eventually("it is compressed", || files(&env, "packed").contains(&"log.4.gz".to_owned()));
    assert_eq!(config("packed")["Config"], serde_json::json!({ "max-size": "1k", "mode": "non-blocking" }));
    let _ = env.brig(&["run", "--name", "plain", "busybox", "true"]).success();
    assert_eq!(config("plain"), serde_json::json!({ "Type": "json-file", "Config": {} }));
    let rotating = [&["create", "--name", "rotating"], &ROTATING[..], &["busybox"]].concat();
    let _ = env.brig(&rotating).success();
    assert_eq!(config("rotating")["Config"], serde_json::json!({ "max-size": "20k", "max-file": "3" }));
}

#[test]
fn records_say_what_they_are_asked_to() {
    let env = need!(with_busybox());
    let hello = env.write("hello.wasm", Guest::TINY.module().unwrap());
    let options = [
        "labels=team,none",
        "labels-regex=^org[.]",
        "env=MODE",
        "env-regex=^X_",
        "tag={{.Name}} {{.DaemonName}}",
    ];
    let options: Vec<&str> = options.iter().flat_map(|option| ["--log-opt", option]).collect();
    let said =
        ["-l", "team=a b", "-l", "org.x=ü", "-l", "other=1", "-e", "MODE=1", "-e", "X_A=,", "-e", "Y=2"];
    let details = "MODE=1,X_A=%2C,org.x=%C3%BC,tag=NAME+brig,team=a+b ";
    for (name, image, args) in
        [("linux", "busybox", &["echo", "hello from wat"][..]), ("wasm", hello.to_str().unwrap(), &[])]
    {
        let _ = env
            .brig(&[&["run", "--name", name], &options[..], &said[..], &[image], args].concat())
            .success()
            .prints("hello from wat\n");
        let expected = details.replace("NAME", name) + "hello from wat\n";
        let _ = env.brig(&["logs", "--details", name]).success().prints(&expected);
        let _ = env.brig(&["logs", name]).success().prints("hello from wat\n");
        let shown = env.brig(&["logs", "--details", "-t", name]).success().stdout;
        assert_eq!(shown.split_once(' ').unwrap().1, expected);
        let _ = env.brig(&["logs", "--details", "-n", "0", name]).success().prints("");
    }
    let _ = env.brig(&["run", "--name", "plain", "busybox", "echo", "x"]).success();
    let _ = env.brig(&["logs", "--details", "plain"]).success().prints(" x\n");
}

#[test]
fn what_isnt_there_is_refused() {
    let env = need!(with_busybox());
    for (flags, says) in [
        (&["--log-driver", "syslog"][..], "use json-file, local, journald or none"),
        (&["--log-opt", "max-size"], "KEY=VALUE"),
        (&["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (&["--log-opt", "max-size=0"], "max-size must be a positive number"),
        (&["--log-opt", "lables=a"], "unknown log opt `lables` for json-file log driver"),
        (
            &["--log-driver", "local", "--log-opt", "labels=a"],
            "unknown log opt `labels` for local log driver",
        ),
        (&["--log-opt", "labels-regex=("], "invalid log opt `labels-regex=(`"),
        (&["--log-opt", "tag={{.Nam}}"], "`.Nam` isn't known"),
        (&["--log-opt", "compress=true"], "compress cannot be true when max-file is less than 2"),
        (&["--log-opt", "mode=fast"], "blocking and non-blocking"),
        (&["--log-opt", "max-buffer-size=1m"], "only supported with `mode=non-blocking`"),
    ] {
        let _ = env.brig(&[&["run", "--rm"], flags, &["busybox", "true"]].concat()).exits(125).says(says);
    }
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        return eprintln!("skipped: a journal listens here");
    }
    let _ =
        env.brig(&["create", "--log-driver", "journald", "busybox"]).exits(1).says("no journal listens here");
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn both_streams_keep_their_order() {
    let env = need!(with_busybox());
    let script = "for i in 1 2 3; do echo out$i; echo err$i >&2; sleep 0.05; done";
    let _ = env.brig(&["run", "-d", "--name", "both", "busybox", "sh", "-c", script]).success();
    let _ = env.brig(&["wait", "both"]).success();
    let brig = env!("CARGO_BIN_EXE_brig");
    let shell = format!("{brig} --root {} logs both 2>&1", env.root().display());
    let expected = "out1\nerr1\nout2\nerr2\nout3\nerr3\n";
    let _ = env.program("/bin/sh", &["-c", &shell]).run().success().prints(expected);
    let shown = env.brig(&["logs", "-t", "both"]).success();
    assert!(
        shown.stdout.lines().all(|line| line.len() == 35 && line.as_bytes()[30] == b' '),
        "{}",
        shown.stdout
    );
}

#[test]
fn killed_supervisors_leave_a_log_without_gaps_and_doubles() {
    let env = need!(with_busybox());
    let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=500"];
    let script = "i=0; while :; do i=$((i+1)); echo $i; done";
    let create = [&["create", "--name", "talker"], &options[..], &["busybox", "sh", "-c", script]].concat();
    let _ = env.brig(&create).success();
    const ROUNDS: u32 = 12;
    for round in 0..ROUNDS {
        let _ = env.brig(&["start", "talker"]).success();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(20 + 7 * round)));
        let state = env.brig(&["inspect", "talker"]).success().json()[0]["State"].clone();
        let supervisor = state["SupervisorPid"].to_string();
        let _ = env.program("kill", &["-9", &supervisor]).run().success();
        // Its payload goes with it.
        eventually("it is seen as stopped", || {
            env.brig(&["inspect", "talker"]).success().json()[0]["State"]["Status"] == "exited"
        });
    }
    assert!(files(&env, "talker").len() > 1);
    let shown = env.brig(&["logs", "talker"]).success().stdout;
    let (mut last, mut begun) = (0, 0);
    for number in shown.lines().map(|line| line.parse::<u32>().unwrap()) {
        if number == 1 {
            begun += 1;
        } else {
            assert_eq!(number, last + 1);
        }
        last = number;
    }
    // One that was killed at once may have said nothing.
    assert!((1..=ROUNDS).contains(&begun), "{begun}");
}
