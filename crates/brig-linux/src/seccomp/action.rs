//! What a rule does, as the kernel's `SECCOMP_RET_*` value.

use oci_spec::runtime::LinuxSeccompAction;

use super::error::SeccompError;

/// A `SECCOMP_RET_*` value with its 16 bits of data (`linux/seccomp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Action(pub u32);

impl Action {
    /// Ends the thread. Also what happens to calls of an architecture that the policy doesn't list,
    /// as with libseccomp.
    pub const KILL_THREAD: Self = Self(0);
    /// Ends the process.
    pub const KILL_PROCESS: Self = Self(0x8000_0000);
    /// Sends SIGSYS.
    pub const TRAP: Self = Self(0x0003_0000);
    /// Asks the listener.
    pub const NOTIFY: Self = Self(0x7fc0_0000);
    /// Logs, then lets pass.
    pub const LOG: Self = Self(0x7ffc_0000);
    /// Lets pass.
    pub const ALLOW: Self = Self(0x7fff_0000);

    /// `SECCOMP_RET_ERRNO` without its data.
    const ERRNO: u32 = 0x0005_0000;
    /// `SECCOMP_RET_TRACE` without its data.
    const TRACE: u32 = 0x7ff0_0000;
    /// `MAX_ERRNO` (`linux/err.h`).
    const MAX_ERRNO: u32 = 4095;
    /// What ERRNO and TRACE carry when the policy doesn't say: EPERM, as in runc.
    const DEFAULT_DATA: u32 = 1;
    /// `SECCOMP_RET_ACTION_FULL`.
    const KIND: u32 = 0xffff_0000;

    /// Fails with an error number.
    #[must_use]
    pub const fn errno(number: u16) -> Self {
        Self(Self::ERRNO | number as u32)
    }

    /// From the specification's action and number; `rule` is for the error.
    pub(super) fn from_oci(
        action: LinuxSeccompAction,
        errno_ret: Option<u32>,
        rule: &str,
    ) -> Result<Self, SeccompError> {
        let data = |most: u32| match errno_ret.unwrap_or(Self::DEFAULT_DATA) {
            value if value <= most => Ok(value),
            value => Err(SeccompError::ErrnoRange { rule: rule.to_owned(), value, most }),
        };
        Ok(match action {
            LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Self::KILL_THREAD,
            LinuxSeccompAction::ScmpActKillProcess => Self::KILL_PROCESS,
            LinuxSeccompAction::ScmpActTrap => Self::TRAP,
            LinuxSeccompAction::ScmpActErrno => Self(Self::ERRNO | data(Self::MAX_ERRNO)?),
            LinuxSeccompAction::ScmpActNotify => Self::NOTIFY,
            LinuxSeccompAction::ScmpActTrace => Self(Self::TRACE | data(0xffff)?),
            LinuxSeccompAction::ScmpActLog => Self::LOG,
            LinuxSeccompAction::ScmpActAllow => Self::ALLOW,
        })
    }

    /// Whether the call may happen after all: then a syscall that the policy doesn't know needs no
    /// ENOSYS. A tracer answers for itself.
    pub(super) fn permits(self) -> bool {
        self == Self::ALLOW || self == Self::LOG || self.0 & Self::KIND == Self::TRACE
    }

    /// Whether it is ERRNO, with whatever number.
    pub(super) fn refuses(self) -> bool {
        self.0 & Self::KIND == Self::ERRNO
    }

    /// Whether the caller dies.
    pub(super) fn kills(self) -> bool {
        self == Self::KILL_THREAD || self == Self::KILL_PROCESS
    }
}
