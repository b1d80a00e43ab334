//! Docker's default policy.
//!
//! An allow list: everything else fails with EPERM, and what is newer than the list with ENOSYS. What
//! isn't here: kernel keyrings (they aren't namespaced), io_uring (past bugs, and it goes around
//! filters), userfaultfd, kexec, swap, mounts, modules, clocks and hostname without their
//! capabilities. Two differences from docker 28, both from its successor: AF_ALG sockets are refused,
//! as AF_VSOCK ones are, since nothing in a container needs the kernel's crypto sockets, whose bugs
//! reach the host.

use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall,
};

use super::abi::Abi;
use super::build::{Rule, arg, masked, policy};
use super::docker_names::GROUPS;

/// Address families that a container may not open: the kernel's crypto (`AF_ALG`) and the
/// hypervisor's (`AF_VSOCK`). 39, AF_NFC, lies between them.
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;

/// The flags of clone(2) that make namespaces: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;

/// What personality(2) may be asked for: PER_LINUX; PER_LINUX32; both with UNAME26; to be told.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// `ENOSYS`
const ENOSYS: u32 = 38;

/// What a capability brings, beyond the kernel's own check of it.
#[rustfmt::skip]
const BY_CAPABILITY: &[(Capability, &[&str])] = &[
    (Capability::DacReadSearch, &["open_by_handle_at"]),
    (
        Capability::SysAdmin,
        &[
            "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
            "lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount",
            "mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl", "quotactl_fd",
            "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2", "unshare",
        ],
    ),
    (Capability::SysBoot, &["reboot"]),
    (Capability::SysChroot, &["chroot"]),
    (Capability::SysModule, &["delete_module", "init_module", "finit_module"]),
    (Capability::SysPacct, &["acct"]),
    (
        Capability::SysPtrace,
        &["kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"],
    ),
    (Capability::SysRawio, &["iopl", "ioperm"]),
    (Capability::SysTime, &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    (Capability::SysTtyConfig, &["vhangup"]),
    (Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (Capability::Syslog, &["syslog"]),
    (Capability::Bpf, &["bpf"]),
    (Capability::Perfmon, &["perf_event_open"]),
];

/// A kernel's version, as far as policies ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl KernelVersion {
    /// From `uname -r`: what follows the second number doesn't matter.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let (major, rest) = release.split_once('.')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(Self { major: major.parse().ok()?, minor: rest[..end].parse().ok()? })
    }
}

/// Before 4.8 a tracer could change a syscall after its filter had let it pass.
const PTRACE_OBEYS_FILTERS: KernelVersion = KernelVersion { major: 4, minor: 8 };

/// Docker's default policy for a container with this bounding set, on this kernel and machine.
#[must_use]
pub fn docker_default(capabilities: &Capabilities, kernel: KernelVersion, native: Abi) -> LinuxSeccomp {
    let mut rules: Vec<LinuxSyscall> = GROUPS.iter().map(|names| Rule::allow(names).into()).collect();
    if kernel >= PTRACE_OBEYS_FILTERS {
        rules.push(Rule::allow(&["process_vm_readv", "process_vm_writev", "ptrace"]).into());
    }
    rules.extend(sockets());
    rules.extend(PERSONALITIES.map(|persona| {
        let is = arg(0, LinuxSeccompOperator::ScmpCmpEq, persona);
        Rule::allow(&["personality"]).when(is)
    }));
    rules.push(Rule::allow(of_architecture(native)).into());
    for (_, names) in BY_CAPABILITY.iter().filter(|(capability, _)| capabilities.contains(capability)) {
        rules.push(Rule::allow(names).into());
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        rules.push(Rule::allow(&["clone"]).when(masked(0, CLONE_NAMESPACES, 0)));
        // Its flags lie behind a pointer, so programs are told to use clone.
        rules.push(Rule::errno(&["clone3"], ENOSYS).into());
    }
    policy(LinuxSeccompAction::ScmpActErrno, architectures(native), rules)
}

fn sockets() -> [LinuxSyscall; 3] {
    [
        arg(0, LinuxSeccompOperator::ScmpCmpLt, AF_ALG),
        arg(0, LinuxSeccompOperator::ScmpCmpEq, AF_ALG + 1),
        arg(0, LinuxSeccompOperator::ScmpCmpGt, AF_VSOCK),
    ]
    .map(|family| Rule::allow(&["socket"]).when(family))
}

/// Calls that only one architecture has, and those that only one needs.
fn of_architecture(native: Abi) -> &'static [&'static str] {
    match native {
        Abi::X86_64 | Abi::X32 => &["arch_prctl", "modify_ldt"],
        Abi::X86 => &["modify_ldt"],
        Abi::Aarch64 | Abi::Arm => {
            &["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls"]
        }
    }
}

/// The native architecture with those whose programs it runs too.
fn architectures(native: Abi) -> Vec<Arch> {
    match native {
        Abi::X86_64 => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        Abi::Aarch64 => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        Abi::X86 | Abi::X32 | Abi::Arm => Vec::new(),
    }
}
