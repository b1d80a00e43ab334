//! Mounts, from the spec's words to bits.

use std::path::{Path, PathBuf};

use brig_runtime::plan::{CgroupPlan, IdMaps, LinksPlan, MountKind, MountPlan};
use oci_spec::runtime::{Linux, Mount};

use super::mount_options::{Attributes, Options, propagation};
use super::namespaces::{CGROUP, IPC, NETWORK, PID, id_map};
use super::{Context, PlanError, labels, resources, text};
use crate::host::CgroupMode;

/// The mounts of a spec.
pub(super) fn mounts(context: &Context<'_>, cgroup: &CgroupPlan) -> Result<Vec<MountPlan>, PlanError> {
    let mut plans = Vec::new();
    for mount in context.spec.mounts().as_deref().unwrap_or_default() {
        let target = text(mount.destination())?;
        if !target.starts_with('/') {
            return Err(PlanError::Invalid {
                field: "mounts[].destination",
                value: target,
                reason: "isn't absolute",
            });
        }
        let options = Options::parse(&target, mount.options().as_deref().unwrap_or_default())?;
        match mount.typ().as_deref() {
            Some("cgroup" | "cgroup2") => plans.extend(cgroup_mounts(context, cgroup, &target, &options)),
            typ => plans.push(plan(context, mount, typ, target, options)?),
        }
    }
    Ok(plans)
}

fn plan(
    context: &Context<'_>,
    mount: &Mount,
    typ: Option<&str>,
    target: String,
    mut options: Options,
) -> Result<MountPlan, PlanError> {
    let source = mount.source().as_deref();
    let bind = options.bind || typ == Some("bind");
    if bind || options.remount && typ.is_none() {
        options.ignore_file_system();
        if context.options.as_runc {
            // mount(2) doesn't read them, so that no caller of runc ever heard of a mistake.
            options.data.clear();
        }
        if let Some((option, _)) = options.data.first() {
            return Err(refused(&target, format!("the option `{option}` means nothing for a bind mount")));
        }
    }
    if options.copy_up && (bind || options.remount || typ != Some("tmpfs")) {
        return Err(refused(&target, "`tmpcopyup` is for a new tmpfs"));
    }
    if options.links != LinksPlan::default() && (!bind || options.remount) {
        return Err(refused(
            &target,
            "`src-nofollow`, `dest-nofollow` and `copy-symlink` are for bind mounts",
        ));
    }
    let what = if options.remount {
        MountKind::Change { options: std::mem::take(&mut options.data) }
    } else if bind {
        let source = source.ok_or(PlanError::Missing { field: "mounts[].source" })?;
        let source = context.options.resolve(source);
        match ids(context, mount, &target, &options)? {
            Some(_) if options.links != LinksPlan::default() => {
                return Err(refused(&target, "a link itself has no ids to be mapped"));
            }
            Some(ids) => MountKind::Mapped { source, recursive: options.recursive, ids },
            None => bind_of(context, source, &mut options),
        }
    } else {
        if options.idmap || mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
            return Err(refused(&target, "ids are mapped in bind mounts only"));
        }
        let typ = typ.ok_or(PlanError::Missing { field: "mounts[].type" })?;
        new(context, typ, source, &mut options)?
    };
    wall(context, &target, &what, &mut options);
    Ok(with_attributes(target, what, &options))
}

fn refused(target: &str, reason: impl Into<String>) -> PlanError {
    PlanError::unsupported(format!("mounts `{target}`"), reason)
}

/// The attributes of the mount, and of those below it where there can be some.
fn with_attributes(target: String, what: MountKind, options: &Options) -> MountPlan {
    let recursive = match &what {
        MountKind::Bind { recursive, .. } | MountKind::Mapped { recursive, .. } => *recursive,
        _ => false,
    };
    let (all, top) = if recursive { options.of_tree() } else { (options.of_one(), Attributes::default()) };
    let clear = if matches!(what, MountKind::New { .. }) { 0 } else { all.clear };
    MountPlan {
        target,
        what,
        set: all.set,
        set_top: top.set,
        clear,
        recursive,
        propagation: options.propagation,
        clear_top: top.clear,
        copy_up: options.copy_up,
        links: options.links,
    }
}

/// The ids of a bind mount's own: those that it says, or with `idmap` alone the container's.
fn ids(
    context: &Context<'_>,
    mount: &Mount,
    target: &str,
    options: &Options,
) -> Result<Option<IdMaps>, PlanError> {
    let failed = |reason: &str| Err(refused(target, reason));
    let ids = match (mount.uid_mappings(), mount.gid_mappings()) {
        (Some(uids), Some(gids)) => {
            let [uids, gids] = [uids, gids].map(|maps| maps.iter().map(id_map).collect());
            IdMaps { uids, gids }
        }
        (None, None) if !options.idmap => return Ok(None),
        (None, None) => match &context.namespaces.user {
            Some(maps) => maps.clone(),
            None => return failed("`idmap` needs mappings where the container has no user namespace"),
        },
        _ => return failed("ids are mapped for users and groups, or not at all"),
    };
    if context.options.host.rootless {
        return failed("only root can map the ids of a mount");
    }
    Ok(Some(ids))
}

fn bind_of(context: &Context<'_>, source: PathBuf, options: &mut Options) -> MountKind {
    // In a user namespace a mount can't be taken without those below it, which may hide something. They become what it
    // becomes.
    if context.namespaces.user.is_some() && !options.recursive {
        options.recursive = true;
        options.all = options.of_one();
    }
    MountKind::Bind { source, recursive: options.recursive }
}

/// A new file system, or the host's where an ordinary user may not make one: those that show a namespace can be made
/// only by whoever owns the namespace.
fn new(
    context: &Context<'_>,
    typ: &str,
    source: Option<&Path>,
    options: &mut Options,
) -> Result<MountKind, PlanError> {
    let user = context.namespaces.user.is_some();
    let instead = match typ {
        "proc" if user && !context.namespaces.has(PID) => Some("/proc"),
        "sysfs" if user && !context.namespaces.has(NETWORK) => Some("/sys"),
        "mqueue" if user && !context.namespaces.has(IPC) => Some("/dev/mqueue"),
        _ => None,
    };
    if let Some(path) = instead {
        options.all = options.of_one();
        return Ok(MountKind::Bind { source: path.into(), recursive: true });
    }
    let mut data = std::mem::take(&mut options.data);
    if typ == "devpts" {
        data.retain(|(key, value)| key != "gid" || is_mapped(context, value.as_deref()));
    }
    labels::put(context, typ, &mut data)?;
    // What the container's `mountinfo` says.
    let source = source.map(text).transpose()?.unwrap_or_else(|| typ.to_owned());
    data.insert(0, ("source".to_owned(), Some(source)));
    Ok(MountKind::New { fs_type: typ.to_owned(), options: data })
}

/// docker's `gid=5` is a group that single-user namespaces don't have; the terminals are the user's own then.
fn is_mapped(context: &Context<'_>, gid: Option<&str>) -> bool {
    let Some(maps) = &context.namespaces.user else { return true };
    let Some(gid) = gid.and_then(|gid| gid.parse::<u32>().ok()) else { return true };
    maps.gids.iter().any(|map| gid.checked_sub(map.container).is_some_and(|offset| offset < map.count))
}

/// The wall around devices: nowhere but where the spec says `dev`, and in `/dev` once its files are made.
fn wall(context: &Context<'_>, target: &str, what: &MountKind, options: &mut Options) {
    let asked = options.of_one().clear & libc::MOUNT_ATTR_NODEV != 0;
    let devpts = matches!(what, MountKind::New { fs_type, .. } if fs_type == "devpts");
    let old = matches!(what, MountKind::Change { .. });
    if context.device_wall && !asked && !devpts && !old && !is_dev(target) {
        options.all.set |= libc::MOUNT_ATTR_NODEV;
    }
}

fn is_dev(target: &str) -> bool {
    Path::new(target) == Path::new("/dev")
}

/// What mount points become in the end.
pub(super) fn seals(context: &Context<'_>, mounts: &[MountPlan]) -> Vec<(String, u64)> {
    let wall = if context.device_wall { libc::MOUNT_ATTR_NODEV } else { 0 };
    let read_only = context.spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let root = wall | if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    let mut seals = vec![("/".to_owned(), root)];
    for mount in mounts {
        if is_dev(&mount.target) {
            seals.push((mount.target.clone(), wall));
        } else if matches!(&mount.what, MountKind::New { options, .. } if options == &cgroup_tmpfs()) {
            seals.push((mount.target.clone(), libc::MOUNT_ATTR_RDONLY));
        }
    }
    seals.retain(|(_, attributes)| *attributes != 0);
    seals
}

fn cgroup_tmpfs() -> Vec<(String, Option<String>)> {
    [("mode", "0755"), ("size", "64k")].map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).to_vec()
}

/// The container's view of its cgroups. On v1 only the hierarchies in which it has a cgroup of its own: in the others
/// it would see its creator's. Where nothing can be shown, nothing is.
fn cgroup_mounts(
    context: &Context<'_>,
    cgroup: &CgroupPlan,
    target: &str,
    options: &Options,
) -> Vec<MountPlan> {
    let own = context.namespaces.makes(CGROUP);
    let cgroups = &context.options.host.cgroups;
    let attributes = options.of_one().set;
    let new = |target: String, fs_type: &str, data: Vec<(String, Option<String>)>| {
        let what = MountKind::New { fs_type: fs_type.to_owned(), options: data };
        MountPlan { set: attributes, ..MountPlan::new(target, what) }
    };
    if cgroups.mode == CgroupMode::V2 && own {
        return vec![new(target.to_owned(), "cgroup2", Vec::new())];
    }
    let mut tmpfs = new(target.to_owned(), "tmpfs", cgroup_tmpfs());
    tmpfs.set &= !libc::MOUNT_ATTR_RDONLY;
    let mut plans = vec![tmpfs];
    if own && cgroup.unified.is_some() {
        plans.push(new(format!("{target}/unified"), "cgroup2", Vec::new()));
    }
    if own && context.namespaces.user.is_none() {
        plans.extend(cgroup.legacy.iter().map(|dir| {
            new(format!("{target}/{}", dir.controller), "cgroup", resources::hierarchy_options(dir))
        }));
    }
    plans
}

/// `rootfsPropagation`.
pub(super) fn root_propagation(linux: &Linux) -> Result<u32, PlanError> {
    let Some(word) = linux.rootfs_propagation().as_deref().filter(|word| !word.is_empty()) else {
        return Ok(0);
    };
    propagation(word).ok_or_else(|| PlanError::Invalid {
        field: "linux.rootfsPropagation",
        value: word.to_owned(),
        reason: "is no propagation",
    })
}
