//! A client of a supervisor: blocking, one connection.
//!
//! ```text
//! connect ── status · signal · pause · resume ──▶ any number of requests
//!         ── wait | stop ──────────────────────▶ the exit status
//!         ── attach | exec ── pump ────────────▶ the exit status, or detached
//! from_birth ── birth ── (pump | drop) for the one who starts the container
//! ```
//!
//! A supervisor that ends closes its connections: [`ClientError::Lost`] and [`ClientError::NotRunning`] send the caller
//! to the container's record (and [`crate::liveness`]).

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::exit::ExitStatus;
use crate::paths::ContainerPaths;
use crate::protocol::{
    Birth, CHANNEL_CONTROL, Decoder, ExecRequest, ProtocolError, Request, Response, StepError, write_message,
};
use crate::record::ProcessId;
use crate::state::State;

mod attach;

pub use attach::{AttachEnd, AttachIo, Wake, WakeAction};

/// Why a supervisor didn't do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no supervisor: the container isn't running.
    #[error("no supervisor listens at `{}`", path.display())]
    NotRunning {
        /// Its socket.
        path: PathBuf,
    },
    /// The socket can't be used.
    #[error("can't connect to the supervisor at `{}`", path.display())]
    Connect {
        /// Its socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or ended before the answer came.
    #[error("the connection to the supervisor was lost")]
    Lost {
        /// How.
        #[source]
        source: io::Error,
    },
    /// It refused.
    #[error("the supervisor refused")]
    Refused {
        /// With these words.
        #[source]
        source: ProtocolError,
    },
    /// The container couldn't be started.
    #[error("the container couldn't be started")]
    Start {
        /// The step that failed.
        #[source]
        source: StepError,
    },
    /// It answered something else than the protocol says.
    #[error("the supervisor answered `{answer}` to `{request}`")]
    Unexpected {
        /// The request.
        request: &'static str,
        /// The answer, in short.
        answer: String,
    },
    /// What the payload wrote couldn't be passed on, or input couldn't be read. The container lives on.
    #[error("can't {action}")]
    Stdio {
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a supervisor says about its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// The state.
    pub state: State,
    /// The payload, while there is one.
    pub payload: Option<ProcessId>,
    /// What it couldn't do lately and had nobody to tell.
    pub warnings: Vec<String>,
}

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Supervisor {
    stream: UnixStream,
    decoder: Decoder,
}

impl Supervisor {
    /// Connects to the supervisor of a container.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when there is none.
    pub fn connect(paths: &ContainerPaths) -> Result<Self, ClientError> {
        connect(paths).map(Self::from_birth).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning { path: paths.socket() }
            }
            _ => ClientError::Connect { path: paths.socket(), source },
        })
    }

    /// Uses the other end of the socket pair that a supervisor is born with.
    pub fn from_birth(stream: UnixStream) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// Waits until the payload runs. The first thing to do with the connection of birth.
    ///
    /// # Errors
    /// [`ClientError::Start`] with the step that failed.
    pub fn birth(&mut self) -> Result<ProcessId, ClientError> {
        match self.receive()? {
            Birth::Running { payload } => Ok(payload),
            Birth::Failed(source) => Err(ClientError::Start { source }),
        }
    }

    /// Asks how the container is.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.ask(&Request::Status)? {
            Response::Status { protocol, state, payload, warnings } => {
                Ok(Status { protocol, state, payload, warnings })
            }
            other => Err(unexpected("status", &other)),
        }
    }

    /// Waits for the payload's end.
    pub fn wait(&mut self) -> Result<ExitStatus, ClientError> {
        match self.ask(&Request::Wait)? {
            Response::Exited { status } => Ok(status),
            other => Err(unexpected("wait", &other)),
        }
    }

    /// Sends a signal to the payload.
    pub fn signal(&mut self, signal: i32) -> Result<(), ClientError> {
        self.done("signal", &Request::Signal { signal })
    }

    /// Sends `signal`, after `grace_ms` milliseconds SIGKILL, and waits for the end. With a `successor`, which starts the
    /// container again, it isn't removed at its end.
    pub fn stop(
        &mut self,
        signal: i32,
        grace_ms: u64,
        successor: Option<ProcessId>,
    ) -> Result<ExitStatus, ClientError> {
        match self.ask(&Request::Stop { signal, grace_ms, successor })? {
            Response::Exited { status } => Ok(status),
            other => Err(unexpected("stop", &other)),
        }
    }

    /// Freezes the container.
    pub fn pause(&mut self) -> Result<(), ClientError> {
        self.done("pause", &Request::Pause)
    }

    /// Thaws the container.
    pub fn resume(&mut self) -> Result<(), ClientError> {
        self.done("resume", &Request::Resume)
    }

    /// Tells that `spec.json` has changed, and these files of the container's cgroups.
    pub fn reload(&mut self, settings: Vec<(PathBuf, String)>) -> Result<(), ClientError> {
        self.done("reload", &Request::Reload { settings })
    }

    /// Tells the size of the terminal, before [`Supervisor::pump`]; during it, a [`Wake`] does.
    pub fn resize(&mut self, rows: u16, cols: u16) -> Result<(), ClientError> {
        self.done("resize", &Request::Resize { rows, cols })
    }

    /// Asks for the payload's output, and whether [`Supervisor::pump`] may send it input.
    pub fn attach(&mut self, stdin: bool) -> Result<(), ClientError> {
        self.done("attach", &Request::Attach { stdin })
    }

    /// Runs another process in the container; its pid on the host. [`Supervisor::pump`] goes on with it unless it is
    /// detached.
    pub fn exec(&mut self, request: ExecRequest) -> Result<i32, ClientError> {
        match self.ask(&Request::Exec(request))? {
            Response::Started { pid } => Ok(pid),
            other => Err(unexpected("exec", &other)),
        }
    }

    /// The stream, for a caller who wants to end a request from outside: `shutdown` on a clone of it.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }

    fn done(&mut self, name: &'static str, request: &Request) -> Result<(), ClientError> {
        match self.ask(request)? {
            Response::Ok => Ok(()),
            other => Err(unexpected(name, &other)),
        }
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        // A supervisor that has just ended may have answered before it closed: the answer is read in any case.
        let sent = write_message(&mut self.stream, request);
        match (self.receive(), sent) {
            (Ok(Response::Error(source)), _) => Err(ClientError::Refused { source }),
            (Ok(response), _) => Ok(response),
            (Err(ClientError::Lost { .. }), Err(source)) => Err(ClientError::Lost { source }),
            (Err(error), _) => Err(error),
        }
    }

    /// The next control message; output that comes before it is passed over.
    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        let lost = |source| ClientError::Lost { source };
        loop {
            if let Some((channel, payload)) = self.decoder.next_frame().map_err(lost)? {
                if channel == CHANNEL_CONTROL {
                    return serde_json::from_slice(payload).map_err(|error| lost(error.into()));
                }
                continue;
            }
            if self.fill().map_err(lost)? == 0 {
                return Err(lost(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads once into the decoder.
    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.decoder.push(&buffer[..count]);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Connects by way of an open directory: `sun_path` holds 108 bytes, and a threaded program can't change into the
/// directory.
fn connect(paths: &ContainerPaths) -> io::Result<UnixStream> {
    let dir =
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(paths.run_dir())?;
    UnixStream::connect(format!("/proc/self/fd/{}/sock", dir.as_raw_fd()))
}

fn unexpected(request: &'static str, answer: &Response) -> ClientError {
    ClientError::Unexpected { request, answer: format!("{answer:?}") }
}
