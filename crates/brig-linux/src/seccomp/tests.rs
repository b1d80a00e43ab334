use oci_spec::runtime::{Capabilities, Capability, LinuxSeccomp};

use super::*;

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };
const ALLOW: u32 = Action::ALLOW.0;
const EPERM: u32 = Action::errno(1).0;
const ENOSYS: u32 = Action::errno(38).0;
const KILL: u32 = Action::KILL_THREAD.0;
const KILL_PROCESS: u32 = Action::KILL_PROCESS.0;

fn policy(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

fn compiled(json: &str) -> Filter {
    compile_for(&policy(json), Abi::X86_64, Newer::Enosys).unwrap()
}

fn ask(filter: &Filter, abi: Abi, name: &str, arguments: &[u64]) -> u32 {
    let mut call = Call { number: abi.number(name).unwrap(), audit_arch: abi.audit(), ..Call::default() };
    call.arguments[..arguments.len()].copy_from_slice(arguments);
    filter.verdict(&call).unwrap()
}

fn ask_number(filter: &Filter, abi: Abi, number: u32) -> u32 {
    filter.verdict(&Call { number, audit_arch: abi.audit(), ..Call::default() }).unwrap()
}

#[test]
fn an_empty_policy_is_its_default() {
    let filter = compiled(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    assert_eq!(ask(&filter, Abi::X86_64, "read", &[]), ALLOW);
    assert_eq!(ask_number(&filter, Abi::X86, 3), KILL, "unlisted");
    assert_eq!(ask_number(&filter, Abi::X86_64, 0x4000_0000), KILL, "x32 is unlisted too");
    assert_eq!(ask_number(&filter, Abi::X86_64, u32::MAX), ALLOW, "skipped by a tracer");
}

#[test]
fn a_rule_without_tests_beats_those_with_tests() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["kill"], "action": "SCMP_ACT_LOG"}]}"#,
    );
    assert_eq!(ask(&filter, Abi::X86_64, "kill", &[1]), Action::errno(13).0);
}

#[test]
fn values_have_64_bits() {
    let operators = [
        ("NE", [true, true, false, true, true]),
        ("LT", [true, true, false, false, false]),
        ("LE", [true, true, true, false, false]),
        ("EQ", [false, false, true, false, false]),
        ("GE", [false, false, true, true, true]),
        ("GT", [false, false, false, true, true]),
    ];
    for (operator, expected) in operators {
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["kill"],
            "action": "SCMP_ACT_ALLOW", "args": [{{"index": 2, "value": 21474836487, "op": "SCMP_CMP_{operator}"}}]}}]}}"#
        ));
        let values = [6, 0x4_0000_0009, 0x5_0000_0007, 0x5_0000_0008, 0x6_0000_0000];
        for (value, allowed) in values.into_iter().zip(expected) {
            let verdict = ask(&filter, Abi::X86_64, "kill", &[0, 0, value]);
            assert_eq!(verdict == ALLOW, allowed, "{value:#x} {operator}");
        }
    }
}

#[test]
fn the_same_argument_twice_makes_alternatives() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    let verdicts = [1, 2, 3].map(|value| ask(&filter, Abi::X86_64, "kill", &[value]));
    assert_eq!(verdicts, [ALLOW, ALLOW, EPERM]);
}

#[test]
fn i386_sockets_are_ruled_behind_their_multiplexer() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["connect"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(ask(&filter, Abi::X86, "socketcall", &[3]), ALLOW);
    assert_eq!(ask(&filter, Abi::X86, "socketcall", &[1]), EPERM);
    assert_eq!(ask(&filter, Abi::X86, "connect", &[]), ALLOW);
}

#[test]
fn newer_syscalls_do_not_exist_unless_the_default_lets_them_pass() {
    let json = |default: &str| {
        format!(
            r#"{{"defaultAction": "{default}", "architectures": ["SCMP_ARCH_X86"],
            "syscalls": [{{"names": ["read", "clone3"], "action": "SCMP_ACT_LOG"}}]}}"#
        )
    };
    let strict = compiled(&json("SCMP_ACT_ERRNO"));
    assert_eq!(ask_number(&strict, Abi::X86_64, 434), EPERM);
    assert_eq!(ask_number(&strict, Abi::X86_64, 436), ENOSYS);
    assert_eq!(ask_number(&strict, Abi::X86, 436), ENOSYS);
    let lax = compiled(&json("SCMP_ACT_ALLOW"));
    assert_eq!(ask_number(&lax, Abi::X86_64, 436), ALLOW);
    let literal = compile_for(&policy(&json("SCMP_ACT_ERRNO")), Abi::X86_64, Newer::Default).unwrap();
    assert_eq!(ask_number(&literal, Abi::X86_64, 436), EPERM);
}

#[test]
fn what_cannot_be_compiled_says_why() {
    let refuse = |json: &str| compile_for(&policy(json), Abi::X86_64, Newer::Enosys).unwrap_err();
    let notify = refuse(r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#);
    assert!(matches!(notify, SeccompError::NotifyByDefault));
    let errno = refuse(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}"#);
    assert_eq!(errno.to_string(), "errnoRet 4096 of the default action is out of range: at most 4095");
    let index = refuse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_LOG",
        "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert!(matches!(index, SeccompError::ArgumentIndex { index: 6, .. }));
    let contradiction = refuse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"names": ["kill"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert!(matches!(contradiction, SeccompError::Contradiction { .. }));
}

#[test]
fn targets_out_of_reach_are_still_reached() {
    let rules: Vec<String> = numbers::NUMBERS
        .iter()
        .enumerate()
        .map(|(at, row)| {
            format!(
                r#"{{"names": ["{}"], "action": "SCMP_ACT_ERRNO", "errnoRet": {},
                "args": [{{"index": 5, "value": {}, "op": "SCMP_CMP_GT"}}]}}"#,
                row.0,
                at + 100,
                at * 3
            )
        })
        .collect();
    let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#, rules.join(","));
    let filter = compiled(&json);
    assert!(filter.instructions().len() > 1500, "{}", filter.instructions().len());
    for (at, row) in numbers::NUMBERS.iter().enumerate() {
        if Abi::X86_64.number(row.0).is_some() {
            let (bound, errno) = (at as u64 * 3, u16::try_from(at + 100).unwrap());
            assert_eq!(ask(&filter, Abi::X86_64, row.0, &[0, 0, 0, 0, 0, bound]), ALLOW, "{}", row.0);
            let above = ask(&filter, Abi::X86_64, row.0, &[0, 0, 0, 0, 0, bound + 1]);
            assert_eq!(above, Action::errno(errno).0, "{}", row.0);
        }
    }
}

#[test]
fn filters_survive_the_way_through_bytes() {
    let filter = compile_for(&engine_policy(true), Abi::X86_64, Newer::Enosys).unwrap();
    let bytes = filter.to_bytes();
    assert_eq!(bytes.len(), filter.instructions().len() * Instruction::SIZE);
    assert_eq!(Filter::from_bytes(&bytes, 0).unwrap().instructions(), filter.instructions());
    assert!(Filter::from_bytes(&bytes[1..], 0).is_err());
    assert!(Filter::from_bytes(&[], 0).is_err());
}

fn docker(capabilities: &[Capability]) -> Filter {
    let capabilities: Capabilities = capabilities.iter().copied().collect();
    compile_for(&docker_default(&capabilities, KERNEL, Abi::X86_64), Abi::X86_64, Newer::Enosys).unwrap()
}

#[test]
fn docker_refuses_what_reaches_the_host() {
    let filter = docker(&[]);
    let refused = [
        "add_key",
        "keyctl",
        "request_key",
        "io_uring_setup",
        "userfaultfd",
        "kexec_load",
        "mount",
        "umount2",
        "pivot_root",
        "setns",
        "unshare",
        "bpf",
        "perf_event_open",
        "init_module",
        "reboot",
        "swapon",
        "acct",
        "settimeofday",
        "clock_settime",
        "sethostname",
        "open_by_handle_at",
        "chroot",
        "iopl",
        "ioperm",
        "quotactl",
        "kcmp",
        "move_pages",
        "mbind",
        "nfsservctl",
        "fanotify_init",
        "open_tree",
        "move_mount",
    ];
    for name in refused {
        assert_eq!(ask(&filter, Abi::X86_64, name, &[]), EPERM, "{name}");
    }
    assert_eq!(ask(&filter, Abi::X86_64, "clone3", &[]), ENOSYS);
    assert_eq!(ask_number(&filter, Abi::X86_64, 470), ENOSYS);
}

#[test]
fn docker_tests_arguments() {
    let filter = docker(&[]);
    let clone = |flags| ask(&filter, Abi::X86_64, "clone", &[flags]);
    assert_eq!(clone(0x3d_0f00), ALLOW, "a thread");
    assert_eq!(clone(17), ALLOW, "a fork");
    for namespace in [0x2_0000u64, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
    {
        assert_eq!(clone(namespace | 17), EPERM, "{namespace:#x}");
    }
    let socket = |family| ask(&filter, Abi::X86_64, "socket", &[family]);
    assert_eq!([1, 2, 10, 16, 17, 39, 41].map(socket), [ALLOW; 7]);
    assert_eq!([38, 40].map(socket), [EPERM; 2]);
    let personality = |persona| ask(&filter, Abi::X86_64, "personality", &[persona]);
    assert_eq!([0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(personality), [ALLOW; 5]);
    assert_eq!(personality(0x4_0000), EPERM, "without randomised addresses");
}

#[test]
fn docker_gives_by_capability() {
    let admin = docker(&[Capability::SysAdmin]);
    for name in ["mount", "setns", "unshare", "clone3", "bpf", "syslog"] {
        assert_eq!(ask(&admin, Abi::X86_64, name, &[]), ALLOW, "{name}");
    }
    assert_eq!(ask(&admin, Abi::X86_64, "clone", &[0x2_0000]), ALLOW);
    assert_eq!(ask(&docker(&[Capability::SysChroot]), Abi::X86_64, "chroot", &[]), ALLOW);
    assert_eq!(ask(&docker(&[Capability::Bpf]), Abi::X86_64, "bpf", &[]), ALLOW);
}

#[test]
fn docker_lets_ptrace_pass_where_tracers_obey_filters() {
    let old = KernelVersion::parse("4.4.0-21-generic").unwrap();
    let policy = docker_default(&Capabilities::new(), old, Abi::X86_64);
    let filter = compile_for(&policy, Abi::X86_64, Newer::Enosys).unwrap();
    assert_eq!(ask(&filter, Abi::X86_64, "ptrace", &[]), EPERM);
    assert_eq!(ask(&docker(&[]), Abi::X86_64, "ptrace", &[]), ALLOW);
}

#[test]
fn kernel_releases_are_read() {
    assert_eq!(KernelVersion::parse("6.1.0-18-amd64"), Some(KernelVersion { major: 6, minor: 1 }));
    assert_eq!(KernelVersion::parse("6.18"), Some(KERNEL));
    assert_eq!(KernelVersion::parse("6"), None);
    assert_eq!(KernelVersion::parse("six.one"), None);
}

#[test]
fn docker_serves_the_other_architectures() {
    let filter = docker(&[]);
    assert_eq!(ask(&filter, Abi::X86, "socketcall", &[1]), ALLOW);
    assert_eq!(ask(&filter, Abi::X86, "keyctl", &[]), EPERM);
    assert_eq!(ask(&filter, Abi::X32, "read", &[]), ALLOW);
    assert_eq!(ask(&filter, Abi::X32, "keyctl", &[]), EPERM);
    assert_eq!(ask_number(&filter, Abi::Aarch64, 63), KILL);
    let arm = docker_default(&Capabilities::new(), KERNEL, Abi::Aarch64);
    let arm = compile_for(&arm, Abi::Aarch64, Newer::Enosys).unwrap();
    assert_eq!(ask(&arm, Abi::Aarch64, "read", &[]), ALLOW);
    assert_eq!(ask(&arm, Abi::Arm, "set_tls", &[]), ALLOW);
    assert_eq!(ask_number(&arm, Abi::X86_64, 0), KILL);
}

/// Every name is known, and none is allowed twice or both with and without conditions.
#[test]
fn policies_have_no_redundant_names() {
    for policy in [docker_default(&Capabilities::new(), KERNEL, Abi::X86_64), engine_policy(true)] {
        let mut unconditional = Vec::new();
        for rule in policy.syscalls().iter().flatten() {
            for name in rule.names() {
                assert!(abi::row(name).is_some(), "{name} is unknown");
                assert!(!unconditional.contains(&name), "{name} is there twice");
                if rule.args().is_none() {
                    unconditional.push(name);
                }
            }
        }
        assert!(unconditional.len() > 150);
    }
}

#[test]
fn engine_tiers() {
    let filter = compile_for(&engine_policy(false), Abi::X86_64, Newer::Enosys).unwrap();
    for name in
        ["read", "mmap", "mprotect", "futex", "epoll_wait", "rt_sigreturn", "exit_group", "memfd_create"]
    {
        assert_eq!(ask(&filter, Abi::X86_64, name, &[]), ALLOW, "{name}");
    }
    for name in ["execve", "ptrace", "mount", "setns", "bpf", "io_uring_setup", "keyctl", "process_vm_readv"]
    {
        assert_eq!(ask(&filter, Abi::X86_64, name, &[]), KILL_PROCESS, "{name}");
    }
    for name in ["kill", "socket", "connect", "chmod", "chown", "mknod", "setuid", "setxattr"] {
        assert_eq!(ask(&filter, Abi::X86_64, name, &[]), EPERM, "{name}");
    }
    let clone = |flags| ask(&filter, Abi::X86_64, "clone", &[flags]);
    assert_eq!([clone(0x3d_0f00), clone(17)], [ALLOW, EPERM]);
    let execveat = |flags| ask(&filter, Abi::X86_64, "execveat", &[3, 0, 0, 0, flags]);
    assert_eq!([execveat(0x1000), execveat(0), execveat(0x1100)], [ALLOW, KILL_PROCESS, KILL_PROCESS]);
    let ioctl = |request| ask(&filter, Abi::X86_64, "ioctl", &[0, request]);
    assert_eq!([ioctl(0x5421), ioctl(0x5412)], [ALLOW, EPERM]);
    let network = compile_for(&engine_policy(true), Abi::X86_64, Newer::Enosys).unwrap();
    let socket = |family| ask(&network, Abi::X86_64, "socket", &[family]);
    assert_eq!([1, 2, 10, 16, 40].map(socket), [EPERM, ALLOW, ALLOW, EPERM, EPERM]);
}
