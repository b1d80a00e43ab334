//! A runtime `Spec` of anybody's becomes a plan or an error, and a seccomp policy a filter that the kernel would take.
#![no_main]

use std::sync::OnceLock;

use brig_fuzz::{seeds, target, told};
use brig_linux::seccomp::{Abi, Call, Filter, KernelVersion, Newer, compile_for, docker_default};
use brig_linux::{CgroupMode, ContainerOptions, Host, HostOptions, RootFs, default_spec, plan_linux};
use oci_spec::runtime::{Capabilities, LinuxSeccomp, Spec};
use serde_json::json;

/// `BPF_MAXINSNS`.
const MAX_INSTRUCTIONS: usize = 4096;

static HOSTS: OnceLock<[Host; 3]> = OnceLock::new();

target!(start(), |data| {
    let Some((how, json)) = data.split_first() else { return };
    if how & 1 == 0 {
        if let Ok(spec) = serde_json::from_slice::<Spec>(json) {
            plan(&spec);
        }
    } else if let Ok(policy) = serde_json::from_slice::<LinuxSeccomp>(json) {
        for native in [Abi::X86_64, Abi::Aarch64] {
            policies(&policy, native);
        }
    }
});

fn plan(spec: &Spec) {
    let root = RootFs::Path { path: "/nowhere".into() };
    for host in HOSTS.get_or_init(hosts) {
        let options = HostOptions::new(host, "0123");
        match plan_linux(spec, &root, &options) {
            Ok(plan) => drop(plan),
            Err(error) => drop(told(&error)),
        }
    }
}

fn hosts() -> [Host; 3] {
    let modes = [CgroupMode::V2, CgroupMode::Hybrid, CgroupMode::V1];
    modes.map(|mode| {
        let mut host = Host::probe();
        host.rootless = mode == CgroupMode::V2;
        host.kernel = KernelVersion { major: 6, minor: 1 };
        host.cgroups.mode = mode;
        host.cgroups.unified = (mode != CgroupMode::V1).then(|| "/nowhere/unified".into());
        host.cgroups.unified_mount = host.cgroups.unified.clone();
        host.cgroups.legacy_writable = !host.rootless;
        host
    })
}

fn policies(policy: &LinuxSeccomp, native: Abi) {
    for newer in [Newer::Enosys, Newer::Default] {
        match compile_for(policy, native, newer) {
            Ok(filter) => check(&filter, native),
            Err(error) => drop(told(&error)),
        }
    }
}

/// What the kernel's verifier wants: in bounds, forward, and ended by a return. And every call has an answer.
fn check(filter: &Filter, native: Abi) {
    let instructions = filter.instructions();
    assert!((1..=MAX_INSTRUCTIONS).contains(&instructions.len()));
    for (at, instruction) in instructions.iter().enumerate() {
        let furthest = match instruction.code & 7 {
            5 if instruction.code == 5 => usize::try_from(instruction.k).unwrap_or(usize::MAX),
            5 => usize::from(instruction.jt.max(instruction.jf)),
            _ => continue,
        };
        assert!(furthest < instructions.len() - at - 1, "instruction {at} jumps out");
    }
    assert!(instructions.last().is_some_and(|last| last.code & 7 == 6), "it doesn't end");
    let again = Filter::from_bytes(&filter.to_bytes(), filter.flags()).expect("a filter that was written");
    for number in (0..600).step_by(7).chain([u32::MAX, 0x4000_0000]) {
        for audit_arch in [native.audit(), 0] {
            let call = Call { number, audit_arch, arguments: [u64::from(number); 6] };
            let verdict = filter.verdict(&call);
            assert!(verdict.is_some(), "no verdict on {call:?}");
            assert_eq!(again.verdict(&call), verdict);
        }
    }
}

fn start() -> Vec<Vec<u8>> {
    let host = &hosts()[1];
    let options = ContainerOptions { args: vec!["true".into()], ..ContainerOptions::default() };
    let mut spec = default_spec(&options, host);
    let linux = spec.linux().clone().map(|mut linux| {
        linux.set_seccomp(None);
        linux
    });
    spec.set_linux(linux);
    let rich = json!({
        "ociVersion": "1.3.0", "hostname": "h", "domainname": "d", "annotations": { "a": "b" },
        "process": {
            "user": { "uid": 1, "gid": 2, "umask": 18, "additionalGids": [3] }, "args": ["sh"], "env": ["A=b"],
            "cwd": "/", "terminal": true, "consoleSize": { "height": 1, "width": 2 }, "oomScoreAdj": -5,
            "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 2 }], "noNewPrivileges": true,
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
        },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
            { "destination": "/a", "type": "bind", "source": "/b", "options": ["rbind", "ro", "rslave"] },
            { "destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=755"] },
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "network", "path": "/n" }, { "type": "user" },
                { "type": "cgroup" }, { "type": "ipc" }, { "type": "uts" },
            ],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
            "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
            "devices": [{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0 }],
            "resources": {
                "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 1, "access": "r" }],
                "memory": { "limit": 1048576, "swap": -1, "reservation": 1024, "swappiness": 10 },
                "cpu": { "shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0" },
                "pids": { "limit": 10 }, "blockIO": { "weight": 100 }, "unified": { "memory.high": "1" },
            },
            "cgroupsPath": "/a/b", "sysctl": { "net.core.somaxconn": "1", "kernel.domainname": "d" },
            "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "rootfsPropagation": "rslave",
            "personality": { "domain": "LINUX" },
        },
    });
    let policy = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            { "names": ["read", "write", "clone"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["personality", "socket"], "action": "SCMP_ACT_ALLOW", "args": [
                { "index": 0, "value": 8, "op": "SCMP_CMP_EQ" },
                { "index": 1, "value": 4294967296u64, "valueTwo": 255, "op": "SCMP_CMP_MASKED_EQ" },
            ] },
            { "names": ["kill"], "action": "SCMP_ACT_TRACE", "errnoRet": 5,
              "args": [{ "index": 5, "value": u64::MAX, "op": "SCMP_CMP_GE" }] },
        ],
    });
    let mut all: Vec<_> =
        seeds::documents(&[json!(spec), rich]).iter().map(|bytes| seeds::chosen(0, bytes)).collect();
    let docker = docker_default(&Capabilities::new(), host.kernel, Abi::X86_64);
    all.extend(seeds::documents(&[policy, json!(docker)]).iter().map(|bytes| seeds::chosen(1, bytes)));
    all
}
