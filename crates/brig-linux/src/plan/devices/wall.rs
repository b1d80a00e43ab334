//! Which of two things keeps a container from devices: mounts on which no device can be opened, or a cgroup.
//!
//! A mount attribute costs nothing. Every mount of a container is `nodev`, and each device file that it is given is a
//! mount of its own that isn't (see the helper's `devices.rs`). So it can open the devices that it was given and no
//! others, whatever files it makes: a default container of docker has `CAP_MKNOD`, and may keep it. That holds for as
//! long as it has no other mount to open a file through:
//!
//! - It can't make or change one. That takes `CAP_SYS_ADMIN` over its mount namespace. In a user namespace of its own it
//!   has that over a copy in which `nodev` is locked, and file systems that it mounts there are without devices for good.
//! - It can't get at a file of `/dev` through the mount of the file beside it, `/dev/null`. By a file handle it could:
//!   that takes `CAP_DAC_READ_SEARCH` over the host; without, the kernel (6.11 on) gives what is below the mount only.
//! - It can't get at the mounts of others, by `/proc/PID/root`. Where it sees the host's processes, that takes
//!   no more than a process of the same user that has no more capabilities.
//! - No mount comes into it later. Mounts of the host's that propagate have the host's attributes.
//! - The spec asks for no mount with devices (`dev`), and for no directory of the host's with other mounts in it as
//!   `/dev`.
//!
//! In a user namespace from the start even `CAP_SYS_ADMIN` changes nothing: attributes of mounts are the host's then,
//! there is no `mknod` for devices, and file systems that are made have none.
//!
//! Else the rules are given to a cgroup, with the mounts staying as they are, where they say the same. So they are where
//! rules say what mounts can't: to read and not to write, to use devices whose files aren't given, or anything but some.
//! (Nothing holds a container with `CAP_SYS_ADMIN` over the host that wants to leave: it can mount the hierarchy and
//! change its own rules. The cgroup is what it would have with docker.)

use oci_spec::runtime::{Linux, Mount, Spec};

use super::super::PlanError;
use super::super::namespaces::{Namespaces, PID};
use super::rules::{FIELD, Rules};
use crate::capabilities::{self, DOCKER_DEFAULT};
use crate::host::{Cgroups, Host};

/// What keeps a container from devices.
#[derive(Clone, Debug, Default)]
pub(in crate::plan) struct Barrier {
    /// Mounts without devices.
    pub(in crate::plan) wall: bool,
    /// A cgroup, with these rules.
    pub(in crate::plan) rules: Option<Rules>,
}

/// What a spec's rules need.
pub(in crate::plan) fn barrier(
    spec: &Spec,
    linux: &Linux,
    host: &Host,
    namespaces: &Namespaces,
) -> Result<Barrier, PlanError> {
    let asked = linux.resources().as_ref().and_then(|resources| resources.devices().as_deref());
    let given = linux.devices().as_deref().unwrap_or_default();
    let rules = Rules::new(asked.unwrap_or_default(), given)?;
    if rules.allow_everything() {
        return Ok(Barrier::default());
    }
    let same = rules.are_of_files(given);
    if same && holds(spec, linux, namespaces) {
        return Ok(Barrier { wall: true, rules: None });
    }
    if has_cgroup(host) {
        return Ok(Barrier { wall: same, rules: Some(rules) });
    }
    // What nobody asked for by a rule, or what allows more than can be had.
    let enough = if same { asked.is_none_or(<[_]>::is_empty) } else { !rules.allow && !rules.narrow(given) };
    if enough { Ok(Barrier { wall: true, rules: None }) } else { Err(no_cgroup(same)) }
}

fn no_cgroup(same: bool) -> PlanError {
    let what = if same {
        "a container with more capabilities than docker's default or with mounts of the host's could get round them"
    } else {
        "some devices are denied, or some uses of one"
    };
    PlanError::unsupported(FIELD, format!("{what}; that takes a devices cgroup, which only root can make"))
}

/// Whether rules can be given to a cgroup.
fn has_cgroup(host: &Host) -> bool {
    !host.rootless && (legacy(&host.cgroups) || host.cgroups.unified.is_some())
}

/// Whether the rules are v1's, where both have a cgroup.
pub(crate) fn legacy(cgroups: &Cgroups) -> bool {
    cgroups.writable("devices").is_some()
}

/// Whether a container can't get round the attributes of its mounts.
fn holds(spec: &Spec, linux: &Linux, namespaces: &Namespaces) -> bool {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let private =
        linux.rootfs_propagation().as_deref().is_none_or(|word| word.is_empty() || word.ends_with("private"));
    namespaces.user.is_some()
        || (namespaces.makes(PID) && private && has_dockers_capabilities(spec) && !mounts.iter().any(is_door))
}

/// Whether a mount leads to devices, now or later.
fn is_door(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    let has = |words: &[&str]| options.iter().any(|option| words.contains(&option.as_str()));
    let bind = has(&["bind", "rbind"]) || mount.typ().as_deref() == Some("bind");
    has(&["dev", "rdev", "slave", "rslave", "shared", "rshared"])
        || (bind && mount.destination() == std::path::Path::new("/dev"))
}

/// Whether it can never have more capabilities than docker's default. The others aren't looked at one by one: the list
/// of those that help would have to grow with the kernel's.
fn has_dockers_capabilities(spec: &Spec) -> bool {
    let default = capabilities::bits(&DOCKER_DEFAULT.into_iter().collect());
    let sets = spec.process().as_ref().and_then(|process| process.capabilities().clone());
    // Without sets it has none.
    sets.is_none_or(|sets| {
        [sets.bounding(), sets.permitted(), sets.effective(), sets.inheritable(), sets.ambient()]
            .into_iter()
            .flatten()
            .all(|set| capabilities::bits(set) & !default == 0)
    })
}
