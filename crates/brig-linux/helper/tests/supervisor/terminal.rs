//! Containers and execs with a terminal.

use std::io::Write;
use std::os::fd::AsFd;

use brig_runtime::client::{AttachEnd, AttachIo, Wake, WakeAction};
use brig_runtime::plan::{MountKind, MountPlan};
use brig_runtime::protocol::{ExecRequest, Request};

use crate::container::{Container, eventually, pump};

/// With a terminal, from a `/dev/pts` of its own.
fn terminal(script: &str) -> Container {
    let mut container = Container::new(script).attached().interactive();
    container.plan.supervisor.tty = Some((30, 90));
    let options = [("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620"))];
    let what = MountKind::New {
        fs_type: "devpts".into(),
        options: options.map(|(key, value)| (key.to_owned(), value.map(str::to_owned))).into(),
    };
    container.plan.payload.mounts.push(MountPlan::new("/dev/pts".into(), what));
    container
}

#[test]
fn a_terminal_has_its_size_and_one_stream() {
    let container = terminal("stty size; test -t 0 && test -t 1 && test -t 2 && echo terminal >&2");
    let (status, out, err) = container.start().output();
    let out = String::from_utf8(out).unwrap();
    assert!(status.success(), "{out}");
    assert_eq!((out.as_str(), err.len()), ("30 90\r\nterminal\r\n", 0));
    assert_eq!(container.log("stdout"), out);
}

#[test]
fn keys_go_in_and_sizes_change() {
    let container = terminal("stty -echo; echo ready; read line; stty size; echo got $line");
    let mut running = container.start();
    eventually("the shell is ready", || container.log("stdout").contains("ready"));
    let (keys, mut typed) = std::io::pipe().unwrap();
    let (woken, mut waker) = std::io::pipe().unwrap();
    waker.write_all(b"x").unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut on_wake = || {
        drop(std::io::Read::read(&mut &woken, &mut [0; 8]));
        typed.write_all(b"hello\n").unwrap();
        WakeAction::Send(Request::Resize { rows: 11, cols: 22 })
    };
    let io = AttachIo {
        stdin: Some(keys.as_fd()),
        stdout: &mut out,
        stderr: &mut err,
        detach_keys: &[16, 17],
        wake: Some(Wake { fd: woken.as_fd(), woken: &mut on_wake }),
    };
    let end = running.first.pump(io).unwrap();
    assert!(matches!(end, AttachEnd::Exited(status) if status.success()));
    assert_eq!(String::from_utf8(out).unwrap(), "ready\r\n11 22\r\ngot hello\r\n");
}

#[test]
fn detach_keys_leave_it_running() {
    let container = terminal("read line; exit 3");
    let mut running = container.start();
    let (keys, mut typed) = std::io::pipe().unwrap();
    typed.write_all(&[16, 17]).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let io = AttachIo {
        stdin: Some(keys.as_fd()),
        stdout: &mut out,
        stderr: &mut err,
        detach_keys: &[16, 17],
        wake: None,
    };
    assert_eq!(running.first.pump(io).unwrap(), AttachEnd::Detached);
    let mut again = container.connect();
    again.attach(true).unwrap();
    running.first = again;
    typed.write_all(b"\n").unwrap();
    let status = pump(&mut running.first, &mut out, &mut err, Some(keys.as_fd()));
    assert_eq!(status.code, 3);
}

#[test]
fn an_exec_can_have_a_terminal() {
    let container = terminal("sleep 60");
    let _running = container.start();
    let mut supervisor = container.connect();
    let request = ExecRequest {
        args: ["/bin/sh", "-c", "stty size; tty; exit 4"].map(str::to_owned).into(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        tty: true,
        stdin: false,
        detach: false,
        size: Some((12, 34)),
        engine: None,
    };
    supervisor.exec(request).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = pump(&mut supervisor, &mut out, &mut err, None);
    let out = String::from_utf8(out).unwrap();
    assert_eq!(status.code, 4, "{out}");
    assert!(out.starts_with("12 34\r\n/dev/pts/"), "{out}");
}
