//! Between the supervisor and the process that becomes the payload: a socket of whole messages, which closes by itself
//! when the program is executed. Its silence is the good news.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use brig_runtime::packets::{self, MAX_PACKET};
use brig_runtime::protocol::StepError;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::failure::Failure;

/// What the child says.
#[derive(Debug)]
pub(crate) enum Message {
    /// The program runs, or the child is dead: the socket is closed.
    End,
    /// A step failed.
    Failed(StepError),
    /// The master of the terminal.
    Terminal(OwnedFd),
    /// The pid of a grandchild that was made a child of the supervisor.
    Pid(i32),
    /// It wants something done by somebody else, and waits.
    Asked(Asked),
}

/// What a child asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// That the ids of the new user namespace are mapped.
    MapIds,
    /// That the plan's network devices come into its network namespace.
    NetDevices,
    /// That hooks are run in the runtime's namespaces.
    Hooks,
    /// That it is known that everything is made.
    Ready,
    /// That this, the seccomp filter's listener, goes where the plan says.
    Listener(OwnedFd),
    /// The same of its descriptor of this number.
    ListenerNumber(i32),
}

const FAILED: u8 = b'E';
const MAP_IDS: u8 = b'M';
const TERMINAL: u8 = b'T';
const PID: u8 = b'P';
const HOOKS: u8 = b'H';
const LISTENER: u8 = b'L';
const READY: u8 = b'R';
const NET_DEVICES: u8 = b'N';

/// A new pair: the supervisor's end, the child's end.
pub(crate) fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    packets::pair()
}

/// How long is waited for each message; then receiving it fails with `EAGAIN`.
pub(crate) fn set_patience(socket: &OwnedFd, patience: Duration) -> Result<(), Errno> {
    set_socket_timeout(socket, Timeout::Recv, Some(patience))
}

/// Tells the supervisor which step failed.
pub(crate) fn send_failure(to: BorrowedFd<'_>, error: &StepError) -> Result<(), Failure> {
    let mut message = vec![FAILED];
    let json = serde_json::to_vec(error).map_err(std::io::Error::from)?;
    message.extend_from_slice(&json[..json.len().min(MAX_PACKET - 1)]);
    send(to, &message, None)
}

/// Asks for something, and waits until it is done. The answer is this process's pid, as who answers has it. With
/// write(2) and read(2) alone: others may be somebody else's to answer for, from the moment on that a seccomp filter
/// says so, where nothing is sent along.
pub(crate) fn ask(to: BorrowedFd<'_>, asked: Asked) -> Result<i32, Failure> {
    let message = match asked {
        Asked::MapIds => vec![MAP_IDS],
        Asked::NetDevices => vec![NET_DEVICES],
        Asked::Hooks => vec![HOOKS],
        Asked::Ready => vec![READY],
        Asked::ListenerNumber(number) => [&[LISTENER][..], &number.to_ne_bytes()].concat(),
        Asked::Listener(listener) => {
            send(to, &[LISTENER], Some(listener.as_fd()))?;
            return wait(to);
        }
    };
    rustix::io::write(to, &message)?;
    wait(to)
}

fn wait(to: BorrowedFd<'_>) -> Result<i32, Failure> {
    let mut answer = [0; 4];
    match rustix::io::read(to, &mut answer)? {
        4 => Ok(i32::from_ne_bytes(answer)),
        _ => Err(Errno::PIPE.into()),
    }
}

/// Answers [`ask`].
pub(crate) fn answer(to: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
    send(to, &pid.to_ne_bytes(), None)
}

/// Hands the terminal's master over.
pub(crate) fn send_terminal(to: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<(), Failure> {
    send(to, &[TERMINAL], Some(master))
}

/// Says what the pid of the grandchild is.
pub(crate) fn send_pid(to: BorrowedFd<'_>, pid: i32) -> Result<(), Failure> {
    let mut message = vec![PID];
    message.extend_from_slice(&pid.to_ne_bytes());
    send(to, &message, None)
}

fn send(to: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<(), Failure> {
    Ok(packets::send(to, bytes, fd.as_slice())?)
}

/// Waits for the child's next word.
pub(crate) fn receive(from: impl AsFd) -> Result<Message, Failure> {
    let packet = packets::receive(from, 1)?;
    parse(&packet.bytes, packet.fds.into_iter().next())
}

fn parse(bytes: &[u8], fd: Option<OwnedFd>) -> Result<Message, Failure> {
    match (bytes, fd) {
        ([], _) => Ok(Message::End),
        ([MAP_IDS], _) => Ok(Message::Asked(Asked::MapIds)),
        ([NET_DEVICES], _) => Ok(Message::Asked(Asked::NetDevices)),
        (&[LISTENER, a, b, c, d], _) => {
            Ok(Message::Asked(Asked::ListenerNumber(i32::from_ne_bytes([a, b, c, d]))))
        }
        ([LISTENER], Some(listener)) => Ok(Message::Asked(Asked::Listener(listener))),
        ([TERMINAL], Some(master)) => Ok(Message::Terminal(master)),
        ([HOOKS], _) => Ok(Message::Asked(Asked::Hooks)),
        ([READY], _) => Ok(Message::Asked(Asked::Ready)),
        (&[PID, a, b, c, d], _) => Ok(Message::Pid(i32::from_ne_bytes([a, b, c, d]))),
        ([FAILED, json @ ..], _) => {
            Ok(Message::Failed(serde_json::from_slice(json).map_err(std::io::Error::from)?))
        }
        _ => Err(Errno::PROTO.into()),
    }
}
