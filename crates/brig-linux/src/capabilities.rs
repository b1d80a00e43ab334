//! Capabilities by name and by number (`linux/capability.h`).

use std::collections::HashSet;

use oci_spec::runtime::Capability;

/// What docker leaves to a container's root.
pub(crate) const DOCKER_DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fsetid,
    Capability::Fowner,
    Capability::Mknod,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setfcap,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
    Capability::Kill,
    Capability::AuditWrite,
];

/// All of them, in the kernel's order.
pub(crate) const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// A set as the kernel has it.
pub(crate) fn bits(set: &HashSet<Capability>) -> u64 {
    ALL.iter()
        .enumerate()
        .filter(|(_, capability)| set.contains(capability))
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// The capability of this name, with `CAP_` or without.
pub fn capability(name: &str) -> Option<Capability> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    ALL.into_iter().find(|capability| capability.to_string() == name)
}

/// What this process can give to a container: in a user namespace everything, else what it has itself.
pub fn own_capabilities(rootless: bool) -> Vec<Capability> {
    let bits = match rustix::thread::capabilities(None) {
        Ok(sets) if !rootless => sets.permitted.bits(),
        _ => u64::MAX,
    };
    ALL.into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, capability)| capability)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_set_is_the_one_that_proc_shows() {
        assert_eq!(bits(&DOCKER_DEFAULT.into_iter().collect()), 0xa804_25fb);
        assert_eq!(bits(&ALL.into_iter().collect()), (1 << 41) - 1);
    }

    #[test]
    fn names_with_and_without_their_beginning() {
        assert_eq!(capability("CAP_NET_ADMIN"), Some(Capability::NetAdmin));
        assert_eq!(capability("sys_admin"), Some(Capability::SysAdmin));
        assert_eq!(capability("checkpoint_restore"), Some(Capability::CheckpointRestore));
        for name in ["", "ALL", "CAP_", "NETADMIN", "CAP_CAP_CHOWN"] {
            assert_eq!(capability(name), None, "{name}");
        }
        assert_eq!(own_capabilities(true).len(), ALL.len());
    }
}
