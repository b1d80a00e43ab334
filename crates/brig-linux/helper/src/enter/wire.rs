//! Between the supervisor and the process that becomes the payload: a socket of whole messages, which closes by itself
//! when the program is executed. Its silence is the good news.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use brig_runtime::protocol::StepError;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::failure::Failure;

/// What the child says.
#[derive(Debug)]
pub(crate) enum Message {
    /// The program runs, or the child is dead: the socket is closed.
    End,
    /// A step failed.
    Failed(StepError),
    /// The ids of the new user namespace have to be mapped by somebody with more rights. The child waits.
    MapIds,
    /// The master of the terminal.
    Terminal(OwnedFd),
    /// The pid of a grandchild that was made a child of the supervisor.
    Pid(i32),
}

const FAILED: u8 = b'E';
const MAP_IDS: u8 = b'M';
const TERMINAL: u8 = b'T';
const PID: u8 = b'P';
/// More than any step's path.
const MAX_MESSAGE: usize = 16 * 1024;

/// A new pair: the supervisor's end, the child's end.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// How long is waited for each message; then receiving it fails with `EAGAIN`.
pub(crate) fn set_patience(socket: &OwnedFd, patience: Duration) -> Result<(), Errno> {
    set_socket_timeout(socket, Timeout::Recv, Some(patience))
}

/// Tells the supervisor which step failed.
pub(crate) fn send_failure(to: BorrowedFd<'_>, error: &StepError) -> Result<(), Failure> {
    let mut message = vec![FAILED];
    let json = serde_json::to_vec(error).map_err(std::io::Error::from)?;
    message.extend_from_slice(&json[..json.len().min(MAX_MESSAGE - 1)]);
    send(to, &message, None)
}

/// Asks for ids to be mapped, and waits for it.
pub(crate) fn request_map(to: BorrowedFd<'_>) -> Result<(), Failure> {
    send(to, &[MAP_IDS], None)?;
    let mut answer = [0];
    match rustix::io::read(to, &mut answer)? {
        1 => Ok(()),
        _ => Err(Errno::PIPE.into()),
    }
}

/// Answers [`request_map`].
pub(crate) fn answer_map(to: BorrowedFd<'_>) -> Result<(), Failure> {
    send(to, &[MAP_IDS], None)
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
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.as_slice();
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for the child's next word.
pub(crate) fn receive(from: impl AsFd) -> Result<Message, Failure> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match received {
        Ok(received) => received.bytes,
        // A child that died with unread data in its end.
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    parse(&bytes[..length], fd)
}

fn parse(bytes: &[u8], fd: Option<OwnedFd>) -> Result<Message, Failure> {
    match (bytes, fd) {
        ([], _) => Ok(Message::End),
        ([MAP_IDS], _) => Ok(Message::MapIds),
        ([TERMINAL], Some(master)) => Ok(Message::Terminal(master)),
        (&[PID, a, b, c, d], _) => Ok(Message::Pid(i32::from_ne_bytes([a, b, c, d]))),
        ([FAILED, json @ ..], _) => {
            Ok(Message::Failed(serde_json::from_slice(json).map_err(std::io::Error::from)?))
        }
        _ => Err(Errno::PROTO.into()),
    }
}
