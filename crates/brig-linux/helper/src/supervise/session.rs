//! A process in the container and its streams: the payload itself, or one that `exec` brought in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use brig_runtime::exit::{ExitReport, ExitStatus};

use super::connection::is_momentary;
use super::log::Stream;
use super::sys;
use crate::enter::{ChildIo, Payload};

/// Input that waits for the process to read; more stays in the client's socket.
pub(super) const MAX_INPUT: usize = 64 * 1024;
/// The longest report of an engine process.
const MAX_REPORT: usize = 64 * 1024;

/// The supervisor's ends of the pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes {
    input: Option<File>,
    out: Option<File>,
    err: Option<File>,
}

impl Pipes {
    /// Pipes for a process without a terminal, and its ends of them. Without `stdin` its input is `/dev/null`.
    pub(super) fn new(stdin: bool) -> io::Result<(Self, ChildIo)> {
        let (out, stdout) = io::pipe()?;
        let (err, stderr) = io::pipe()?;
        let (stdin, input) = if stdin {
            let (stdin, input) = io::pipe()?;
            (OwnedFd::from(stdin), Some(nonblocking(input.into())?))
        } else {
            (null()?, None)
        };
        let ours = Self { input, out: Some(nonblocking(out.into())?), err: Some(nonblocking(err.into())?) };
        Ok((ours, ChildIo { stdin, stdout: stdout.into(), stderr: stderr.into() }))
    }

    /// Nothing of ours, and `/dev/null` for the process: it has a terminal, or nobody listens.
    pub(super) fn none() -> io::Result<(Self, ChildIo)> {
        let null = null()?;
        let io = ChildIo { stdin: null.try_clone()?, stdout: null.try_clone()?, stderr: null };
        Ok((Self::default(), io))
    }
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

fn nonblocking(fd: OwnedFd) -> io::Result<File> {
    sys::set_nonblocking(fd.as_fd())?;
    Ok(File::from(fd))
}

/// A terminal is input and output. Gives the pipe for the report, if there is one.
fn connect(payload: &mut Payload, pipes: &mut Pipes) -> io::Result<Option<File>> {
    if let Some(pty) = &payload.pty {
        pipes.out = Some(nonblocking(pty.try_clone()?)?);
        pipes.input = Some(File::from(pty.try_clone()?));
    }
    payload.report.take().map(nonblocking).transpose()
}

/// A process and its streams.
pub(super) struct Session {
    pub(super) id: u32,
    pub(super) payload: Payload,
    /// Whether it is a look at the payload's health.
    pub(super) is_look: bool,
    input: Option<File>,
    waiting_input: Vec<u8>,
    input_ends: bool,
    out: Option<File>,
    err: Option<File>,
    pub(super) report: Option<File>,
    report_text: Vec<u8>,
}

impl Session {
    /// Takes over a started process. One whose streams can't be taken over is killed.
    pub(super) fn new(id: u32, mut payload: Payload, mut pipes: Pipes) -> io::Result<Self> {
        match connect(&mut payload, &mut pipes) {
            Ok(report) => Ok(Self {
                id,
                payload,
                is_look: false,
                input: pipes.input,
                waiting_input: Vec::new(),
                input_ends: false,
                out: pipes.out,
                err: pipes.err,
                report,
                report_text: Vec::new(),
            }),
            Err(error) => {
                sys::kill_and_reap(payload.pidfd.as_fd());
                Err(error)
            }
        }
    }

    /// A stream of output, while it is open.
    pub(super) fn output(&self, stream: Stream) -> Option<&File> {
        match stream {
            Stream::Out => self.out.as_ref(),
            Stream::Err => self.err.as_ref(),
        }
    }

    /// Reads output once: how many bytes; 0 when there is nothing now, or never again (then the stream is `None`).
    pub(super) fn read_output(&mut self, stream: Stream, scratch: &mut [u8]) -> usize {
        let slot = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let Some(file) = slot else { return 0 };
        match file.read(scratch) {
            Ok(count) if count > 0 => count,
            Err(error) if is_momentary(&error) => 0,
            // The end of a pipe; EIO when the last descriptor of a terminal is closed.
            _ => {
                *slot = None;
                0
            }
        }
    }

    /// The input to poll for room, while something waits for it.
    pub(super) fn input_to_poll(&self) -> Option<&File> {
        self.input.as_ref().filter(|_| !self.waiting_input.is_empty())
    }

    /// Whether more input can be taken.
    pub(super) fn takes_input(&self) -> bool {
        self.waiting_input.len() < MAX_INPUT
    }

    /// Takes input from a client. Without a reader it is dropped, as a closed pipe does.
    pub(super) fn feed(&mut self, data: &[u8]) {
        if self.input.is_some() && !self.input_ends {
            self.waiting_input.extend_from_slice(data);
            self.push_input();
        }
    }

    /// No more input. A terminal has no such thing: its programs end with a character.
    pub(super) fn end_input(&mut self) {
        if self.payload.pty.is_none() {
            self.input_ends = true;
            self.push_input();
        }
    }

    /// Gives the process what waits, as far as it reads.
    pub(super) fn push_input(&mut self) {
        while let Some(file) = self.input.as_mut().filter(|_| !self.waiting_input.is_empty()) {
            match file.write(&self.waiting_input) {
                Ok(count) => drop(self.waiting_input.drain(..count)),
                Err(error) if is_momentary(&error) => return,
                // Nobody reads it any more.
                Err(_) => self.close_input(),
            }
        }
        if self.input_ends {
            self.close_input();
        }
        self.waiting_input = Vec::new();
    }

    fn close_input(&mut self) {
        self.input = None;
        self.waiting_input = Vec::new();
    }

    /// Reads what an engine process says about its end, once; says whether there may be more now.
    pub(super) fn read_report(&mut self, scratch: &mut [u8]) -> bool {
        let Some(file) = &mut self.report else { return false };
        match file.read(scratch) {
            Ok(count) if count > 0 && self.report_text.len() + count <= MAX_REPORT => {
                self.report_text.extend_from_slice(&scratch[..count]);
                true
            }
            Err(error) if is_momentary(&error) => false,
            // Its end, or more than any report has: then it is none.
            _ => {
                self.report = None;
                false
            }
        }
    }

    /// What an engine process says about its end, if a whole report came; else the status as it is.
    pub(super) fn explain(&self, status: ExitStatus) -> ExitStatus {
        match serde_json::from_slice::<ExitReport>(&self.report_text) {
            Ok(report) => {
                ExitStatus { message: report.message, ..status.because(report.reason, report.code) }
            }
            Err(_) => status,
        }
    }
}
