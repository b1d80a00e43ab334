//! The init of `--init`.

use std::process::{Command, Output};

use crate::container::{Container, eventually};

fn with_init(script: &str) -> Container {
    let mut container = Container::new(script);
    let process = &mut container.plan.payload.process;
    process.program = Some("/proc/self/exe".into());
    process.args.insert(0, "brig-init".into());
    container
}

#[test]
fn the_program_is_a_child_and_its_code_is_the_containers() {
    let container = with_init("echo $$; exit 7").attached();
    let (status, out, _) = container.start().output();
    assert_eq!(status.code, 7);
    assert_ne!(String::from_utf8(out).unwrap().trim(), "1");
}

#[test]
fn signals_reach_a_program_that_has_no_handler_for_them() {
    let container = with_init("exec sleep 60");
    let running = container.start();
    // As the first process it would ignore this one.
    eventually("it is there", || {
        container.connect().signal(libc::SIGTERM).is_err() || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            container.state().exit.is_some()
        }
    });
    assert_eq!(running.wait().code, 143);
}

#[test]
fn orphans_are_reaped() {
    // The orphan's parent ends at once, and the orphan a moment later, as a child of the first process.
    let container = with_init("(sleep 0.2 &) ; exec sleep 60");
    let _running = container.start();
    let pid = container.state().payload.unwrap().pid;
    let children = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        text.split_whitespace().count()
    };
    eventually("the orphan came", || children() == 2);
    eventually("the orphan is reaped", || children() == 1);
}

#[test]
fn a_program_that_is_missing_is_127() {
    let mut container = with_init("");
    container.plan.payload.process.args = vec!["brig-init".into(), "/no/such".into()];
    let (status, _, err) = container.attached().start().output();
    assert_eq!(status.code, 127);
    assert!(String::from_utf8_lossy(&err).contains("/no/such"));
}

#[test]
fn alone_it_says_what_is_missing() {
    let output: Output = run(&[]);
    assert_eq!(output.status.code(), Some(125));
    let output: Output = run(&["sh", "-c", "exit 3"]);
    assert_eq!(output.status.code(), Some(3));
}

fn run(args: &[&str]) -> Output {
    use std::os::unix::process::CommandExt;
    Command::new(env!("CARGO_BIN_EXE_brig-helper")).arg0("brig-init").args(args).output().unwrap()
}
