//! The payload's half of a [`crate::plan::Plan`]: what the process that becomes the payload does, in this order.
//!
//! Everything is resolved: users are numbers, names of capabilities and flags are bits, the seccomp policy is a
//! compiled filter. Bits are the kernel's own (`clone(2)`, `capabilities(7)`, `mount_setattr(2)`).

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hooks::Hooks;
pub use crate::mount_plan::{DevicePlan, LinksPlan, MountKind, MountPlan, RootFs};

/// What the process that becomes the payload does, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadPlan {
    /// Whether the process stays in the host's namespaces and root, behind its landlock domain and its filter alone:
    /// for engine processes where an ordinary user can make no namespaces. Everything about namespaces, mounts and
    /// changes of user is left out then, and paths are the host's.
    pub in_place: bool,
    /// The user namespace to make, or what is mapped in the one to enter; without one the container's ids are the host's.
    pub user_namespace: Option<IdMaps>,
    /// The namespaces to make: `CLONE_NEW*` bits without `CLONE_NEWUSER`.
    pub new_namespaces: u32,
    /// The namespaces to enter: one `CLONE_NEW*` bit each, and the file that stands for it. In a mount namespace that
    /// is entered nothing is mounted, and [`RootFs::Path`] is a directory in it.
    pub joined_namespaces: Vec<(u32, PathBuf)>,
    /// What the clocks of the new time namespace are ahead of the host's: `monotonic` or `boottime`, seconds,
    /// nanoseconds.
    pub time_offsets: Vec<(String, i64, u32)>,
    /// The cgroups to make.
    pub cgroup: CgroupPlan,
    /// Whether to bring up the loopback interface of the new network namespace.
    pub loopback: bool,
    /// The host name of the new uts namespace.
    pub hostname: Option<String>,
    /// The NIS domain name of the new uts namespace.
    pub domainname: Option<String>,
    /// The root file system.
    pub root: RootFs,
    /// Mount points, and `MOUNT_ATTR_*` bits that they get once everything in them is made: read-only roots, and
    /// `nodev` around device files, the wall that a devices cgroup would be.
    pub seals: Vec<(String, u64)>,
    /// The propagation that the root gets in the end: `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or `MS_UNBINDABLE`, with
    /// `MS_REC` or without.
    pub propagation: u32,
    /// The mounts, in this order.
    pub mounts: Vec<MountPlan>,
    /// The device files in `/dev`.
    pub devices: Vec<DevicePlan>,
    /// Symbolic links to make: where, and what they say.
    pub links: Vec<(String, String)>,
    /// Kernel parameters of the new namespaces: the path below `/proc/sys`, and the value.
    pub sysctls: Vec<(String, String)>,
    /// Paths to hide.
    pub masked: Vec<String>,
    /// Paths to make read-only.
    pub read_only: Vec<String>,
    /// The program.
    pub process: ProcessPlan,
    /// Programs of the host to run meanwhile.
    pub hooks: Hooks,
    /// Network devices that come from the supervisor's network namespace: what they are called there, and here.
    pub net_devices: Vec<(String, String)>,
    /// The group of processes that share caches and bandwidth of memory.
    pub resctrl: Option<ResctrlPlan>,
}

/// A group of the resctrl file system, in which the payload and all of the container are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResctrlPlan {
    /// Where the file system is mounted.
    pub root: PathBuf,
    /// The group's directory in it; empty for the one that every process is in.
    pub group: PathBuf,
    /// Whether the group is the container's alone, and goes with it.
    pub own: bool,
    /// Lines that are written into a group that is made, and that another one has to have.
    pub schemata: Vec<String>,
    /// Lines that are written in any case.
    pub last: Vec<String>,
    /// The name of a group for monitoring in it, which goes with the container.
    pub monitor: Option<String>,
}

impl ResctrlPlan {
    /// The group's directory.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.group)
    }

    /// The group for monitoring.
    pub fn monitor_path(&self) -> Option<PathBuf> {
        self.monitor.as_ref().map(|name| self.path().join("mon_groups").join(name))
    }

    /// Removes what is the container's alone.
    ///
    /// # Errors
    /// The directory, and why it can't be removed.
    pub fn remove(&self) -> Result<(), (PathBuf, std::io::Error)> {
        for path in self.monitor_path().into_iter().chain(self.own.then(|| self.path())) {
            match std::fs::remove_dir(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err((path, error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The program, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// The program and its arguments. A program without a slash is looked up in the environment's `PATH`, in the
    /// container.
    pub args: Vec<String>,
    /// A program of the host to execute instead of `args[0]`: a static one, for it sees nothing of the host.
    pub program: Option<PathBuf>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory. Made when it is missing.
    pub cwd: String,
    /// Bytes that an engine process finds on [`crate::plan::INPUT_FD`]. With it comes
    /// [`crate::plan::REPORT_FD`].
    pub input: Option<Bytes>,
    /// Who it runs as.
    pub user: UserPlan,
    /// Its capabilities.
    pub capabilities: CapabilityPlan,
    /// Whether it and its children can never gain privileges by executing a program.
    pub no_new_privileges: bool,
    /// The seccomp filter.
    pub seccomp: Option<SeccompPlan>,
    /// What it may do with files and sockets beyond its other walls.
    pub landlock: Option<LandlockPlan>,
    /// Resource limits: `RLIMIT_*`, soft, hard.
    pub rlimits: Vec<(u32, u64, u64)>,
    /// What the kernel's OOM killer adds to its badness.
    pub oom_score_adj: Option<i32>,
    /// How the kernel schedules it.
    pub scheduling: SchedulingPlan,
    /// The processors of other programs that are executed in the container.
    pub exec_affinity: ExecAffinity,
    /// The AppArmor profile that it is executed under.
    pub apparmor: Option<String>,
    /// The SELinux label that it is executed with.
    pub selinux: Option<String>,
    /// Who answers for the system calls that the seccomp filter doesn't decide.
    pub listener: Option<ListenerPlan>,
}

/// Where the listener of a seccomp filter goes, and what is said of the container there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerPlan {
    /// The socket.
    pub path: PathBuf,
    /// Words of the spec's for whoever reads there.
    pub metadata: Option<String>,
    /// The version of the specification.
    pub version: String,
    /// The container's id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its annotations.
    pub annotations: Vec<(String, String)>,
    /// Whether the filter asks about sendmsg(2), so that its listener can't be sent by who has loaded it.
    pub by_number: bool,
}

/// The processors of a program that is executed in a container: a bit for each, or nothing for what the kernel gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAffinity {
    /// Until it is in the container's cgroups.
    pub first: Vec<u64>,
    /// From then on.
    pub last: Vec<u64>,
}

/// How the kernel schedules a process, and where its memory comes from. What isn't there stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulingPlan {
    /// Its share of the processors.
    pub cpu: Option<CpuScheduling>,
    /// Its I/O priority, as `ioprio_set(2)` takes it: the class in the upper three bits.
    pub io_priority: Option<u16>,
    /// Its memory policy.
    pub memory: Option<MemoryPolicy>,
    /// Its personality, as `personality(2)` takes it.
    pub personality: Option<u32>,
}

/// `struct sched_attr` of `sched_setattr(2)`. Times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuScheduling {
    /// `SCHED_*`
    pub policy: u32,
    /// `SCHED_FLAG_*`
    pub flags: u64,
    /// The nice value, of the policies that have one.
    pub nice: i32,
    /// The static priority, of the real-time policies.
    pub priority: u32,
    /// Of the deadline policy.
    pub runtime: u64,
    /// Of the deadline policy.
    pub deadline: u64,
    /// Of the deadline policy.
    pub period: u64,
}

/// What `set_mempolicy(2)` takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// `MPOL_*`, with `MPOL_F_*` bits.
    pub mode: u32,
    /// A bit for each node.
    pub nodes: Vec<u64>,
}

/// Numbers in the container's user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPlan {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The file mode creation mask; 0022 when not given.
    pub umask: Option<u32>,
}

/// Sets of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityPlan {
    /// The bounding set.
    pub bounding: u64,
    /// The effective set.
    pub effective: u64,
    /// The permitted set.
    pub permitted: u64,
    /// The inheritable set.
    pub inheritable: u64,
    /// The ambient set.
    pub ambient: u64,
}

/// A compiled seccomp policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompPlan {
    /// `struct sock_filter`, eight bytes each, in this machine's byte order.
    pub filter: Bytes,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub flags: u32,
}

/// A landlock domain: what isn't granted is denied, as far as the kernel's version of landlock reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockPlan {
    /// Paths that may be read, as the payload sees them.
    pub readable: Vec<String>,
    /// Paths that may be read and written, as the payload sees them.
    pub writable: Vec<String>,
    /// Whether TCP ports may be bound and connected to.
    pub network: bool,
}

/// A user namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// Users.
    pub uids: Vec<IdMap>,
    /// Groups.
    pub gids: Vec<IdMap>,
}

/// A range of ids in the container and its place on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    /// The first id in the container.
    pub container: u32,
    /// The first id on the host.
    pub host: u32,
    /// How many.
    pub count: u32,
}

/// The cgroups of a container. Nothing in it is nothing made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// The directory in the unified hierarchy (v2): freezing and killing, and everything else where there is no v1.
    pub unified: Option<CgroupDir>,
    /// The directories in v1 hierarchies.
    pub legacy: Vec<CgroupDir>,
    /// A program that the kernel asks about each use of a device (`BPF_PROG_TYPE_CGROUP_DEVICE`), for the unified one:
    /// `struct bpf_insn`, eight bytes each, in this machine's byte order.
    pub devices: Option<Bytes>,
}

/// A cgroup to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDir {
    /// An existing directory.
    pub parent: PathBuf,
    /// What to make below it. All but the last may exist, and stay.
    pub name: PathBuf,
    /// The controller, or empty for the unified hierarchy.
    pub controller: String,
    /// Files to write, in this order, and what to write. On v2 a file `memory.max` needs the controller `memory` in
    /// every `cgroup.subtree_control` from `parent` down.
    pub settings: Vec<(String, String)>,
}

impl CgroupDir {
    /// The cgroup's directory.
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }
}

impl CgroupPlan {
    /// All directories that belong to the container alone.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.unified.iter().chain(&self.legacy).map(CgroupDir::path).collect()
    }

    /// Sets what is written to a file of one of them; a file of another directory is none of its business.
    pub fn set(&mut self, path: &Path, value: String) {
        let (Some(dir), Some(file)) = (path.parent(), path.file_name()) else { return };
        let file = file.to_string_lossy();
        for one in self.unified.iter_mut().chain(&mut self.legacy).filter(|one| one.path() == dir) {
            match one.settings.iter_mut().find(|(name, _)| *name == file) {
                Some((_, old)) => old.clone_from(&value),
                None => one.settings.push((file.to_string(), value.clone())),
            }
        }
    }
}

/// Bytes, encoded as one block.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}
