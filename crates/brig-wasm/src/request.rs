//! What the runner is told, as data, and what it answers.
//!
//! A request is made for one start and read by the runner of the same build, so it is in a compact encoding without
//! self-description; nothing of it is kept. An engine process finds it on descriptor
//! [`INPUT_FD`](brig_runtime::plan::INPUT_FD) and answers on [`REPORT_FD`](brig_runtime::plan::REPORT_FD): `run` with
//! an [`ExitReport`](brig_runtime::exit::ExitReport), `compile` with a [`CompileReport`]. Both are one line of JSON.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::form::{Encoding, Form, Wasi};

/// The version of the encoding; runner and library must have the same.
pub const REQUEST_VERSION: u32 = 2;
/// The first argument with which the runner runs a compiled module.
pub const RUN_ARGUMENT: &str = "run";
/// The first argument with which the runner compiles.
pub const COMPILE_ARGUMENT: &str = "compile";
/// The first argument with which the runner compiles for a plugin engine.
pub const COMPILE_PLUGIN_ARGUMENT: &str = "compile-plugin";
/// The second argument with which the runner reads its request from standard input and reports on standard output.
pub const STDIO_ARGUMENT: &str = "--stdio";
/// The largest request that is read, in bytes: arguments and environment together stay under the kernel's limit for
/// them, 2 MiB.
pub const MAX_REQUEST: u64 = 4 << 20;

/// Run a compiled module or component as one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// [`REQUEST_VERSION`].
    pub version: u32,
    /// The compiled file, as the engine process sees it.
    pub module: PathBuf,
    /// Under which name it was compiled: [`CompileRequest::identity`] again, made with the engine key of this moment. A
    /// file with another identity isn't loaded, and one with the same runs without asking the processor again.
    pub identity: String,
    /// What it is called in messages.
    pub name: String,
    /// Module or component.
    pub encoding: Encoding,
    /// Which WASI it is given.
    pub wasi: Wasi,
    /// The arguments, the program's name first.
    pub args: Vec<String>,
    /// The environment, `NAME=value`. Nothing is inherited.
    pub env: Vec<String>,
    /// The directories that it may see.
    pub preopens: Vec<Preopen>,
    /// The working directory that a component is told (`wasi:cli/environment`); modules have no such notion.
    pub cwd: Option<String>,
    /// How many bytes all linear memories and tables together may take.
    pub memory: Option<u64>,
    /// How long it may run, in milliseconds of wall-clock time.
    pub timeout_ms: Option<u64>,
    /// Whether it may use the network of the engine process.
    pub network: bool,
    /// Whether its clocks tell nanoseconds. Without, they step by [`COARSE_CLOCK_NANOS`].
    pub precise_clocks: bool,
    /// The function to call instead of the program's beginning.
    pub invoke: Option<Invoke>,
}

/// A function of a module or component, by the name that it is exported under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoke {
    /// The name.
    pub export: String,
    /// Its arguments, in words: numbers.
    pub args: Vec<String>,
}

/// The step of the clocks without a grant, in nanoseconds: what browsers give to pages that aren't isolated, too coarse
/// to time a cache.
pub const COARSE_CLOCK_NANOS: u64 = 100_000;

/// A directory that a module may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preopen {
    /// Where it is for the engine process.
    pub host: PathBuf,
    /// Where it is for the module.
    pub guest: String,
    /// Whether nothing in it can be changed.
    pub read_only: bool,
}

/// Compile a binary or text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileRequest {
    /// [`REQUEST_VERSION`].
    pub version: u32,
    /// The binary or text, as the compiling process sees it.
    pub source: PathBuf,
    /// Where the compiled code is written. Made or truncated; the rename to its final name is the caller's, once the
    /// report says [`CompileReport::Compiled`].
    pub output: PathBuf,
    /// See [`identity`].
    pub identity: String,
    /// How many bytes of address space the compiler may take.
    pub memory: Option<u64>,
    /// How many seconds of processor time it may take, all threads together.
    pub cpu_seconds: Option<u64>,
    /// Whether a binary that can't be run as a container is refused, with the reason, instead of being compiled.
    pub runnable_only: bool,
}

/// What compiled code is bound to: the engine key and the digest of the binary. It is written into the file and
/// compared when it is loaded, so a file under a wrong name isn't run.
pub fn identity(engine_key: &str, digest: &brig_oci::Digest) -> String {
    format!("{engine_key}/{digest}")
}

/// How a compilation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum CompileReport {
    /// The compiled code is in [`CompileRequest::output`].
    Compiled {
        /// What was compiled; for text this is where its form is found out.
        form: Form,
        /// How many bytes were written.
        size: u64,
    },
    /// It wasn't compiled.
    Refused {
        /// Why.
        failure: CompileFailure,
        /// For people.
        message: String,
    },
}

/// Why something wasn't compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CompileFailure {
    /// It isn't WebAssembly, or it isn't valid.
    Invalid,
    /// It is valid, but it can't be run as a container.
    NotRunnable,
    /// The source couldn't be read or the output couldn't be written.
    Io,
    /// A reason of a newer brig.
    #[serde(other)]
    Unknown,
}

/// Why a request couldn't be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is damaged, or not a request.
    #[error("a request for the runner can't be encoded or decoded")]
    Encoding {
        /// What the encoding says.
        #[source]
        source: postcard::Error,
    },
    /// It is of another brig.
    #[error("the runner reads requests of version {REQUEST_VERSION}, and this one has {version}")]
    Version {
        /// What the request says.
        version: u32,
    },
}

impl RunRequest {
    /// The bytes for the runner.
    pub fn encode(&self) -> Result<Vec<u8>, RequestError> {
        encode(self)
    }

    /// Reads what [`RunRequest::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        decode(bytes)
    }
}

impl CompileRequest {
    /// The bytes for the runner.
    pub fn encode(&self) -> Result<Vec<u8>, RequestError> {
        encode(self)
    }

    /// Reads what [`CompileRequest::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, RequestError> {
        decode(bytes)
    }
}

fn encode(request: &impl Serialize) -> Result<Vec<u8>, RequestError> {
    postcard::to_stdvec(request).map_err(|source| RequestError::Encoding { source })
}

/// The version comes first in every request, so that one of another version is recognised before the rest is read.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RequestError> {
    let encoding = |source| RequestError::Encoding { source };
    let (version, _) = postcard::take_from_bytes::<u32>(bytes).map_err(encoding)?;
    if version != REQUEST_VERSION {
        return Err(RequestError::Version { version });
    }
    postcard::from_bytes(bytes).map_err(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CompileRequest {
        CompileRequest {
            version: REQUEST_VERSION,
            source: "a.wasm".into(),
            output: "a.cwasm".into(),
            identity: identity("key", &brig_oci::Digest::sha256("")),
            memory: Some(1 << 30),
            cpu_seconds: None,
            runnable_only: true,
        }
    }

    #[test]
    fn requests_come_back_as_they_went() {
        let request = request();
        assert_eq!(CompileRequest::decode(&request.encode().unwrap()).unwrap(), request);
    }

    #[test]
    fn a_request_of_another_version_is_refused_by_name() {
        let bytes = CompileRequest { version: 7, ..request() }.encode().unwrap();
        let error = CompileRequest::decode(&bytes).unwrap_err();
        let expected = format!("the runner reads requests of version {REQUEST_VERSION}, and this one has 7");
        assert_eq!(error.to_string(), expected);
        assert!(matches!(CompileRequest::decode(&bytes[..0]), Err(RequestError::Encoding { .. })));
    }

    #[test]
    fn an_identity_fits_into_a_compiled_file() {
        // wasmtime keeps it in a string of at most 255 bytes.
        let digest: brig_oci::Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert!(identity(&"k".repeat(64), &digest).len() < 255);
    }
}
