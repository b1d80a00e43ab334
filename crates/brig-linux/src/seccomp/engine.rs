//! The policy of the process that runs WebAssembly.
//!
//! A static program with a compiler's output mapped into it, one thread pool, files that were opened
//! for it, and sockets if the container has a network. If a guest breaks out of its sandbox it finds
//! the syscalls below and no others. The filter is loaded by the helper, so that the one execveat which
//! starts the engine must pass; the engine then forbids it to itself, before it reads a guest. Three tiers: what the engine needs is allowed; what only a
//! break-out would call ends the process, so that it shows; the rest fails with EPERM, and what is
//! newer than the table with ENOSYS.

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall};

use super::abi::Abi;
use super::build::{Rule, arg, masked, policy};

/// Memory, also executable: compiled modules are mapped from files, memory images from memfds.
#[rustfmt::skip]
const MEMORY: &[&str] = &[
    "brk", "madvise", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mmap", "mprotect",
    "mremap", "msync", "munlock", "munmap", "mseal", "pkey_alloc", "pkey_free", "pkey_mprotect",
];

/// Files below preopened directories. Nothing that changes owners, modes or extended attributes:
/// WASI has no call for it, and as root it would make programs with the set-user-id bit.
#[rustfmt::skip]
const FILES: &[&str] = &[
    "access", "chdir", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3",
    "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fcntl", "fdatasync", "flock", "fstat",
    "fstatfs", "fsync", "ftruncate", "getcwd", "getdents", "getdents64", "link", "linkat", "lseek", "lstat",
    "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2",
    "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "rename",
    "renameat", "renameat2", "rmdir", "sendfile", "splice", "stat", "statfs", "statx", "symlink",
    "symlinkat", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlink", "unlinkat",
    "utimensat", "vmsplice", "write", "writev",
];

/// Waiting for descriptors, and the descriptors that are only waited for.
#[rustfmt::skip]
const EVENTS: &[&str] = &[
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
    "eventfd2", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd4", "timerfd_create",
    "timerfd_gettime", "timerfd_settime",
];

/// Threads, but their making, which is below, and locks.
#[rustfmt::skip]
const THREADS: &[&str] = &[
    "exit", "exit_group", "futex", "futex_wait", "futex_waitv", "futex_wake", "futex_requeue",
    "get_robust_list", "gettid", "rseq", "sched_getaffinity", "sched_yield", "set_robust_list",
    "set_tid_address", "wait4", "waitid",
];

/// Signals: a trap in compiled code is one. kill isn't here: nobody else is to be signalled.
#[rustfmt::skip]
const SIGNALS: &[&str] = &[
    "pause", "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
];

/// abort sends itself a signal by one of these. The pid namespace sees to it that nobody else is in reach.
const ABORT: &[&str] = &["tgkill", "tkill"];

/// Time, and random numbers.
#[rustfmt::skip]
const TIME: &[&str] = &[
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "getrandom", "gettimeofday",
    "nanosleep", "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime",
];

/// Questions about the process itself, and what makes its walls higher.
#[rustfmt::skip]
const SELF: &[&str] = &[
    "arch_prctl", "capget", "getcpu", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp",
    "getpid", "getppid", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "getuid",
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "prctl", "seccomp", "sysinfo",
    "times", "uname",
];

/// Use of sockets that are there: those of a pair, and inherited ones.
#[rustfmt::skip]
const CONNECTED: &[&str] = &[
    "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg",
    "sendto", "setsockopt", "shutdown",
];

/// Making connections, with a network.
#[rustfmt::skip]
const NETWORK: &[&str] = &["accept", "accept4", "bind", "connect", "listen"];

/// What ends the process: other programs, other processes' memory, namespaces, mounts, the kernel's
/// own code, and interfaces that are known for what they gave to attackers.
#[rustfmt::skip]
const FATAL: &[&str] = &[
    // Programs and processes.
    "execve", "fork", "vfork", "uselib",
    // Others' memory and descriptors.
    "kcmp", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace",
    // Namespaces, roots, mounts.
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_by_handle_at", "open_tree", "open_tree_attr", "pivot_root", "setns", "umount2", "unshare",
    // Code for the kernel, and the machine as such.
    "acct", "bpf", "delete_module", "finit_module", "init_module", "ioperm", "iopl", "kexec_file_load",
    "kexec_load", "modify_ldt", "perf_event_open", "quotactl", "quotactl_fd", "reboot", "swapoff", "swapon",
    "syslog",
    // Clocks and names of the host.
    "clock_settime", "setdomainname", "sethostname", "settimeofday",
    // Keyrings, page faults by hand, io_uring.
    "add_key", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "request_key",
    "userfaultfd",
];

/// `CLONE_THREAD`: with it clone(2) makes a thread of this process.
const CLONE_THREAD: u64 = 0x1_0000;
/// `ENOSYS`
const ENOSYS: u32 = 38;
/// Requests of ioctl(2) that only ask or set what a descriptor does when used: FIONREAD, FIONBIO,
/// FIONCLEX, FIOCLEX, TCGETS (is it a terminal?), TIOCGWINSZ.
const IOCTLS: [u64; 6] = [0x541b, 0x5421, 0x5450, 0x5451, 0x5401, 0x5413];
/// AF_INET and AF_INET6. Not AF_UNIX: the host's services listen there.
const FAMILIES: [u64; 2] = [2, 10];
/// `AT_EMPTY_PATH`: execveat(2) executes the descriptor itself, as the helper does to start the engine.
const AT_EMPTY_PATH: u64 = 0x1000;
/// `AF_UNIX`, for pairs.
const AF_UNIX: u64 = 1;

/// The policy of an engine process on this machine, with or without a network.
#[must_use]
pub fn engine_policy(network: bool) -> LinuxSeccomp {
    policy_with(network, &[MEMORY, FILES, EVENTS, THREADS, SIGNALS, ABORT, TIME, SELF, CONNECTED])
}

/// The same for an engine process without a pid namespace, where every process of the user could be signalled: abort
/// ends it by a fault then.
#[must_use]
pub fn engine_policy_in_place(network: bool) -> LinuxSeccomp {
    policy_with(network, &[MEMORY, FILES, EVENTS, THREADS, SIGNALS, TIME, SELF, CONNECTED])
}

fn policy_with(network: bool, allowed: &[&[&str]]) -> LinuxSeccomp {
    let mut rules: Vec<LinuxSyscall> = allowed.iter().map(|names| Rule::allow(names).into()).collect();
    rules.push(Rule::kill_process(FATAL).into());
    rules.push(Rule::allow(&["clone"]).when(masked(0, CLONE_THREAD, CLONE_THREAD)));
    // Its flags lie behind a pointer; C libraries fall back to clone.
    rules.push(Rule::errno(&["clone3"], ENOSYS).into());
    // Loaded before the engine itself is executed, from a descriptor. The engine's own filter ends this.
    rules.push(allow_equal("execveat", 4, AT_EMPTY_PATH));
    let by_name = arg(4, LinuxSeccompOperator::ScmpCmpNe, AT_EMPTY_PATH);
    rules.push(Rule::kill_process(&["execveat"]).when(by_name));
    // The helper's last capabilities go after the filter has come; the engine's own filter ends this too.
    rules.push(Rule::allow(&["capset"]).into());
    // Limits of other processes aren't its business.
    rules.push(allow_equal("prlimit64", 0, 0));
    rules.extend(IOCTLS.map(|request| allow_equal("ioctl", 1, request)));
    rules.push(allow_equal("socketpair", 0, AF_UNIX));
    if network {
        rules.push(Rule::allow(NETWORK).into());
        rules.extend(FAMILIES.map(|family| allow_equal("socket", 0, family)));
    }
    policy(LinuxSeccompAction::ScmpActErrno, native(), rules)
}

fn allow_equal(name: &str, index: usize, value: u64) -> LinuxSyscall {
    Rule::allow(&[name]).when(arg(index, LinuxSeccompOperator::ScmpCmpEq, value))
}

/// The engine is one static program: no other interface than its own.
fn native() -> Vec<Arch> {
    match Abi::native() {
        Some(Abi::X86_64) => vec![Arch::ScmpArchX86_64],
        Some(Abi::Aarch64) => vec![Arch::ScmpArchAarch64],
        _ => Vec::new(),
    }
}
