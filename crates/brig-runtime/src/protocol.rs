//! What a supervisor understands: framed messages over its Unix stream socket.
//!
//! ```text
//! frame := length: u32 little endian (of what follows the channel byte) · channel: u8 · payload
//! channel 0: one JSON object, a [Request] (to the supervisor) or a [Response] (from it)
//!         1: standard input (to)      2: standard output (from)      3: standard error (from)
//! ```
//!
//! An empty frame on channel 1 closes standard input. A supervisor answers requests of one connection in order;
//! `attach`, `exec` and `wait` keep the connection until the payload ends. The connection that a supervisor is born with
//! begins with a [`Birth`] and is told of the end ([`Response::Exited`]) also when it hasn't asked. A request type that it doesn't know is
//! answered by [`Response::Error`] with code `unsupported`, so a newer CLI can fall back; unknown fields are ignored.
//!
//! The socket is in a directory of mode 0700, and the peer's uid is checked (`SO_PEERCRED`): only the container's owner
//! and root are heard.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::record::ProcessId;
use crate::state::State;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The largest payload of a frame. A peer that announces more is cut off.
pub const MAX_FRAME: usize = 256 * 1024;

/// Channel of JSON messages.
pub const CHANNEL_CONTROL: u8 = 0;
/// Channel of standard input.
pub const CHANNEL_STDIN: u8 = 1;
/// Channel of standard output (and of a terminal).
pub const CHANNEL_STDOUT: u8 = 2;
/// Channel of standard error.
pub const CHANNEL_STDERR: u8 = 3;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// How are you? Answered by [`Response::Status`].
    Status,
    /// Tell me when it ends. Answered by [`Response::Exited`], at once if it has ended.
    Wait,
    /// Send a signal to the payload. Answered by [`Response::Ok`].
    Signal {
        /// The signal's number.
        signal: i32,
    },
    /// Send `signal`, and after `grace_ms` without an end SIGKILL. Answered by [`Response::Exited`].
    Stop {
        /// The signal's number.
        signal: i32,
        /// How long to wait, in milliseconds.
        grace_ms: u64,
        /// Who starts the container again afterwards: it isn't removed at its end then, even with `--rm`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<ProcessId>,
    },
    /// Send output as it comes, and take input. Answered by [`Response::Ok`], then frames, then [`Response::Exited`].
    Attach {
        /// Whether frames on channel 1 are for the payload.
        stdin: bool,
    },
    /// The terminal's size changed. Concerns the exec of this connection if there is one, else the payload. Answered
    /// by [`Response::Ok`].
    Resize {
        /// Rows.
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Run another process in the container. Answered by [`Response::Started`], then as `attach`. Detached execs are
    /// answered and go on alone.
    Exec(ExecRequest),
    /// Freeze. Answered by [`Response::Ok`].
    Pause,
    /// Thaw. Answered by [`Response::Ok`].
    Resume,
    /// `spec.json` has changed: read name and restart policy again. Answered by [`Response::Ok`].
    Reload {
        /// Files of the container's cgroups that were written, and what: for cgroups that are made anew.
        #[serde(default)]
        settings: Vec<(PathBuf, String)>,
    },
    /// A type of a newer client.
    #[serde(other)]
    Unknown,
}

/// Another process in a container. Resolved by the engine: users are numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// The program and its arguments. The program is looked up in the container.
    pub args: Vec<String>,
    /// The whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    #[serde(default)]
    pub groups: Vec<u32>,
    /// Whether to make a terminal.
    #[serde(default)]
    pub tty: bool,
    /// Whether frames on channel 1 are for it.
    #[serde(default)]
    pub stdin: bool,
    /// Whether nobody waits for it.
    #[serde(default)]
    pub detach: bool,
    /// Rows and columns of the terminal.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// In a wasm container: the engine process that is run, as the container's user, instead of a program in it.
    #[serde(default)]
    pub engine: Option<EngineRequest>,
}

/// An engine process in the place of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRequest {
    /// The runner, on the host.
    pub program: PathBuf,
    /// What it reads on [`crate::plan::INPUT_FD`], two hexadecimal characters a byte.
    pub input: String,
}

impl EngineRequest {
    /// With these bytes as its input.
    pub fn new(program: PathBuf, input: &[u8]) -> Self {
        Self { program, input: input.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// Its input; `InvalidData` if that isn't hexadecimal.
    pub fn input(&self) -> io::Result<Vec<u8>> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the engine's input isn't hexadecimal");
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            pair.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(pair, 16).ok())?
        };
        self.input.as_bytes().chunks(2).map(byte).collect::<Option<_>>().ok_or_else(invalid)
    }
}

/// What a supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Ok,
    /// Not done.
    Error(ProtocolError),
    /// A process was started.
    Started {
        /// Its pid in the host's namespace.
        pid: i32,
    },
    /// How it is.
    Status {
        /// [`PROTOCOL_VERSION`] of the supervisor.
        protocol: u32,
        /// The state.
        state: State,
        /// The payload, while there is one.
        payload: Option<ProcessId>,
        /// What the supervisor couldn't do lately and had nobody to tell: log records or events that were lost.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// How it ended.
    Exited {
        /// The status.
        status: ExitStatus,
    },
    /// A type of a newer supervisor.
    #[serde(other)]
    Unknown,
}

/// Why a request wasn't carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ProtocolError {
    /// A stable word: `unsupported`, `invalid`, `denied`, `busy`, `not_running`, `paused`, `not_found`, `not_runnable`,
    /// `failed`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

impl ProtocolError {
    /// An error with one of the stable words.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// [`StepError::step`] of a second start while the container runs; `errno` is `EBUSY`.
pub const STEP_RUNNING: &str = "start a container that is running,";

/// A step of the helper that failed: data for an error, not a line in a log (invariant 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.told())]
pub struct StepError {
    /// What was tried, as a verb phrase: `mount the overlay on`.
    pub step: String,
    /// The path or name it concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The error number; 0 when the subject is all that can be said.
    pub errno: i32,
    /// Whether it was the program itself that couldn't be executed: 127 (`NotFound`), 126 (`NotRunnable`), or 125.
    #[serde(default)]
    pub code: u8,
}

impl StepError {
    fn told(&self) -> String {
        let Self { step, subject, errno, .. } = self;
        let error = std::io::Error::from_raw_os_error(*errno);
        match subject {
            Some(subject) if *errno == 0 => format!("{step}: {subject}"),
            Some(subject) => format!("{step} `{subject}`: {error}"),
            None => format!("{step}: {error}"),
        }
    }
}

/// What the supervisor says first on the connection that it was born with, when the payload runs or couldn't be made
/// to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Birth {
    /// It runs.
    Running {
        /// The payload.
        payload: ProcessId,
    },
    /// It couldn't be started; nothing is left of it.
    Failed(StepError),
}

/// The length of a frame's header.
pub const HEADER: usize = 5;

/// The header of a frame. Refused with `InvalidInput` for more than [`MAX_FRAME`].
pub fn frame_header(channel: u8, length: usize) -> io::Result<[u8; HEADER]> {
    let [a, b, c, d] = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too large"))?
        .to_le_bytes();
    Ok([a, b, c, d, channel])
}

/// Writes one frame, in one call where the kernel takes it.
pub fn write_frame(to: &mut impl Write, channel: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.extend_from_slice(&frame_header(channel, payload.len())?);
    frame.extend_from_slice(payload);
    to.write_all(&frame)
}

/// Writes a message on the control channel.
pub fn write_message<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    write_frame(to, CHANNEL_CONTROL, &serde_json::to_vec(message)?)
}

/// Reads one frame; `None` at the end of the stream.
pub fn read_frame(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; 5];
    let mut filled = 0;
    while filled < header.len() {
        match from.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (length, channel) = parse_header(header)?;
    let mut payload = vec![0; length];
    from.read_exact(&mut payload)?;
    Ok(Some((channel, payload)))
}

/// Length and channel; `InvalidData` for more than [`MAX_FRAME`].
fn parse_header([a, b, c, d, channel]: [u8; HEADER]) -> io::Result<(usize, u8)> {
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the peer announced a frame that is too large",
        ));
    }
    Ok((length, channel))
}

/// Frames out of bytes that come in pieces, for a reader that must not block.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one. `InvalidData` when the peer announces more than [`MAX_FRAME`]: such a
    /// stream can't be read on.
    pub fn next_frame(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let rest = &self.buffer[self.start..];
        let Some(header) = rest.first_chunk::<HEADER>() else { return Ok(self.pause()) };
        let (length, channel) = parse_header(*header)?;
        if rest.len() < HEADER + length {
            return Ok(self.pause());
        }
        let payload = self.start + HEADER;
        self.start = payload + length;
        Ok(Some((channel, &self.buffer[payload..self.start])))
    }

    /// How many bytes wait to become frames.
    pub fn buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// An idle connection keeps no memory.
    fn pause(&mut self) -> Option<(u8, &[u8])> {
        if self.buffered() == 0 {
            *self = Self::default();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back() {
        let mut wire = Vec::new();
        write_frame(&mut wire, CHANNEL_STDOUT, b"hello").unwrap();
        write_message(&mut wire, &Request::Signal { signal: 15 }).unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(read_frame(&mut wire).unwrap(), Some((CHANNEL_STDOUT, b"hello".to_vec())));
        let (channel, json) = read_frame(&mut wire).unwrap().unwrap();
        assert_eq!(channel, CHANNEL_CONTROL);
        assert_eq!(serde_json::from_slice::<Request>(&json).unwrap(), Request::Signal { signal: 15 });
        assert_eq!(read_frame(&mut wire).unwrap(), None);
    }

    #[test]
    fn the_decoder_takes_frames_in_any_pieces() {
        let mut wire = Vec::new();
        write_frame(&mut wire, CHANNEL_STDIN, b"one").unwrap();
        write_frame(&mut wire, CHANNEL_STDIN, b"").unwrap();
        write_frame(&mut wire, CHANNEL_STDIN, &[7; 1000]).unwrap();
        for size in [1, 2, 7, 1024] {
            let mut decoder = Decoder::default();
            let mut lengths = Vec::new();
            for piece in wire.chunks(size) {
                decoder.push(piece);
                while let Some((channel, payload)) = decoder.next_frame().unwrap() {
                    assert_eq!(channel, CHANNEL_STDIN);
                    lengths.push(payload.len());
                }
            }
            assert_eq!((lengths, decoder.buffered()), (vec![3, 0, 1000], 0));
        }
    }

    #[test]
    fn the_decoder_refuses_a_frame_that_is_too_large() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 5, 0, 0]);
        assert_eq!(decoder.next_frame().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_is_read() {
        let mut wire: &[u8] = &[255, 255, 255, 255, 0];
        assert_eq!(read_frame(&mut wire).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_engines_input_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(EngineRequest::new("/x".into(), &all).input().unwrap(), all);
        for input in ["0", "zz", "+1", "é"] {
            let request = EngineRequest { program: "/x".into(), input: input.into() };
            assert!(request.input().is_err(), "{input}");
        }
    }

    #[test]
    fn a_request_of_a_newer_client_is_recognised_as_such() {
        let request: Request = serde_json::from_str(r#"{"type":"checkpoint","dir":"/x"}"#).unwrap();
        assert_eq!(request, Request::Unknown);
        let status: Request = serde_json::from_str(r#"{"type":"status","new":1}"#).unwrap();
        assert_eq!(status, Request::Status);
    }
}
