//! The loop of an attached client: input to the process, output from it, until one of them is done.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{ClientError, Supervisor};
use crate::exit::ExitStatus;
use crate::protocol::{
    CHANNEL_CONTROL, CHANNEL_STDERR, CHANNEL_STDIN, CHANNEL_STDOUT, Request, Response, write_frame,
    write_message,
};

/// What is read at once from standard input, in bytes.
const CHUNK: usize = 32 * 1024;

/// What an attached client reads and writes.
pub struct AttachIo<'a> {
    /// Where input comes from.
    pub stdin: Option<BorrowedFd<'a>>,
    /// Where standard output goes, and a terminal's.
    pub stdout: &'a mut dyn Write,
    /// Where standard error goes.
    pub stderr: &'a mut dyn Write,
    /// Keys that end the attachment and leave the process running; empty for none. docker's are ctrl-p ctrl-q, `[16, 17]`.
    pub detach_keys: &'a [u8],
    /// What else the client listens to.
    pub wake: Option<Wake<'a>>,
}

impl fmt::Debug for AttachIo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachIo").field("stdin", &self.stdin).finish_non_exhaustive()
    }
}

/// Something beside input that the loop waits for: the read end of the pipe of a signal handler, say.
pub struct Wake<'a> {
    /// The loop wakes when it is readable.
    pub fd: BorrowedFd<'a>,
    /// Called then; has to read what is there.
    pub woken: &'a mut dyn FnMut() -> WakeAction,
}

impl fmt::Debug for Wake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("fd", &self.fd).finish_non_exhaustive()
    }
}

/// What to do after a [`Wake`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WakeAction {
    /// Go on.
    Nothing,
    /// Send this, `resize` as a rule. Its answer isn't waited for. It comes behind input that the process hasn't read
    /// yet: signals that must arrive are better sent on a connection of their own.
    Send(Request),
    /// Leave, as the detach keys do.
    Detach,
}

/// How an attachment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachEnd {
    /// The process ended.
    Exited(ExitStatus),
    /// The client left; the process goes on.
    Detached,
}

impl Supervisor {
    /// Passes input and output on until the process ends, after [`Supervisor::attach`], [`Supervisor::exec`], or
    /// [`Supervisor::birth`] of a container whose plan attaches its creator. The end of input closes the process's.
    ///
    /// # Errors
    /// [`ClientError::Stdio`] when output can't be written (a closed pipe) or input can't be read: the process goes
    /// on. [`ClientError::Lost`] when the supervisor is gone.
    pub fn pump(&mut self, io: AttachIo<'_>) -> Result<AttachEnd, ClientError> {
        let lost = |source| ClientError::Lost { source };
        // Never blocked in a write: a process that reads and writes waits for both sides, and so must this.
        self.stream.set_nonblocking(true).map_err(lost)?;
        let end = Pump::new(self, io).run();
        self.stream.set_nonblocking(false).map_err(lost)?;
        end
    }
}

struct Pump<'s, 'a> {
    supervisor: &'s mut Supervisor,
    io: AttachIo<'a>,
    /// Frames that the supervisor hasn't taken yet.
    outgoing: Vec<u8>,
    keys: DetachKeys<'a>,
}

impl<'s, 'a> Pump<'s, 'a> {
    fn new(supervisor: &'s mut Supervisor, io: AttachIo<'a>) -> Self {
        let keys = DetachKeys { keys: io.detach_keys, matched: 0 };
        Self { supervisor, io, outgoing: Vec::new(), keys }
    }

    fn run(mut self) -> Result<AttachEnd, ClientError> {
        loop {
            if let Some(end) = self.take_frames()? {
                return Ok(end);
            }
            let ready = self.wait()?;
            if ready.socket.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
                self.receive()?;
            }
            if ready.socket.contains(PollFlags::POLLOUT) {
                self.flush()?;
            }
            if (ready.stdin && self.forward()?) || (ready.wake && self.woken()?) {
                return Ok(AttachEnd::Detached);
            }
        }
    }

    fn wait(&self) -> Result<Ready, ClientError> {
        let mut socket = PollFlags::POLLIN;
        socket.set(PollFlags::POLLOUT, !self.outgoing.is_empty());
        // Input waits where it is while the supervisor can't take it.
        let stdin = self.io.stdin.filter(|_| self.outgoing.is_empty());
        let wake = self.io.wake.as_ref().map(|wake| wake.fd);
        let mut fds = vec![PollFd::new(self.supervisor.stream.as_fd(), socket)];
        fds.extend([stdin, wake].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(ClientError::Lost { source: error.into() }),
        }
        let mut others = fds[1..].iter().map(|fd| fd.any().unwrap_or(true));
        Ok(Ready {
            socket: fds[0].revents().unwrap_or(PollFlags::POLLERR),
            stdin: stdin.is_some() && others.next() == Some(true),
            wake: wake.is_some() && others.next() == Some(true),
        })
    }

    fn receive(&mut self) -> Result<(), ClientError> {
        match self.supervisor.fill() {
            Ok(0) => Err(ClientError::Lost { source: io::ErrorKind::UnexpectedEof.into() }),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(ClientError::Lost { source: error })
            }
            _ => Ok(()),
        }
    }

    /// Uses what came; says how it ended, if it did.
    fn take_frames(&mut self) -> Result<Option<AttachEnd>, ClientError> {
        let mut wrote = false;
        while let Some((channel, payload)) =
            self.supervisor.decoder.next_frame().map_err(|source| ClientError::Lost { source })?
        {
            let written = match channel {
                CHANNEL_STDOUT => self.io.stdout.write_all(payload),
                CHANNEL_STDERR => self.io.stderr.write_all(payload),
                CHANNEL_CONTROL => match serde_json::from_slice(payload) {
                    Ok(Response::Exited { status }) => {
                        flush_both(&mut self.io)?;
                        return Ok(Some(AttachEnd::Exited(status)));
                    }
                    // Answers to what a wake sent: a size that couldn't be set changes nothing.
                    Ok(_) => Ok(()),
                    Err(error) => return Err(ClientError::Lost { source: error.into() }),
                },
                // A channel of a newer supervisor, which this client hasn't asked for.
                _ => Ok(()),
            };
            written.map_err(output_failed)?;
            wrote = true;
        }
        if wrote {
            flush_both(&mut self.io)?;
        }
        Ok(None)
    }

    /// Reads input once; says whether the detach keys came.
    fn forward(&mut self) -> Result<bool, ClientError> {
        let Some(stdin) = self.io.stdin else { return Ok(false) };
        let mut buffer = [0; CHUNK];
        let count = match nix::unistd::read(stdin, &mut buffer) {
            Ok(count) => count,
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(false),
            // A terminal that hung up.
            Err(Errno::EIO) => 0,
            Err(error) => {
                return Err(ClientError::Stdio { action: "read standard input", source: error.into() });
            }
        };
        if count == 0 {
            self.io.stdin = None;
        }
        let (input, detach) = self.keys.filter(&buffer[..count]);
        if count == 0 || !input.is_empty() {
            self.queue(|frames| write_frame(frames, CHANNEL_STDIN, &input))?;
        }
        Ok(detach)
    }

    /// Says whether to leave.
    fn woken(&mut self) -> Result<bool, ClientError> {
        let action = self.io.wake.as_mut().map_or(WakeAction::Nothing, |wake| (wake.woken)());
        match action {
            WakeAction::Nothing => Ok(false),
            WakeAction::Detach => Ok(true),
            WakeAction::Send(request) => {
                self.queue(|frames| write_message(frames, &request))?;
                Ok(false)
            }
        }
    }

    fn queue(&mut self, frame: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<(), ClientError> {
        frame(&mut self.outgoing).map_err(|source| ClientError::Lost { source })?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        while !self.outgoing.is_empty() {
            match self.supervisor.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // It has ended: what it said before is still to be read, and the end of the stream after it.
                Err(_) => {
                    self.outgoing.clear();
                    self.io.stdin = None;
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Ready {
    socket: PollFlags,
    stdin: bool,
    wake: bool,
}

impl Default for Ready {
    fn default() -> Self {
        Self { socket: PollFlags::empty(), stdin: false, wake: false }
    }
}

fn output_failed(source: io::Error) -> ClientError {
    ClientError::Stdio { action: "write the output of the container", source }
}

fn flush_both(io: &mut AttachIo<'_>) -> Result<(), ClientError> {
    io.stdout.flush().and_then(|()| io.stderr.flush()).map_err(output_failed)
}

/// Finds the detach keys in input, also when they come one by one.
struct DetachKeys<'a> {
    keys: &'a [u8],
    matched: usize,
}

impl DetachKeys<'_> {
    /// What of `input` is for the process, and whether the keys came. The beginning of the keys is kept back until it
    /// is clear what it is.
    fn filter(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for &byte in input {
            if self.keys.get(self.matched) != Some(&byte) {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_in_pieces_and_kept_from_the_process() {
        let mut keys = DetachKeys { keys: &[16, 17], matched: 0 };
        assert_eq!(keys.filter(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(keys.filter(&[16]), (vec![], false));
        assert_eq!(keys.filter(&[16, b'c']), (vec![16, 16, b'c'], false));
        assert_eq!(keys.filter(&[b'd', 16]), (vec![b'd'], false));
        assert_eq!(keys.filter(&[17, b'e']), (vec![], true));
    }

    #[test]
    fn without_detach_keys_everything_passes() {
        let mut keys = DetachKeys { keys: &[], matched: 0 };
        assert_eq!(keys.filter(&[16, 17]), (vec![16, 17], false));
    }
}
