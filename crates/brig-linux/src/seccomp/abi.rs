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

/// A hash table of rows: policies have hundreds of names, and each is looked up at every start.
const SLOTS: usize = 2048;
/// Row plus one at the hash of its name, or in the next free slot; 0 is free.
static INDEX: [u16; SLOTS] = index();

const fn index() -> [u16; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut row = 0u16;
    while (row as usize) < NUMBERS.len() {
        let mut slot = hash(NUMBERS[row as usize].0);
        while slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        row += 1;
        slots[slot] = row;
    }
    slots
}

/// FNV-1a, folded.
const fn hash(name: &str) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut rest = name.as_bytes();
    while let [byte, tail @ ..] = rest {
        hash = (hash ^ *byte as u32).wrapping_mul(0x0100_0193);
        rest = tail;
    }
    ((hash >> 16) ^ hash) as usize % SLOTS
}

/// Finds a name in the table of numbers.
pub(super) fn row(name: &str) -> Option<&'static Row> {
    let mut slot = hash(name);
    // The table is less than a quarter full, so a free slot ends the search.
    loop {
        let row = NUMBERS.get(usize::from(INDEX[slot]).checked_sub(1)?)?;
        if row.0 == name {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// i386 reaches sockets and System V IPC also through `socketcall(2)` and `ipc(2)`, where the first
/// argument chooses the operation. A rule for the operation must hold there as well. Gives the number
/// of the multiplexer and the first argument.
pub(super) fn multiplexed(row: &Row) -> Option<(u32, u32)> {
    const SOCKETCALL: u32 = 102;
    const IPC: u32 = 117;
    match row.2 {
        0 => None,
        operation @ 1..100 => Some((SOCKETCALL, operation)),
        operation => Some((IPC, operation - 100)),
    }
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
    fn every_name_is_found_and_no_other() {
        for known in NUMBERS {
            assert_eq!(row(known.0), Some(known));
        }
        assert_eq!(row(""), None);
        assert_eq!(row("opena"), None);
    }

    #[test]
    fn multiplexed_operations_are_the_kernels() {
        let of = |name| multiplexed(row(name).unwrap());
        let (socketcall, ipc) = (Abi::X86.number("socketcall").unwrap(), Abi::X86.number("ipc").unwrap());
        assert_eq!(of("socket"), Some((socketcall, 1)));
        assert_eq!(of("sendmmsg"), Some((socketcall, 20)));
        assert_eq!(of("semop"), Some((ipc, 1)));
        assert_eq!(of("shmctl"), Some((ipc, 24)));
        assert_eq!(of("read"), None);
        assert_eq!(NUMBERS.iter().filter(|row| row.2 != 0).count(), 32);
    }
}
