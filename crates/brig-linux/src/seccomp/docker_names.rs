//! What docker's default policy allows everybody, grouped by purpose.
//!
//! The names are docker's (`seccomp/default.json` of moby's profiles, release 0.2.3, for docker 28 and
//! later), without those of architectures that there is no table for. What depends on arguments,
//! capabilities or the architecture is in [`super::docker`].

/// Every group, for a policy to list.
pub(super) const GROUPS: &[&[&str]] = &[
    OPEN, READ_WRITE, FILES, ATTRIBUTES, WAITING, MEMORY, PROCESSES, THREADS, SCHEDULING, SIGNALS, TIME,
    IDENTITY, SOCKETS, IPC,
];

/// Opening, closing and duplicating descriptors.
const OPEN: &[&str] = &[
    "open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3",
    "fcntl", "fcntl64", "flock", "ioctl", "name_to_handle_at",
];

/// Reading, writing and moving data between descriptors.
const READ_WRITE: &[&str] = &[
    "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev",
    "pwritev2", "lseek", "_llseek", "sendfile", "sendfile64", "splice", "tee", "vmsplice",
    "copy_file_range", "readahead", "fadvise64", "fadvise64_64", "sync_file_range",
];

/// Files and directories: making, naming, removing, sizes, what is on the disk.
const FILES: &[&str] = &[
    "access", "faccessat", "faccessat2", "chdir", "fchdir", "getcwd", "mkdir", "mkdirat",
    "mknod", "mknodat", "rmdir", "link", "linkat", "symlink", "symlinkat", "readlink",
    "readlinkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "truncate",
    "truncate64", "ftruncate", "ftruncate64", "fallocate", "getdents", "getdents64", "umask",
    "sync", "syncfs", "fsync", "fdatasync",
];

/// What is known about files: status, owners, modes, times, extended attributes.
const ATTRIBUTES: &[&str] = &[
    "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "fstatat64", "newfstatat",
    "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "listmount", "statmount", "chmod",
    "fchmod", "fchmodat", "fchmodat2", "chown", "chown32", "fchown", "fchown32", "fchownat",
    "lchown", "lchown32", "utime", "utimes", "futimesat", "utimensat", "utimensat_time64",
    "getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr",
    "setxattrat", "listxattr", "llistxattr", "flistxattr", "listxattrat", "removexattr",
    "lremovexattr", "fremovexattr", "removexattrat", "cachestat",
];

/// Waiting for descriptors, files and events. fanotify_init, which makes what fanotify_mark
/// needs, is not here.
const WAITING: &[&str] = &[
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64",
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_wait",
    "epoll_wait_old", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2", "inotify_init",
    "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fanotify_mark", "signalfd",
    "signalfd4", "io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents",
    "io_pgetevents", "io_pgetevents_time64",
];

/// Memory. No userfaultfd, and the policy of NUMA nodes needs a capability.
const MEMORY: &[&str] = &[
    "brk", "mmap", "mmap2", "munmap", "mremap", "remap_file_pages", "mprotect", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "madvise", "mincore", "msync", "mlock", "mlock2", "mlockall",
    "munlock", "munlockall", "mseal", "memfd_create", "memfd_secret", "membarrier",
    "map_shadow_stack", "process_mrelease",
];

/// Starting, ending and awaiting processes; sessions, groups and names of them. clone is below.
const PROCESSES: &[&str] = &[
    "fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid", "waitpid",
    "getpid", "getppid", "gettid", "getpgid", "getpgrp", "setpgid", "getsid", "setsid",
    "pidfd_open", "pidfd_send_signal", "set_tid_address", "prctl", "seccomp",
    "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "rseq",
    "uretprobe",
];

/// Threads and locks.
const THREADS: &[&str] = &[
    "futex", "futex_time64", "futex_wait", "futex_wake", "futex_waitv", "futex_requeue",
    "get_robust_list", "set_robust_list", "get_thread_area", "set_thread_area", "sched_yield",
];

/// Priorities, limits and accounting.
const SCHEDULING: &[&str] = &[
    "getcpu", "getpriority", "setpriority", "ioprio_get", "ioprio_set", "getrlimit",
    "ugetrlimit", "setrlimit", "prlimit64", "getrusage", "times", "sysinfo", "uname",
    "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr",
    "sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler",
    "sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
];

/// Signals.
const SIGNALS: &[&str] = &[
    "kill", "tkill", "tgkill", "pause", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaltstack", "sigprocmask", "sigreturn",
    "restart_syscall",
];

/// Clocks and timers; adjtimex and clock_adjtime only read without a capability, which the
/// kernel checks.
const TIME: &[&str] = &[
    "time", "gettimeofday", "clock_getres", "clock_getres_time64", "clock_gettime",
    "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "nanosleep",
    "clock_adjtime", "clock_adjtime64", "adjtimex", "alarm", "getitimer", "setitimer",
    "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64",
    "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime",
    "timerfd_gettime64", "timerfd_settime", "timerfd_settime64",
];

/// Users, groups and capabilities.
const IDENTITY: &[&str] = &[
    "getuid", "getuid32", "geteuid", "geteuid32", "getgid", "getgid32", "getegid", "getegid32",
    "getgroups", "getgroups32", "getresuid", "getresuid32", "getresgid", "getresgid32",
    "setuid", "setuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setfsuid",
    "setfsuid32", "setfsgid", "setfsgid32", "setreuid", "setreuid32", "setregid", "setregid32",
    "setresuid", "setresuid32", "setresgid", "setresgid32", "capget", "capset", "getrandom",
];

/// Sockets and pipes; socket itself is below. socketcall hides its arguments behind a pointer
/// that no filter can follow, so that on i386 what socket refuses is open by that way, as in
/// docker.
const SOCKETS: &[&str] = &[
    "pipe", "pipe2", "socketpair", "socketcall", "bind", "connect", "listen", "accept",
    "accept4", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt", "send",
    "sendto", "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg",
    "recvmmsg_time64",
];

/// System V IPC and message queues, which an IPC namespace keeps apart.
const IPC: &[&str] = &[
    "ipc", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "shmat", "shmctl", "shmdt", "shmget", "mq_getsetattr", "mq_notify",
    "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend",
    "mq_timedsend_time64", "mq_unlink",
];

