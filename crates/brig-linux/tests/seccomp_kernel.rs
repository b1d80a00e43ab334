//! Filters in a real kernel: loaded in a child, which then makes the calls.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]
#![allow(unsafe_code, reason = "fork, filters and raw system calls are what is tested")]

use std::io::Error;

use brig_linux::seccomp::{Abi, Filter, KernelVersion, compile, docker_default, engine_policy};
use oci_spec::runtime::Capabilities;

/// What became of a child.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Exit(i32),
    Signal(i32),
}

/// Loads the filter in a child and runs `body` there; its result is the exit code.
fn in_child(filter: &Filter, body: fn() -> i32) -> End {
    let length = u16::try_from(filter.instructions().len()).unwrap();
    let program = libc::sock_fprog { len: length, filter: filter.instructions().as_ptr().cast_mut().cast() };
    // SAFETY: the child makes only raw system calls and touches only memory that exists already, so
    // that locks held by other threads of the parent don't matter; it ends by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", Error::last_os_error());
    if pid == 0 {
        // SAFETY: integers and a pointer to a program that lives in the parent's copied memory.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            let loaded = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program);
            libc::_exit(if loaded == 0 { body() } else { 99 });
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above; `status` is a valid place.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    if libc::WIFSIGNALED(status) {
        End::Signal(libc::WTERMSIG(status))
    } else {
        End::Exit(libc::WEXITSTATUS(status))
    }
}

/// The error of a raw call, or 0.
fn errno_of(number: i64, first: u64, second: u64) -> i32 {
    // SAFETY: the calls made here take integers, or pointers that are null and refused.
    let result = unsafe { libc::syscall(number, first, second, 0, 0, 0, 0) };
    // SAFETY: the thread's own errno.
    if result < 0 { unsafe { *libc::__errno_location() } } else { 0 }
}

/// Compares calls with what is expected of them; the exit code is the first that fails.
fn check(calls: &[(i64, u64, u64, i32)]) -> i32 {
    let failed = calls.iter().position(|(number, a, b, expected)| errno_of(*number, *a, *b) != *expected);
    failed.map_or(0, |at| i32::try_from(at + 1).unwrap_or(98))
}

fn docker() -> Filter {
    let kernel = KernelVersion { major: 6, minor: 1 };
    compile(&docker_default(&Capabilities::new(), kernel, Abi::native().unwrap())).unwrap()
}

#[test]
fn docker_default_in_the_kernel() {
    let end = in_child(&docker(), || {
        check(&[
            (libc::SYS_getpid, 0, 0, 0),
            (libc::SYS_unshare, 0x2_0000, 0, libc::EPERM),
            (libc::SYS_keyctl, 0, 0, libc::EPERM),
            (libc::SYS_io_uring_setup, 0, 0, libc::EPERM),
            (libc::SYS_clone3, 0, 0, libc::ENOSYS),
            (libc::SYS_clone, 0x1000_0000, 0, libc::EPERM),
            (5000, 0, 0, libc::ENOSYS),
            (libc::SYS_socket, 38, 0, libc::EPERM),
            (libc::SYS_socket, 40, 0, libc::EPERM),
            (libc::SYS_socket, 1, 1, 0),
            (libc::SYS_personality, 0xffff_ffff, 0, 0),
            (libc::SYS_personality, 0x4_0000, 0, libc::EPERM),
            (libc::SYS_mount, 0, 0, libc::EPERM),
        ])
    });
    assert_eq!(end, End::Exit(0));
}

#[test]
fn engine_policy_in_the_kernel() {
    let filter = compile(&engine_policy(false)).unwrap();
    let end = in_child(&filter, || {
        check(&[
            (libc::SYS_getpid, 0, 0, 0),
            (libc::SYS_kill, 0, 0, libc::EPERM),
            (libc::SYS_clone, 17, 0, libc::EPERM),
            // Allowed by the filter, refused by the kernel: a thread without shared memory.
            (libc::SYS_clone, 0x1_0000, 0, libc::EINVAL),
            (libc::SYS_ioctl, u64::MAX, 0x541b, libc::EBADF),
            (libc::SYS_ioctl, u64::MAX, 0x5412, libc::EPERM),
            (libc::SYS_socket, 2, 1, libc::EPERM),
            (libc::SYS_clone3, 0, 0, libc::ENOSYS),
        ])
    });
    assert_eq!(end, End::Exit(0));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_execve, 0, 0)), End::Signal(libc::SIGSYS));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_execveat, 0, 0)), End::Signal(libc::SIGSYS));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_ptrace, 0, 0)), End::Signal(libc::SIGSYS));
    let network = compile(&engine_policy(true)).unwrap();
    assert_eq!(in_child(&network, || errno_of(libc::SYS_socket, 2, 1)), End::Exit(0));
}

#[test]
fn actions_in_the_kernel() {
    let policy = serde_json::from_str(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getuid"], "action": "SCMP_ACT_TRAP"},
        {"names": ["getgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 113},
        {"names": ["geteuid"], "action": "SCMP_ACT_KILL_THREAD"},
        {"names": ["getegid"], "action": "SCMP_ACT_TRACE", "errnoRet": 1},
        {"names": ["getppid"], "action": "SCMP_ACT_LOG"}]}"#,
    )
    .unwrap();
    let filter = compile(&policy).unwrap();
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_getuid, 0, 0)), End::Signal(libc::SIGSYS));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_getgid, 0, 0)), End::Exit(113));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_geteuid, 0, 0)), End::Signal(libc::SIGSYS));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_getegid, 0, 0)), End::Exit(libc::ENOSYS));
    assert_eq!(in_child(&filter, || errno_of(libc::SYS_getppid, 0, 0)), End::Exit(0));
}

/// Calls of other interfaces from a 64-bit program: i386's by interrupt, x32's by their bit.
#[cfg(target_arch = "x86_64")]
#[test]
fn other_interfaces_in_the_kernel() {
    const X32_GETPID: i64 = 0x4000_0000 | 39;
    fn i386_getpid() -> i32 {
        let mut number = 20;
        // SAFETY: getpid of the 32-bit interface takes and changes nothing but eax.
        unsafe { std::arch::asm!("int 0x80", inout("eax") number, options(nostack)) };
        if number > 0 { 0 } else { -number }
    }
    let filter = compile(&engine_policy(false)).unwrap();
    assert_eq!(in_child(&filter, || errno_of(X32_GETPID, 0, 0)), End::Signal(libc::SIGSYS));
    // Without IA-32 emulation the interrupt itself is a fault.
    let end = in_child(&filter, i386_getpid);
    assert!(matches!(end, End::Signal(libc::SIGSYS | libc::SIGSEGV)), "{end:?}");
    let end = in_child(&docker(), i386_getpid);
    assert!(matches!(end, End::Exit(0) | End::Signal(libc::SIGSEGV)), "{end:?}");
}
