//! The system call interfaces that a filter can tell apart, and the numbers of their calls.

use oci_spec::runtime::Arch;

use super::numbers::{NUMBERS, Row};

/// Set in every syscall number that an x32 program uses; the kernel reports the same architecture
/// for x32 as for x86-64 (`arch/x86/include/uapi/asm/unistd.h`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A system call interface: what `SCMP_ARCH_*` names, and a column of the number table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Abi {
    /// 64-bit x86.
    X86_64 = 0,
    /// 32-bit x86 (i386).
    X86 = 1,
    /// x86-64 with 32-bit pointers.
    X32 = 2,
    /// 64-bit Arm.
    Aarch64 = 3,
    /// 32-bit Arm, EABI.
    Arm = 4,
}

impl Abi {
    /// The interface that this program was built for; `None` where there is no number table for it.
    #[must_use]
    pub fn native() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" if cfg!(target_pointer_width = "32") => Some(Self::X32),
            "x86_64" => Some(Self::X86_64),
            "x86" => Some(Self::X86),
            "aarch64" => Some(Self::Aarch64),
            "arm" => Some(Self::Arm),
            _ => None,
        }
    }

    /// The interface behind the specification's name. `None` for `SCMP_ARCH_NATIVE` and for
    /// architectures without a table.
    #[must_use]
    pub fn from_oci(arch: Arch) -> Option<Self> {
        match arch {
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchArm => Some(Self::Arm),
            _ => None,
        }
    }

    /// The value that the kernel puts into `seccomp_data.arch` (`AUDIT_ARCH_*`, `linux/audit.h`).
    #[must_use]
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared in 64 bits. Elsewhere only the low halves are, as libseccomp
    /// does it.
    pub(super) fn wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }

    /// The number of a syscall under this interface, with x32's bit. `None` when the interface has
    /// no such call, or nobody knows the name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        row(name).and_then(|row| self.number_in(row))
    }

    /// The number in a row of the table.
    pub(super) fn number_in(self, row: &Row) -> Option<u32> {
        let number = u32::try_from(row.1[self as usize]).ok()?;
        Some(if self == Self::X32 { number | X32_BIT } else { number })
    }
}

/// Finds a name in the table of numbers.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    let at = NUMBERS.binary_search_by(|row| row.0.cmp(name)).ok()?;
    NUMBERS.get(at)
}

/// i386 reaches sockets and System V IPC also through `socketcall(2)` and `ipc(2)`, where the first
/// argument chooses the operation. A rule for the operation must hold there as well. Gives the name
/// of the multiplexer and the first argument.
pub(super) fn multiplexed(name: &str) -> Option<(&'static str, u32)> {
    let (multiplexer, operation) = match name {
        "socket" => ("socketcall", 1),
        "bind" => ("socketcall", 2),
        "connect" => ("socketcall", 3),
        "listen" => ("socketcall", 4),
        "accept" => ("socketcall", 5),
        "getsockname" => ("socketcall", 6),
        "getpeername" => ("socketcall", 7),
        "socketpair" => ("socketcall", 8),
        "send" => ("socketcall", 9),
        "recv" => ("socketcall", 10),
        "sendto" => ("socketcall", 11),
        "recvfrom" => ("socketcall", 12),
        "shutdown" => ("socketcall", 13),
        "setsockopt" => ("socketcall", 14),
        "getsockopt" => ("socketcall", 15),
        "sendmsg" => ("socketcall", 16),
        "recvmsg" => ("socketcall", 17),
        "accept4" => ("socketcall", 18),
        "recvmmsg" => ("socketcall", 19),
        "sendmmsg" => ("socketcall", 20),
        "semop" => ("ipc", 1),
        "semget" => ("ipc", 2),
        "semctl" => ("ipc", 3),
        "semtimedop" => ("ipc", 4),
        "msgsnd" => ("ipc", 11),
        "msgrcv" => ("ipc", 12),
        "msgget" => ("ipc", 13),
        "msgctl" => ("ipc", 14),
        "shmat" => ("ipc", 21),
        "shmdt" => ("ipc", 22),
        "shmget" => ("ipc", 23),
        "shmctl" => ("ipc", 24),
        _ => return None,
    };
    Some((multiplexer, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_numbers_are_unique_per_column() {
        assert!(NUMBERS.is_sorted_by(|a, b| a.0 < b.0));
        for column in 0..5 {
            let mut numbers: Vec<i32> = NUMBERS.iter().map(|row| row.1[column]).filter(|n| *n >= 0).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(all, numbers.len(), "column {column} has a number twice");
        }
    }

    #[test]
    fn table_agrees_with_libc() {
        let abi = Abi::native().unwrap();
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("futex_waitv", libc::SYS_futex_waitv),
            ("seccomp", libc::SYS_seccomp),
            ("mseal", libc::SYS_mseal),
        ] {
            assert_eq!(i64::from(abi.number(name).unwrap()), number, "{name}");
        }
    }

    #[test]
    fn x32_numbers_carry_their_bit() {
        assert_eq!(Abi::X32.number("read"), Some(X32_BIT));
        assert_eq!(Abi::X32.number("execve"), Some(X32_BIT | 520));
        assert_eq!(Abi::X86_64.number("socketcall"), None);
        assert_eq!(Abi::X86_64.number("no_such_call"), None);
    }

    #[test]
    fn every_multiplexed_name_is_in_the_table() {
        for row in NUMBERS {
            if let Some((multiplexer, _)) = multiplexed(row.0) {
                assert!(Abi::X86.number(multiplexer).is_some());
            }
        }
    }
}
