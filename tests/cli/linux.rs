//! Linux containers: what docker's users expect of `run` and its friends.

use std::fs;
use std::time::{Duration, Instant};

use brig_testing::image::{self, Compression, LayerBuilder};
use brig_testing::{Signal, TestEnv, need, need_root};

use super::{eventually, load, with_busybox};

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
fn limits_that_are_none() {
    let env = need!(with_busybox());
    let _ = sh(&env, &["-m", "0", "--pids-limit", "-1"], "echo free").success().prints("free\n");
    let _ = env.brig(&["create", "--name", "half", "-m", "0.5g", "--pids-limit", "0", "busybox"]).success();
    let config = env.brig(&["inspect", "half"]).success().json()[0]["HostConfig"].clone();
    assert_eq!((&config["Memory"], &config["PidsLimit"]), (&(512 << 20).into(), &serde_json::Value::Null));
}
