//! Namespaces, the maps of user namespaces, and the kernel parameters that namespaces have.

use std::path::PathBuf;

use brig_runtime::plan::{IdMap, IdMaps};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Spec};

use super::{Context, PlanError, joined};
use crate::host::Host;
use crate::seccomp::KernelVersion;

pub(super) const MOUNT: u32 = libc::CLONE_NEWNS.cast_unsigned();
pub(super) const PID: u32 = libc::CLONE_NEWPID.cast_unsigned();
pub(super) const NETWORK: u32 = libc::CLONE_NEWNET.cast_unsigned();
pub(super) const IPC: u32 = libc::CLONE_NEWIPC.cast_unsigned();
pub(super) const UTS: u32 = libc::CLONE_NEWUTS.cast_unsigned();
pub(super) const CGROUP: u32 = libc::CLONE_NEWCGROUP.cast_unsigned();
pub(super) const TIME: u32 = libc::CLONE_NEWTIME.cast_unsigned();
pub(super) const USER: u32 = libc::CLONE_NEWUSER.cast_unsigned();

/// From this version on a process comes into its new time namespace when it executes a program.
const TIME_AT_EXEC: KernelVersion = KernelVersion { major: 6, minor: 3 };

/// Which namespaces a container has.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespaces {
    pub(super) user: Option<IdMaps>,
    pub(super) new: u32,
    pub(super) joined: Vec<(u32, PathBuf)>,
    pub(super) time_offsets: Vec<(String, i64, u32)>,
}

impl Namespaces {
    pub(super) fn makes(&self, kind: u32) -> bool {
        self.new & kind != 0
    }

    pub(super) fn joins(&self, kind: u32) -> bool {
        self.joined.iter().any(|(joined, _)| *joined == kind)
    }

    pub(super) fn new_network(&self) -> bool {
        self.makes(NETWORK)
    }

    /// Whether the container has this namespace to itself or shares it with another container, and not with the host.
    pub(super) fn has(&self, kind: u32) -> bool {
        self.makes(kind) || self.joins(kind)
    }
}

/// The namespaces of a spec.
pub(super) fn namespaces(spec: &Spec, linux: &Linux, host: &Host) -> Result<Namespaces, PlanError> {
    let mut found = Namespaces::default();
    for namespace in linux.namespaces().as_deref().unwrap_or_default() {
        let kind = kind_of(namespace.typ());
        if found.has(kind) {
            return Err(PlanError::unsupported(
                "linux.namespaces",
                format!("two are of type `{}`", namespace.typ()),
            ));
        }
        match namespace.path().clone().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => found.joined.push((kind, path)),
            None => found.new |= kind,
        }
    }
    if !found.has(MOUNT) {
        return Err(PlanError::unsupported(
            "linux.namespaces",
            "a container needs a mount namespace that isn't its creator's",
        ));
    }
    if found.makes(TIME) && host.kernel < TIME_AT_EXEC {
        return Err(PlanError::unsupported("linux.namespaces", "time namespaces need Linux 6.3"));
    }
    if found.makes(USER) {
        found.new &= !USER;
        found.user = Some(maps(spec, linux, host));
    } else {
        joined::enter_user_namespace(linux, &mut found)?;
    }
    if host.rootless && found.user.is_none() {
        return Err(PlanError::NeedsUserNamespace);
    }
    check_names(spec, &found)?;
    found.time_offsets = time_offsets(linux, &found)?;
    Ok(found)
}

fn kind_of(typ: LinuxNamespaceType) -> u32 {
    match typ {
        LinuxNamespaceType::User => USER,
        LinuxNamespaceType::Time => TIME,
        LinuxNamespaceType::Mount => MOUNT,
        LinuxNamespaceType::Pid => PID,
        LinuxNamespaceType::Network => NETWORK,
        LinuxNamespaceType::Ipc => IPC,
        LinuxNamespaceType::Uts => UTS,
        LinuxNamespaceType::Cgroup => CGROUP,
    }
}

/// What the clocks of a new time namespace are ahead of the host's.
fn time_offsets(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(String, i64, u32)>, PlanError> {
    let offsets = linux.time_offsets().iter().flatten();
    let mut offsets: Vec<_> = offsets
        .map(|(clock, offset)| {
            (clock.clone(), offset.secs().unwrap_or_default(), offset.nanosecs().unwrap_or_default())
        })
        .collect();
    offsets.sort();
    if !offsets.is_empty() && !namespaces.makes(TIME) {
        return Err(PlanError::unsupported("linux.timeOffsets", "they need a new time namespace"));
    }
    match offsets.iter().find(|(clock, _, _)| clock != "monotonic" && clock != "boottime") {
        Some((clock, _, _)) => Err(PlanError::Invalid {
            field: "linux.timeOffsets",
            value: clock.clone(),
            reason: "is neither `monotonic` nor `boottime`",
        }),
        None => Ok(offsets),
    }
}

/// The host's names are the host's.
fn check_names(spec: &Spec, namespaces: &Namespaces) -> Result<(), PlanError> {
    let named = [("hostname", spec.hostname()), ("domainname", spec.domainname())];
    match named.into_iter().find(|(_, name)| name.is_some() && !namespaces.has(UTS)) {
        Some((field, _)) => {
            Err(PlanError::unsupported(field, "it needs a uts namespace of the container's own"))
        }
        None => Ok(()),
    }
}

/// The maps of the spec. Without any, the process's user is this one: one id is all that an ordinary user can map
/// without help.
fn maps(spec: &Spec, linux: &Linux, host: &Host) -> IdMaps {
    let user = spec.process().as_ref().map(|process| process.user().clone()).unwrap_or_default();
    IdMaps {
        uids: map(linux.uid_mappings().as_deref(), user.uid(), host.uid),
        gids: map(linux.gid_mappings().as_deref(), user.gid(), host.gid),
    }
}

fn map(asked: Option<&[LinuxIdMapping]>, container: u32, host: u32) -> Vec<IdMap> {
    match asked {
        Some(maps) if !maps.is_empty() => maps.iter().map(id_map).collect(),
        _ => vec![IdMap { container, host, count: 1 }],
    }
}

pub(super) fn id_map(map: &LinuxIdMapping) -> IdMap {
    IdMap { container: map.container_id(), host: map.host_id(), count: map.size() }
}

/// Kernel parameters: only those of namespaces that aren't the host's.
pub(super) fn sysctls(context: &Context<'_>) -> Result<Vec<(String, String)>, PlanError> {
    let mut found = Vec::new();
    for (name, value) in context.linux.sysctl().iter().flatten() {
        let path = if name.contains('/') { name.clone() } else { name.replace('.', "/") };
        let safe = path.split('/').all(|part| !part.is_empty() && part != "..");
        match sysctl_namespace(&path) {
            Some(kind) if safe && context.namespaces.has(kind) => found.push((path, value.clone())),
            _ => {
                let reason =
                    format!("`{name}` would change the host's: it isn't of a namespace of the container");
                return Err(PlanError::unsupported("linux.sysctl", reason));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Which namespace a kernel parameter belongs to.
fn sysctl_namespace(path: &str) -> Option<u32> {
    const OF_IPC: [&str; 8] =
        ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];
    match path.split_once('/') {
        Some(("net", _)) => Some(NETWORK),
        Some(("fs", rest)) if rest.starts_with("mqueue/") => Some(IPC),
        Some(("kernel", name)) if OF_IPC.contains(&name) => Some(IPC),
        Some(("kernel", "domainname" | "hostname")) => Some(UTS),
        _ => None,
    }
}
