//! What can go wrong, in one enum, with the kind that programs branch on and the hint that people act on.

use std::io;
use std::path::PathBuf;

use brig_oci::{Digest, Platform};

/// The result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an engine call failed of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reference can't be read.
    #[error(transparent)]
    Reference(#[from] brig_oci::ReferenceError),
    /// A platform can't be read.
    #[error(transparent)]
    Platform(#[from] brig_oci::PlatformError),
    /// A manifest, index or config is wrong.
    #[error("`{subject}` can't be used")]
    Document {
        /// The reference or digest it came from.
        subject: String,
        /// What is wrong with it.
        #[source]
        source: brig_oci::DocumentError,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] brig_store::StoreError),
    /// A file of the image can't be looked up.
    #[error(transparent)]
    Lookup(#[from] brig_store::LookupError),
    /// The registry refused, or couldn't be reached.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(Box<brig_registry::Error>),
    /// The files with credentials can't be used.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Auth(#[from] brig_registry::AuthStoreError),
    /// A Linux container can't be made.
    #[error(transparent)]
    Linux(#[from] brig_linux::Error),
    /// A wasm module can't be compiled.
    #[cfg(feature = "wasm")]
    #[error(transparent)]
    Compile(#[from] brig_wasm::CompileError),
    /// The wasm runner can't be put in place.
    #[cfg(feature = "wasm")]
    #[error(transparent)]
    Runner(#[from] brig_wasm::runner::RunnerError),
    /// A record can't be read or written.
    #[error(transparent)]
    Record(#[from] brig_runtime::record::RecordError),
    /// It can't be told how a container is, or it can't be mended.
    #[error(transparent)]
    Liveness(#[from] brig_runtime::liveness::LivenessError),
    /// A log can't be read.
    #[error(transparent)]
    Log(#[from] brig_runtime::logs::LogError),
    /// Output can't be kept so.
    #[error(transparent)]
    LogConfig(#[from] brig_runtime::LogConfigError),
    /// Output went where it can't be read back.
    #[error(
        "can't show the log of container `{name}`: configured logging driver `{driver}` does not support reading"
    )]
    LogNotReadable {
        /// The container.
        name: String,
        /// Its driver.
        driver: String,
    },
    /// Limits mean nothing, or not on this machine.
    #[error(transparent)]
    Limits(#[from] brig_runtime::limits::LimitError),
    /// No image of this name is in the store.
    #[error("no such image: `{name}`")]
    ImageNotFound {
        /// As given.
        name: String,
        /// The root that was looked in, where it is known.
        root: Option<PathBuf>,
    },
    /// The image has nothing for this platform.
    #[error("`{name}` has no image for {wanted}; it has {}", list(available))]
    NoPlatform {
        /// The reference.
        name: String,
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
    /// A part of an image isn't in the store.
    #[error("`{name}` is incomplete: {digest} is missing")]
    Incomplete {
        /// The reference.
        name: String,
        /// What is missing.
        digest: Digest,
    },
    /// An image is used.
    #[error("`{name}` is used by container {container}")]
    ImageInUse {
        /// The reference.
        name: String,
        /// The container's name.
        container: String,
    },
    /// An image that was named by its id has several names.
    #[error("`{name}` has several names, so its removal must be forced: {}", names.join(", "))]
    SeveralNames {
        /// As given.
        name: String,
        /// All of them.
        names: Vec<String>,
    },
    /// There is no such container.
    #[error("no such container: `{name}`")]
    ContainerNotFound {
        /// As given.
        name: String,
        /// The root that was looked in, where it is known.
        root: Option<PathBuf>,
    },
    /// There is no such volume.
    #[error("get {name}: no such volume")]
    VolumeNotFound {
        /// As given.
        name: String,
    },
    /// Containers use a volume, running or not.
    #[error("remove {name}: volume is in use - [{}]", containers.join(", "))]
    VolumeInUse {
        /// The volume.
        name: String,
        /// Their ids.
        containers: Vec<String>,
    },
    /// Several containers have ids that begin so.
    #[error("`{prefix}` is the beginning of several ids: {}", candidates.join(", "))]
    Ambiguous {
        /// As given.
        prefix: String,
        /// Short ids.
        candidates: Vec<String>,
    },
    /// Another container has the name.
    #[error("the name `{name}` is in use by container {holder}")]
    NameInUse {
        /// The name.
        name: String,
        /// Its short id.
        holder: String,
    },
    /// The container's state doesn't allow it.
    #[error("container `{name}` is {state}: can't {action} it")]
    WrongState {
        /// The container.
        name: String,
        /// Its state, in docker's word.
        state: &'static str,
        /// What was asked.
        action: &'static str,
    },
    /// An argument is wrong.
    #[error("invalid {what} `{value}`: {problem}")]
    Invalid {
        /// Which argument.
        what: &'static str,
        /// As given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Neither image nor arguments say what to run.
    #[error("`{name}` says nothing to run: it has neither an entry point nor a command")]
    NothingToRun {
        /// The reference.
        name: String,
    },
    /// The user or group isn't there.
    #[error("there is no {what} `{name}` in the image's {file}")]
    UserNotFound {
        /// `user` or `group`.
        what: &'static str,
        /// As given.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// The module can't be run as a container.
    #[cfg(feature = "wasm")]
    #[error("`{name}` can't be run")]
    NotRunnable {
        /// The reference or path.
        name: String,
        /// Why not.
        #[source]
        source: brig_wasm::NotRunnable,
    },
    /// The module isn't valid.
    #[error("`{}` is not a module or component that brig can run: {problem}", path.display())]
    BadModule {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A program isn't in the image.
    #[error("`{program}` is not in the image")]
    ProgramNotFound {
        /// The program.
        program: String,
    },
    /// The file that was to be run isn't there.
    #[error("there is no file `{}`", path.display())]
    FileNotFound {
        /// As given.
        path: PathBuf,
    },
    /// It can't be run by this brig, or on this host.
    #[error("{what} is not supported: {reason}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not, and what would do.
        reason: String,
    },
    /// An archive or layout can't be read.
    #[error("`{}` is not an image archive or layout: {problem}", path.display())]
    Archive {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The talk with a container's supervisor failed, or it refused.
    #[error("container `{name}` didn't do it")]
    Client {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: brig_runtime::client::ClientError,
    },
    /// The limits of a running container can't be changed; nothing was.
    #[error("container `{name}` keeps its limits")]
    Update {
        /// The container.
        name: String,
        /// Why.
        #[source]
        source: brig_linux::UpdateError,
    },
    /// Neither a container nor an image has this name.
    #[error("no such container or image: `{name}`")]
    NoSuchObject {
        /// As given.
        name: String,
        /// The root that was looked in, where it is known.
        root: Option<PathBuf>,
    },
    /// A step on the way into a container failed.
    #[error("container `{name}` can't be started")]
    Start {
        /// The container.
        name: String,
        /// The step.
        #[source]
        source: brig_runtime::protocol::StepError,
    },
    /// A path isn't in a container.
    #[error("could not find the file `{path}` in container `{container}`")]
    PathNotFound {
        /// As given.
        path: String,
        /// The container's name.
        container: String,
    },
    /// An operation on files was given up.
    #[error("the files of {place} can't be used so")]
    Files {
        /// Whose: `container `web``, `the host`.
        place: String,
        /// Which step, and why.
        #[source]
        source: brig_runtime::files::FilesFailure,
    },
    /// A copy between containers and the host that has no meaning.
    #[error("can't copy to `{destination}`: {problem}")]
    Copy {
        /// Where to.
        destination: String,
        /// Why not.
        problem: String,
    },
    /// The file system or the kernel refused.
    #[error("can't {action}{}", path.as_ref().map(|path| format!(" `{}`", path.display())).unwrap_or_default())]
    Io {
        /// A verb phrase: `read`, `make the directory`.
        action: &'static str,
        /// What it concerned.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The work on another thread was given up: the runtime is shutting down.
    #[error("the engine's background work was cancelled")]
    Cancelled,
}

/// What programs branch on. The CLI prints it as `code` with `--format json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The input is wrong.
    Invalid,
    /// Credentials are needed, or are wrong.
    Unauthorized,
    /// Credentials don't suffice.
    Denied,
    /// Not on this host, or not in this brig.
    Unsupported,
    /// The program was found and can't be run.
    NotRunnable,
    /// The state of something forbids it.
    Conflict,
    /// A limit was hit.
    Limit,
    /// Content isn't what it says it is.
    Corrupt,
    /// A peer can't be reached, for now.
    Unavailable,
    /// Given up.
    Cancelled,
    /// It took too long.
    Timeout,
    /// The file system or the kernel refused.
    Io,
    /// A bug in brig.
    Internal,
}

impl ErrorKind {
    /// The stable word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::NotRunnable => "not_runnable",
            Self::Conflict => "conflict",
            Self::Limit => "limit",
            Self::Corrupt => "corrupt",
            Self::Unavailable => "unavailable",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Internal => "internal",
        }
    }
}

#[cfg(feature = "registry")]
impl From<brig_registry::Error> for Error {
    fn from(error: brig_registry::Error) -> Self {
        // It names registry, reference and content: too much to carry through every result.
        Self::Registry(Box::new(error))
    }
}

impl Error {
    /// An error of the file system about `path`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path: Some(path), source }
    }

    pub(crate) fn invalid(what: &'static str, value: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { what, value: value.into(), problem: problem.into() }
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".into();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
