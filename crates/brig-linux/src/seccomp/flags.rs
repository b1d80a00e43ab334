//! `SECCOMP_FILTER_FLAG_*` (`linux/seccomp.h`).

use oci_spec::runtime::LinuxSeccompFilterFlag;

/// All threads of the process get the filter.
pub const TSYNC: u32 = 1;
/// Every action but ALLOW is logged.
pub const LOG: u32 = 1 << 1;
/// Speculative store bypass stays possible.
pub const SPEC_ALLOW: u32 = 1 << 2;
/// The call that loads the filter returns a listener.
pub const NEW_LISTENER: u32 = 1 << 3;
/// A thread that can't get the filter is reported as `ESRCH`, which TSYNC with a listener needs.
pub const TSYNC_ESRCH: u32 = 1 << 4;
/// A process that waits for its listener can be killed.
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The number of what a policy asks for, with what that needs beside it.
pub(super) fn number(asked: &[LinuxSeccompFilterFlag], listener: bool) -> u32 {
    let mut flags = asked.iter().fold(0, |flags, flag| flags | one(*flag));
    if listener {
        flags |= NEW_LISTENER;
        if flags & TSYNC != 0 {
            flags |= TSYNC_ESRCH;
        }
    }
    flags
}

fn one(flag: LinuxSeccompFilterFlag) -> u32 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_brings_its_flags() {
        let tsync = [LinuxSeccompFilterFlag::SeccompFilterFlagTsync];
        assert_eq!(number(&tsync, false), TSYNC);
        assert_eq!(number(&tsync, true), TSYNC | NEW_LISTENER | TSYNC_ESRCH);
        assert_eq!(number(&[], true), NEW_LISTENER);
    }
}
