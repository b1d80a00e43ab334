//! What kind an error is, what to do about it, and which exit code it gives.

use brig_runtime::client::ClientError;
use brig_runtime::exit;
use brig_runtime::protocol::StepError;

use crate::error::{Error, ErrorKind};
use crate::missing;

/// The helper's step that the kernel refuses where namespaces are forbidden.
const MAKE_NAMESPACES: &str = "make namespaces";

impl Error {
    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference(_)
            | Self::Platform(_)
            | Self::Invalid { .. }
            | Self::NothingToRun { .. }
            | Self::LogConfig(_)
            | Self::Limits(_) => ErrorKind::Invalid,
            Self::Document { .. } | Self::BadModule { .. } | Self::Archive { .. } => ErrorKind::Corrupt,
            Self::ImageNotFound { .. }
            | Self::ContainerNotFound { .. }
            | Self::VolumeNotFound { .. }
            | Self::NoSuchObject { .. }
            | Self::ProgramNotFound { .. }
            | Self::FileNotFound { .. }
            | Self::PathNotFound { .. }
            | Self::UserNotFound { .. }
            | Self::NoPlatform { .. }
            | Self::Incomplete { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } | Self::Copy { .. } => ErrorKind::Invalid,
            Self::Files { source, .. } => match source.errno {
                libc::EPERM | libc::EACCES => ErrorKind::Denied,
                libc::ENOENT => ErrorKind::NotFound,
                _ => ErrorKind::Io,
            },
            Self::NameInUse { .. } => ErrorKind::AlreadyExists,
            Self::ImageInUse { .. }
            | Self::VolumeInUse { .. }
            | Self::SeveralNames { .. }
            | Self::WrongState { .. } => ErrorKind::Conflict,
            Self::Unsupported { .. } | Self::LogNotReadable { .. } => ErrorKind::Unsupported,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Io { .. } | Self::Record(_) | Self::Liveness(_) | Self::Log(_) | Self::Lookup(_) => {
                ErrorKind::Io
            }
            Self::Store(source) => store_kind(source),
            Self::Client { source, .. } => client_kind(source),
            Self::Start { source, .. } => start_kind(source),
            #[cfg(feature = "registry")]
            Self::Registry(source) => registry_kind(source),
            #[cfg(feature = "registry")]
            Self::Auth(_) => ErrorKind::Invalid,
            Self::Linux(source) => linux_kind(source),
            Self::Update { .. } => ErrorKind::Io,
            #[cfg(feature = "wasm")]
            Self::NotRunnable { .. } => ErrorKind::NotRunnable,
            #[cfg(feature = "wasm")]
            Self::Compile(source) => compile_kind(source),
            #[cfg(feature = "wasm")]
            Self::Runner(_) => ErrorKind::Io,
        }
    }

    /// The command or change that helps, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ImageNotFound { name, root } => Some(missing::image(name, root.as_deref())),
            Self::Incomplete { name, .. } => {
                Some(format!("brig pull {name}, with --platform for another than this machine's"))
            }
            Self::ContainerNotFound { name, root } => Some(missing::container(name, root.as_deref())),
            Self::NoSuchObject { name, root } => Some(missing::object(name, root.as_deref())),
            Self::NameInUse { name, .. } => Some(format!("brig rm {name}, or choose another --name")),
            Self::ImageInUse { container, .. } => {
                Some(format!("brig rm {container}, or use --force for stopped ones"))
            }
            Self::VolumeNotFound { .. } => Some("brig volume ls lists all volumes".into()),
            Self::VolumeInUse { containers, .. } => Some(format!("brig rm {}", containers.join(" "))),
            Self::SeveralNames { name, names } => {
                Some(format!("brig rmi {} removes one name, brig rmi --force {name} all", names[0]))
            }
            Self::NoPlatform { available, .. } if !available.is_empty() => {
                Some(format!("use --platform {}", available[0]))
            }
            Self::WrongState { name, action: "remove", .. } => {
                Some(format!("brig stop {name}, or brig rm --force {name}"))
            }
            Self::WrongState { name, state: "exited" | "created", .. } => Some(format!("brig start {name}")),
            Self::NothingToRun { .. } => Some("give a command behind the image, or --entrypoint".into()),
            Self::LogNotReadable { name, driver } if driver == "journald" => {
                Some(format!("journalctl CONTAINER_NAME={name}"))
            }
            Self::Start { source, .. } => start_hint(source),
            Self::Linux(brig_linux::Error::Plan(brig_linux::PlanError::NoWall { .. })) => namespaces_hint(),
            #[cfg(feature = "registry")]
            Self::Registry(source) => registry_hint(source),
            _ => None,
        }
    }

    /// What `run` and `exec` exit with: 127 not found, 126 not runnable, 125 anything else.
    pub fn run_code(&self) -> u8 {
        match self {
            Self::ProgramNotFound { .. } | Self::FileNotFound { .. } => exit::CODE_NOT_FOUND,
            Self::Start { source, .. } | Self::Client { source: ClientError::Start { source }, .. }
                if source.code != 0 =>
            {
                source.code
            }
            Self::Client { source: ClientError::Refused { source }, .. } => match source.code.as_str() {
                "not_found" => exit::CODE_NOT_FOUND,
                "not_runnable" => exit::CODE_NOT_RUNNABLE,
                _ => exit::CODE_ENGINE,
            },
            error => match error.kind() {
                ErrorKind::NotRunnable | ErrorKind::Corrupt if matches!(error, Self::BadModule { .. }) => {
                    exit::CODE_NOT_RUNNABLE
                }
                ErrorKind::NotRunnable => exit::CODE_NOT_RUNNABLE,
                _ => exit::CODE_ENGINE,
            },
        }
    }
}

fn linux_kind(error: &brig_linux::Error) -> ErrorKind {
    match error {
        brig_linux::Error::Plan(
            brig_linux::PlanError::Unsupported { .. } | brig_linux::PlanError::NoWall { .. },
        ) => ErrorKind::Unsupported,
        brig_linux::Error::Plan(_) | brig_linux::Error::Seccomp(_) => ErrorKind::Invalid,
        brig_linux::Error::Helper(brig_linux::HelperError::NotEmbedded) => ErrorKind::Unsupported,
        _ => ErrorKind::Io,
    }
}

fn store_kind(error: &brig_store::StoreError) -> ErrorKind {
    use brig_store::StoreError as E;
    match error {
        E::BlobNotFound { .. }
        | E::RefNotFound { .. }
        | E::ImageNotFound { .. }
        | E::LayerNotFound { .. } => ErrorKind::NotFound,
        E::SizeMismatch { .. }
        | E::Overrun { .. }
        | E::DigestMismatch { .. }
        | E::DiffIdMismatch { .. }
        | E::Document { .. }
        | E::Json { .. }
        | E::Unpack { .. } => ErrorKind::Corrupt,
        E::BlobTooLarge { .. } => ErrorKind::Limit,
        E::Incompatible { .. } => ErrorKind::Unsupported,
        E::ForeignLayout { .. } => ErrorKind::Conflict,
        E::Ambiguous { .. } | E::InvalidName { .. } | E::NotAnImage { .. } => ErrorKind::Invalid,
        _ => ErrorKind::Io,
    }
}

fn client_kind(error: &ClientError) -> ErrorKind {
    match error {
        ClientError::NotRunning { .. } => ErrorKind::Conflict,
        ClientError::Connect { .. } | ClientError::Lost { .. } => ErrorKind::Unavailable,
        ClientError::Refused { source } => match source.code.as_str() {
            "unsupported" => ErrorKind::Unsupported,
            "invalid" => ErrorKind::Invalid,
            "not_running" => ErrorKind::Conflict,
            "not_found" => ErrorKind::NotFound,
            "not_runnable" => ErrorKind::NotRunnable,
            _ => ErrorKind::Io,
        },
        ClientError::Start { source } => start_kind(source),
        ClientError::Unexpected { .. } => ErrorKind::Internal,
        _ => ErrorKind::Io,
    }
}

fn start_kind(error: &StepError) -> ErrorKind {
    match error.code {
        exit::CODE_NOT_FOUND => ErrorKind::NotFound,
        exit::CODE_NOT_RUNNABLE => ErrorKind::NotRunnable,
        _ if error.step == MAKE_NAMESPACES => ErrorKind::Denied,
        _ if error.errno == libc::EPERM || error.errno == libc::EACCES => ErrorKind::Denied,
        _ => ErrorKind::Io,
    }
}

fn start_hint(error: &StepError) -> Option<String> {
    match (error.code, error.errno) {
        (exit::CODE_NOT_FOUND, _) => Some("is the program in the image, and on its PATH?".into()),
        (exit::CODE_NOT_RUNNABLE, libc::ENOEXEC) => {
            Some("the program is for another platform, or no program".into())
        }
        (_, libc::EPERM | libc::EACCES | libc::ENOSPC) => {
            Some(namespaces_hint().unwrap_or_else(|| "brig doctor tells what this host allows".into()))
        }
        _ => None,
    }
}

/// What an ordinary user lacks where it may make no namespaces, whichever step it was that the kernel refused.
fn namespaces_hint() -> Option<String> {
    let host = brig_linux::Host::probe();
    if host.can_make_namespaces() {
        return None;
    }
    let finding = brig_linux::probe::user_namespaces(&host);
    let fix = finding.fix.map(|fix| format!("; {fix}")).unwrap_or_default();
    Some(format!("an ordinary user's containers need user namespaces, and {}{fix}", finding.detail))
}

#[cfg(feature = "registry")]
fn registry_kind(error: &brig_registry::Error) -> ErrorKind {
    use brig_registry::Error as E;
    match error {
        E::RepositoryNotFound { .. } | E::ManifestNotFound { .. } | E::BlobNotFound { .. } => {
            ErrorKind::NotFound
        }
        E::Unauthorized { .. } | E::Credentials { .. } | E::Challenge { .. } => ErrorKind::Unauthorized,
        E::Denied { .. } => ErrorKind::Denied,
        E::TooManyRequests { .. } | E::Unavailable { .. } | E::Network { .. } | E::Tls { .. } => {
            ErrorKind::Unavailable
        }
        E::Timeout { .. } => ErrorKind::Timeout,
        E::TooLarge { .. } => ErrorKind::Limit,
        E::Host { .. } => ErrorKind::Invalid,
        E::Certificate { .. } | E::Source { .. } => ErrorKind::Io,
        _ => ErrorKind::Corrupt,
    }
}

#[cfg(feature = "registry")]
fn registry_hint(error: &brig_registry::Error) -> Option<String> {
    use brig_registry::Error as E;
    match error {
        E::Unauthorized { host, .. } => Some(format!(
            "put credentials for {host} into ~/.docker/config.json, as `docker login {host}` does"
        )),
        E::ManifestNotFound { .. } | E::RepositoryNotFound { .. } => {
            Some("is the name, and the tag, spelled right?".into())
        }
        E::Tls { host, .. } => Some(format!(
            "put its authority's certificate into /etc/docker/certs.d/{host}/ca.crt, or use --insecure-registry {host}"
        )),
        E::Network { .. } | E::Truncated { .. } | E::Timeout { .. } => {
            Some("what was received is kept: the next pull continues there".into())
        }
        _ => None,
    }
}

#[cfg(feature = "wasm")]
fn compile_kind(error: &brig_wasm::CompileError) -> ErrorKind {
    use brig_wasm::CompileError as E;
    match error {
        E::Refused { .. } => ErrorKind::NotRunnable,
        E::Timeout { .. } | E::Cpu { .. } | E::Memory { .. } => ErrorKind::Limit,
        E::Start { .. } => ErrorKind::Io,
        _ => ErrorKind::Internal,
    }
}
