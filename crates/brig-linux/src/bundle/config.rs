//! A config.json to begin with, as `runc spec` gives one.

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Root, Spec, get_default_namespaces};

use super::OCI_VERSION;

/// A spec for a bundle with its files in `rootfs`, which runs `sh` in a terminal with few rights; for an ordinary user
/// with a user namespace in which it is root.
pub fn default_config(rootless: bool) -> Spec {
    let mut spec = if rootless {
        Spec::rootless(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    } else {
        Spec::default()
    };
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(Some(true));
    let mut process = Process::default();
    process.set_terminal(Some(true)).set_args(Some(vec!["sh".to_owned()])).set_no_new_privileges(Some(true));
    let mut linux: Linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_else(get_default_namespaces);
    // An ordinary user's process sees its cgroup and no other, whatever is made of it.
    namespaces.retain(|namespace| !rootless || namespace.typ() != LinuxNamespaceType::Cgroup);
    linux.set_namespaces(Some(namespaces));
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(Some("brig".to_owned()))
        .set_linux(Some(linux));
    spec
}
