//! Whole messages with descriptors beside them, over a pair of sockets: how a helper talks with the process that it makes,
//! and with the one that has started it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The longest message, in bytes.
pub const MAX_PACKET: usize = 16 * 1024;
/// How many descriptors a message may have beside it: the kernel's limit.
pub const MAX_FDS: usize = 253;

/// A message that was received. One without bytes is the end: the other side has gone.
#[derive(Debug, Default)]
pub struct Packet {
    /// What it says.
    pub bytes: Vec<u8>,
    /// What came with it, closed when a program is executed.
    pub fds: Vec<OwnedFd>,
}

/// A new pair of sockets, closed when a program is executed.
///
/// # Errors
/// Those of `socketpair(2)`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message.
///
/// # Errors
/// Those of `sendmsg(2)`: `EPIPE` when the other side has gone.
pub fn send(to: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(fds.len()))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE.into());
    }
    rustix::io::retry_on_intr(|| sendmsg(&to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Waits for a message with at most so many descriptors beside it.
///
/// # Errors
/// Those of `recvmsg(2)`.
pub fn receive(from: impl AsFd, fds: usize) -> io::Result<Packet> {
    let mut bytes = vec![0; MAX_PACKET];
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(fds.max(1)))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match received {
        Ok(received) => received.bytes,
        // A process that died with unread data in its end.
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    bytes.truncate(length);
    Ok(Packet { bytes, fds })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn messages_keep_their_borders_and_bring_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send(&ours, b"one", &[writer.as_fd(), writer.as_fd()]).unwrap();
        send(&ours, b"two", &[]).unwrap();
        drop(writer);
        let packet = receive(&theirs, 2).unwrap();
        assert_eq!((packet.bytes.as_slice(), packet.fds.len()), (b"one".as_slice(), 2));
        for fd in packet.fds {
            std::fs::File::from(fd).write_all(b"x").unwrap();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "xx");
        assert_eq!(receive(&theirs, 0).unwrap().bytes, b"two");
        drop(ours);
        assert_eq!(receive(&theirs, 0).unwrap().bytes, b"");
    }

    #[test]
    fn who_has_gone_is_told_by_an_error() {
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        assert_eq!(send(&ours, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
