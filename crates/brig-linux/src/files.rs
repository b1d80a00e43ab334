//! Files of a container, through the helper: a stream of bytes out of it or into it, and how it ended.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use brig_runtime::files::{FILES_ARGUMENT, FilesEnd, FilesPlan};
use brig_runtime::protocol::{
    CHANNEL_CONTROL, CHANNEL_STDIN, CHANNEL_STDOUT, MAX_FRAME, read_frame, write_frame,
};

use crate::helper::{Helper, HelperError, start};

/// An operation that is under way. Dropping it ends it; then nothing of it is mounted any more.
#[derive(Debug)]
pub struct Files {
    child: Child,
    socket: UnixStream,
    ended: bool,
}

/// What comes out of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// How it ended. Nothing follows.
    End(FilesEnd),
}

impl Helper {
    /// Starts an operation on files.
    ///
    /// # Errors
    /// [`HelperError::Seal`] and [`HelperError::Start`]; what goes wrong later is a [`FilesEnd::Failed`].
    pub fn files(&self, plan: &FilesPlan) -> Result<Files, HelperError> {
        let plan = plan.encode().and_then(|bytes| Self::plan_file(&bytes));
        let plan = plan.map_err(HelperError::seal("write the plan"))?;
        let (socket, theirs) = UnixStream::pair().map_err(HelperError::seal("make a pair of sockets"))?;
        let mut command = self.command();
        command.arg(FILES_ARGUMENT).stdin(plan).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
        let child = start(command)?;
        Ok(Files { child, socket, ended: false })
    }
}

impl Files {
    /// The next bytes, or the end.
    ///
    /// # Errors
    /// The helper was killed, or spoke out of turn.
    pub fn next_piece(&mut self) -> io::Result<Piece> {
        match read_frame(&mut self.socket)? {
            Some((CHANNEL_STDOUT, bytes)) => Ok(Piece::Bytes(bytes)),
            Some((CHANNEL_CONTROL, json)) => {
                self.ended = true;
                Ok(Piece::End(serde_json::from_slice(&json)?))
            }
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Hands bytes in. A helper that has given up doesn't take them; [`Files::next_piece`] says why.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        // An empty frame would be the end.
        let mut frames = bytes.chunks(MAX_FRAME);
        frames.try_for_each(|frame| write_frame(&mut self.socket, CHANNEL_STDIN, frame))
    }

    /// Says that all bytes were handed in.
    pub fn end_input(&mut self) -> io::Result<()> {
        write_frame(&mut self.socket, CHANNEL_STDIN, &[])
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It ends by itself when it has said so, or when nobody listens; one that hangs in a file system doesn't.
        let _ = self.socket.shutdown(Shutdown::Both);
        if !self.ended {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
