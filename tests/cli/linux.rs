//! Linux containers: what docker's users expect of `run` and its friends.

use std::fs;
use std::time::{Duration, Instant};

use brig_testing::image::{self, Compression, ImageBuilder, LayerBuilder};
use brig_testing::{Signal, TestEnv, is_root, need, need_root};

use super::{env, eventually, load, with_busybox};

/// Runs a shell script in a container that is removed at its end.
#[track_caller]
fn sh(env: &TestEnv, flags: &[&str], script: &str) -> brig_testing::Output {
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(flags);
    args.extend_from_slice(&["busybox", "sh", "-c", script]);
    env.brig(&args)
}

#[test]
fn output_errors_and_exit_status_pass_through() {
    let env = need!(with_busybox());
    let output = sh(&env, &[], "echo out; echo err >&2; exit 7").exits(7).prints("out\n");
    assert_eq!(output.stderr, "err\n");
    // The kernel shields pid 1 from signals that it doesn't handle.
    let _ = sh(&env, &[], "kill -9 $$; kill -TERM $$; echo alive").success().prints("alive\n");
}

#[test]
fn a_signal_gives_128_and_its_number() {
    let env = need!(with_busybox());
    // Not as pid 1, which the kernel shields.
    let _ = sh(&env, &[], "sh -c 'kill -TERM $$'; exit $?").exits(143);
    let _ = env.brig(&["run", "-d", "--name", "sleeper", "busybox", "sleep", "60"]).success();
    let _ = env.brig(&["kill", "sleeper"]).success();
    let _ = env.brig(&["wait", "sleeper"]).success().prints("137\n");
}

#[test]
fn standard_input_is_read_with_i_only() {
    let env = need!(with_busybox());
    let call = |flags: &[&str]| {
        let args = [&["run", "--rm"][..], flags, &["busybox", "cat"]].concat();
        env.command(&args).stdin("typed").run().success()
    };
    let _ = call(&["-i"]).prints("typed");
    let _ = call(&[]).prints("");
}

#[test]
fn much_output_and_input_come_whole() {
    let env = need!(with_busybox());
    let output = sh(&env, &[], "seq 1 200000").success();
    assert_eq!(output.stdout.lines().count(), 200_000);
    let input = "0123456789abcdef\n".repeat(100_000);
    let output = env.command(&["run", "--rm", "-i", "busybox", "wc", "-c"]).stdin(input.clone()).run();
    assert_eq!(output.success().line(), input.len().to_string());
}

#[test]
fn what_is_not_there_is_127_and_what_cannot_run_126() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--rm", "busybox", "no-such-program"]).exits(127).says("no-such-program");
    let _ = env.brig(&["run", "--rm", "busybox", "/no/such/program"]).exits(127);
    let _ = env.brig(&["run", "--rm", "busybox", "/etc/passwd"]).exits(126);
    let _ = env.brig(&["run", "--rm", "busybox", "/etc"]).exits(126);
    let _ = env.brig(&["run", "--no-such-flag", "busybox"]).exits(125);
    let _ = env.brig(&["run", "--rm", "--pull", "never", "nothing"]).exits(125).says("nothing");
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn environment_and_directory_are_the_images_and_the_flags() {
    let env = need!(with_busybox());
    let image = image::busybox().unwrap().env(&["PATH=/bin", "A=image", "B=image"]).workdir("/usr").build();
    load(&env, &image, "configured");
    let script = "echo $A $B $C $HOSTNAME; pwd";
    let run = |flags: &[&str]| {
        let args = [&["run", "--rm", "--hostname", "here"][..], flags, &["configured", "sh", "-c", script]];
        env.brig(&args.concat()).success()
    };
    let _ = run(&[]).prints("image image here\n/usr\n");
    let _ =
        run(&["-e", "B=flag", "-e", "C=new", "-w", "/var/made"]).prints("image flag new here\n/var/made\n");
    let output = env.command(&["run", "--rm", "-e", "OURS", "busybox", "env"]).env("OURS", "taken").run();
    let _ = output.success().shows("OURS=taken\n");
    let _ = env.command(&["run", "--rm", "busybox", "env"]).env("OURS", "kept out").run().success();
}

#[test]
fn entry_point_and_command_make_the_arguments() {
    let env = need!(with_busybox());
    let image = image::busybox().unwrap().entrypoint(&["echo", "entry"]).cmd(&["command"]).build();
    load(&env, &image, "entry");
    let _ = env.brig(&["run", "--rm", "entry"]).success().prints("entry command\n");
    let _ = env.brig(&["run", "--rm", "entry", "given", "-x"]).success().prints("entry given -x\n");
    // docker drops the image's command with its entry point.
    let _ = env.brig(&["run", "--rm", "--entrypoint", "echo", "entry"]).success().prints("\n");
    let _ = env.brig(&["run", "--rm", "--entrypoint", "echo", "entry", "a"]).success().prints("a\n");
}

#[test]
fn users_are_names_or_numbers() {
    need!(need_root());
    let env = need!(with_busybox());
    let id = |user: &str| sh(&env, &["-u", user], "id -u; id -g; id -G; echo $HOME").success().stdout;
    assert_eq!(id("app"), "1000\n1000\n1000 50\n/home/app\n");
    assert_eq!(id("app:staff"), "1000\n50\n50\n/home/app\n");
    assert_eq!(id("1234:77"), "1234\n77\n77\n/\n");
    assert_eq!(id("0"), "0\n0\n0\n/root\n");
    let _ = sh(&env, &["-u", "stranger"], "true").exits(125).says("stranger");
}

#[test]
fn files_stay_without_rm_and_vanish_with_it() {
    let env = need!(with_busybox());
    let script = "cat /root/mark 2>/dev/null; echo kept > /root/mark";
    let _ = env.brig(&["run", "--name", "keeper", "busybox", "sh", "-c", script]).success().prints("");
    let _ = env.brig(&["start", "-a", "keeper"]).success().prints("kept\n");
    let _ = env.brig(&["rm", "keeper"]).success();
    let _ = sh(&env, &[], script).success().prints("");
    let _ = sh(&env, &[], script).success().prints("");
    assert_eq!(env.containers(), Vec::<String>::new());
    let left = fs::read_dir(env.root().join("containers")).into_iter().flatten().count();
    assert_eq!(left, 0, "directories of removed containers stay");
}

#[test]
fn layers_lie_on_each_other() {
    let env = need!(with_busybox());
    let image = image::busybox()
        .unwrap()
        .files(
            LayerBuilder::new()
                .dir("d/", 0o755)
                .file("d/gone", 0o644, "1")
                .file("d/kept", 0o644, "1")
                .dir("o/", 0o755)
                .file("o/old", 0o644, "1"),
        )
        .layer(
            LayerBuilder::new()
                .whiteout("d/gone")
                .file("d/kept", 0o640, "2")
                .dir("o/", 0o755)
                .opaque("o")
                .file("o/new", 0o644, "2")
                .file("first", 0o600, "link")
                .hardlink("second", "first")
                .build(Compression::Zstd),
        )
        .layer(LayerBuilder::new().file("top", 0o644, "3").build(Compression::None))
        .build();
    load(&env, &image, "layered");
    let script = "ls d o; cat d/kept top first; stat -c '%a %h' d/kept first";
    let output = env.brig(&["run", "--rm", "layered", "sh", "-c", script]).success();
    assert_eq!(output.stdout, "d:\nkept\n\no:\nnew\n23link640 1\n600 2\n");
}

#[test]
fn ownership_modes_and_times_are_the_layers() {
    need!(need_root());
    let env = need!(with_busybox());
    let layer = LayerBuilder::new().owner(12, 34).mtime(1_000_000_000).file("owned", 0o4755, "x");
    let layer = layer.char_device("device", 0o620, 1, 3).fifo("pipe", 0o600);
    load(&env, &image::busybox().unwrap().files(layer).build(), "owned");
    let script = "stat -c '%u %g %a %Y' owned; stat -c '%F %t %T' device; stat -c %F pipe";
    let output = env.brig(&["run", "--rm", "owned", "sh", "-c", script]).success();
    let expected = "12 34 4755 1000000000\ncharacter special file 1 3\nfifo\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn volumes_are_the_hosts_files() {
    let env = need!(with_busybox());
    let shared = env.work().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("in"), "from the host").unwrap();
    let volume = format!("{}:/data", shared.display());
    let _ =
        sh(&env, &["-v", &volume], "cat /data/in; echo back > /data/out").success().prints("from the host");
    assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), "back\n");
    let read_only = format!("{volume}:ro");
    let _ = sh(&env, &["-v", &read_only], "cat /data/in && echo no > /data/out").fails();
    assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), "back\n");
    let file = format!("{}:/etc/motd:ro", shared.join("in").display());
    let _ = sh(&env, &["-v", &file], "cat /etc/motd").success().prints("from the host");
    let _ = sh(&env, &["-v", "relative-nonsense"], "true").exits(125);
}

#[test]
fn a_read_only_root_can_not_be_written() {
    let env = need!(with_busybox());
    let _ = sh(&env, &["--read-only"], "touch /x").fails();
    let _ = sh(&env, &["--read-only"], "touch /dev/shm/x && echo yes").success().prints("yes\n");
}

#[test]
fn the_container_sees_itself_alone() {
    let env = need!(with_busybox());
    let script =
        "echo pid $$; ls /proc | grep -c '^[0-9]'; ls /sys/class/net; hostname | wc -c; ls /proc/self/fd";
    let output = sh(&env, &[], script).success();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(&lines[..1], ["pid 1"], "{}", output.stdout);
    assert!(lines[1].parse::<u32>().unwrap() <= 4, "{}", output.stdout);
    assert_eq!(lines[2], "lo");
    assert_eq!(lines[3], "13", "the host name is the short id");
    // Standard streams and the directory that ls reads.
    assert_eq!(&lines[4..], ["0", "1", "2", "3"], "descriptors leak into the container");
}

#[test]
fn loopback_is_up_and_nothing_else() {
    let env = need!(with_busybox());
    let script = "nc -l -p 7777 -e echo hi & sleep 0.3; nc 127.0.0.1 7777 </dev/null; ip -o addr";
    let output = sh(&env, &[], script).success();
    assert!(output.stdout.contains("hi\n"), "{}", output.stdout);
    assert!(!output.stdout.contains("eth0"), "{}", output.stdout);
}

#[test]
fn the_hosts_network_by_flag() {
    let env = need!(with_busybox());
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let output = sh(&env, &["--network", "host"], "readlink /proc/self/ns/net").success();
    assert_eq!(output.line(), ours.to_str().unwrap());
}

#[test]
fn names_are_resolved_by_files_that_brig_writes() {
    let env = need!(with_busybox());
    let script =
        "grep -q localhost /etc/hosts && grep -c here /etc/hosts; test -f /etc/resolv.conf && echo ok";
    let output = sh(&env, &["--hostname", "here"], script).success();
    assert!(output.stdout.ends_with("1\nok\n"), "{}", output.stdout);
}

#[test]
fn privileges_are_dockers() {
    let env = need!(with_busybox());
    let script = "grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'";
    let output = sh(&env, &[], script).success();
    let line = |name: &str| output.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(line("Seccomp:"), "2", "{}", output.stdout);
    assert_eq!(line("CapBnd:"), "00000000a80425fb", "docker's fourteen capabilities");
    let tight = sh(&env, &["--security-opt", "no-new-privileges"], script).success();
    assert!(tight.stdout.contains("NoNewPrivs:1"), "{}", tight.stdout);
    let loose = sh(&env, &["--security-opt", "seccomp=unconfined"], script).success();
    assert!(loose.stdout.contains("Seccomp:0"), "{}", loose.stdout);
}

#[test]
fn what_could_hurt_the_host_is_refused() {
    let env = need!(with_busybox());
    for script in [
        "mount -t tmpfs none /mnt",
        "mknod /dev/sda b 8 0 && dd if=/dev/sda of=/dev/null count=1",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "cat /proc/kcore | head -c 1 | grep .",
        "hostname other",
        "echo x > /sys/kernel/mm/ksm/run",
    ] {
        let _ = sh(&env, &[], script).fails();
    }
}

#[test]
fn too_much_memory_is_137_and_said_so() {
    need!(need_root());
    let env = need!(with_busybox());
    let script = "head -c 200m /dev/zero | tail";
    let args = ["run", "--name", "hog", "-m", "32m", "busybox", "sh", "-c", &format!("exec {script}")];
    let output = env.brig(&args);
    assert_ne!(output.code(), 0, "{}", output.transcript());
    let single = [
        "run",
        "--name",
        "single",
        "-m",
        "32m",
        "busybox",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=200M",
        "count=1",
    ];
    let _ = env.brig(&single).exits(137);
    let state = env.brig(&["inspect", "single"]).success().json()[0]["State"].clone();
    assert_eq!((&state["OOMKilled"], &state["Reason"]), (&true.into(), &"memory".into()), "{state}");
}

#[test]
fn too_many_processes_are_refused() {
    need!(need_root());
    let env = need!(with_busybox());
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo made all";
    let output = sh(&env, &["--pids-limit", "5"], script);
    assert!(!output.stdout.contains("made all") || output.stderr.contains("fork"), "{}", output.transcript());
    let _ = sh(&env, &["--pids-limit", "50"], "sleep 0 & wait; echo fine").success().prints("fine\n");
}

#[test]
fn time_runs_out_with_124() {
    let env = need!(with_busybox());
    let start = Instant::now();
    let _ = env.brig(&["run", "--name", "slow", "--timeout", "500ms", "busybox", "sleep", "60"]).exits(124);
    assert!(start.elapsed() < Duration::from_secs(20));
    let state = env.brig(&["inspect", "slow"]).success().json()[0]["State"].clone();
    assert_eq!(state["Reason"], "timeout", "{state}");
    let _ = sh(&env, &["--timeout", "1m"], "echo in time").success().prints("in time\n");
}

#[test]
fn a_terminal_is_given_with_t() {
    let env = need!(with_busybox());
    let call = env.command(&["run", "--rm", "-it", "busybox", "sh"]);
    let output = call.run_on_terminal("tty; stty size; echo a''b; exit 5\n").exits(5);
    assert!(
        output.stdout.contains("/dev/pts/") || output.stdout.contains("/dev/console"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("24 80"), "{}", output.stdout);
    assert!(output.stdout.contains("ab"), "{}", output.stdout);
    let _ = sh(&env, &["-t"], "test -t 1 && echo yes").success().shows("yes");
    let _ = env.brig(&["run", "--rm", "-it", "busybox", "true"]).exits(125);
}

#[test]
fn ctrl_c_on_a_terminal_reaches_the_program() {
    let env = need!(with_busybox());
    let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let mut terminal =
        env.command(&["run", "--rm", "-it", "busybox", "sh", "-c", script]).spawn_on_terminal();
    eventually("the container runs", || !env.brig(&["ps", "-q"]).success().stdout.is_empty());
    std::thread::sleep(Duration::from_millis(500));
    terminal.type_text("\x03");
    let _ = terminal.wait().exits(3).shows("caught");
}

#[test]
fn ctrl_c_without_a_terminal_is_passed_on() {
    let env = need!(with_busybox());
    let script = "trap 'echo caught; exit 3' INT; while :; do sleep 0.1; done";
    let running = env.command(&["run", "--rm", "busybox", "sh", "-c", script]).spawn();
    eventually("the container runs", || !env.brig(&["ps", "-q"]).success().stdout.is_empty());
    std::thread::sleep(Duration::from_millis(500));
    running.signal(Signal::INT);
    let _ = running.wait().exits(3).prints("caught\n");
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn a_detached_container_lives_and_its_log_stays() {
    let env = need!(with_busybox());
    let script = "echo one; echo two >&2; sleep 60";
    let output = env.brig(&["run", "-d", "--name", "bg", "--label", "k=v", "busybox", "sh", "-c", script]);
    let id = output.success().line().to_owned();
    assert_eq!(id.len(), 64);
    eventually("the log has both lines", || env.brig(&["logs", "bg"]).success().stderr == "two\n");
    let _ = env.brig(&["logs", "bg"]).success().prints("one\n");
    let listed = env.brig(&["ps"]).success();
    assert!(listed.stdout.contains("bg") && listed.stdout.contains("Up "), "{}", listed.stdout);
    let inspected = env.brig(&["inspect", &id[..12]]).success().json();
    assert_eq!(inspected[0]["State"]["Status"], "running", "{inspected}");
    assert_eq!(inspected[0]["Config"]["Labels"]["k"], "v");
    let _ = env.brig(&["rm", "bg"]).fails();
    let _ = env.brig(&["stop", "-t", "1", "bg"]).success().prints("bg\n");
    let listed = env.brig(&["ps", "-a"]).success();
    assert!(listed.stdout.contains("Exited ("), "{}", listed.stdout);
    let _ = env.brig(&["logs", "-t", "bg"]).success().shows("one");
    let _ = env.brig(&["rm", "bg"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn stop_asks_first() {
    let env = need!(with_busybox());
    let script = "trap 'echo asked; exit 4' TERM; while :; do sleep 0.1; done";
    let _ = env.brig(&["run", "-d", "--name", "polite", "busybox", "sh", "-c", script]).success();
    std::thread::sleep(Duration::from_millis(300));
    let _ = env.brig(&["stop", "polite"]).success();
    let _ = env.brig(&["wait", "polite"]).success().prints("4\n");
    let _ = env.brig(&["logs", "polite"]).success().prints("asked\n");
}

#[test]
fn logs_follow_until_the_end() {
    let env = need!(with_busybox());
    let script = "for i in 1 2 3; do echo $i; sleep 0.2; done";
    let _ = env.brig(&["run", "-d", "--name", "counter", "busybox", "sh", "-c", script]).success();
    let _ = env.brig(&["logs", "-f", "counter"]).success().prints("1\n2\n3\n");
    let _ = env.brig(&["logs", "--tail", "1", "counter"]).success().prints("3\n");
}

#[test]
fn exec_runs_beside_the_payload() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "host", "-e", "A=b", "busybox", "sleep", "60"]).success();
    let _ = env
        .brig(&["exec", "host", "sh", "-c", "echo $A; hostname | wc -c; exit 9"])
        .exits(9)
        .prints("b\n13\n");
    let _ = env.command(&["exec", "-i", "host", "cat"]).stdin("typed").run().success().prints("typed");
    let _ = env
        .brig(&["exec", "-e", "A=c", "-w", "/tmp", "host", "sh", "-c", "echo $A; pwd"])
        .prints("c\n/tmp\n");
    let _ = env.brig(&["exec", "host", "no-such-program"]).exits(127);
    let output =
        env.command(&["exec", "-it", "host", "sh", "-c", "test -t 0 && stty size"]).run_on_terminal("");
    let _ = env.brig(&["exec", "-it", "host", "true"]).exits(125).says("not a terminal");
    let _ = output.success().shows("24 80");
    if is_root() {
        let _ = env.brig(&["exec", "-u", "app", "host", "id", "-u"]).success().prints("1000\n");
        let home = env.brig(&["exec", "-u", "app", "host", "sh", "-c", "echo $HOME"]);
        let _ = home.success().prints("/home/app\n");
    }
    let seccomp = env.brig(&["exec", "host", "grep", "Seccomp:", "/proc/self/status"]).success();
    assert!(seccomp.stdout.contains('2'), "exec must not be freer than the payload: {}", seccomp.stdout);
    let _ = env.brig(&["stop", "-t", "0", "host"]).success();
    let _ = env.brig(&["exec", "host", "true"]).fails();
}

#[test]
fn a_signal_to_exec_does_not_reach_the_payload() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "host", "busybox", "sleep", "60"]).success();
    let exec = env.command(&["exec", "host", "sleep", "50"]).spawn();
    eventually("exec runs", || {
        env.brig(&["exec", "host", "sh", "-c", "cat /proc/[0-9]*/cmdline"]).stdout.contains("50")
    });
    exec.signal(Signal::INT);
    let _ = exec.wait().exits(130);
    let _ = env.brig(&["exec", "host", "true"]).success();
}

#[test]
fn attach_joins_the_payloads_streams() {
    let env = need!(with_busybox());
    let script = "read line; echo got $line";
    let _ = env.brig(&["run", "-d", "-i", "--name", "reader", "busybox", "sh", "-c", script]).success();
    let _ = env.command(&["attach", "reader"]).stdin("a line\n").run().success().shows("got a line\n");
}

#[test]
fn created_containers_start_when_told() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "later", "busybox", "echo", "now"]).success();
    let listed = env.brig(&["ps", "-a"]).success();
    assert!(listed.stdout.contains("Created"), "{}", listed.stdout);
    let _ = env.brig(&["start", "-a", "later"]).success().prints("now\n");
    let _ = env.brig(&["container", "rm", "later"]).success();
}

#[test]
fn a_name_is_for_one() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "taken", "busybox"]).success();
    let _ = env.brig(&["run", "--name", "taken", "busybox", "true"]).exits(125).says("taken");
    let _ = env.brig(&["create", "--name", "../evil", "busybox"]).fails();
    let _ = env.brig(&["rm", "taken"]).success();
    let _ = env.brig(&["run", "--rm", "--name", "taken", "busybox", "true"]).success();
}

#[test]
fn an_image_in_use_is_not_removed() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "user", "busybox", "echo", "still here"]).success();
    let _ = env.brig(&["rmi", "busybox"]).fails().says("user");
    let _ = env.brig(&["start", "-a", "user"]).success().prints("still here\n");
}

#[test]
fn events_tell_what_happened() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--rm", "--name", "seen", "busybox", "true"]).success();
    let output = env.brig(&["events", "--since", "1h", "--until", "0s"]).success();
    let actions: Vec<&str> = output.stdout.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    for action in ["create", "start", "die", "destroy"] {
        assert!(actions.contains(&action), "no `{action}` in:\n{}", output.stdout);
    }
    let json = env.brig(&["--format", "json", "events", "--since", "1h", "--until", "0s"]).success();
    for line in json.stdout.lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
}

#[test]
fn an_image_that_says_nothing_to_run_is_refused() {
    let env = env();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    load(&env, &image, "empty");
    let _ = env.brig(&["run", "--rm", "empty"]).exits(125).says("nothing to run");
}

#[test]
fn many_containers_at_once() {
    let env = need!(with_busybox());
    let running: Vec<_> =
        (0..12).map(|i| env.command(&["run", "--rm", "busybox", "echo", &i.to_string()]).spawn()).collect();
    for (i, running) in running.into_iter().enumerate() {
        let _ = running.wait().success().prints(&format!("{i}\n"));
    }
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn the_hosts_network_comes_with_the_hosts_name_unless_another_is_given() {
    let env = need!(with_busybox());
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let run = |flags: &[&str]| env.brig(&[&["run", "--rm"][..], flags, &["busybox", "hostname"]].concat());
    let _ = run(&["--network", "host"]).success().prints(&name);
    let _ = run(&["--network", "host", "--hostname", "mast"]).success().prints("mast\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), name);
    let _ = env.brig(&["run", "-v", "/tmp:/", "busybox", "true"]).exits(125).says("/tmp:/");
    let _ = env.brig(&["run", "-v", "/tmp:/a", "-v", "/etc:/a", "busybox", "true"]).exits(125).says("/a");
}

#[test]
fn a_container_that_starts_twice_runs_once() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--rm", "--name", "once", "busybox", "sleep", "60"]).success();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // One of them starts it; the others find it running, or lose the race. None may end it.
            scope.spawn(|| drop(env.brig(&["start", "once"])));
        }
    });
    let _ = env.brig(&["exec", "once", "true"]).success();
    let _ = env.brig(&["rm", "-f", "once"]).success();
}

#[test]
fn waiting_begins_before_the_start() {
    let env = need!(with_busybox());
    let ways = [&["create", "--name", "later"][..], &["create", "--name", "later", "--rm"]];
    for rm in ways.into_iter().cycle().take(8) {
        let _ = env.brig(&[rm, &["busybox", "sh", "-c", "exit 6"]].concat()).success();
        let waiting = env.command(&["wait", "later"]).spawn();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let _ = env.brig(&["start", "later"]).success();
        let _ = waiting.wait().success().prints("6\n");
        let _ = env.brig(&["rm", "-f", "later"]).success();
    }
    let _ = env.brig(&["create", "--name", "never", "busybox", "true"]).success();
    let waiting = env.command(&["wait", "never"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let _ = env.brig(&["rm", "never"]).success();
    let _ = waiting.wait().exits(1).says("no such container: `never`");
}

#[test]
fn limits_that_are_none() {
    let env = need!(with_busybox());
    let _ = sh(&env, &["-m", "0", "--pids-limit", "-1"], "echo free").success().prints("free\n");
    let _ = env.brig(&["create", "--name", "half", "-m", "0.5g", "--pids-limit", "0", "busybox"]).success();
    let config = env.brig(&["inspect", "half"]).success().json()[0]["HostConfig"].clone();
    assert_eq!((&config["Memory"], &config["PidsLimit"]), (&(512 << 20).into(), &serde_json::Value::Null));
}

#[test]
fn lists_are_filtered() {
    let env = need!(with_busybox());
    let create = |name: &str, label: &str| {
        let _ = env.brig(&["create", "--name", name, "-l", label, "busybox", "sh", "-c", "exit 3"]).success();
    };
    create("web-1", "tier=front");
    create("web-2", "tier=back");
    create("db", "tier=back");
    let _ = env.brig(&["start", "-a", "db"]).exits(3);
    let listed = |args: &[&str]| {
        let output = env.brig(&[&["--format", "json", "ps"], args].concat()).success().json();
        let names = output.as_array().unwrap().iter().map(|one| one["Names"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    };
    for (args, expected) in [
        (&["-a"][..], "db web-2 web-1"),
        (&["-l"], "db"),
        (&["-n", "2"], "db web-2"),
        (&["-a", "-f", "name=web"], "web-2 web-1"),
        (&["-a", "-f", "name=^db$", "-f", "name=web-1"], "db web-1"),
        (&["-a", "-f", "label=tier=back"], "db web-2"),
        (&["-a", "-f", "label=tier", "-f", "label=tier=front"], "web-1"),
        (&["-a", "-f", "exited=3"], "db"),
        (&["-f", "status=created"], "web-2 web-1"),
        (&["-f", "status=exited", "-f", "name=web"], ""),
        (&["-a", "-f", "ancestor=busybox"], "db web-2 web-1"),
        (&["-a", "-f", "ancestor=alpine"], ""),
    ] {
        assert_eq!(listed(args), expected, "{args:?}");
    }
    let _ = env.brig(&["ps", "-f", "colour=red"]).exits(2).says("the filters are");
    let _ = env.brig(&["tag", "busybox", "example.com/box:v1"]).success();
    let images =
        |args: &[&str]| env.brig(&[&["images", "-q"], args].concat()).success().stdout.lines().count();
    for (args, expected) in [
        (&[][..], 2),
        (&["busybox"], 1),
        (&["busybox:v1"], 0),
        (&["-f", "reference=*/box:v*"], 1),
        (&["-f", "reference=busy*", "-f", "reference=example.com/*"], 2),
    ] {
        assert_eq!(images(args), expected, "{args:?}");
    }
}

#[test]
fn a_log_from_a_time_on() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "--name", "talker", "busybox", "echo", "said"]).success();
    for (args, expected) in [
        (&["--tail", "-5"][..], "said\n"),
        (&["--tail", "all"], "said\n"),
        (&["--since", "1136073845.5"], "said\n"),
        (&["--since", "1h30m"], "said\n"),
        (&["--since", "2006-01-02"], "said\n"),
        (&["--until", "2006-01-02T15:04:05"], ""),
        (&["--until", "1136073845"], ""),
    ] {
        let _ = env.brig(&[&["logs"], args, &["talker"]].concat()).success().prints(expected);
    }
    let _ = env.brig(&["logs", "--since", "yesterday", "talker"]).exits(1).says("yesterday");
}

#[test]
fn what_is_missing_is_said_once_where_a_terminal_looks() {
    let notice = "no other network";
    for verb in ["create", "start"] {
        let env = need!(with_busybox());
        let create = env.command(&["create", "--name", "it", "busybox", "true"]);
        let start = || env.command(&["start", "it"]);
        let (first, then) = match verb {
            "create" => (create.run_on_terminal(""), start().run_on_terminal("")),
            _ => {
                let _ = create.run().success();
                (start().run_on_terminal(""), start().run_on_terminal(""))
            }
        };
        let _ = first.success().shows(notice);
        assert!(!then.success().stdout.contains(notice), "{verb}");
    }
}
