//! The stream of bytes in the frames of the socket.

use std::io::{self, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use brig_runtime::protocol::{CHANNEL_STDIN, CHANNEL_STDOUT, read_frame, write_frame};

/// How much goes into a frame.
const FRAME: usize = 128 * 1024;

/// Bytes for whoever asked.
pub(super) fn output() -> impl Write {
    BufWriter::with_capacity(FRAME, Output)
}

struct Socket;

impl Socket {
    fn fd(&self) -> BorrowedFd<'static> {
        // Rust's own handle of descriptor 1, without its buffer.
        static STDOUT: std::sync::OnceLock<io::Stdout> = std::sync::OnceLock::new();
        STDOUT.get_or_init(io::stdout).as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(self.fd(), &mut *buffer))?)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::write(self.fd(), buffer))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Output;

impl Write for Output {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = buffer.len().min(FRAME);
        write_frame(&mut Socket, CHANNEL_STDOUT, &buffer[..taken])?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes of whoever asked, up to an empty frame. A socket that closes before it is an error: half a tar isn't one.
pub(super) struct Input {
    frame: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { frame: Vec::new(), at: 0, ended: false }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.frame.len() && !self.ended {
            match read_frame(&mut Socket)? {
                Some((CHANNEL_STDIN, frame)) => {
                    self.ended = frame.is_empty();
                    (self.frame, self.at) = (frame, 0);
                }
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = (&self.frame[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
