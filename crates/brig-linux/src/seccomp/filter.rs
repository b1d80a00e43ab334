//! A compiled filter: instructions, flags, counts; and what it would say to a call.

use super::asm::{AND, JUMP, LOAD, MAX_INSTRUCTIONS, RETURN, Test};
use super::error::SeccompError;

/// `struct sock_filter` (`linux/filter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if the test holds.
    pub jt: u8,
    /// How many to skip if it doesn't.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

impl Instruction {
    /// Size in bytes.
    pub const SIZE: usize = 8;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let (code, k) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [code[0], code[1], self.jt, self.jf, k[0], k[1], k[2], k[3]]
    }

    fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
        let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
        Self { code, jt, jf, k }
    }
}

/// What the kernel shows a filter (`struct seccomp_data`, `linux/seccomp.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    /// The syscall's number, with x32's bit.
    pub number: u32,
    /// `AUDIT_ARCH_*`; see [`super::Abi::audit`].
    pub audit_arch: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// The word at a byte offset, as a little-endian kernel lays the structure out.
    fn word(&self, offset: u32) -> Option<u32> {
        // Two halves of a u64: the casts pick one.
        let half =
            |value: u64, high: bool| u32::try_from(if high { value >> 32 } else { value & 0xffff_ffff });
        match offset {
            0 => Some(self.number),
            4 => Some(self.audit_arch),
            // The instruction pointer, which no rule tests.
            8 | 12 => Some(0),
            16..=60 if offset.is_multiple_of(4) => {
                let at = usize::try_from((offset - 16) / 8).ok()?;
                half(*self.arguments.get(at)?, (offset & 4) != 0).ok()
            }
            _ => None,
        }
    }
}

/// How many syscalls of the native interface meet which verdict; those that no rule names aren't
/// counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Allowed, whatever the arguments.
    pub allowed: usize,
    /// Refused with an error number.
    pub refused: usize,
    /// Fatal to the thread or the process.
    pub fatal: usize,
    /// Trapped, traced, logged or reported to a listener.
    pub observed: usize,
    /// The arguments decide.
    pub conditional: usize,
    /// Names in the policy that no table knows; their rules are ignored.
    pub unknown: usize,
}

/// A seccomp filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub(super) instructions: Vec<Instruction>,
    pub(super) flags: u32,
    pub(super) statistics: Statistics,
}

impl Filter {
    /// The instructions, from the first.
    #[must_use]
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// The program as the bytes of an array of `struct sock_filter`, in this machine's byte order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.instructions.iter().flat_map(|instruction| instruction.to_bytes()).collect()
    }

    /// Reads a program that [`Self::to_bytes`] or libseccomp's `seccomp_export_bpf` wrote. The
    /// kernel checks what it does; this checks only the length.
    ///
    /// # Errors
    /// [`SeccompError::NotAFilter`]
    pub fn from_bytes(bytes: &[u8], flags: u32) -> Result<Self, SeccompError> {
        let (whole, rest) = bytes.as_chunks::<{ Instruction::SIZE }>();
        if whole.is_empty() || whole.len() > MAX_INSTRUCTIONS || !rest.is_empty() {
            return Err(SeccompError::NotAFilter { length: bytes.len() });
        }
        let instructions = whole.iter().map(|bytes| Instruction::from_bytes(*bytes)).collect();
        Ok(Self { instructions, flags, statistics: Statistics::default() })
    }

    /// The flags for `seccomp(SECCOMP_SET_MODE_FILTER, flags, …)`: `SECCOMP_FILTER_FLAG_*`.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether the call that loads the filter returns a listener (`SECCOMP_FILTER_FLAG_NEW_LISTENER`).
    #[must_use]
    pub fn has_listener(&self) -> bool {
        self.flags & super::flags::NEW_LISTENER != 0
    }

    /// Counts taken while compiling; zero for a filter made from bytes.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What the filter says to a call: a `SECCOMP_RET_*` value with its data. `None` if the program
    /// isn't one that the kernel would take, or uses operations that no filter here needs.
    #[must_use]
    pub fn verdict(&self, call: &Call) -> Option<u32> {
        let mut accumulator = 0u32;
        let mut at = 0usize;
        loop {
            let instruction = self.instructions.get(at)?;
            let k = instruction.k;
            at += 1;
            match instruction.code {
                LOAD => accumulator = call.word(k)?,
                AND => accumulator &= k,
                JUMP => at = at.checked_add(usize::try_from(k).ok()?)?,
                RETURN => return Some(k),
                code => {
                    let holds = compare(code, accumulator, k)?;
                    at += usize::from(if holds { instruction.jt } else { instruction.jf });
                }
            }
        }
    }
}

fn compare(code: u16, accumulator: u32, k: u32) -> Option<bool> {
    const EQUAL: u16 = Test::Equal as u16;
    const GREATER: u16 = Test::Greater as u16;
    const GREATER_EQUAL: u16 = Test::GreaterEqual as u16;
    const ANY_BIT: u16 = Test::AnyBit as u16;
    match code {
        EQUAL => Some(accumulator == k),
        GREATER => Some(accumulator > k),
        GREATER_EQUAL => Some(accumulator >= k),
        ANY_BIT => Some(accumulator & k != 0),
        _ => None,
    }
}
