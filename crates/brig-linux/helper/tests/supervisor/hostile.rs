//! Clients that are broken or mean no good. They are the container's owner, so that they may end it; but they must not
//! do so by accident, nor make its supervisor grow.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use brig_runtime::State;
use brig_runtime::client::Supervisor;
use brig_runtime::protocol::{MAX_FRAME, write_frame};

use brig_runtime::protocol::ExecRequest;

use crate::container::{Container, eventually, pump, request};

fn raw(supervisor: Supervisor) -> UnixStream {
    supervisor.stream().try_clone().unwrap()
}

fn is_cut_off(mut stream: UnixStream) -> bool {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let mut rest = Vec::new();
    // A reset is as good as an end.
    !matches!(stream.read_to_end(&mut rest), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn garbage_cuts_off_its_sender_alone() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    for garbage in [&[255u8; 64][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 0, 9], &[1, 0, 0, 0, 2, 0]] {
        let mut stream = raw(container.connect());
        stream.write_all(garbage).unwrap();
        assert!(is_cut_off(stream), "{garbage:?}");
    }
    assert_eq!(container.connect().status().unwrap().state, State::Running);
}

#[test]
fn messages_that_arent_json_are_refused() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    for message in [&b"{"[..], b"", b"[]", b"{\"type\":7}", b"{\"type\":\"signal\"}", b"\xff"] {
        let mut supervisor = container.connect();
        write_frame(&mut raw_of(&supervisor), 0, message).unwrap();
        let error = supervisor.status().unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
    let mut supervisor = container.connect();
    write_frame(&mut raw_of(&supervisor), 0, b"{\"type\":\"checkpoint\",\"to\":\"/x\"}").unwrap();
    let brig_runtime::client::ClientError::Refused { source } = supervisor.status().unwrap_err() else {
        panic!()
    };
    assert_eq!(source.code, "unsupported");
}

fn raw_of(supervisor: &Supervisor) -> UnixStream {
    supervisor.stream().try_clone().unwrap()
}

#[test]
fn half_frames_and_silence_disturb_nobody() {
    let container = Container::new("sleep 60");
    let running = container.start();
    let mut kept = Vec::new();
    for _ in 0..100 {
        let mut stream = raw(container.connect());
        stream.write_all(&u32::try_from(MAX_FRAME).unwrap().to_le_bytes()).unwrap();
        stream.write_all(&[1, 2, 3]).unwrap();
        kept.push(stream);
    }
    assert_eq!(container.connect().status().unwrap().state, State::Running);
    drop(kept);
    drop(running);
}

#[test]
fn nearly_whole_frames_of_many_are_bounded_together() {
    let container = Container::new("sleep 60");
    let running = container.start();
    let mut kept = Vec::new();
    let mut frame = u32::try_from(MAX_FRAME).unwrap().to_le_bytes().to_vec();
    frame.push(0);
    frame.resize(5 + MAX_FRAME - 1, b' ');
    for _ in 0..200 {
        let mut stream = raw(container.connect());
        stream.set_write_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        // Those who are cut off may see it here.
        let _ = stream.write_all(&frame);
        kept.push(stream);
    }
    assert_eq!(container.connect().status().unwrap().state, State::Running);
    let resident = resident(running.helper_pid());
    assert!(resident < 24 * 1024, "{resident} KiB");
}

#[test]
fn too_many_connections_are_refused_and_room_comes_back() {
    let container = Container::new("sleep 60");
    let _running = container.start();
    let many: Vec<_> = (0..600).map_while(|_| Supervisor::connect(&container.paths).ok()).collect();
    eventually("one is refused", || container.connect().status().is_err());
    drop(many);
    eventually("room is back", || container.connect().status().is_ok());
}

#[test]
fn another_user_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let container = Container::new("sleep 60");
    let _running = container.start();
    let python = std::path::Path::new("/usr/bin/python3");
    if !is_root() || !python.exists() {
        eprintln!("skipped: needs root and python3");
        return;
    }
    // Somebody has opened all doors: the credentials still tell.
    let mut path = container.paths.socket();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    while path.pop() && path.starts_with(&container.roots.root) {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "import socket,os,sys; os.chdir(sys.argv[1]); s=socket.socket(socket.AF_UNIX); s.connect('sock'); \
                  print(s.recv(4096))";
    let output = std::process::Command::new(python)
        .args(["-c", script, &container.paths.run_dir().display().to_string()])
        .uid(65534)
        .gid(65534)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("denied"), "{said} {}", String::from_utf8_lossy(&output.stderr));
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

/// KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_payload_that_stops_what_comes_in_deafens_nobody() {
    let container = Container::new("while :; do kill -STOP -1; done");
    let running = container.start();
    let request = request("true");
    for _ in 0..3 {
        // It may also win: then the program runs, or is stopped later.
        let _ = container.connect().exec(ExecRequest { detach: true, ..request.clone() });
    }
    let status = container.connect().stop(libc::SIGKILL, 1000, None).unwrap();
    assert_eq!(status.signal, Some(libc::SIGKILL));
    running.ended();
}

#[test]
fn an_exec_whose_descendants_write_on_ends_all_the_same() {
    let container = Container::new("exec sleep 60");
    let _running = container.start();
    let request = request("for i in 1 2 3; do yes & done; exit 7");
    let mut client = container.connect();
    client.exec(request).unwrap();
    let status = pump(&mut client, &mut Vec::new(), &mut Vec::new(), None);
    assert_eq!(status.code, 7);
    container.connect().stop(libc::SIGKILL, 1000, None).unwrap();
}
