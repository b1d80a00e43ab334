//! Mounts, from the spec's words to bits.

use std::path::{Path, PathBuf};

use brig_runtime::plan::{CgroupPlan, IdMaps, MountKind, MountPlan};
use oci_spec::runtime::{Linux, Mount};

use super::namespaces::{CGROUP, IPC, NETWORK, PID, id_map};
use super::{Context, PlanError, resources, text};
use crate::host::CgroupMode;

/// Of `linux/mount.h`, and not in every C library.
const ATTR_NOSYMFOLLOW: u64 = 0x0020_0000;
/// What an option without an argument does to the mount.
const FLAGS: [(&str, Change); 19] = [
    ("ro", Change::Set(libc::MOUNT_ATTR_RDONLY)),
    ("rw", Change::Clear(libc::MOUNT_ATTR_RDONLY)),
    ("nosuid", Change::Set(libc::MOUNT_ATTR_NOSUID)),
    ("suid", Change::Clear(libc::MOUNT_ATTR_NOSUID)),
    ("nodev", Change::Set(libc::MOUNT_ATTR_NODEV)),
    ("dev", Change::Clear(libc::MOUNT_ATTR_NODEV)),
    ("noexec", Change::Set(libc::MOUNT_ATTR_NOEXEC)),
    ("exec", Change::Clear(libc::MOUNT_ATTR_NOEXEC)),
    ("nodiratime", Change::Set(libc::MOUNT_ATTR_NODIRATIME)),
    ("diratime", Change::Clear(libc::MOUNT_ATTR_NODIRATIME)),
    ("nosymfollow", Change::Set(ATTR_NOSYMFOLLOW)),
    ("symfollow", Change::Clear(ATTR_NOSYMFOLLOW)),
    ("noatime", Change::Time(libc::MOUNT_ATTR_NOATIME)),
    ("atime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    ("relatime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    ("norelatime", Change::Time(libc::MOUNT_ATTR_STRICTATIME)),
    ("strictatime", Change::Time(libc::MOUNT_ATTR_STRICTATIME)),
    ("nostrictatime", Change::Time(libc::MOUNT_ATTR_RELATIME)),
    ("defaults", Change::Nothing),
];
const PROPAGATIONS: [(&str, u64); 4] = [
    ("private", libc::MS_PRIVATE),
    ("slave", libc::MS_SLAVE),
    ("shared", libc::MS_SHARED),
    ("unbindable", libc::MS_UNBINDABLE),
];

#[derive(Clone, Copy, Debug)]
enum Change {
    Set(u64),
    Clear(u64),
    /// One of the access time modes.
    Time(u64),
    Nothing,
}

/// Options, read.
#[derive(Clone, Debug, Default)]
struct Options {
    set: u64,
    clear: u64,
    recursive: bool,
    bind: bool,
    idmap: bool,
    propagation: u32,
    data: Vec<(String, Option<String>)>,
}

impl Options {
    fn parse(target: &str, options: &[String]) -> Result<Self, PlanError> {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(target, option)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, target: &str, option: &str) -> Result<(), PlanError> {
        let (plain, all) = match option.strip_prefix('r') {
            Some(rest) if is_recursive_form(rest) => (rest, true),
            _ => (option, false),
        };
        if let Some((_, change)) = FLAGS.iter().find(|(name, _)| *name == plain) {
            self.change(*change);
            self.recursive |= all;
        } else if let Some((_, flag)) = PROPAGATIONS.iter().find(|(name, _)| *name == plain) {
            self.propagate(target, *flag, all)?;
        } else if plain == "bind" {
            self.bind = true;
            self.recursive |= all;
        } else if option == "idmap" || option == "ridmap" {
            self.idmap = true;
            self.recursive |= option == "ridmap";
        } else if option == "tmpcopyup" {
            return Err(PlanError::unsupported(
                format!("mounts `{target}`"),
                format!("`{option}` isn't supported"),
            ));
        } else {
            self.data.push(match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.to_owned(), None),
            });
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Set(bits) => (self.set, self.clear) = (self.set | bits, self.clear & !bits),
            Change::Clear(bits) => (self.set, self.clear) = (self.set & !bits, self.clear | bits),
            Change::Time(mode) => {
                self.set = self.set & !libc::MOUNT_ATTR__ATIME | mode;
                self.clear |= libc::MOUNT_ATTR__ATIME;
            }
            Change::Nothing => {}
        }
    }

    fn propagate(&mut self, target: &str, flag: u64, all: bool) -> Result<(), PlanError> {
        if flag == libc::MS_SHARED {
            let reason = "what a container mounts isn't shown to the host; use `private` or `slave`";
            return Err(PlanError::unsupported(format!("mounts `{target}`"), reason));
        }
        let flag = flag | if all { libc::MS_REC } else { 0 };
        // Flags of mount(2) are 32 bits wide.
        self.propagation = u32::try_from(flag).unwrap_or(0);
        Ok(())
    }
}

/// `rbind`, `rro`, `rprivate`, …; `ro`, `rw` and `relatime` begin with the same letter.
fn is_recursive_form(rest: &str) -> bool {
    rest == "bind"
        || PROPAGATIONS.iter().any(|(name, _)| *name == rest)
        || FLAGS.iter().any(|(name, _)| *name == rest && *name != "defaults")
}

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
    let what = if options.bind || typ == Some("bind") {
        if let Some((option, _)) = options.data.first() {
            let reason = format!("the option `{option}` means nothing for a bind mount");
            return Err(PlanError::unsupported(format!("mounts `{target}`"), reason));
        }
        let source = source.ok_or(PlanError::Missing { field: "mounts[].source" })?;
        let source = context.options.resolve(source);
        match ids(context, mount, &target, &options)? {
            Some(ids) => MountKind::Mapped { source, recursive: options.recursive, ids },
            None => bind(context, source, &mut options),
        }
    } else {
        if options.idmap || mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
            let reason = "ids are mapped in bind mounts only";
            return Err(PlanError::unsupported(format!("mounts `{target}`"), reason));
        }
        let typ = typ.ok_or(PlanError::Missing { field: "mounts[].type" })?;
        new(context, typ, &mut options)
    };
    wall(context, &target, &what, &mut options);
    if matches!(what, MountKind::New { .. }) {
        options.clear = 0;
    }
    let Options { set, clear, recursive, propagation, .. } = options;
    Ok(MountPlan { target, what, set, set_top: 0, clear, recursive, propagation })
}

/// The ids of a bind mount's own: those that it says, or with `idmap` alone the container's.
fn ids(
    context: &Context<'_>,
    mount: &Mount,
    target: &str,
    options: &Options,
) -> Result<Option<IdMaps>, PlanError> {
    let failed = |reason: &str| Err(PlanError::unsupported(format!("mounts `{target}`"), reason));
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

fn bind(context: &Context<'_>, source: PathBuf, options: &mut Options) -> MountKind {
    // In a user namespace a mount can't be taken without those below it, which may hide something.
    options.recursive |= context.namespaces.user.is_some();
    MountKind::Bind { source, recursive: options.recursive }
}

/// A new file system, or the host's where an ordinary user may not make one: those that show a namespace can be made
/// only by whoever owns the namespace.
fn new(context: &Context<'_>, typ: &str, options: &mut Options) -> MountKind {
    let user = context.namespaces.user.is_some();
    let instead = match typ {
        "proc" if user && !context.namespaces.makes(PID) => Some("/proc"),
        "sysfs" if user && !context.namespaces.makes(NETWORK) => Some("/sys"),
        "mqueue" if user && !context.namespaces.makes(IPC) => Some("/dev/mqueue"),
        _ => None,
    };
    if let Some(path) = instead {
        options.recursive = true;
        return MountKind::Bind { source: path.into(), recursive: true };
    }
    let mut data = std::mem::take(&mut options.data);
    if typ == "devpts" {
        data.retain(|(key, value)| key != "gid" || is_mapped(context, value.as_deref()));
    }
    MountKind::New { fs_type: typ.to_owned(), options: data }
}

/// docker's `gid=5` is a group that single-user namespaces don't have; the terminals are the user's own then.
fn is_mapped(context: &Context<'_>, gid: Option<&str>) -> bool {
    let Some(maps) = &context.namespaces.user else { return true };
    let Some(gid) = gid.and_then(|gid| gid.parse::<u32>().ok()) else { return true };
    maps.gids.iter().any(|map| gid.checked_sub(map.container).is_some_and(|offset| offset < map.count))
}

/// The wall around devices: nowhere but where the spec says `dev`, and in `/dev` once its files are made.
fn wall(context: &Context<'_>, target: &str, what: &MountKind, options: &mut Options) {
    let asked = options.clear & libc::MOUNT_ATTR_NODEV != 0;
    let devpts = matches!(what, MountKind::New { fs_type, .. } if fs_type == "devpts");
    if context.device_wall && !asked && !devpts && !is_dev(target) {
        options.set |= libc::MOUNT_ATTR_NODEV;
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
    let attributes = options.set;
    let new = |target: String, fs_type: &str, data: Vec<(String, Option<String>)>| {
        let what = MountKind::New { fs_type: fs_type.to_owned(), options: data };
        MountPlan { target, what, set: attributes, set_top: 0, clear: 0, recursive: false, propagation: 0 }
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
    let (plain, all) = word.strip_prefix('r').map_or((word, false), |rest| (rest, true));
    let found = PROPAGATIONS.iter().find(|(name, _)| *name == plain);
    let Some((_, flag)) = found else {
        let value = word.to_owned();
        return Err(PlanError::Invalid {
            field: "linux.rootfsPropagation",
            value,
            reason: "is no propagation",
        });
    };
    let flag = flag | if all { libc::MS_REC } else { 0 };
    Ok(u32::try_from(flag).unwrap_or(0))
}

/// The words that options may be, for those who ask what is understood.
pub(crate) fn mount_options() -> Vec<String> {
    let mut words: Vec<String> = ["bind", "rbind", "idmap", "ridmap"].map(str::to_owned).to_vec();
    let names = FLAGS.iter().map(|(name, _)| *name).chain(PROPAGATIONS.iter().map(|(name, _)| *name));
    for name in names {
        words.push(name.to_owned());
        if is_recursive_form(name) {
            words.push(format!("r{name}"));
        }
    }
    words.sort();
    words
}
