//! What this runtime can do, as other programs read it (runtime specification, Features).

use serde_json::{Value, json};

use super::OCI_VERSION;
use crate::all_capabilities;
use crate::plan::mount_options;

/// The features of this runtime: what is compiled in, whatever this host has.
pub fn features() -> Value {
    let mut capabilities: Vec<String> =
        all_capabilities().iter().map(|capability| format!("CAP_{capability}")).collect();
    capabilities.sort();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true },
            "seccomp": seccomp(),
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": true },
            "mountExtensions": { "idmap": { "enabled": true } },
        },
    })
}

fn seccomp() -> Value {
    let words = |prefix: &str, words: &[&str]| -> Vec<String> {
        words.iter().map(|word| format!("{prefix}{word}")).collect()
    };
    let flags = words("SECCOMP_FILTER_FLAG_", &["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"]);
    json!({
        "enabled": true,
        "actions": words(
            "SCMP_ACT_",
            &["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP"],
        ),
        "operators": words("SCMP_CMP_", &["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"]),
        "archs": words("SCMP_ARCH_", &["AARCH64", "ARM", "X32", "X86", "X86_64"]),
        "knownFlags": flags,
        "supportedFlags": flags,
    })
}
