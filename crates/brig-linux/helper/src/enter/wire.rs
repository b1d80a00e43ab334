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
    /// The child waits.
    Asked(Asked),
}

/// What a child waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The ids of the new user namespace have to be mapped by somebody with more rights.
    MapIds,
    /// Hooks of the runtime's are to be run now.
    Hooks,
    /// Everything is made; that has to be known.
    Ready,
}

const FAILED: u8 = b'E';
const MAP_IDS: u8 = b'M';
const TERMINAL: u8 = b'T';
const PID: u8 = b'P';
const HOOKS: u8 = b'H';
const READY: u8 = b'R';

/// A new pair: the supervisor's end, the child's end.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
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

/// Asks for ids to be mapped, and waits for it.
pub(crate) fn request_map(to: BorrowedFd<'_>) -> Result<(), Failure> {
    request(to, MAP_IDS).map(drop)
}

/// Asks for the runtime's hooks to be run, and waits for it. The answer is this process's pid as the runtime has it.
pub(crate) fn request_hooks(to: BorrowedFd<'_>) -> Result<i32, Failure> {
    request(to, HOOKS)
}

/// Says that everything is made, and waits until that is known.
pub(crate) fn report_ready(to: BorrowedFd<'_>) -> Result<(), Failure> {
    request(to, READY).map(drop)
}

fn request(to: BorrowedFd<'_>, what: u8) -> Result<i32, Failure> {
    send(to, &[what], None)?;
    let mut answer = [0; 4];
    match rustix::io::retry_on_intr(|| rustix::io::read(to, &mut answer))? {
        4 => Ok(i32::from_ne_bytes(answer)),
        _ => Err(Errno::PIPE.into()),
    }
}

/// Answers a child that waits.
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
