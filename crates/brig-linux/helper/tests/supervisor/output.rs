//! Streams: what the payload writes, to clients and log, and what it reads.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::container::{Container, eventually, pump};

#[test]
fn both_streams_reach_the_creator_and_the_log() {
    let container = Container::new("echo out; echo err >&2; printf tail").attached();
    let (status, out, err) = container.start().output();
    assert!(status.success());
    assert_eq!((out, err), (b"out\ntail".to_vec(), b"err\n".to_vec()));
    assert_eq!(container.log("stdout"), "out\ntail");
    assert_eq!(container.log("stderr"), "err\n");
}

#[test]
fn without_a_log_nothing_is_kept() {
    let mut container = Container::new("echo out").attached();
    container.plan.supervisor.log = None;
    assert_eq!(container.start().output().1, b"out\n");
    assert!(!container.paths.log().exists());
}

#[test]
fn binary_output_reaches_the_client_unchanged() {
    let container = Container::new(r"printf '\000\377\376\n\033[0m\200'").attached();
    let (_, out, _) = container.start().output();
    assert_eq!(out, b"\0\xff\xfe\n\x1b[0m\x80");
    assert_eq!(container.log("stdout"), "\0\u{fffd}\u{fffd}\n\u{1b}[0m\u{fffd}");
}

#[test]
fn fifty_megabytes_without_loss() {
    let mut container = Container::new("head -c 50000000 /dev/zero; echo; echo end").attached();
    container.plan.supervisor.log = None;
    let (status, out, _) = container.start().output();
    assert!(status.success());
    assert_eq!(out.len(), 50_000_000 + 5);
    assert!(out[..50_000_000].iter().all(|&byte| byte == 0));
    assert!(out.ends_with(b"\nend\n"));
}

#[test]
fn many_lines_are_all_in_the_log() {
    let container = Container::new("seq 1 100000");
    assert!(container.start().wait().success());
    let log = container.log("stdout");
    assert_eq!(log.lines().count(), 100_000);
    assert!(log.ends_with("99999\n100000\n"));
}

#[test]
fn a_long_line_is_several_records_and_splits_no_character() {
    let container = Container::new("i=0; while [ $i -lt 12000 ]; do printf 'x€'; i=$((i+1)); done; echo");
    assert!(container.start().wait().success());
    assert_eq!(container.log("stdout"), "x€".repeat(12_000) + "\n");
    let text = std::fs::read_to_string(container.paths.log()).unwrap();
    assert_eq!(text.lines().count(), 3);
}

#[test]
fn input_comes_through_and_its_end_too() {
    let container = Container::with_args(&["/bin/cat"]).attached().interactive();
    let mut running = container.start();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let sent = vec![b'x'; 3_000_000];
    let copy = sent.clone();
    let feeder = std::thread::spawn(move || writer.write_all(&copy).unwrap());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = pump(&mut running.first, &mut out, &mut err, Some(reader.as_fd()));
    feeder.join().unwrap();
    assert!(status.success());
    assert!(out == sent, "{} bytes came back", out.len());
}

#[test]
fn without_interactive_input_is_empty() {
    let container = Container::with_args(&["/bin/cat"]).attached();
    assert!(container.start().output().0.success());
}

#[test]
fn input_that_nobody_reads_waits_in_a_bounded_way() {
    let container = Container::new("sleep 60").attached().interactive();
    let mut running = container.start();
    let mut stream = running.first.stream().try_clone().unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let frame = vec![b'x'; 200_000];
    let mut taken = 0;
    while brig_runtime::protocol::write_frame(&mut stream, 1, &frame).is_ok() {
        taken += frame.len();
        assert!(taken < 4_000_000, "the supervisor swallows everything");
    }
    // It serves others meanwhile.
    container.connect().signal(libc::SIGKILL).unwrap();
    assert!(running.first.stream().try_clone().is_ok());
    assert!(running.helper.wait().unwrap().success());
}

#[test]
fn two_who_attach_see_the_same_and_more_come_later() {
    let container = Container::new("read line; echo got $line; read line; echo then $line").interactive();
    let mut running = container.start();
    running.first.attach(true).unwrap();
    let mut second = container.connect();
    second.attach(false).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"one\ntwo\n").unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let watcher = std::thread::spawn(move || {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        (pump(&mut second, &mut out, &mut err, None), out)
    });
    let status = pump(&mut running.first, &mut out, &mut err, Some(reader.as_fd()));
    assert_eq!(out, b"got one\nthen two\n");
    assert_eq!(watcher.join().unwrap(), (status, out));
}

#[test]
fn a_foreground_client_that_doesnt_read_holds_the_payload_up_and_nothing_is_lost() {
    let container = Container::new("head -c 20000000 /dev/zero; touch \"$0\"").attached();
    let marker = container.scratch("marker");
    let mut container = with_arg(container, &marker);
    container.plan.supervisor.log = None;
    let mut running = container.start();
    std::thread::sleep(Duration::from_millis(300));
    assert!(!marker.exists(), "the payload wasn't held up");
    let memory = own_memory(running.helper_pid());
    assert!(memory < 1024, "{memory} KiB");
    // Others are served.
    container.connect().status().unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert!(pump(&mut running.first, &mut out, &mut err, None).success());
    assert_eq!(out.len(), 20_000_000);
}

#[test]
fn a_foreground_client_that_reads_late_gets_all_of_an_ended_payload() {
    let container = Container::new("head -c 600000 /dev/zero; exit 9").attached();
    let mut running = container.start();
    eventually("the payload ends or is held up", || {
        std::thread::sleep(Duration::from_millis(200));
        true
    });
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = pump(&mut running.first, &mut out, &mut err, None);
    assert_eq!((status.code, out.len()), (9, 600_000));
}

#[test]
fn another_client_that_doesnt_read_loses_its_connection() {
    let mut container = Container::new("read line; head -c 20000000 /dev/zero; exit 7").interactive();
    container.plan.supervisor.log = None;
    let mut running = container.start();
    let mut slow = container.connect();
    slow.attach(false).unwrap();
    running.first.attach(true).unwrap();
    brig_runtime::protocol::write_frame(&mut running.first.stream().try_clone().unwrap(), 1, b"go\n")
        .unwrap();
    // This one reads: it gets everything, once the other one has lost its patience.
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = pump(&mut running.first, &mut out, &mut err, None);
    assert_eq!((status.code, out.len()), (7, 20_000_000));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let io = brig_runtime::client::AttachIo {
        stdin: None,
        stdout: &mut out,
        stderr: &mut err,
        detach_keys: &[],
        wake: None,
    };
    assert!(slow.pump(io).is_err());
    assert!(out.len() < 4_000_000);
}

#[test]
fn an_idle_supervisor_is_small() {
    let container = Container::new("sleep 60");
    let running = container.start();
    let memory = own_memory(running.helper_pid());
    eprintln!("own memory: {memory} KiB");
    assert!(memory < 1024, "{memory} KiB");
}

fn with_arg(mut container: Container, arg: &std::path::Path) -> Container {
    container.plan.payload.process.args.push(arg.display().to_string());
    container
}

/// What the process has for itself alone, in KiB: its pages that aren't of a file. (Those of the program belong to the
/// page cache.)
fn own_memory(pid: i32) -> u64 {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let own = smaps.lines().find(|line| line.starts_with("Anonymous:")).unwrap();
    own.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_client_that_is_always_behind_makes_nothing_grow() {
    use std::io::Read;

    let mut container = Container::new("exec cat /dev/zero").attached();
    container.plan.supervisor.log = None;
    let running = container.start();
    let mut stream = running.first.stream().try_clone().unwrap();
    let mut buffer = vec![0; 10_000];
    for _ in 0..5_000 {
        stream.read_exact(&mut buffer).unwrap();
    }
    let memory = own_memory(running.helper_pid());
    assert!(memory < 1024, "{memory} KiB");
}
