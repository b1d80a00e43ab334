//! Argument rules of one syscall as code.
//!
//! BPF compares 32 bits, and the arguments have 64 (on 64-bit interfaces): a test is one comparison
//! of each half. Emitted backward: of the rules the last first, and of a rule the last test first, so
//! that a test knows where to go if it holds and if it doesn't.

use super::action::Action;
use super::asm::{Assembler, Label, Test};
use super::error::SeccompError;
use super::order::{lower, upper};
use super::rules::{ArgumentTest, Compare, Rule};

/// Where a comparison goes.
#[derive(Clone, Copy)]
struct Exits {
    yes: Label,
    no: Label,
}

/// Emits the rules, the first that matches deciding, and gives the place where they start.
pub(super) fn emit(
    asm: &mut Assembler,
    rules: &[Rule],
    default: Action,
    wide: bool,
) -> Result<Label, SeccompError> {
    let mut next = asm.ret(default.0);
    for rule in rules.iter().rev() {
        let mut then = asm.ret(rule.action.0);
        for test in rule.tests.iter().rev() {
            then = emit_test(asm, test, Exits { yes: then, no: next }, wide);
        }
        next = then;
        asm.check_length()?;
    }
    Ok(next)
}

fn emit_test(asm: &mut Assembler, test: &ArgumentTest, exits: Exits, wide: bool) -> Label {
    let swapped = Exits { yes: exits.no, no: exits.yes };
    let words = Words { index: test.index, value: test.value, wide };
    match test.compare {
        Compare::Equal => words.masked(asm, u64::MAX, exits),
        Compare::NotEqual => words.masked(asm, u64::MAX, swapped),
        Compare::Masked(mask) => words.masked(asm, mask, exits),
        Compare::Greater => words.ordered(asm, Test::Greater, exits),
        Compare::LessEqual => words.ordered(asm, Test::Greater, swapped),
        Compare::GreaterEqual => words.ordered(asm, Test::GreaterEqual, exits),
        Compare::Less => words.ordered(asm, Test::GreaterEqual, swapped),
    }
}

/// An argument, and the value that it is compared with.
struct Words {
    index: u8,
    value: u64,
    wide: bool,
}

impl Words {
    /// Loads a half of the argument for what was emitted last (`args` in `struct seccomp_data`, on a
    /// little-endian machine).
    fn load(&self, asm: &mut Assembler, high: bool) -> Label {
        asm.load(16 + u32::from(self.index) * 8 + if high { 4 } else { 0 })
    }

    /// Equality under a mask: half by half, leaving out what the mask leaves out.
    fn masked(&self, asm: &mut Assembler, mask: u64, exits: Exits) -> Label {
        let mut start = exits.yes;
        if lower(mask) != 0 {
            start = self.half(asm, false, lower(mask), Exits { yes: start, no: exits.no });
        }
        if self.wide && upper(mask) != 0 {
            start = self.half(asm, true, upper(mask), Exits { yes: start, no: exits.no });
        }
        start
    }

    fn half(&self, asm: &mut Assembler, high: bool, mask: u32, exits: Exits) -> Label {
        let value = mask & if high { upper(self.value) } else { lower(self.value) };
        if value == 0 && mask != u32::MAX {
            // "None of these bits" needs no AND.
            asm.branch(Test::AnyBit, mask, exits.no, exits.yes);
        } else {
            asm.branch(Test::Equal, value, exits.yes, exits.no);
            if mask != u32::MAX {
                asm.and(mask);
            }
        }
        self.load(asm, high)
    }

    /// Greater (or equal): the high halves decide unless they are equal.
    fn ordered(&self, asm: &mut Assembler, test: Test, exits: Exits) -> Label {
        asm.branch(test, lower(self.value), exits.yes, exits.no);
        let low = self.load(asm, false);
        if !self.wide {
            return low;
        }
        match upper(self.value) {
            // Nothing is below zero: unequal means greater.
            0 => asm.branch(Test::Equal, 0, low, exits.yes),
            high => {
                let equal = asm.branch(Test::Equal, high, low, exits.no);
                asm.branch(Test::Greater, high, exits.yes, equal)
            }
        };
        self.load(asm, true)
    }
}
