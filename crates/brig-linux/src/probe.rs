//! What containers need of a host, one line each, for `brig doctor`.

use std::fs;
use std::path::Path;

use crate::host::{CgroupMode, Host, NAMESPACES};
use crate::plan::legacy_devices;
use crate::sys;

/// Whether a host has what a container needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is there.
    Good,
    /// Something works less well without it.
    Limited,
    /// Containers don't work without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, as a sentence without a full stop.
    pub detail: String,
    /// What helps.
    pub fix: Option<String>,
}

impl Finding {
    fn new(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { name, verdict, detail: detail.into(), fix: None }
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }
}

/// Looks at everything. Starts a few short processes that try what can't be read anywhere.
pub fn probe(host: &Host) -> Vec<Finding> {
    vec![
        user_namespaces(host),
        cgroups(host),
        controllers(host),
        supervisors(host),
        devices(host),
        overlay(),
        seccomp(),
        landlock(),
        subordinate_ids(host),
    ]
}

fn sysctl(path: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(path)).ok().map(|text| text.trim().to_owned())
}

/// Whether user namespaces can be made, by trying, and what is known to forbid it.
pub fn user_namespaces(host: &Host) -> Finding {
    let name = "user namespaces";
    let needed = if host.rootless { Verdict::Missing } else { Verdict::Limited };
    if !Path::new("/proc/self/ns/user").exists() {
        return Finding::new(name, needed, "the kernel has none").fix("use a kernel with CONFIG_USER_NS");
    }
    let Err(error) = sys::try_namespaces(NAMESPACES) else {
        return Finding::new(name, Verdict::Good, "they can be made");
    };
    let forbidding = [
        ("user/max_user_namespaces", "0", "user.max_user_namespaces=96000"),
        ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let forbidden = forbidding.iter().find(|(path, value, _)| sysctl(path).as_deref() == Some(value));
    match forbidden {
        Some((path, value, fix)) => {
            let detail = format!("they can't be made: {} is {value}", path.replace('/', "."));
            Finding::new(name, needed, detail).fix(format!("as root: sysctl -w {fix}"))
        }
        None => Finding::new(name, needed, format!("they can't be made here: {error}"))
            .fix("allow them in the sandbox or container that brig runs in"),
    }
}

fn cgroups(host: &Host) -> Finding {
    let name = "cgroups";
    let detail = match host.cgroups.mode {
        CgroupMode::V2 => "v2",
        CgroupMode::Hybrid => "hybrid: controllers on v1, freezing and killing on v2",
        CgroupMode::V1 => "v1",
        CgroupMode::None => {
            return Finding::new(name, Verdict::Limited, "not mounted: no limits, no pause")
                .fix("mount -t cgroup2 none /sys/fs/cgroup");
        }
    };
    Finding::new(name, Verdict::Good, detail)
}

/// Which limits can be set.
fn controllers(host: &Host) -> Finding {
    let name = "limits";
    let cgroups = &host.cgroups;
    let delegated = cgroups.unified_controllers();
    let has = |controller: &str| match cgroups.mode {
        CgroupMode::V2 => delegated.iter().any(|delegated| delegated == controller),
        _ => cgroups.legacy_writable && cgroups.legacy(controller).is_some(),
    };
    let (there, missing): (Vec<&str>, Vec<&str>) =
        ["memory", "pids", "cpu"].into_iter().partition(|controller| has(controller));
    if missing.is_empty() {
        return Finding::new(name, Verdict::Good, there.join(", "));
    }
    let fix = if host.rootless {
        "with cgroup v2 and systemd: systemd-run --user --scope -p Delegate=yes brig …"
    } else {
        "boot with the controllers switched on"
    };
    Finding::new(name, Verdict::Limited, format!("can't be set: {}", missing.join(", "))).fix(fix)
}

/// Whether supervisors have cgroups of their own.
fn supervisors(host: &Host) -> Finding {
    let name = "supervisors";
    if !host.cgroups.of_supervisors().is_empty() {
        return Finding::new(name, Verdict::Good, "in a cgroup of their own");
    }
    let detail = "in the cgroup of whoever starts a container: it may end with that session or service";
    let finding = Finding::new(name, Verdict::Limited, detail);
    if host.rootless {
        finding.fix("with cgroup v2 and systemd: systemd-run --user --scope -p Delegate=yes brig …")
    } else {
        finding
    }
}

/// What keeps containers from devices.
fn devices(host: &Host) -> Finding {
    let name = "devices";
    if host.rootless {
        return Finding::new(name, Verdict::Good, "kept away by mounts and the user namespace");
    }
    if legacy_devices(&host.cgroups) {
        return Finding::new(
            name,
            Verdict::Good,
            "kept away by mounts, and by cgroup v1 where those aren't enough",
        );
    }
    if host.cgroups.unified.is_some() {
        return Finding::new(
            name,
            Verdict::Good,
            "kept away by mounts, and by eBPF where those aren't enough",
        );
    }
    let detail =
        "kept away by mounts alone, which containers with more capabilities than docker's default can change";
    Finding::new(name, Verdict::Limited, detail).fix("mount cgroups where brig may write to them")
}

fn overlay() -> Finding {
    let name = "overlayfs";
    let known = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.ends_with("\toverlay")));
    if known {
        Finding::new(name, Verdict::Good, "the kernel has it")
    } else {
        Finding::new(name, Verdict::Missing, "the kernel doesn't know it").fix("as root: modprobe overlay")
    }
}

fn seccomp() -> Finding {
    let name = "seccomp";
    match sysctl("kernel/seccomp/actions_avail") {
        Some(actions) => Finding::new(name, Verdict::Good, actions),
        None => Finding::new(name, Verdict::Missing, "the kernel has none")
            .fix("use a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

/// Landlock, the second wall of wasm containers.
fn landlock() -> Finding {
    let name = "landlock";
    match sys::landlock_version() {
        Ok(version) => Finding::new(name, Verdict::Good, format!("version {version}")),
        Err(error) => {
            Finding::new(name, Verdict::Limited, format!("wasm containers have one wall less: {error}"))
                .fix("boot with `landlock` in the list of the kernel parameter `lsm=`")
        }
    }
}

/// Whether an ordinary user has more than one id for its containers.
fn subordinate_ids(host: &Host) -> Finding {
    let name = "subordinate ids";
    if !host.rootless {
        return Finding::new(name, Verdict::Good, "not needed by root");
    }
    // Ranges aren't used yet, so the lack of one changes nothing.
    Finding::new(name, Verdict::Limited, "not used so far: a container has one id, your own, as its root")
}
