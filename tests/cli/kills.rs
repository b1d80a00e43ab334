//! `kill -9` at any moment: the store opens clean, nothing keeps running, and the next command works.

use std::fs;
use std::time::{Duration, Instant};

use brig_testing::image::{self, ImageBuilder, LayerBuilder};
use brig_testing::{Signal, TestEnv, need, need_containers};

use super::{env, eventually, load, with_busybox};

/// How many moments.
const MOMENTS: u32 = 50;

/// How long a call takes when nobody kills it; of three, the slowest.
fn duration_of(call: impl Fn()) -> Duration {
    let one = || {
        let start = Instant::now();
        call();
        start.elapsed()
    };
    (0..3).map(|_| one()).max().unwrap_or_default()
}

/// Processes whose command line or environment names the test's directory: what a killed command left running.
fn left_running(env: &TestEnv) -> Vec<String> {
    let dir = env.path().as_os_str().as_encoded_bytes();
    let names = |bytes: &[u8]| bytes.windows(dir.len()).any(|window| window == dir);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
        // A process may end while it is looked at.
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        if is_process && (names(&read("cmdline")) || names(&read("environ")) || names(&read("mountinfo"))) {
            found.push(format!(
                "{}: {}",
                entry.file_name().display(),
                String::from_utf8_lossy(&read("cmdline"))
            ));
        }
    }
    found
}

#[test]
fn a_killed_pull_leaves_a_store_that_works() {
    let env = env();
    let registry = env.registry();
    let mut image = ImageBuilder::linux().cmd(&["/a"]);
    for i in 0..4 {
        image = image.files(LayerBuilder::new().file(&format!("f{i}"), 0o644, vec![i; 500_000]));
    }
    let name = image.build().push(&registry, "app");
    let whole = duration_of(|| {
        let _ = env.brig(&["pull", "-q", &name]).success();
        let _ = env.brig(&["rmi", &name]).success();
    });
    for moment in 0..MOMENTS {
        let running = env.command(&["pull", "-q", &name]).spawn();
        std::thread::sleep(whole * moment / MOMENTS);
        running.signal(Signal::KILL);
        let _ = running.wait();
        if moment % 10 == 9 {
            let _ = env.brig(&["fsck"]).success();
        }
        let listed = env.brig(&["images", "-q"]).success();
        if !listed.stdout.is_empty() {
            let _ = env.brig(&["inspect", &name]).success();
            let _ = env.brig(&["rmi", &name]).success();
        }
    }
    let _ = env.brig(&["pull", "-q", &name]).success();
    let _ = env.brig(&["fsck"]).success();
    assert_eq!(left_running(&env), Vec::<String>::new());
}

#[test]
fn a_killed_run_leaves_nothing_running_that_ps_does_not_show() {
    let env = need!(with_busybox());
    let whole = duration_of(|| {
        let _ = env.brig(&["run", "--rm", "busybox", "true"]).success();
    });
    for moment in 0..MOMENTS {
        let running = env.command(&["run", "--rm", "busybox", "true"]).spawn();
        std::thread::sleep(whole * moment / MOMENTS);
        running.signal(Signal::KILL);
        let _ = running.wait();
    }
    // What was half made is shown and can be removed; what was started has ended by itself.
    eventually("all payloads have ended", || left_running(&env).is_empty());
    let left = env.containers();
    if !left.is_empty() {
        let mut args = vec!["rm", "-f"];
        args.extend(left.iter().map(String::as_str));
        let _ = env.brig(&args).success();
    }
    assert_eq!(env.containers(), Vec::<String>::new());
    let directories = fs::read_dir(env.root().join("containers")).into_iter().flatten().count();
    assert_eq!(directories, 0, "directories of containers stay");
    let _ = env.brig(&["run", "--rm", "busybox", "true"]).success();
    let _ = env.brig(&["fsck"]).success();
}

#[test]
fn a_container_outlives_the_command_that_started_it() {
    let env = need!(with_busybox());
    let script = "sleep 1; echo survived";
    let running = env.command(&["run", "--name", "survivor", "busybox", "sh", "-c", script]).spawn();
    eventually("it runs", || !env.brig(&["ps", "-q"]).success().stdout.is_empty());
    running.signal(Signal::KILL);
    let _ = running.wait();
    let _ = env.brig(&["wait", "survivor"]).success().prints("0\n");
    let _ = env.brig(&["logs", "survivor"]).success().prints("survived\n");
}

/// A cgroup as a session or a service has one; removed with the test.
struct CreatorsCgroup(std::path::PathBuf);

impl CreatorsCgroup {
    fn make() -> Option<Self> {
        let name = format!("brig-test-creator-{}", std::process::id());
        let parents = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(std::path::Path::new);
        let parent = parents.into_iter().find(|parent| parent.join("cgroup.subtree_control").exists())?;
        let dir = parent.join(name);
        std::fs::create_dir(&dir).ok().map(|()| Self(dir))
    }

    fn processes(&self) -> String {
        std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap()
    }
}

impl Drop for CreatorsCgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_detached_container_leaves_its_creators_cgroup() {
    let env = need!(with_busybox());
    let Some(creator) = CreatorsCgroup::make() else {
        eprintln!("skipped: no cgroup v2 can be made here");
        return;
    };
    let script = format!(
        "echo 0 > {}/cgroup.procs && exec {} --root {} --run-root {} run -d --name survivor busybox sleep 60",
        creator.0.display(),
        env!("CARGO_BIN_EXE_brig"),
        env.root().display(),
        env.run_root().display(),
    );
    let _ = env.program("sh", &["-c", &script]).run().success();
    // Whoever ends the session now finds nobody in it.
    eventually("nothing of it is in there", || creator.processes().is_empty());
    let state = env.brig(&["inspect", "survivor"]).success().json()[0]["State"].clone();
    assert_eq!(state["Status"], "running");
    let supervisor = state["SupervisorPid"].as_u64().unwrap();
    let cgroups = std::fs::read_to_string(format!("/proc/{supervisor}/cgroup")).unwrap();
    assert!(cgroups.lines().any(|line| line.ends_with("/brig/supervisors")), "{cgroups}");
    let _ = env.brig(&["rm", "-f", "survivor"]).success();
}

#[test]
fn a_killed_supervisor_takes_its_container_along() {
    need!(need_containers());
    let env = env();
    load(&env, &need!(image::busybox()).build(), "busybox");
    let _ = env.brig(&["run", "-d", "--name", "orphan", "busybox", "sleep", "60"]).success();
    let state = env.brig(&["inspect", "orphan"]).success().json()[0]["State"].clone();
    let supervisor = state["SupervisorPid"].as_u64().unwrap();
    let payload = state["Pid"].as_u64().unwrap();
    let _ = env.program("kill", &["-9", &supervisor.to_string()]).run().success();
    eventually("the payload is gone", || !std::path::Path::new(&format!("/proc/{payload}")).exists());
    eventually("ps sees it", || {
        let state = env.brig(&["inspect", "orphan"]).success().json()[0]["State"]["Status"].clone();
        state == "exited" || state == "dead"
    });
    let _ = env.brig(&["rm", "-f", "orphan"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn what_run_was_killed_before_it_could_start_goes_at_the_next_look() {
    let env = need!(with_busybox());
    let containers = env.root().join("containers");
    let is_created = || {
        let dirs = fs::read_dir(&containers).into_iter().flatten().flatten();
        dirs.into_iter().any(|dir| dir.path().join("state.json").exists())
    };
    for _ in 0..10 {
        let running = env.command(&["run", "--rm", "--name", "short", "busybox", "true"]).spawn();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_created() && Instant::now() < deadline {
            std::hint::spin_loop();
        }
        running.signal(Signal::KILL);
        let _ = running.wait();
        // One whose supervisor was on its way runs, and has the name until it has ended.
        let again = || env.brig(&["run", "--rm", "--name", "short", "busybox", "true"]).code() == 0;
        eventually("the name is free", again);
        assert_eq!(env.containers(), Vec::<String>::new());
    }
    // What `create` made isn't waiting for its creator.
    let _ = env.brig(&["create", "--rm", "--name", "patient", "busybox", "true"]).success();
    assert_eq!(env.containers().len(), 1);
    let _ = env.brig(&["start", "-a", "patient"]).success();
    assert_eq!(env.containers(), Vec::<String>::new());
}
