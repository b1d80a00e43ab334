//! The other requests.

use brig_runtime::State;
use brig_runtime::client::{ClientError, Supervisor};
use brig_runtime::protocol::ExecRequest;

use crate::container::{Container, pump, request};

fn code(result: Result<impl std::fmt::Debug, ClientError>) -> String {
    match result {
        Err(ClientError::Refused { source }) => source.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn many_wait_and_all_are_told() {
    let container = Container::new("sleep 0.3; exit 6");
    let running = container.start();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let mut supervisor = container.connect();
            std::thread::spawn(move || supervisor.wait().unwrap().code)
        })
        .collect();
    assert_eq!(running.wait().code, 6);
    for waiter in waiting {
        assert_eq!(waiter.join().unwrap(), 6);
    }
}

#[test]
fn execs_have_their_own_streams_and_codes() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let execs: Vec<_> = (0..8)
        .map(|number| {
            let mut supervisor = container.connect();
            std::thread::spawn(move || {
                let script = format!("echo out {number}; echo err {number} >&2; exit {number}");
                assert!(supervisor.exec(request(&script)).unwrap() > 0);
                let (mut out, mut err) = (Vec::new(), Vec::new());
                let status = pump(&mut supervisor, &mut out, &mut err, None);
                assert_eq!(out, format!("out {number}\n").into_bytes());
                assert_eq!(err, format!("err {number}\n").into_bytes());
                assert_eq!(i32::from(status.code), number);
            })
        })
        .collect();
    execs.into_iter().for_each(|exec| exec.join().unwrap());
    assert_eq!(container.log("stdout"), "");
    let events = container.events();
    for action in ["exec_create", "exec_start", "exec_die"] {
        assert_eq!(events.iter().filter(|event| *event == action).count(), 8, "{action}");
    }
}

#[test]
fn an_exec_reads_input_and_its_connection_goes_on_afterwards() {
    use std::io::Write;
    use std::os::fd::AsFd;

    let container = Container::new("sleep 60");
    let _running = container.start();
    let mut supervisor = container.connect();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"hello").unwrap();
    drop(writer);
    supervisor.exec(ExecRequest { stdin: true, ..request("cat") }).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert!(pump(&mut supervisor, &mut out, &mut err, Some(reader.as_fd())).success());
    assert_eq!(out, b"hello");
    assert_eq!(supervisor.status().unwrap().state, State::Running);
}

#[test]
fn a_detached_exec_goes_on_alone() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let marker = container.scratch("marker");
    let script = format!("sleep 0.1; touch {}", marker.display());
    container.connect().exec(ExecRequest { detach: true, ..request(&script) }).unwrap();
    crate::container::eventually("the detached process did its work", || marker.exists());
}

#[test]
fn the_payloads_end_ends_its_execs() {
    let container = Container::new("sleep 0.3; exit 2");
    let running = container.start();
    let mut supervisor = container.connect();
    supervisor.exec(request("exec sleep 60")).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = pump(&mut supervisor, &mut out, &mut err, None);
    assert_eq!(status.signal, Some(libc::SIGKILL));
    assert_eq!(running.wait().code, 2);
}

#[test]
fn a_program_that_cant_be_executed_is_told_apart() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let mut supervisor = container.connect();
    let missing = ExecRequest { args: vec!["/nowhere".into()], ..request("") };
    assert_eq!(code(supervisor.exec(missing)), "not_found");
    let no_program = ExecRequest { args: vec!["/etc/passwd".into()], ..request("") };
    assert_eq!(code(supervisor.exec(no_program)), "not_runnable");
}

#[test]
fn wrong_requests_are_refused_and_the_connection_lives() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let mut supervisor = container.connect();
    assert_eq!(code(supervisor.signal(0)), "invalid");
    assert_eq!(code(supervisor.signal(65)), "invalid");
    assert_eq!(code(supervisor.resize(24, 80)), "invalid");
    assert_eq!(code(supervisor.resume()), "invalid");
    supervisor.attach(false).unwrap();
    assert_eq!(code(supervisor.attach(false)), "invalid");
    assert_eq!(supervisor.status().unwrap().state, State::Running);
}

#[test]
fn nobody_listens_where_nothing_runs() {
    let container = Container::new("true");
    assert!(matches!(Supervisor::connect(&container.paths), Err(ClientError::NotRunning { .. })));
    container.start().wait();
    assert!(matches!(Supervisor::connect(&container.paths), Err(ClientError::NotRunning { .. })));
}

#[test]
fn a_long_run_root_is_no_obstacle() {
    let mut container = Container::new("sleep 60");
    let long = container.scratch(&"long".repeat(40));
    let roots = brig_runtime::Roots::new(container.roots.root.clone(), Some(long));
    container.paths = roots.container(&container.plan.supervisor.id);
    container.plan.supervisor.run_dir = container.paths.run_dir().into();
    let _running = container.start();
    assert_eq!(container.connect().status().unwrap().state, State::Running);
}
