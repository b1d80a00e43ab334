//! What is particular to engine processes and to cgroups: reports, freezing, the OOM killer.

use std::path::{Path, PathBuf};

use brig_runtime::liveness::sweep;
use brig_runtime::plan::{CgroupDir, CgroupPlan};
use brig_runtime::{ExitReason, State};

use crate::container::{Container, eventually};

#[test]
fn a_report_says_why_and_with_which_code() {
    let mut container = Container::new(
        r#"printf '{"reason":"trap","code":134,"message":"unreachable"}' >&3; cat <&4; exit 1"#,
    )
    .attached();
    container.plan.payload.process.input = Some(b"the input".to_vec().into());
    let (status, out, _) = container.start().output();
    assert_eq!(out, b"the input");
    assert_eq!((status.code, status.reason), (134, ExitReason::Trap));
    assert_eq!(status.message.as_deref(), Some("unreachable"));
    assert_eq!(container.state().exit, Some(status));
}

#[test]
fn half_a_report_is_none() {
    let mut container = Container::new(r#"printf '{"reason":"trap","co' >&3; exit 9"#);
    container.plan.payload.process.input = Some(Vec::new().into());
    let status = container.start().wait();
    assert_eq!((status.code, status.reason), (9, ExitReason::Exited));
}

#[test]
fn a_paused_container_does_nothing_until_it_is_resumed() {
    let mut container = Container::new("while :; do echo tick; sleep 0.01; done");
    let Some(_cgroups) = Cgroups::give(&mut container, &["freezer"]) else { return };
    let running = container.start();
    eventually("it ticks", || container.log("stdout").contains("tick"));
    let mut client = container.connect();
    client.pause().unwrap();
    assert_eq!(container.state().state, State::Paused);
    let frozen = container.log("stdout").len();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(container.log("stdout").len(), frozen);
    client.resume().unwrap();
    eventually("it ticks again", || container.log("stdout").len() > frozen);
    // A frozen process is killed all the same.
    client.pause().unwrap();
    let status = client.stop(libc::SIGTERM, 50, None).unwrap();
    assert_eq!(status.signal, Some(libc::SIGKILL));
    running.wait_after_end();
    assert_eq!(container.events(), ["start", "pause", "unpause", "pause", "kill", "kill", "die"]);
}

#[test]
fn out_of_memory_is_a_reason() {
    let mut container = Container::new("exec tail /dev/zero");
    let Some(_cgroups) = Cgroups::give(&mut container, &["memory"]) else { return };
    let status = container.start().wait();
    assert_eq!((status.code, status.reason), (137, ExitReason::Memory));
    assert!(container.events().contains(&"oom".to_owned()));
}

#[test]
fn cgroups_are_named_in_the_record_and_gone_at_the_end() {
    let mut container = Container::new("sleep 60 & exit 0");
    let Some(cgroups) = Cgroups::give(&mut container, &["freezer", "memory"]) else { return };
    let running = container.start();
    assert_eq!(container.state().cgroups.len(), cgroups.0.len());
    let status = running.wait();
    assert!(status.success());
    for dir in &cgroups.0 {
        assert!(!dir.exists(), "{}", dir.display());
    }
}

#[test]
fn a_lost_containers_cgroups_are_swept_or_taken_over() {
    for swept in [true, false] {
        let mut container = Container::new("sleep 60 & exec sleep 60");
        let Some(cgroups) = Cgroups::give(&mut container, &["freezer", "memory"]) else { return };
        let mut running = container.start();
        running.helper.kill().unwrap();
        running.helper.wait().unwrap();
        assert!(cgroups.0.iter().all(|dir| dir.exists()));
        if swept {
            assert!(sweep(&container.paths).unwrap().lost);
            assert!(!cgroups.0.iter().any(|dir| dir.exists()));
            continue;
        }
        let again = container.start();
        container.connect().signal(libc::SIGKILL).unwrap();
        again.wait();
        assert!(!cgroups.0.iter().any(|dir| dir.exists()));
    }
}

/// The cgroups that a process is in, with their hierarchies.
fn cgroups_of(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap()
}

/// A cgroup for the supervisor, in a hierarchy in which the payload gets none.
fn supervisors(container: &mut Container) -> Option<(Cgroups, String)> {
    let cgroups = Cgroups::give(container, &["memory"])?;
    container.plan.payload.cgroup = CgroupPlan::default();
    container.plan.supervisor.cgroups.clone_from(&cgroups.0);
    let name = cgroups.0[0].file_name().unwrap().to_string_lossy().into_owned();
    Some((cgroups, format!(":memory:/{name}\n")))
}

#[test]
fn the_supervisor_of_a_detached_container_leaves_its_creators_cgroup() {
    // Twice into the same, made and found.
    let mut container = Container::new("exec sleep 60");
    let Some((cgroups, line)) = supervisors(&mut container) else { return };
    for _ in 0..2 {
        let running = container.start();
        eventually("it has moved", || cgroups_of(running.helper_pid()).contains(&line));
        // The payload has what its own plan says.
        assert!(!cgroups_of(container.state().payload.unwrap().pid).contains(&line));
        assert_eq!(container.state().cgroups, [] as [PathBuf; 0]);
        container.connect().signal(libc::SIGKILL).unwrap();
        running.wait();
    }
    assert_eq!(std::fs::read_to_string(cgroups.0[0].join("cgroup.procs")).unwrap(), "");
}

#[test]
fn the_supervisor_of_a_foreground_container_leaves_at_once_on_v1_and_later_on_v2() {
    let mut container = Container::new("exec sleep 60").attached();
    let Some((cgroups, line)) = supervisors(&mut container) else { return };
    // What isn't v1 is taken for v2.
    let unified = tempfile::tempdir().unwrap();
    std::fs::write(unified.path().join("cgroup.procs"), "").unwrap();
    container.plan.supervisor.cgroups = vec![unified.path().to_owned(), cgroups.0[0].clone()];
    let running = container.start();
    let start = std::time::Instant::now();
    let moved = || std::fs::read_to_string(unified.path().join("cgroup.procs")).unwrap() == "0";
    eventually("it has moved on v1", || cgroups_of(running.helper_pid()).contains(&line));
    assert!(!moved() || start.elapsed().as_millis() > 900);
    eventually("it has moved on v2", moved);
    assert!(start.elapsed().as_millis() > 900);
    container.connect().signal(libc::SIGKILL).unwrap();
    running.output();
}

#[test]
fn a_supervisor_that_can_t_leave_says_so_and_goes_on() {
    let mut container = Container::new("exec sleep 60");
    let nowhere = Path::new("/proc/self/brig/supervisors");
    container.plan.supervisor.cgroups = vec![nowhere.to_owned()];
    let running = container.start();
    let mut client = container.connect();
    eventually("it has tried", || !client.status().unwrap().warnings.is_empty());
    let warnings = client.status().unwrap().warnings;
    assert!(warnings[0].contains("can't enter the cgroup `/proc/self/brig/supervisors`"), "{warnings:?}");
    client.signal(libc::SIGKILL).unwrap();
    running.wait();
}

/// Cgroups of a test, of this machine's v1 hierarchies; removed with it.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn give(container: &mut Container, controllers: &[&str]) -> Option<Self> {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut legacy = Vec::new();
        for controller in controllers {
            let parent = Path::new("/sys/fs/cgroup").join(controller);
            let name = format!("brig-supervisor-test-{}-{number}", std::process::id());
            // Whether one can be made is what the test needs to know.
            if std::fs::create_dir(parent.join(&name)).is_err() {
                eprintln!("skipped: no cgroup of `{controller}` can be made here");
                return None;
            }
            std::fs::remove_dir(parent.join(&name)).unwrap();
            let settings = match *controller {
                "memory" => vec![("memory.limit_in_bytes".into(), "16777216".into())],
                _ => Vec::new(),
            };
            legacy.push(CgroupDir { parent, name: name.into(), controller: (*controller).into(), settings });
        }
        let plan = CgroupPlan { legacy, ..CgroupPlan::default() };
        let dirs = plan.directories();
        container.plan.payload.cgroup = plan;
        Some(Self(dirs))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for dir in &self.0 {
            // Gone already when the test went well.
            let _ = std::fs::remove_dir(dir);
        }
    }
}
