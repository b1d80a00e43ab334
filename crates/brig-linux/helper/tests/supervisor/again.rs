//! Payloads that are started again.

use std::fs;
use std::time::Duration;

use brig_runtime::client::ClientError;
use brig_runtime::exit::CODE_NOT_FOUND;
use brig_runtime::record::ProcessId;
use brig_runtime::{ExitReason, RestartPolicy, State, lock};

use crate::container::{Container, eventually};

fn with_policy(script: &str, policy: RestartPolicy) -> Container {
    let mut container = Container::new(script);
    container.plan.supervisor.restart = policy;
    container
}

#[test]
fn a_failing_payload_is_started_again_until_it_may_not() {
    let container = with_policy("exit 3", RestartPolicy::OnFailure { max: Some(2) });
    let running = container.start();
    // Whoever waits is told of the first end, as docker tells.
    assert_eq!(container.connect().wait().unwrap().code, 3);
    eventually("it gives up", || container.state().state == State::Stopped);
    running.ended();
    let state = container.state();
    assert_eq!((state.restart_count, state.exit.unwrap().code), (2, 3));
    assert!(!state.stopped_by_user);
    assert_eq!(container.events(), ["start", "die", "start", "die", "start", "die"]);
    assert!(!lock::is_held(&container.paths.lock()).unwrap());
}

#[test]
fn success_is_the_end_unless_always() {
    let container = with_policy("exit 0", RestartPolicy::OnFailure { max: None });
    container.start().wait();
    assert_eq!((container.state().state, container.state().restart_count), (State::Stopped, 0));
    let container = with_policy("exit 0", RestartPolicy::Always);
    let _running = container.start();
    eventually("it was started again", || container.state().restart_count >= 2);
    container.connect().stop(libc::SIGTERM, 1000, None).unwrap();
}

#[test]
fn a_stop_is_the_end_whatever_the_policy_says() {
    for policy in [RestartPolicy::Always, RestartPolicy::UnlessStopped] {
        let container = with_policy("trap 'exit 5' TERM; while :; do sleep 0.01; done", policy);
        let running = container.start();
        eventually("it listens", || running.is_ready(&container));
        let status = container.connect().stop(libc::SIGTERM, 10_000, None).unwrap();
        assert_eq!(status.code, 5);
        running.ended();
        let state = container.state();
        assert_eq!((state.state, state.restart_count, state.stopped_by_user), (State::Stopped, 0, true));
    }
}

#[test]
fn a_kill_is_the_end_and_another_signal_is_not() {
    let container = with_policy("exec sleep 60", RestartPolicy::Always);
    let running = container.start();
    container.connect().signal(libc::SIGUSR1).unwrap();
    // The first process of a pid namespace takes no signal that it has no handler for; whatever it did, it runs.
    container.connect().signal(libc::SIGKILL).unwrap();
    running.ended();
    assert!(container.state().stopped_by_user);
}

#[test]
fn a_stop_between_two_payloads_ends_the_wait_at_once() {
    let container = with_policy("exit 4", RestartPolicy::Always);
    let running = container.start();
    // By then the wait is longer than a second.
    eventually("it waits", || {
        let state = container.state();
        state.restart_count >= 4 && state.state == State::Restarting
    });
    let mut client = container.connect();
    assert_eq!(client.status().unwrap().state, State::Restarting);
    let error = client.pause().unwrap_err();
    assert!(matches!(error, ClientError::Refused { .. }), "{error}");
    let status = container.connect().stop(libc::SIGTERM, 10_000, None).unwrap();
    assert_eq!(status.code, 4);
    running.ended();
    let state = container.state();
    assert_eq!((state.state, state.stopped_by_user), (State::Stopped, true));
}

#[test]
fn a_supervisor_that_is_told_to_go_takes_its_container_along_and_nobody_stopped_it() {
    let container = with_policy("exit 0", RestartPolicy::Always);
    let running = container.start();
    eventually("it was started again", || container.state().restart_count >= 1);
    nix_kill(running.helper_pid(), libc::SIGTERM);
    running.ended();
    let state = container.state();
    assert_eq!((state.state, state.stopped_by_user), (State::Stopped, false));
}

#[test]
fn a_supervisor_that_is_told_to_go_waits_as_long_as_its_container_may_take() {
    let mut container = Container::new("trap '' TERM; while :; do sleep 0.01; done");
    container.plan.supervisor.stop_grace_ms = 100;
    let running = container.start();
    nix_kill(running.helper_pid(), libc::SIGTERM);
    running.ended();
    assert_eq!(container.state().exit.unwrap().signal, Some(libc::SIGKILL));
}

#[test]
fn one_that_cant_be_started_again_says_why() {
    let container = with_policy("", RestartPolicy::OnFailure { max: Some(1) });
    let program = container.roots.root.join("program");
    fs::write(&program, "#!/bin/sh\nrm \"$0\"\nexit 1\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut container = container;
    container.plan.payload.process.args = vec![program.display().to_string()];
    let running = container.start();
    running.ended();
    let exit = container.state().exit.unwrap();
    assert_eq!((exit.code, exit.reason), (CODE_NOT_FOUND, ExitReason::StartFailed));
    assert!(exit.message.unwrap().contains("execute"));
}

#[test]
fn output_of_all_payloads_is_in_the_log() {
    let container = with_policy("echo once; exit 1", RestartPolicy::OnFailure { max: Some(2) });
    container.start().ended();
    assert_eq!(container.log("stdout"), "once\nonce\nonce\n");
}

#[test]
fn a_successor_keeps_the_container_in_being() {
    let mut container = Container::new("exec sleep 60");
    container.plan.supervisor.auto_remove = true;
    let running = container.start();
    let own = ProcessId::own().unwrap();
    container.connect().stop(libc::SIGKILL, 10_000, Some(own)).unwrap();
    running.ended();
    assert_eq!((container.state().state, container.state().creator), (State::Stopped, Some(own)));
}

#[test]
fn every_payload_has_its_own_time() {
    let mut container = with_policy("sleep 60", RestartPolicy::OnFailure { max: Some(1) });
    container.plan.supervisor.timeout_ms = Some(50);
    container.start().ended();
    let state = container.state();
    assert_eq!((state.restart_count, state.exit.unwrap().reason), (1, ExitReason::Timeout));
}

fn nix_kill(pid: i32, signal: i32) {
    let status = std::process::Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn a_stop_in_the_moment_of_a_restart_is_the_end() {
    for _ in 0..5 {
        let container = with_policy("exit 4", RestartPolicy::Always);
        let running = container.start();
        eventually("it waits", || container.state().state == State::Restarting);
        // Both are due when it goes on.
        nix_kill(running.helper_pid(), libc::SIGSTOP);
        let mut client = container.connect();
        let stopping = std::thread::spawn(move || client.stop(libc::SIGTERM, 10_000, None).unwrap());
        std::thread::sleep(Duration::from_millis(900));
        nix_kill(running.helper_pid(), libc::SIGCONT);
        assert_eq!(stopping.join().unwrap().code, 4);
        running.ended();
        assert_eq!(container.state().state, State::Stopped);
    }
}
