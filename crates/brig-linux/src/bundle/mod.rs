//! Containers of bundles, as runc has them: a directory with a `config.json` becomes a container, whose caller is its
//! supervisor. No store, no log, no process of ours that stays.
//!
//! ```text
//! <root>/<id>/config.json   the spec that it was created from
//!             state.json    [Record]: its first process, its cgroups
//!             created       locked by its first process until its program is executed
//!             start         the socket on which that process waits for `start`
//! ```
//!
//! A container's status is never stored: it follows from its first process, from the lock and from the freezer. So it is
//! right whatever was killed (runtime specification, Runtime and Lifecycle).

mod config;
mod error;
mod exec;
mod features;
mod life;
mod look;
mod make;
mod record;
mod talk;

use std::path::{Path, PathBuf};

pub use brig_runtime::hooks::HookError;
pub use config::default_config;
pub use error::BundleError;
pub use exec::{ExecOptions, ExecProcess, parse_process, parse_resources};
pub use features::features;
pub use life::signal_process;
pub use look::{ContainerState, Status};
pub use make::CreateOptions;
pub use oci_spec::runtime::{LinuxResources, Spec};
pub use talk::Made;

use crate::helper::Helper;
use crate::host::{Host, in_user_namespace};

/// The version of the runtime specification that is followed.
pub const OCI_VERSION: &str = "1.3.0";

/// The longest id: it is a part of a file's name.
const MAX_ID: usize = 200;
/// The name of the directory with the helper. No container's id, for it has a character that ids don't.
const PROGRAMS: &str = "@programs";

/// The containers of one root directory.
#[derive(Debug)]
pub struct Runtime {
    root: PathBuf,
    host: Host,
    /// What the cgroups of containers begin with that name none. Two containers of one id in two roots don't meet there.
    cgroup_prefix: String,
}

impl Runtime {
    /// The containers in `root`, which is made when it is needed.
    pub fn new(root: PathBuf) -> Self {
        // Beside each other, in a directory that is there: one more level would be made and removed with each container.
        let cgroup_prefix = format!("brig/oci-{:016x}-", hash(root.as_os_str().as_encoded_bytes()));
        Self { root, host: Host::probe(), cgroup_prefix }
    }

    /// Where containers are when nobody says otherwise: `/run/brig/oci` for root, `$XDG_RUNTIME_DIR/brig/oci` for
    /// everybody else, and for the root of a user namespace. It doesn't follow root's environment, which is another one
    /// for each verb that podman calls.
    ///
    /// # Errors
    /// [`BundleError::NoRoot`]: an ordinary user without `XDG_RUNTIME_DIR`.
    pub fn default_root() -> Result<PathBuf, BundleError> {
        if rustix::process::geteuid().is_root() && !in_user_namespace() {
            return Ok("/run/brig/oci".into());
        }
        let run = std::env::var_os("XDG_RUNTIME_DIR").filter(|run| !run.is_empty());
        run.map(|run| Path::new(&run).join("brig/oci")).ok_or(BundleError::NoRoot)
    }

    /// The cgroup of a container that names none.
    fn cgroup(&self, id: &str) -> PathBuf {
        PathBuf::from(format!("{}{id}", self.cgroup_prefix))
    }

    fn helper(&self) -> Result<Helper, BundleError> {
        Ok(Helper::in_directory(&self.root.join(PROGRAMS))?)
    }

    /// The directory of a container, if its id can be one.
    fn directory(&self, id: &str) -> Result<PathBuf, BundleError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let fits = !id.is_empty() && id.len() <= MAX_ID && id.chars().all(allowed) && id != "." && id != "..";
        if fits { Ok(self.root.join(id)) } else { Err(BundleError::InvalidId { id: id.to_owned() }) }
    }
}

/// FNV-1a: the same for ever, and nothing hangs on collisions that somebody makes.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
