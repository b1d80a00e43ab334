//! What this host can do: looked at once, used by plans, told by `brig doctor`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD};

use crate::seccomp::KernelVersion;
use crate::sys;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Where the supervisors are, beside the cgroups of their containers. No container's id.
const SUPERVISORS: &str = "brig/supervisors";
/// The hierarchies of v1 that there may be. `systemd` is one without a controller.
const HIERARCHIES: [&str; 15] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
    "rdma",
    "systemd",
];
/// `statfs` of a v2 hierarchy (`linux/magic.h`).
const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;
/// What the kernel says of AppArmor, and where SELinux's file system is.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
const SELINUX: &str = "/sys/fs/selinux";
/// `statfs` of it (`linux/magic.h`).
const SELINUX_MAGIC: rustix::fs::FsWord = 0xf97c_ff8c;
/// A user namespace whose root can do something: security modules may give one without any powers.
pub(crate) const NAMESPACES: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS).unsigned_abs() as u64;

/// Who starts containers, and with what.
#[derive(Clone, Debug)]
pub struct Host {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// Whether containers need a user namespace: this process isn't root, or root without its powers.
    pub rootless: bool,
    /// The kernel's version.
    pub kernel: KernelVersion,
    /// The cgroup hierarchies.
    pub cgroups: Cgroups,
    /// Whether namespaces can be made, once somebody has asked.
    pub(crate) namespaces: OnceLock<bool>,
    /// Whether AppArmor is switched on, and whether SELinux is.
    pub(crate) security: [OnceLock<bool>; 2],
}

impl Host {
    /// Looks. A dozen system calls.
    pub fn probe() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let rootless = uid != 0 || !has_sys_admin();
        let release = rustix::system::uname();
        let kernel = release.release().to_str().ok().and_then(KernelVersion::parse);
        Self {
            uid,
            gid: rustix::process::getegid().as_raw(),
            rootless,
            kernel: kernel.unwrap_or(KernelVersion { major: 0, minor: 0 }),
            // The cgroups of the host are the host's root's, and not that of a user namespace.
            cgroups: Cgroups::probe(rootless || in_user_namespace()),
            namespaces: OnceLock::new(),
            security: [OnceLock::new(), OnceLock::new()],
        }
    }

    /// Whether AppArmor is switched on. Looked at once, at the first call.
    pub fn has_apparmor(&self) -> bool {
        *self.security[0].get_or_init(|| fs::read(APPARMOR).is_ok_and(|text| text.starts_with(b"Y")))
    }

    /// Whether SELinux is enabled: then its file system is mounted. Looked at once, at the first call.
    pub fn has_selinux(&self) -> bool {
        let look = || rustix::fs::statfs(SELINUX).is_ok_and(|stat| stat.f_type == SELINUX_MAGIC);
        *self.security[1].get_or_init(look)
    }

    /// Whether this user can make the namespaces of containers. Root can; an ordinary user needs a user namespace,
    /// which is tried once, at the first call, by a process that ends at once: there are too many ways to forbid it
    /// (limits, sysctls, security modules, sandboxes) to read it anywhere.
    pub fn can_make_namespaces(&self) -> bool {
        *self.namespaces.get_or_init(|| !self.rootless || sys::try_namespaces(NAMESPACES).is_ok())
    }

    /// The same host, as if it allowed no namespaces.
    #[must_use]
    pub fn without_namespaces(self) -> Self {
        Self { namespaces: OnceLock::from(false), ..self }
    }
}

/// Whether this process is in a user namespace that isn't the first one, by its map of users (`user_namespaces(7)`).
pub(crate) fn in_user_namespace() -> bool {
    // A kernel without user namespaces has no such file.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

fn has_sys_admin() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// How the host has mounted cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CgroupMode {
    /// One hierarchy with all controllers.
    V2,
    /// A hierarchy a controller, and a v2 one beside them.
    Hybrid,
    /// A hierarchy a controller.
    V1,
    /// None.
    None,
}

/// The cgroup hierarchies, and where containers' cgroups can be made in them.
#[derive(Clone, Debug)]
pub struct Cgroups {
    /// How they are mounted.
    pub mode: CgroupMode,
    /// An existing directory of the v2 hierarchy below which this process may make cgroups.
    pub unified: Option<PathBuf>,
    /// Where the v2 hierarchy is mounted.
    pub unified_mount: Option<PathBuf>,
    /// Whether this process may make cgroups in the v1 hierarchies.
    pub legacy_writable: bool,
}

impl Cgroups {
    fn probe(rootless: bool) -> Self {
        let root = Path::new(CGROUP_ROOT);
        let unified = root.join("unified");
        let (mode, mount) = if is_v2(root) {
            (CgroupMode::V2, Some(root.to_owned()))
        } else if is_v2(&unified) {
            (CgroupMode::Hybrid, Some(unified))
        } else if root.join("memory").is_dir() || root.join("freezer").is_dir() {
            (CgroupMode::V1, None)
        } else {
            (CgroupMode::None, None)
        };
        let unified = mount.as_deref().and_then(|mount| writable_v2(mount, rootless));
        let legacy_writable = !rootless && matches!(mode, CgroupMode::V1 | CgroupMode::Hybrid);
        Self { mode, unified, unified_mount: mount, legacy_writable }
    }

    /// The mount of a v1 controller's hierarchy.
    pub fn legacy(&self, controller: &str) -> Option<PathBuf> {
        let known = matches!(self.mode, CgroupMode::V1 | CgroupMode::Hybrid);
        let path = Path::new(CGROUP_ROOT).join(controller);
        (known && path.join("cgroup.procs").exists()).then_some(path)
    }

    /// The mount of a v1 controller's hierarchy, where this process may make cgroups in it.
    pub(crate) fn writable(&self, controller: &str) -> Option<PathBuf> {
        self.legacy(controller).filter(|path| self.legacy_writable && is_delegated(path))
    }

    /// All of them.
    pub(crate) fn writable_hierarchies(&self) -> Vec<(&'static str, PathBuf)> {
        HIERARCHIES.iter().filter_map(|name| Some((*name, self.writable(name)?))).collect()
    }

    /// Where a cgroup of this name is, if it is there, in every hierarchy in which this process may make some.
    pub(crate) fn places(&self, name: &Path) -> Vec<PathBuf> {
        let legacy = self.writable_hierarchies().into_iter().map(|(_, parent)| parent);
        self.unified.iter().cloned().chain(legacy).map(|parent| parent.join(name)).collect()
    }

    /// The cgroups for supervisors: in the hierarchy by which a service manager ends sessions and services, and in the
    /// one that limits memory. Each is one more move. None where this process may not make them.
    pub fn of_supervisors(&self) -> Vec<PathBuf> {
        let legacy: &[&str] = match self.mode {
            CgroupMode::V1 => &["systemd", "memory"],
            CgroupMode::Hybrid => &["memory"],
            CgroupMode::V2 | CgroupMode::None => &[],
        };
        let legacy = legacy.iter().filter(|_| self.legacy_writable).filter_map(|name| self.legacy(name));
        self.unified.iter().cloned().chain(legacy).map(|parent| parent.join(SUPERVISORS)).collect()
    }

    /// The controllers that v2 cgroups made by this process can have.
    pub fn unified_controllers(&self) -> Vec<String> {
        let Some(parent) = &self.unified else { return Vec::new() };
        let text = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }
}

fn is_v2(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|stat| stat.f_type == CGROUP2_MAGIC)
}

/// Root makes its cgroups at the root of the hierarchy. An ordinary user has what was delegated to it: the highest
/// directory above its own cgroup in which it may make others and move processes.
fn writable_v2(mount: &Path, rootless: bool) -> Option<PathBuf> {
    if !rootless {
        return is_delegated(mount).then(|| mount.to_owned());
    }
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = mount.join(own);
    own.ancestors()
        .take_while(|path| path.starts_with(mount) && is_delegated(path))
        .last()
        .map(Path::to_owned)
}

fn is_delegated(path: &Path) -> bool {
    [path.to_owned(), path.join("cgroup.procs")]
        .iter()
        .all(|path| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok())
}
