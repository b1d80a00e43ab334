//! Assembles a classic BPF program from its end to its start.
//!
//! BPF jumps only forward, and the distance of a conditional jump is a byte. Emitted backward, every
//! target is known when a jump is, so that distances are final at once, equal code can be shared, and
//! a target that is too far gets a stepping stone right behind the jump. The instructions that a
//! filter may use are few: the kernel fills its cache of always-allowed syscalls by interpreting
//! loads of number and architecture, jumps, AND and RET, and gives up at anything else
//! (`seccomp_is_const_allow` in `kernel/seccomp.c`).

use super::error::SeccompError;
use super::filter::Instruction;

/// `BPF_MAXINSNS` (`linux/bpf_common.h`).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// `BPF_LD | BPF_W | BPF_ABS`: a word of `seccomp_data` into the accumulator.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`.
pub(super) const AND: u16 = 0x54;
/// `BPF_RET | BPF_K`.
pub(super) const RETURN: u16 = 0x06;
/// `BPF_JMP | BPF_JA`.
pub(super) const JUMP: u16 = 0x05;

/// A conditional jump: what the accumulator is compared with, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub(super) enum Test {
    /// Equal (`BPF_JMP | BPF_JEQ | BPF_K`).
    Equal = 0x15,
    /// Greater (`BPF_JMP | BPF_JGT | BPF_K`).
    Greater = 0x25,
    /// Greater or equal (`BPF_JMP | BPF_JGE | BPF_K`).
    GreaterEqual = 0x35,
    /// Any of the bits is set (`BPF_JMP | BPF_JSET | BPF_K`).
    AnyBit = 0x45,
}

/// A place in the program, counted from its end. Later places have smaller labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    reversed: Vec<Instruction>,
    /// The nearest `RET` of each value.
    returns: Vec<(u32, Label)>,
    /// The nearest stepping stone to each far target: (target, stone).
    stones: Vec<(Label, Label)>,
}

impl Assembler {
    /// The furthest that a conditional jump reaches.
    const REACH: usize = u8::MAX as usize;

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    /// The distance to `target` for a jump that is emitted next.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    /// The place where the program returns `value`. May emit; call it before a block is begun.
    pub(super) fn ret(&mut self, value: u32) -> Label {
        // The margin leaves room for a block between this place and the jump to it.
        const MARGIN: usize = 40;
        match self.returns.iter_mut().find(|(known, _)| *known == value) {
            Some((_, label)) if self.reversed.len() - label.0 + MARGIN < Self::REACH => *label,
            Some(_) | None => self.new_ret(value),
        }
    }

    fn new_ret(&mut self, value: u32) -> Label {
        let label = self.push(RETURN, 0, 0, value);
        self.returns.retain(|(known, _)| *known != value);
        self.returns.push((value, label));
        label
    }

    /// Loads the word at `offset` of `seccomp_data`, then goes on with what was emitted last.
    pub(super) fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    /// Masks the accumulator, then goes on with what was emitted last.
    pub(super) fn and(&mut self, mask: u32) -> Label {
        self.push(AND, 0, 0, mask)
    }

    /// Compares the accumulator with `k` and goes to `yes` or `no`.
    pub(super) fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        let (mut yes, mut no) = (yes, no);
        // A stone for one target lengthens the way to the other, so look again after each.
        loop {
            if self.distance(yes) > Self::REACH {
                yes = self.stone(yes);
            } else if self.distance(no) > Self::REACH {
                no = self.stone(no);
            } else {
                break;
            }
        }
        let (jt, jf) = (self.near(yes), self.near(no));
        self.push(test as u16, jt, jf, k)
    }

    /// A distance that `branch` has made fit.
    fn near(&self, target: Label) -> u8 {
        u8::try_from(self.distance(target)).unwrap_or(u8::MAX)
    }

    /// An instruction within reach that leads to `target`: a copy, if that is a `RET`.
    fn stone(&mut self, target: Label) -> Label {
        let there = self.reversed[target.0];
        if there.code == RETURN {
            return match self.returns.iter().find(|(known, _)| *known == there.k) {
                Some((_, label)) if self.distance(*label) < Self::REACH => *label,
                _ => self.new_ret(there.k),
            };
        }
        match self.stones.iter().find(|(known, _)| *known == target) {
            Some((_, stone)) if self.distance(*stone) < Self::REACH => *stone,
            _ => self.new_stone(target),
        }
    }

    fn new_stone(&mut self, target: Label) -> Label {
        // A program is at most 4096 instructions long, or it is refused at its end.
        let distance = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
        let stone = self.push(JUMP, 0, 0, distance);
        self.stones.retain(|(known, _)| *known != target);
        self.stones.push((target, stone));
        stone
    }

    /// Makes `start` the next thing that is run after what is emitted next. Needed where a block
    /// must fall through into another one that isn't the last emitted.
    pub(super) fn continue_at(&mut self, start: Label) -> Label {
        if start.0 + 1 == self.reversed.len() { start } else { self.new_stone(start) }
    }

    /// How long the program is by now; to stop early.
    pub(super) fn check_length(&self) -> Result<(), SeccompError> {
        if self.reversed.len() > MAX_INSTRUCTIONS {
            return Err(SeccompError::FilterTooLong { most: MAX_INSTRUCTIONS });
        }
        Ok(())
    }

    /// The program from its start.
    pub(super) fn finish(mut self) -> Result<Vec<Instruction>, SeccompError> {
        self.check_length()?;
        self.reversed.reverse();
        Ok(self.reversed)
    }
}
