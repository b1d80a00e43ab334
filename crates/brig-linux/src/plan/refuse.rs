//! What a spec may ask for and brig can't give. Everything that isn't handled elsewhere is here, so that nothing is left
//! out in silence.

use oci_spec::runtime::{Linux, Process, Spec};

use super::PlanError;

/// Refuses what can't be given.
pub(super) fn refuse(spec: &Spec, linux: &Linux) -> Result<(), PlanError> {
    let mut asked = of_linux(linux);
    if let Some(process) = spec.process() {
        asked.extend(of_process(process));
    }
    match asked.into_iter().find(|(_, asked, _)| *asked) {
        Some((field, _, reason)) => Err(PlanError::unsupported(field, reason)),
        None => Ok(()),
    }
}

type Asked = (&'static str, bool, &'static str);

fn of_linux(linux: &Linux) -> Vec<Asked> {
    let listener = linux.seccomp().as_ref().is_some_and(|policy| policy.listener_path().is_some());
    vec![
        ("linux.intelRdt", linux.intel_rdt().is_some(), "cache allocation isn't supported"),
        (
            "linux.netDevices",
            some(linux.net_devices().as_ref().map(|map| map.len())),
            "network devices aren't moved yet",
        ),
        ("linux.mountLabel", given(linux.mount_label().as_deref()), "there is no SELinux policy to apply it"),
        ("linux.seccomp.listenerPath", listener, "seccomp notification isn't supported"),
    ]
}

fn of_process(process: &Process) -> Vec<Asked> {
    vec![
        (
            "process.apparmorProfile",
            profile(process.apparmor_profile().as_deref()),
            "AppArmor profiles aren't applied",
        ),
        (
            "process.selinuxLabel",
            given(process.selinux_label().as_deref()),
            "there is no SELinux policy to apply it",
        ),
        ("process.execCPUAffinity", process.exec_cpu_affinity().is_some(), "CPU affinities aren't supported"),
    ]
}

fn some(count: Option<usize>) -> bool {
    count.is_some_and(|count| count > 0)
}

fn given(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}

/// `unconfined` asks for nothing.
fn profile(text: Option<&str>) -> bool {
    given(text) && text != Some("unconfined")
}
