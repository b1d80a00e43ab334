//! The same as an ordinary user.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use brig_testing::image::{self, LayerBuilder, Platform};
use brig_testing::{Guest, ORDINARY_USER, Output, TestEnv, Unavailable, need, need_rootless, need_tool};

use super::{env, eventually};

/// brig as an ordinary user.
#[track_caller]
fn brig(env: &TestEnv, args: &[&str]) -> Output {
    env.brig_as_user(ORDINARY_USER, args)
}

/// A home in which an ordinary user has `busybox`.
fn with_busybox() -> Result<TestEnv, Unavailable> {
    need_rootless()?;
    let env = env();
    let archive = image::busybox()?.build().oci_archive(None);
    env.write_for_user(ORDINARY_USER, "busybox.tar", archive);
    let _ = brig(&env, &["load", "-q", "-i", "busybox.tar", "--tag", "busybox"]).success();
    Ok(env)
}

#[test]
fn a_container_runs_as_its_own_root() {
    let env = need!(with_busybox());
    let script = "id -u; echo pid $$; cat /etc/os-release | head -n 1; exit 3";
    let output = brig(&env, &["run", "--rm", "busybox", "sh", "-c", script]).exits(3);
    assert_eq!(output.stdout, "0\npid 1\nID=brig-test\n");
    let listed = brig(&env, &["ps", "-aq"]).success();
    assert_eq!(listed.stdout, "");
}

#[test]
fn files_stay_without_rm() {
    let env = need!(with_busybox());
    let script = "cat /mark 2>/dev/null; echo kept > /mark";
    let _ = brig(&env, &["run", "--name", "keeper", "busybox", "sh", "-c", script]).success().prints("");
    let _ = brig(&env, &["start", "-a", "keeper"]).success().prints("kept\n");
    let _ = brig(&env, &["rm", "keeper"]).success();
}

#[test]
fn a_detached_container_can_be_entered_and_stopped() {
    let env = need!(with_busybox());
    let _ = brig(&env, &["run", "-d", "--name", "bg", "busybox", "sleep", "60"]).success();
    let _ = brig(&env, &["exec", "bg", "sh", "-c", "id -u; hostname | wc -c"]).success().prints("0\n13\n");
    let _ = brig(&env, &["stop", "-t", "0", "bg"]).success();
    let _ = brig(&env, &["rm", "bg"]).success();
}

#[test]
fn a_terminal_is_given() {
    let env = need!(with_busybox());
    let call = env.command_as_user(ORDINARY_USER, &["run", "--rm", "-it", "busybox", "sh"]);
    let _ = call.run_on_terminal("test -t 0 && stty size; exit 6\n").exits(6).shows("24 80");
}

#[test]
fn volumes_are_the_users_files() {
    let env = need!(with_busybox());
    let path = env.write_for_user(ORDINARY_USER, "in", "mine\n");
    let volume = format!("{}:/data", path.parent().unwrap().display());
    let script = "cat /data/in; echo back > /data/out; stat -c %u /data/in";
    let _ = brig(&env, &["run", "--rm", "-v", &volume, "busybox", "sh", "-c", script])
        .success()
        .prints("mine\n0\n");
    assert_eq!(fs::read_to_string(env.user_home(ORDINARY_USER).join("out")).unwrap(), "back\n");
}

#[test]
fn what_only_root_can_make_does_not_stop_a_pull() {
    let env = need!(with_busybox());
    let registry = env.registry();
    let layer = LayerBuilder::new()
        .char_device("dev/odd", 0o600, 1, 3)
        .owner(12, 34)
        .file("owned", 0o644, "x")
        .xattr("security.capability", b"\x01\0\0\x02\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
        .file("capable", 0o755, "x");
    let name = need!(image::busybox()).files(layer).build().push(&registry, "app");
    let _ = brig(&env, &["pull", "-q", &name]).success();
    let _ = brig(&env, &["run", "--rm", &name, "cat", "/owned"]).success().prints("x");
}

#[test]
fn whiteouts_hide_for_ordinary_users_too() {
    let env = need!(with_busybox());
    let registry = env.registry();
    let image = need!(image::busybox())
        .files(LayerBuilder::new().dir("d/", 0o755).file("d/a", 0o644, "").file("d/b", 0o644, ""))
        .files(LayerBuilder::new().whiteout("d/a"))
        .files(LayerBuilder::new().dir("o/", 0o755).file("o/a", 0o644, ""))
        .files(LayerBuilder::new().dir("o/", 0o755).opaque("o").file("o/b", 0o644, ""))
        .build();
    let name = image.push(&registry, "layered");
    let _ = brig(&env, &["run", "--rm", &name, "ls", "d", "o"]).success().prints("d:\nb\n\no:\nb\n");
}

#[test]
fn wasm_needs_no_privilege() {
    need!(need_rootless());
    let env = env();
    let wasm = need!(Guest::HELLO.module());
    env.write_for_user(ORDINARY_USER, "guest.wasm", &wasm);
    let _ = brig(&env, &["run", "--rm", "./guest.wasm"]).success().prints("hello from wasm\n");
    let archive = image::wasm_compat(&wasm, Platform::wasi()).build().oci_archive(None);
    env.write_for_user(ORDINARY_USER, "compat.tar", archive);
    let _ = brig(&env, &["load", "-q", "-i", "compat.tar", "--tag", "compat"]).success();
    let _ = brig(&env, &["run", "--rm", "compat"]).success().prints("hello from wasm\n");
    env.write_for_user(ORDINARY_USER, "loop.wasm", need!(Guest::LOOP.module()));
    let _ = brig(&env, &["run", "-d", "--name", "bg", "./loop.wasm"]).success();
    eventually("it says something", || brig(&env, &["logs", "bg"]).success().stdout == "looping\n");
    let _ = brig(&env, &["rm", "-f", "bg"]).success();
}

/// brig as an ordinary user who may make no user namespace: in one whose limit is used up by another, without
/// privileges in that.
#[track_caller]
fn brig_forbidden(env: &TestEnv, args: &str) -> Output {
    let brig = env.path().join("bin/brig");
    let script = format!(
        "echo 1 > /proc/sys/user/max_user_namespaces && \
         exec unshare --user --map-user=1000 --map-group=1000 {} {args}",
        brig.display()
    );
    let unshare = need_tool("unshare").unwrap();
    env.program_as_user(ORDINARY_USER, unshare, &["-Ur", "sh", "-c", &script]).run()
}

#[test]
fn the_demo_skips_what_needs_user_namespaces_where_they_are_forbidden() {
    need!(need_rootless());
    need!(need_tool("unshare"));
    let env = env();
    let all = brig(&env, &["demo"]).success();
    assert!(!all.stdout.contains("skipped"), "{}", all.transcript());
    let half = brig_forbidden(&env, "demo").success().shows("skipped  linux/").shows("user namespaces");
    let _ = half.shows("ran      wasi/wasm as wasm: exit code 0");
}

#[test]
fn wasm_runs_where_user_namespaces_are_forbidden() {
    let env = need!(with_busybox());
    need!(need_tool("unshare"));
    let shared = env.user_home(ORDINARY_USER).join("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, Some(ORDINARY_USER), Some(ORDINARY_USER)).unwrap();
    env.write_for_user(ORDINARY_USER, "shared/in", "mine\n");
    env.write_for_user(ORDINARY_USER, "secret", "secret\n");
    for (form, wasm) in
        [("module", need!(Guest::FILES.module())), ("component", need!(Guest::FILES.component()))]
    {
        env.write_for_user(ORDINARY_USER, "guest.wasm", &wasm);
        symlink("../secret", shared.join(form)).unwrap();
        let volume = format!("-v {}:/data", shared.display());
        let run =
            |flags: &str, args: &str| brig_forbidden(&env, &format!("run --rm {flags} ./guest.wasm {args}"));
        let _ = run(&volume, "read /data/in").success().prints("mine\n");
        let _ = run(&volume, "write /data/out text").success();
        assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), "text");
        let _ = run(&format!("{volume}:ro"), "read /data/in").success();
        let _ = run(&format!("{volume}:ro"), "write /data/out no").exits(1);
        let _ = run(&volume, "write /data/../out no").exits(1);
        let _ = run(&volume, &format!("read /data/{form}")).exits(1);
        let _ = run(&volume, "read /etc/passwd").exits(1);
        let _ = run("", "ls /").fails();
        let _ = run("-m 64m --pids-limit 5", "ls /").exits(125).says("limit");
    }
    // The image's own files would need a mount.
    let wasm = need!(Guest::FILES.module());
    let files = LayerBuilder::new().file("motd", 0o644, "ahoy");
    let archive = image::wasm_compat(&wasm, Platform::wasi()).files(files).build().oci_archive(None);
    env.write_for_user(ORDINARY_USER, "compat.tar", archive);
    let _ = brig(&env, &["load", "-q", "-i", "compat.tar", "--tag", "compat"]).success();
    let _ = brig_forbidden(&env, "run --rm compat read /motd").exits(1);
    assert_eq!(brig(&env, &["ps", "-aq"]).success().stdout, "");
}

#[test]
fn it_is_said_what_goes_missing_where_user_namespaces_are_forbidden() {
    let env = need!(with_busybox());
    need!(need_tool("unshare"));
    env.write_for_user(ORDINARY_USER, "guest.wasm", need!(Guest::HELLO.module()));
    let once = "landlock and seccomp alone";
    let first = brig_forbidden(&env, "run --rm ./guest.wasm").success().says(once);
    assert_eq!(first.stdout, "hello from wasm\n");
    let again = brig_forbidden(&env, "run --rm ./guest.wasm").success();
    assert!(!again.stderr.contains(once), "{}", again.transcript());
    let refused = brig_forbidden(&env, "run --rm busybox true").exits(125);
    let _ = refused.says("make namespaces").says("hint: an ordinary user's containers need user namespaces");
}

#[test]
fn a_limit_is_given_or_refused_never_left_out() {
    let env = need!(with_busybox());
    let script = "cat /proc/self/cgroup";
    let output = brig(&env, &["run", "--rm", "-m", "64m", "busybox", "sh", "-c", script]);
    if output.code() != 0 {
        let _ = output.exits(125).says("memory");
    }
}

#[test]
fn roots_of_two_users_do_not_meet() {
    let env = need!(with_busybox());
    let _ = env.brig(&["images", "-q"]).success().prints("");
    let output = brig(&env, &["--root", env.root().to_str().unwrap(), "images"]).fails();
    assert!(output.stderr.contains("ermission denied"), "{}", output.transcript());
}

#[test]
fn what_a_process_is_given_is_there_or_refused() {
    let env = need!(with_busybox());
    let flags = [
        ["--tmpfs", "/scratch:size=1m"],
        ["--ulimit", "nofile=100:200"],
        ["--cap-drop", "ALL"],
        ["--log-opt", "max-size=1k"],
    ];
    let script = "ulimit -n; grep CapEff /proc/self/status; grep -c ' /scratch ' /proc/mounts";
    let run = [&["run", "--rm"], flags.as_flattened(), &["busybox", "sh", "-c", script]].concat();
    let _ = brig(&env, &run).success().prints("100\nCapEff:\t0000000000000000\n1\n");
    let _ =
        brig(&env, &["create", "--group-add", "5", "busybox"]).exits(1).says("--group-add is not supported");
    let _ = brig(&env, &["create", "--name", "small", "busybox"]).success();
    let shares = brig(&env, &["update", "--cpu-shares", "512", "small"]);
    if shares.code() != 0 {
        let _ = shares.exits(1).says("no CPU shares limit can be set");
        let document = brig(&env, &["inspect", "small"]).success().json();
        assert_eq!(document[0]["HostConfig"]["CpuShares"], 0);
    }
}
