//! The helper: a small static program, embedded here, executed from where no container can write to it.
//!
//! That is a read-only mount or a sealed copy in memory (see [`image`]), because what enters a container can be seen
//! from inside it for a moment, and a container that writes to `/proc/<pid>/exe` must not get at a file of the host
//! (CVE-2019-5736). A program of its own, because a process with threads can do next to nothing safely between `fork`
//! and `exec`; starting a program is all that is done here, by `posix_spawn`, which doesn't copy the caller's page
//! tables however large it is.

mod image;

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use brig_runtime::plan::Plan;
use brig_runtime::protocol::{Birth, StepError, read_frame};
use brig_runtime::record::ProcessId;
use rustix::fs::MemfdFlags;

/// The program, built by the build script.
#[cfg(feature = "embed")]
static PROGRAM: &[u8] = include_bytes!(env!("BRIG_HELPER"));
#[cfg(not(feature = "embed"))]
static PROGRAM: &[u8] = &[];

/// How often a program is tried that is busy.
const BUSY_ATTEMPTS: usize = 100;
/// How long is waited before it is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// Why the helper didn't start a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// This build has no helper in it.
    #[error("this build of brig-linux has no helper in it: build it with the feature `embed`")]
    NotEmbedded,
    /// The program or the plan can't be made ready.
    #[error("can't {step}")]
    Seal {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program can't be started.
    #[error("can't start the helper")]
    Start {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The helper said nothing that could be understood.
    #[error("the helper ended or spoke out of turn before it had started the container")]
    Birth {
        /// What was heard.
        #[source]
        source: io::Error,
    },
    /// A step failed; nothing is left of the container's processes.
    #[error("can't start the container")]
    Step {
        /// Which, why, and the exit code that says so.
        #[source]
        source: StepError,
    },
}

impl HelperError {
    pub(crate) fn seal(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Seal { step, source }
    }

    /// What `run` exits with: 127 and 126 when it was the program that couldn't be executed, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Step { source } if source.code != 0 => source.code,
            _ => brig_runtime::exit::CODE_ENGINE,
        }
    }
}

/// The program, where no container can write to it. Keep one for as long as containers are started.
#[derive(Debug)]
pub struct Helper {
    program: OwnedFd,
    debug: bool,
}

/// A supervisor that has started its payload.
#[derive(Debug)]
pub struct Spawned {
    /// The supervisor. Whoever lives on waits for it; dropping it leaves a zombie until this process ends.
    pub child: Child,
    /// The supervisor's first connection.
    pub control: UnixStream,
    /// The payload.
    pub payload: ProcessId,
}

impl Helper {
    /// Takes the program from a file in `dir`, which is written when it isn't there, through a read-only mount of that
    /// file alone; where such a mount can't be had, as [`Helper::in_memory`]. `dir` is a directory that only brig
    /// writes to.
    ///
    /// # Errors
    /// [`HelperError::NotEmbedded`], [`HelperError::Seal`].
    pub fn in_directory(dir: &Path) -> Result<Self, HelperError> {
        if PROGRAM.is_empty() {
            return Err(HelperError::NotEmbedded);
        }
        match image::on_disk(dir, PROGRAM) {
            Some(program) => Ok(Self { program, debug: false }),
            None => Self::in_memory(),
        }
    }

    /// Copies the program into memory and seals the copy.
    ///
    /// # Errors
    /// [`HelperError::NotEmbedded`], [`HelperError::Seal`].
    pub fn in_memory() -> Result<Self, HelperError> {
        if PROGRAM.is_empty() {
            return Err(HelperError::NotEmbedded);
        }
        Ok(Self { program: image::in_memory(PROGRAM)?, debug: false })
    }

    /// With the helper's descriptor 2 as this process has it, instead of `/dev/null`.
    #[must_use]
    pub fn debug(self, debug: bool) -> Self {
        Self { debug, ..self }
    }

    /// Starts a supervisor, which starts the payload, and waits for its first word. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`HelperError::Step`] is the usual one: the container can't be made, or its program not be executed.
    pub fn spawn(&self, plan: &Plan) -> Result<Spawned, HelperError> {
        let plan = plan.encode().map_err(HelperError::seal("encode the plan"))?;
        let plan = Self::plan_file(&plan).map_err(HelperError::seal("write the plan"))?;
        let (mut control, theirs) =
            UnixStream::pair().map_err(HelperError::seal("make a pair of sockets"))?;
        let stderr = if self.debug { Stdio::inherit() } else { Stdio::null() };
        let mut command = self.command();
        command.stdin(plan).stdout(OwnedFd::from(theirs)).stderr(stderr);
        let mut child = start(command)?;
        match birth(&mut control) {
            Ok(payload) => Ok(Spawned { child, control, payload }),
            Err(error) => {
                // It ends by itself; this keeps it from being a zombie, and the first error is the one to tell.
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// A call of the program.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()));
        command.arg0("brig-helper").env_clear();
        command
    }

    /// A plan as the helper's standard input, from its start.
    pub(crate) fn plan_file(bytes: &[u8]) -> io::Result<File> {
        let file = File::from(rustix::fs::memfd_create("brig-plan", MemfdFlags::CLOEXEC)?);
        file.write_all_at(bytes, 0)?;
        Ok(file)
    }
}

/// Starts it. A program that was written a moment ago is busy for as long as a process that another thread has forked
/// meanwhile holds it open for writing: until that executes its own.
pub(crate) fn start(mut command: Command) -> Result<Child, HelperError> {
    let mut attempts = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < BUSY_ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(BUSY_PAUSE);
            }
            started => return started.map_err(|source| HelperError::Start { source }),
        }
    }
}

fn birth(control: &mut UnixStream) -> Result<ProcessId, HelperError> {
    let heard = read_frame(control).and_then(|frame| {
        let (_, json) = frame.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_slice::<Birth>(&json)?)
    });
    match heard {
        Ok(Birth::Running { payload }) => Ok(payload),
        Ok(Birth::Failed(source)) => Err(HelperError::Step { source }),
        Err(source) => Err(HelperError::Birth { source }),
    }
}
