//! Looks at the payload's health.

use std::fs;

use brig_runtime::HealthStatus;
use brig_runtime::plan::HealthPlan;
use brig_runtime::protocol::ExecRequest;
use brig_runtime::{Health, HealthCheck};

use crate::container::{Container, eventually, request};

fn watched(script: &str, check: HealthCheck) -> Container {
    let mut container = Container::new(script);
    let request = ExecRequest { args: check.command(), ..request("") };
    container.plan.supervisor.health = Some(HealthPlan { check, request });
    container
}

fn check(line: &str) -> HealthCheck {
    HealthCheck {
        test: vec!["CMD-SHELL".into(), line.into()],
        interval_ms: 20,
        timeout_ms: 5000,
        start_period_ms: 0,
        start_interval_ms: 10,
        retries: 2,
    }
}

fn health(container: &Container) -> Health {
    container.state().health.unwrap()
}

#[test]
fn a_container_becomes_healthy_and_unhealthy_and_healthy_again() {
    let flag = tempfile::tempdir().unwrap();
    let flag = flag.path().join("flag");
    fs::create_dir_all(flag.parent().unwrap()).unwrap();
    fs::write(&flag, "").unwrap();
    let container = watched("exec sleep 60", check(&format!("echo looked; test -e {}", flag.display())));
    let _running = container.start();
    eventually("it is healthy", || health(&container).status == HealthStatus::Healthy);
    fs::remove_file(&flag).unwrap();
    eventually("it is unhealthy", || health(&container).status == HealthStatus::Unhealthy);
    assert!(health(&container).failing_streak >= 2);
    fs::write(&flag, "").unwrap();
    eventually("it is healthy again", || health(&container).status == HealthStatus::Healthy);
    let last = health(&container).log.pop().unwrap();
    assert_eq!((last.exit_code, last.output.as_str()), (0, "looked\n"));
    let expected = ["health_status: healthy", "health_status: unhealthy", "health_status: healthy"];
    eventually("all three were told", || {
        let events = container.events();
        events.iter().filter(|event| event.starts_with("health_status")).eq(&expected)
    });
}

#[test]
fn a_look_that_takes_too_long_is_killed_and_has_failed() {
    let check = HealthCheck { timeout_ms: 30, retries: 1, ..check("sleep 60") };
    let container = watched("exec sleep 60", check);
    let _running = container.start();
    eventually("it is unhealthy", || health(&container).status == HealthStatus::Unhealthy);
    let result = health(&container).log.remove(0);
    assert_eq!((result.exit_code, result.output.as_str()), (-1, "Health check exceeded timeout (30ms)"));
}

#[test]
fn a_program_that_is_missing_has_failed() {
    let check = HealthCheck { test: vec!["CMD".into(), "/no/such".into()], retries: 1, ..check("") };
    let container = watched("exec sleep 60", check);
    let _running = container.start();
    eventually("it is unhealthy", || health(&container).status == HealthStatus::Unhealthy);
    let result = health(&container).log.remove(0);
    assert_eq!(result.exit_code, -1);
    assert!(result.output.contains("/no/such"), "{}", result.output);
}

#[test]
fn much_output_is_cut_and_holds_nothing_up() {
    let container = watched("exec sleep 60", check("head -c 1000000 /dev/zero | tr '\\0' x"));
    let _running = container.start();
    eventually("it is healthy", || health(&container).status == HealthStatus::Healthy);
    assert_eq!(health(&container).log[0].output.len(), 4096);
}

#[test]
fn the_end_of_the_payload_ends_the_look() {
    let container = watched("sleep 0.2", check("sleep 60"));
    let status = container.start().wait();
    assert_eq!(status.code, 0);
    assert_eq!(health(&container).status, HealthStatus::Starting);
}
