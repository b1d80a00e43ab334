//! Seccomp notification: somebody on the host answers for calls of the container.
#![allow(unsafe_code, reason = "the kernel's interface to listeners")]

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::support::{Machine, machine, script_options};

const ELOOP: i32 = 40;

/// Receives a message with one descriptor.
fn receive(stream: &mut UnixStream) -> (Value, OwnedFd) {
    let mut bytes = vec![0_u8; 64 * 1024];
    let mut control = [0_u64; 8];
    // SAFETY: msghdr is a struct of integers and pointers, for which all zeros are a value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control) as _);
    // SAFETY: the kernel writes into the buffers above, as much as they hold.
    let length = unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    bytes.truncate(usize::try_from(length).unwrap());
    // SAFETY: the header and the descriptor behind it are in `control`, where the kernel has put them; nobody else has
    // the descriptor.
    let fd = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS);
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    };
    stream.read_to_end(&mut bytes).unwrap();
    (serde_json::from_slice(&bytes).unwrap(), fd)
}

/// Answers one call with an error.
fn answer(filter: &OwnedFd, errno: i32) -> i32 {
    // `linux/seccomp.h`: struct seccomp_notif, of 80 bytes, and struct seccomp_notif_resp, of 24.
    const RECEIVE: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
    const SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;
    let mut call = [0_u64; 10];
    // SAFETY: the kernel writes 80 bytes.
    assert_eq!(unsafe { libc::ioctl(filter.as_raw_fd(), RECEIVE, call.as_mut_ptr()) }, 0);
    let mut response = [call[0], 0, u64::from((-errno).cast_unsigned())];
    // SAFETY: the kernel reads 24 bytes.
    assert_eq!(unsafe { libc::ioctl(filter.as_raw_fd(), SEND, response.as_mut_ptr()) }, 0);
    i32::try_from(call[2] & 0xffff_ffff).unwrap()
}

/// Somebody who answers one call of each of two processes, and returns what was said of them.
fn listen(machine: &Machine) -> (String, JoinHandle<Vec<Value>>) {
    let path = machine.dir.path().join("listener");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let serve = |_| {
            let (mut stream, _) = listener.accept().unwrap();
            let (state, filter) = receive(&mut stream);
            let number = answer(&filter, ELOOP);
            assert!([libc::SYS_mkdir, libc::SYS_mkdirat].contains(&number.into()), "{number}");
            state
        };
        (0..2).map(serve).collect()
    });
    (path.to_str().unwrap().to_owned(), thread)
}

#[test]
fn somebody_else_answers_for_a_call() {
    let Some(machine) = machine() else { return };
    // The listener of a filter that asks about sending is taken by its number, for which an ordinary user has no right
    // in a container that runs.
    let sending: &[&str] = if machine.host.rootless { &["mkdirat"] } else { &["mkdirat", "sendmsg"] };
    for (no_new_privileges, more) in [(true, sending), (false, sending), (false, &["mkdirat"])] {
        let (path, thread) = listen(&machine);
        let mut options = script_options("mkdir /tmp/made 2>&1; echo up; read x");
        options.no_new_privileges = no_new_privileges;
        let mut json = serde_json::to_value(machine.spec(&options)).unwrap();
        json["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": path,
            "listenerMetadata": "words",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }, { "names": more, "action": "SCMP_ACT_NOTIFY" }],
        });
        json["annotations"] = json!({ "key": "value" });
        let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
        let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
        let said = running.lines_until("up");
        assert!(said[0].contains("Too many levels of symbolic links"), "{said:?}");
        let other = running.exec(|request| request.args = ["mkdir", "/tmp/other"].map(str::to_owned).into());
        assert!(other.unwrap().stderr.contains("Too many levels"));
        running.type_in("\n");
        assert_eq!(running.outcome().status.code, 0);
        let states = thread.join().unwrap();
        let [first, second] = states.as_slice() else { panic!("{states:?}") };
        assert_eq!((&first["fds"], &first["metadata"]), (&json!(["seccompFd"]), &json!("words")));
        assert_eq!(
            (&first["state"]["status"], &second["state"]["status"]),
            (&json!("creating"), &json!("running"))
        );
        assert_eq!(first["state"]["annotations"], json!({ "key": "value" }));
        assert_eq!(first["pid"], first["state"]["pid"]);
        assert_eq!(second["state"]["pid"], first["pid"]);
        assert_ne!(second["pid"], first["pid"]);
    }
}

#[test]
fn nobody_who_answers_is_an_error() {
    let Some(machine) = machine() else { return };
    let mut json = serde_json::to_value(machine.spec(&script_options("true"))).unwrap();
    let path = machine.dir.path().join("nobody");
    json["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let failure = machine.failure(&serde_json::from_value(json).unwrap());
    assert_eq!(failure.step, "connect to the seccomp listener");
    assert_eq!(failure.subject.as_deref(), path.to_str());
}
