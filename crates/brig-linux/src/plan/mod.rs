//! From an OCI runtime `Spec` to what the helper does, all of it or an error (invariant 9).
//!
//! ```text
//! Spec ─ namespaces which to make, which to enter, id maps
//!      ─ mounts     options to bits, cgroup file systems by the host's hierarchies
//!      ─ devices    the default ones and the spec's
//!      ─ process    ids, capabilities, limits, seccomp
//!      ─ labels     AppArmor, SELinux
//!      ─ scheduling processors, I/O, memory
//!      ─ resources  cgroups and their settings
//!      ─ hooks      programs of the host to run meanwhile
//! ```

mod cgroup_path;
mod devices;
mod hooks;
mod input_output;
mod joined;
mod labels;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod notify;
mod process;
mod resctrl;
mod resources;
mod scheduling;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use brig_runtime::plan::{PayloadPlan, RootFs, SeccompPlan};
use oci_spec::runtime::{Linux, Spec};

use crate::host::Host;

pub(crate) use self::devices::legacy as legacy_devices;
pub(crate) use self::hooks::{about, late_hooks};
pub(crate) use self::input_output::{block_io, huge_pages};
pub(crate) use self::mount_options::mount_options;
pub(crate) use self::process::{rlimit, seccomp_plan};
pub(crate) use self::resources::{Wanted, cgroup_plan, more_of_cpu, unified_controller, wanted, weight};

/// Why a container can't be had as its spec asks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The spec lacks something that every container needs.
    #[error("the spec has no `{field}`")]
    Missing {
        /// The field, with its path.
        field: &'static str,
    },
    /// The spec asks for what brig can't give here.
    #[error("`{field}`: {reason}")]
    Unsupported {
        /// The field, with its path.
        field: String,
        /// Why not, as a sentence without a full stop.
        reason: String,
    },
    /// A value means nothing.
    #[error("`{field}` is `{value}`, which {reason}")]
    Invalid {
        /// The field, with its path.
        field: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it, as a verb phrase.
        reason: &'static str,
    },
    /// A path isn't text.
    #[error("the path `{}` isn't UTF-8", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// A limit can't be given on this host.
    #[error("no {limit} limit can be set: {reason}")]
    Limit {
        /// `memory`, `pids`, …
        limit: String,
        /// Why not, and what helps.
        reason: String,
    },
    /// The user or group has no place on the host.
    #[error("{what} {id} isn't mapped in the user namespace")]
    Unmapped {
        /// `user` or `group`.
        what: &'static str,
        /// Its number.
        id: u32,
    },
    /// An ordinary user needs a user namespace, and the spec has none.
    #[error("the spec has no user namespace, without which only root can start containers")]
    NeedsUserNamespace,
    /// An ordinary user can make no namespaces here, and landlock, a wasm container's other wall, isn't enough either.
    #[error(
        "user namespaces can't be made here, and landlock, which could wall a wasm container in without them, {reason}"
    )]
    NoWall {
        /// What is wrong with landlock, as a verb phrase.
        reason: String,
    },
    /// The seccomp policy can't be compiled.
    #[error("the seccomp policy can't be compiled")]
    Seccomp {
        /// Why.
        #[source]
        source: crate::seccomp::SeccompError,
    },
}

impl PlanError {
    pub(crate) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { field: field.into(), reason: reason.into() }
    }
}

/// What a plan needs to know that isn't in the spec.
#[derive(Clone, Debug)]
pub struct HostOptions<'a> {
    /// The host.
    pub host: &'a Host,
    /// The container's id.
    pub id: &'a str,
    /// The container's cgroup where the spec names none; without it `brig/ID`.
    pub cgroup: Option<&'a Path>,
    /// The directory that relative paths of the spec are relative to.
    pub bundle: Option<&'a Path>,
    /// The filter that the spec's policy was compiled to earlier; without it, it is compiled now.
    pub seccomp: Option<SeccompPlan>,
    /// Whether the caller stands in for runc: it runs the hooks that come after the program's start and after its end
    /// itself, the container gets a cgroup in every hierarchy of v1, without limits too, where others read what it uses,
    /// and what mount(2) doesn't read isn't an error.
    pub as_runc: bool,
}

impl<'a> HostOptions<'a> {
    /// For a container of this id.
    pub fn new(host: &'a Host, id: &'a str) -> Self {
        Self { host, id, cgroup: None, bundle: None, seccomp: None, as_runc: false }
    }

    fn resolve(&self, path: &Path) -> PathBuf {
        match self.bundle {
            Some(bundle) => bundle.join(path),
            None => path.to_owned(),
        }
    }
}

/// What every part of a plan is made from.
struct Context<'a> {
    spec: &'a Spec,
    linux: &'a Linux,
    options: &'a HostOptions<'a>,
    namespaces: namespaces::Namespaces,
    /// Whether devices that the spec doesn't list are to be dead.
    device_wall: bool,
    /// The rules for devices that a cgroup is to have.
    device_rules: Option<devices::Rules>,
}

/// The plan for a container of this spec, whose root file system is `rootfs` whatever `root.path` says.
///
/// In a user namespace that maps one user only, supplementary groups are left out: the host's ordinary users can't have
/// them, and an image's user has them without anybody's asking.
///
/// # Errors
/// [`PlanError`]: what is asked for and can't be given.
pub fn plan_linux(spec: &Spec, rootfs: &RootFs, options: &HostOptions<'_>) -> Result<PayloadPlan, PlanError> {
    let linux = spec.linux().as_ref().ok_or(PlanError::Missing { field: "linux" })?;
    let namespaces = namespaces::namespaces(spec, linux, options.host)?;
    let devices::Barrier { wall: device_wall, rules: device_rules } =
        devices::barrier(spec, linux, options.host, &namespaces)?;
    let context = Context { spec, linux, options, namespaces, device_wall, device_rules };
    let joins_mounts = context.namespaces.joins(namespaces::MOUNT);
    if joins_mounts {
        joined::check_mounts(spec, linux, rootfs)?;
    }
    let cgroup = resources::cgroups(&context)?;
    let mounts = mounts::mounts(&context, &cgroup)?;
    let hooks = hooks::hooks(&context)?;
    let plan = PayloadPlan {
        in_place: false,
        loopback: context.namespaces.new_network(),
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        root: labels::of_root(&context, with_userxattr(rootfs, context.namespaces.user.is_some()))?,
        seals: mounts::seals(&context, &mounts),
        propagation: mounts::root_propagation(linux)?,
        devices: devices::devices(&context)?,
        links: devices::links(),
        sysctls: namespaces::sysctls(&context)?,
        masked: linux.masked_paths().clone().unwrap_or_default(),
        read_only: linux.readonly_paths().clone().unwrap_or_default(),
        process: process::process(&context)?,
        net_devices: net_devices::net_devices(&context)?,
        resctrl: resctrl::resctrl(&context)?,
        user_namespace: context.namespaces.user,
        new_namespaces: context.namespaces.new,
        joined_namespaces: context.namespaces.joined,
        mounts,
        time_offsets: context.namespaces.time_offsets,
        cgroup,
        hooks,
    };
    Ok(if joins_mounts { joined::leave_mounts_alone(plan) } else { plan })
}

/// Overlayfs keeps its marks in attributes that only root may write, unless it is told otherwise.
fn with_userxattr(rootfs: &RootFs, user_namespace: bool) -> RootFs {
    let mut rootfs = rootfs.clone();
    if let RootFs::Overlay { options, .. } = &mut rootfs
        && user_namespace
        && !options.iter().any(|option| option == "userxattr")
    {
        options.push("userxattr".to_owned());
    }
    rootfs
}

/// A path as text.
pub(crate) fn text(path: &Path) -> Result<String, PlanError> {
    path.to_str().map(str::to_owned).ok_or_else(|| PlanError::NotUtf8 { path: path.to_owned() })
}
