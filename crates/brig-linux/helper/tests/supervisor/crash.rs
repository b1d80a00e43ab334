//! Deaths at the wrong time.

use brig_runtime::liveness::{observe, sweep};
use brig_runtime::{ExitReason, State, lock};

use crate::container::{Container, eventually};

#[test]
fn the_container_outlives_its_creator() {
    let container = Container::new("sleep 0.3; echo still here; exit 8").attached().interactive();
    let mut running = container.start();
    // What the kernel does for a client that is killed.
    drop(std::mem::replace(&mut running.first, container.connect()));
    assert_eq!(running.first.status().unwrap().state, State::Running);
    assert_eq!(running.first.wait().unwrap().code, 8);
    assert_eq!(container.log("stdout"), "still here\n");
}

#[test]
fn a_creator_that_dies_while_it_holds_the_payload_up_frees_it() {
    let mut container = Container::new("head -c 5000000 /dev/zero; exit 8").attached();
    container.plan.supervisor.log = None;
    let mut running = container.start();
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(std::mem::replace(&mut running.first, container.connect()));
    assert_eq!(running.first.wait().unwrap().code, 8);
}

#[test]
fn a_creator_that_is_gone_before_the_birth_changes_nothing() {
    let container = Container::new("exit 8");
    let mut running = container.spawn();
    let (nobody, _) = std::os::unix::net::UnixStream::pair().unwrap();
    running.first = brig_runtime::client::Supervisor::from_birth(nobody);
    assert!(running.helper.wait().unwrap().success());
    assert_eq!(container.state().exit.unwrap().code, 8);
}

#[test]
fn the_payload_dies_with_its_supervisor() {
    let container = Container::new("exec sleep 60");
    let mut running = container.start();
    let payload = container.state().payload.unwrap();
    running.helper.kill().unwrap();
    running.helper.wait().unwrap();
    eventually("the payload is gone", || has_ended(payload));
    assert_eq!(container.state().state, State::Running);
    assert!(!lock::is_held(&container.paths.lock()).unwrap());
    let seen = observe(&container.paths).unwrap();
    assert!(seen.lost);
    assert_eq!(seen.record.exit.unwrap().reason, ExitReason::SupervisorLost);
    assert!(sweep(&container.paths).unwrap().lost);
    assert_eq!(container.state().state, State::Stopped);
    assert!(!container.paths.socket().exists());
}

#[test]
fn a_living_container_is_no_lost_one_at_any_moment() {
    for _ in 0..10 {
        let container = Container::new("exit 0");
        let paths = container.paths.clone();
        let watcher = std::thread::spawn(move || {
            loop {
                match observe(&paths) {
                    Ok(seen) if seen.lost => panic!("lost: {:?}", seen.record),
                    Ok(seen) if seen.record.state == State::Stopped => return,
                    _ => {}
                }
            }
        });
        assert!(container.start().wait().success());
        watcher.join().unwrap();
    }
}

#[test]
fn a_start_that_is_killed_anywhere_leaves_something_that_can_be_mended() {
    for delay in 0..40 {
        let container = Container::new("exec sleep 60");
        let mut running = container.spawn();
        std::thread::sleep(std::time::Duration::from_micros(delay * 250));
        running.helper.kill().unwrap();
        running.helper.wait().unwrap();
        if container.paths.state().exists() {
            let payload = container.state().payload.unwrap();
            assert!(sweep(&container.paths).unwrap().lost);
            eventually("the payload is gone", || has_ended(payload));
        }
        let again = container.start();
        assert_eq!(container.state().state, State::Running);
        drop(again);
    }
}

#[test]
fn a_container_whose_supervisor_was_killed_starts_again() {
    let container = Container::new("exec sleep 60");
    let mut running = container.start();
    running.helper.kill().unwrap();
    running.helper.wait().unwrap();
    // The socket of the dead is still there.
    assert!(container.paths.socket().exists());
    let again = container.start();
    assert_eq!(container.connect().status().unwrap().state, State::Running);
    drop(again);
}

#[test]
fn an_end_that_is_killed_anywhere_leaves_something_that_can_be_mended() {
    for delay in 0..30 {
        let mut container = Container::new("exit 0");
        container.plan.supervisor.auto_remove = delay % 2 == 0;
        for name in 0..20 {
            let dir = container.paths.upper().join(format!("dir{name}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("file"), "x").unwrap();
        }
        container.created();
        let mut running = container.spawn();
        // The birth isn't waited for: the payload ends about then.
        std::thread::sleep(std::time::Duration::from_micros(2_000 + delay * 500));
        // It may have ended already.
        let _ = running.helper.kill();
        running.helper.wait().unwrap();
        if !container.paths.dir().exists() {
            continue;
        }
        // A record is there as long as the directory has anything in it.
        if std::fs::read_dir(container.paths.dir()).unwrap().count() > 0 {
            let seen = sweep(&container.paths).unwrap();
            assert!(matches!(seen.record.state, State::Created | State::Stopped), "{seen:?}");
        }
    }
}

/// Gone, or a zombie that its new parent hasn't looked at yet.
fn has_ended(process: brig_runtime::record::ProcessId) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    !process.exists() || stat.contains(") Z ")
}
