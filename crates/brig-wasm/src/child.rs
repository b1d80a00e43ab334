//! Compilation in a child with limits, from a program that isn't the runner.

use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::form::Form;
use crate::request::{
    COMPILE_ARGUMENT, CompileFailure, CompileReport, CompileRequest, RequestError, STDIO_ARGUMENT,
};

/// How long a compilation may take unless somebody wants something else. 18 MB of Python take ten seconds on two
/// processors.
pub const COMPILE_TIMEOUT: Duration = Duration::from_secs(180);
/// How much address space it may take unless somebody wants something else.
pub const COMPILE_MEMORY: u64 = 4 << 30;
/// The most that a child's report or complaint may take, in bytes.
const MAX_OUTPUT: u64 = 64 << 10;

/// Why a binary has no compiled code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler can't be started.
    #[error("the wasm compiler `{}` can't be started", runner.display())]
    Start {
        /// The runner.
        runner: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The request can't be encoded.
    #[error("the wasm compiler can't be told what to do")]
    Request {
        /// Why.
        #[source]
        source: RequestError,
    },
    /// It refused.
    #[error("{message}")]
    Refused {
        /// What kind of refusal it was.
        failure: CompileFailure,
        /// The compiler's sentence.
        message: String,
    },
    /// It took too long.
    #[error("compiling took longer than {} s", limit.as_secs())]
    Timeout {
        /// The wall-clock time that it had.
        limit: Duration,
    },
    /// It took too long on all processors together.
    #[error("compiling took more than {seconds} s of processor time")]
    Cpu {
        /// What it had.
        seconds: u64,
    },
    /// It took too much memory.
    #[error("compiling took more memory than {limit} bytes")]
    Memory {
        /// What it had.
        limit: u64,
    },
    /// It ended in another way.
    #[error("the wasm compiler failed ({status}): {complaint}")]
    Crashed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        complaint: String,
    },
}

/// Compiles in a child of this process: `runner compile --stdio`, limited by itself as the request says and by
/// `timeout` from here. Blocks; for another thread than one of an async runtime. What an unsuccessful compilation
/// left at [`CompileRequest::output`] is the caller's to remove.
pub fn compile_in_child(
    runner: &Path,
    request: &CompileRequest,
    timeout: Duration,
) -> Result<(Form, u64), CompileError> {
    compile_as(COMPILE_ARGUMENT, runner, request, timeout)
}

/// With the argument that says what for.
pub(crate) fn compile_as(
    argument: &str,
    runner: &Path,
    request: &CompileRequest,
    timeout: Duration,
) -> Result<(Form, u64), CompileError> {
    let bytes = request.encode().map_err(|source| CompileError::Request { source })?;
    let start = |source| CompileError::Start { runner: runner.into(), source };
    let mut child = spawn(runner, argument).map_err(start)?;
    let ended = talk(&mut child, &bytes, timeout);
    if ended.is_none() {
        // It may have ended by itself in this moment.
        let _ = child.kill();
    }
    let status = child.wait().map_err(start)?;
    match ended {
        None => Err(CompileError::Timeout { limit: timeout }),
        Some(output) => judge(request, status, &output),
    }
}

fn spawn(runner: &Path, argument: &str) -> io::Result<Child> {
    Command::new(runner)
        .args([argument, STDIO_ARGUMENT])
        // Nothing in there is for a compiler, and a panic's backtrace helps nobody here.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// What the child said.
#[derive(Default)]
struct Output {
    report: Vec<u8>,
    complaint: Vec<u8>,
}

/// Sends the request and reads both streams to their ends; `None` when that took too long.
fn talk(child: &mut Child, request: &[u8], timeout: Duration) -> Option<Output> {
    if let Some(mut stdin) = child.stdin.take() {
        // A child that died at once doesn't read; how it died comes below. The request fits into the pipe.
        let _ = stdin.write_all(request);
    }
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let complaint = std::thread::spawn(move || stderr.map(drain).unwrap_or_default());
    std::thread::spawn(move || {
        let report = stdout.map(drain).unwrap_or_default();
        let complaint = complaint.join().unwrap_or_default();
        // Nobody waits for it any more after the timeout.
        let _ = sender.send(Output { report, complaint });
    });
    receiver.recv_timeout(timeout).ok()
}

/// What can't be read is as good as not said.
fn drain(stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.take(MAX_OUTPUT).read_to_end(&mut bytes);
    bytes
}

fn judge(request: &CompileRequest, status: ExitStatus, output: &Output) -> Result<(Form, u64), CompileError> {
    match serde_json::from_slice(&output.report) {
        Ok(CompileReport::Compiled { form, size }) if status.success() => return Ok((form, size)),
        Ok(CompileReport::Refused { failure, message }) => {
            return Err(match request.memory.filter(|_| is_out_of_memory(&message)) {
                Some(limit) => CompileError::Memory { limit },
                None => CompileError::Refused { failure, message },
            });
        }
        // It didn't come so far.
        Ok(CompileReport::Compiled { .. }) | Err(_) => {}
    }
    let complaint = String::from_utf8_lossy(&output.complaint).trim().to_owned();
    match (status.signal(), request.cpu_seconds, request.memory) {
        (Some(libc::SIGXCPU), Some(seconds), _) => Err(CompileError::Cpu { seconds }),
        (_, _, Some(limit)) if is_out_of_memory(&complaint) => Err(CompileError::Memory { limit }),
        _ => Err(CompileError::Crashed { status, complaint }),
    }
}

/// The words of Rust's allocator, and of the system when a thread's stack can't be mapped.
fn is_out_of_memory(complaint: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory", "Resource temporarily unavailable"]
        .iter()
        .any(|words| complaint.contains(words))
}
