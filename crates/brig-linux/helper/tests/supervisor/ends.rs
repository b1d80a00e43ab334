//! How payloads end, and what is written down about it.

use std::path::Path;
use std::time::{Duration, Instant};

use brig_runtime::client::ClientError;
use brig_runtime::exit::{CODE_NOT_FOUND, CODE_NOT_RUNNABLE, CODE_TIMEOUT};
use brig_runtime::{ExitReason, State, lock};

use crate::container::{Container, eventually};

#[test]
fn the_payloads_own_code_is_told_and_written_down() {
    let container = Container::new("exit 7");
    let status = container.start().wait();
    assert_eq!((status.code, status.reason), (7, ExitReason::Exited));
    let state = container.state();
    assert_eq!((state.state, state.exit), (State::Stopped, Some(status)));
    assert!(state.started_at.unwrap() <= state.finished_at.unwrap());
    assert_eq!((state.payload, state.supervisor), (None, None));
    assert_eq!(container.events(), ["start", "die"]);
    assert!(!container.paths.socket().exists());
    assert!(!lock::is_held(&container.paths.lock()).unwrap());
}

#[test]
fn a_running_container_says_so() {
    let container = Container::new("sleep 60");
    let running = container.start();
    let state = container.state();
    assert_eq!(state.state, State::Running);
    assert_eq!(state.supervisor.unwrap().pid, running.helper_pid());
    assert!(state.payload.unwrap().exists());
    assert!(lock::is_held(&container.paths.lock()).unwrap());
    let status = container.connect().status().unwrap();
    assert_eq!((status.state, status.payload), (State::Running, state.payload));
}

#[test]
fn a_signal_is_128_and_its_number() {
    let container = Container::new("sleep 60");
    let running = container.start();
    container.connect().signal(libc::SIGKILL).unwrap();
    let status = running.wait();
    assert_eq!((status.code, status.signal, status.reason), (137, Some(9), ExitReason::Signal));
    assert_eq!(container.events(), ["start", "kill", "die"]);
}

#[test]
fn a_program_that_is_missing_or_not_one_is_told_apart() {
    for (program, code) in [("/nowhere/at/all", CODE_NOT_FOUND), ("/etc/passwd", CODE_NOT_RUNNABLE)] {
        let container = Container::with_args(&[program]);
        let mut running = container.spawn();
        let Err(ClientError::Start { source }) = running.first.birth() else { panic!("{program} started") };
        assert_eq!(source.code, code, "{source}");
        assert!(!running.helper.wait().unwrap().success());
        // Nothing is left, and nothing was written.
        assert!(!container.paths.state().exists());
        assert!(!container.paths.socket().exists());
        assert!(!lock::is_held(&container.paths.lock()).unwrap());
    }
}

#[test]
fn the_time_runs_out() {
    let mut container = Container::new("trap '' TERM; sleep 60");
    container.plan.supervisor.timeout_ms = Some(150);
    let begun = Instant::now();
    let status = container.start().wait();
    assert!(begun.elapsed() >= Duration::from_millis(150));
    assert_eq!((status.code, status.reason), (CODE_TIMEOUT, ExitReason::Timeout));
}

#[test]
fn stop_asks_first() {
    let container = Container::new("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done");
    let running = container.start();
    eventually("the trap is set", || container.log("stdout") == "ready\n");
    let status = container.connect().stop(libc::SIGTERM, 10_000, None).unwrap();
    assert_eq!((status.code, status.reason), (3, ExitReason::Exited));
    running.wait_after_end();
    assert_eq!(container.events(), ["start", "kill", "die"]);
}

#[test]
fn stop_kills_after_its_grace() {
    let container = Container::new("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let running = container.start();
    eventually("the trap is set", || container.log("stdout") == "ready\n");
    let begun = Instant::now();
    let status = container.connect().stop(libc::SIGTERM, 200, None).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!((status.code, status.signal), (137, Some(9)));
    running.wait_after_end();
}

#[test]
fn a_supervisor_that_is_told_to_go_stops_its_payload() {
    let container = Container::new("trap 'exit 4' TERM; echo ready; while :; do sleep 0.02; done");
    let mut running = container.start();
    eventually("the trap is set", || container.log("stdout") == "ready\n");
    for ignored in [libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGQUIT] {
        kill(running.helper_pid(), ignored);
    }
    assert_eq!(running.first.status().unwrap().state, State::Running);
    kill(running.helper_pid(), libc::SIGTERM);
    assert_eq!(running.wait().code, 4);
}

#[test]
fn a_removed_container_leaves_nothing_but_events() {
    let mut container = Container::new("exit 5");
    container.plan.supervisor.auto_remove = true;
    let upper = container.paths.upper().join("a/b");
    std::fs::create_dir_all(&upper).unwrap();
    std::fs::write(upper.join("file"), "x").unwrap();
    let mut running = container.start();
    assert_eq!(running.first.wait().unwrap().code, 5);
    // All of it is gone when the client is told.
    for path in
        [container.paths.dir(), container.paths.run_dir(), Path::new(&container.plan.supervisor.name_file)]
    {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(container.events(), ["start", "die", "destroy"]);
}

#[test]
fn a_second_start_is_refused_while_the_first_runs() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let mut second = container.spawn();
    let Err(ClientError::Start { source }) = second.first.birth() else { panic!("started twice") };
    assert_eq!(source.errno, libc::EBUSY);
    assert!(source.to_string().starts_with("start a container that is running"), "{source}");
    assert_eq!(container.connect().status().unwrap().state, State::Running);
}

#[test]
fn a_stopped_container_starts_again_at_once() {
    let container = Container::new("echo again");
    for _ in 0..20 {
        // The lock may still be held by the one before, which cleans up: it is waited for.
        let mut running = container.start();
        assert_eq!(running.first.wait().unwrap().code, 0);
    }
    assert_eq!(container.log("stdout"), "again\n".repeat(20));
}

#[test]
fn a_hundred_quick_starts() {
    let begun = Instant::now();
    for _ in 0..100 {
        let container = Container::with_args(&["/bin/true"]).attached();
        let (status, out, err) = container.start().output();
        assert_eq!((status.code, out.len(), err.len()), (0, 0, 0));
    }
    eprintln!("100 starts: {:?}", begun.elapsed());
}

#[test]
fn descendants_that_hold_the_output_dont_hold_the_end() {
    let container = Container::new("sleep 5 & echo done").attached();
    let begun = Instant::now();
    let (status, out, _) = container.start().output();
    assert_eq!((status.code, out), (0, b"done\n".to_vec()));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

fn kill(pid: i32, signal: i32) {
    use std::process::Command;
    assert!(Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap().success());
}

impl crate::container::Running {
    /// For a payload that has ended: the helper goes by itself.
    pub(crate) fn wait_after_end(mut self) {
        assert!(self.helper.wait().unwrap().success());
    }
}
