//! The spec of a container that nobody said anything special about: docker's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use brig_runtime::{BlockDevice, BlockIo, BlockRateKind, Limits};
use oci_spec::runtime::{
    Capability, Linux, LinuxBlockIo, LinuxCapabilities, LinuxCpu, LinuxMemory, LinuxNamespace,
    LinuxNamespaceType, LinuxPids, LinuxResources, LinuxSeccomp, LinuxThrottleDeviceBuilder,
    LinuxWeightDeviceBuilder, Mount, PosixRlimit, Process, Root, Spec, User,
};

use crate::capabilities::{ALL, DOCKER_DEFAULT};
use crate::host::Host;
use crate::seccomp::{Abi, docker_default};

/// The version of the specification that is followed.
const OCI_VERSION: &str = "1.2.0";
/// docker's hidden paths.
const MASKED: [&str; 14] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
    "/sys/devices/system/cpu/cpu1/thermal_throttle",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// docker's read-only paths.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// docker's `--shm-size`.
const SHM_SIZE: u64 = 64 << 20;

/// Which network a container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// A namespace of its own, with nothing but a loopback interface.
    #[default]
    Loopback,
    /// The host's.
    Host,
}

/// Which seccomp policy a container has.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum SeccompChoice {
    /// docker's, for the container's capabilities.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// Another.
    Policy(Box<LinuxSeccomp>),
}

/// A directory or file of the host in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Whether it can't be written.
    pub read_only: bool,
    /// How mounts below it are passed on: `rslave`, …; `rprivate` where nothing is said.
    pub propagation: Option<String>,
}

/// A file system in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tmpfs {
    /// In the container.
    pub target: PathBuf,
    /// Options beside `nosuid`, `nodev` and `noexec`, which they may take back.
    pub options: Vec<String>,
}

/// What a container is to be, in the words of `docker run`.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerOptions {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The host name.
    pub hostname: String,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// The network.
    pub network: Network,
    /// Directories and files of the host.
    pub binds: Vec<Bind>,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Capabilities beside docker's.
    pub add_capabilities: Vec<Capability>,
    /// Capabilities of docker's that it doesn't get.
    pub drop_capabilities: Vec<Capability>,
    /// Whether no program can gain privileges.
    pub no_new_privileges: bool,
    /// The seccomp policy.
    pub seccomp: SeccompChoice,
    /// Limits. The time is the supervisor's business.
    pub limits: Limits,
    /// Resource limits.
    pub rlimits: Vec<PosixRlimit>,
    /// The size of `/dev/shm`, in bytes.
    pub shm_size: u64,
    /// What the kernel's OOM killer adds to its badness.
    pub oom_score_adj: Option<i32>,
    /// Annotations.
    pub annotations: HashMap<String, String>,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            hostname: String::new(),
            domainname: None,
            terminal: false,
            read_only: false,
            network: Network::default(),
            binds: Vec::new(),
            tmpfs: Vec::new(),
            add_capabilities: Vec::new(),
            drop_capabilities: Vec::new(),
            no_new_privileges: false,
            seccomp: SeccompChoice::default(),
            limits: Limits::default(),
            rlimits: Vec::new(),
            shm_size: SHM_SIZE,
            oom_score_adj: None,
            annotations: HashMap::new(),
        }
    }
}

/// The names of all capabilities, for `--cap-add ALL`.
pub fn all_capabilities() -> &'static [Capability] {
    &ALL
}

/// docker's spec for these options. `root.path` is empty: the engine mounts what it likes.
pub fn default_spec(options: &ContainerOptions, host: &Host) -> Spec {
    let mut root = Root::default();
    root.set_path(PathBuf::new()).set_readonly(Some(options.read_only));
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process(options)))
        .set_mounts(Some(mounts(options)))
        .set_hostname(Some(options.hostname.clone()).filter(|name| !name.is_empty()))
        .set_domainname(options.domainname.clone())
        .set_annotations(Some(options.annotations.clone()).filter(|annotations| !annotations.is_empty()))
        .set_linux(Some(linux(options, host)));
    spec
}

fn capabilities(options: &ContainerOptions) -> std::collections::HashSet<Capability> {
    let wanted = DOCKER_DEFAULT.iter().filter(|capability| !options.drop_capabilities.contains(capability));
    wanted.chain(&options.add_capabilities).copied().collect()
}

fn process(options: &ContainerOptions) -> Process {
    let mut user = User::default();
    user.set_uid(options.uid)
        .set_gid(options.gid)
        .set_additional_gids(Some(options.groups.clone()).filter(|groups| !groups.is_empty()));
    let set = capabilities(options);
    let mut sets = LinuxCapabilities::default();
    // docker raises nothing ambient and, since CVE-2022-24769, leaves nothing inheritable.
    sets.set_bounding(Some(set.clone()))
        .set_effective(Some(set.clone()))
        .set_permitted(Some(set))
        .set_inheritable(None)
        .set_ambient(None);
    let mut process = Process::default();
    process
        .set_terminal(Some(options.terminal))
        .set_user(user)
        .set_args(Some(options.args.clone()))
        .set_env(Some(options.env.clone()))
        .set_cwd(options.cwd.clone())
        .set_capabilities(Some(sets))
        .set_rlimits(Some(options.rlimits.clone()).filter(|limits| !limits.is_empty()))
        .set_oom_score_adj(options.oom_score_adj)
        .set_no_new_privileges(Some(options.no_new_privileges))
        .set_apparmor_profile(None)
        .set_selinux_label(None);
    process
}

fn mounts(options: &ContainerOptions) -> Vec<Mount> {
    let shm = format!("size={}", options.shm_size);
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &shm]),
    ];
    let mut more: Vec<_> = options.binds.iter().map(bind).chain(options.tmpfs.iter().map(tmpfs)).collect();
    // What is mounted below another one comes after it, however they were given.
    more.sort_by_key(|mount| depth(mount.destination()));
    mounts.extend(more);
    mounts
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

fn tmpfs(tmpfs: &Tmpfs) -> Mount {
    let mut options = ["noexec", "nosuid", "nodev", "rprivate"].map(str::to_owned).to_vec();
    options.extend(tmpfs.options.iter().cloned());
    let mut mount = Mount::default();
    mount
        .set_destination(tmpfs.target.clone())
        .set_typ(Some("tmpfs".to_owned()))
        .set_source(Some(PathBuf::from("tmpfs")))
        .set_options(Some(options));
    mount
}

fn mount(target: &str, typ: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(typ.to_owned()))
        .set_source(Some(PathBuf::from(typ)))
        .set_options(Some(options.iter().map(|option| (*option).to_owned()).collect()));
    mount
}

fn bind(bind: &Bind) -> Mount {
    let propagation = bind.propagation.as_deref().unwrap_or("rprivate");
    // What can't be written on the host can't be written here, whatever is asked for.
    let options = ["rbind", propagation].into_iter().chain(bind.read_only.then_some("rro"));
    let mut mount = Mount::default();
    mount
        .set_destination(bind.target.clone())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(bind.source.clone()))
        .set_options(Some(options.map(str::to_owned).collect()));
    mount
}

fn linux(options: &ContainerOptions, host: &Host) -> Linux {
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(options, host)))
        .set_resources(Some(resources(&options.limits)))
        .set_masked_paths(Some(MASKED.map(str::to_owned).to_vec()))
        .set_readonly_paths(Some(READ_ONLY.map(str::to_owned).to_vec()))
        .set_seccomp(seccomp(options, host))
        .set_cgroups_path(None)
        .set_devices(None)
        .set_rootfs_propagation(shares_with_host(options).then(|| "shared".to_owned()))
        .set_sysctl(None)
        .set_mount_label(None)
        .set_intel_rdt(None)
        .set_uid_mappings(None)
        .set_gid_mappings(None);
    linux
}

/// docker's word for a container whose mounts the host may hear of, where a bind mount asks for it.
fn shares_with_host(options: &ContainerOptions) -> bool {
    let shared = |bind: &Bind| matches!(bind.propagation.as_deref(), Some("shared" | "rshared"));
    options.binds.iter().any(shared)
}

fn namespaces(options: &ContainerOptions, host: &Host) -> Vec<LinuxNamespace> {
    let mut kinds = vec![
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ];
    if options.network != Network::Host {
        kinds.push(LinuxNamespaceType::Network);
    }
    if host.rootless {
        kinds.push(LinuxNamespaceType::User);
    }
    kinds.into_iter().map(namespace).collect()
}

fn namespace(typ: LinuxNamespaceType) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(typ).set_path(None);
    namespace
}

/// Limits in the specification's words.
pub(crate) fn resources(limits: &Limits) -> LinuxResources {
    let number = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
    let mut resources = LinuxResources::default();
    resources.set_devices(None);
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(limits.memory.map(number))
        .set_swap(limits.memory_swap)
        .set_reservation(limits.memory_reservation.map(number))
        .set_swappiness(limits.memory_swappiness);
    resources.set_memory(Some(memory).filter(|memory| *memory != LinuxMemory::default()));
    let (quota, period) = limits.bandwidth();
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(limits.cpu_shares)
        .set_quota(quota.map(number))
        .set_period(period)
        .set_cpus(limits.cpuset_cpus.clone())
        .set_mems(limits.cpuset_mems.clone());
    resources.set_cpu(Some(cpu).filter(|cpu| *cpu != LinuxCpu::default()));
    resources.set_block_io(block_io(&limits.block_io));
    if let Some(limit) = limits.pids {
        let mut pids = LinuxPids::default();
        pids.set_limit(number(limit));
        resources.set_pids(Some(pids));
    }
    resources
}

/// The builders have a default for each field, and so can't fail.
fn block_io(limits: &BlockIo) -> Option<LinuxBlockIo> {
    if limits.is_empty() {
        return None;
    }
    let mut plan = LinuxBlockIo::default();
    plan.set_weight(limits.weight);
    let weights = limits.weights.iter().filter_map(|one| {
        let BlockDevice { major, minor, .. } = one.device;
        let device = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(one.weight);
        device.build().ok()
    });
    plan.set_weight_device(Some(weights.collect()));
    let rates = |kind| {
        let rates = limits.rates.iter().filter(|one| one.kind == kind).filter_map(|one| {
            let BlockDevice { major, minor, .. } = one.device;
            let device = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(one.rate);
            device.build().ok()
        });
        Some(rates.collect())
    };
    plan.set_throttle_read_bps_device(rates(BlockRateKind::ReadBytes))
        .set_throttle_write_bps_device(rates(BlockRateKind::WriteBytes))
        .set_throttle_read_iops_device(rates(BlockRateKind::ReadOperations))
        .set_throttle_write_iops_device(rates(BlockRateKind::WriteOperations));
    Some(plan)
}

fn seccomp(options: &ContainerOptions, host: &Host) -> Option<LinuxSeccomp> {
    match &options.seccomp {
        SeccompChoice::Default => {
            Abi::native().map(|abi| docker_default(&capabilities(options), host.kernel, abi))
        }
        SeccompChoice::Unconfined => None,
        SeccompChoice::Policy(policy) => Some((**policy).clone()),
    }
}
