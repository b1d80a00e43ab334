//! From a resolved policy to a program: per architecture a search tree over ranges of syscall
//! numbers with the same verdict.
//!
//! ```text
//!   load arch ─ == x86-64 ─▶ load nr ─▶ nr ≥ 165 ? ─▶ … ─▶ ret ALLOW
//!        └──── == i386 ───▶ load nr ─▶ …          └─▶ … ─▶ argument rules ─▶ ret …
//!        └──── ret KILL_THREAD
//! ```
//!
//! The kernel runs a new filter for every syscall number to learn which are always allowed, so the
//! tree is balanced by how many numbers lie behind a branch.

use super::abi::{Abi, X32_BIT};
use super::action::Action;
use super::arguments;
use super::asm::{Assembler, Label, Test};
use super::error::SeccompError;
use super::filter::Instruction;
use super::rules::{Decision, Interface, Policy, Rule};

/// Errno of what doesn't exist (`ENOSYS`).
const ENOSYS: u16 = 38;
/// Numbers from here on aren't visited when the kernel fills its cache (`NR_syscalls` is below).
const VISITED: u32 = 512;
/// A tracer sets this number to skip a syscall; filters run once more on it (seccomp(2)).
const SKIPPED: u32 = u32::MAX;

/// What to do with syscalls that are newer than the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Newer {
    /// ENOSYS for numbers above the largest that the policy knows, if its default action refuses:
    /// so programs that probe for a new syscall fall back to the older one, where EPERM would make
    /// them fail. What runc and crun do.
    #[default]
    Enosys,
    /// The policy's default action: what the policy says to the letter, and what libseccomp does.
    Default,
}

/// What is behind a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf<'a> {
    Act(Action),
    Rules(&'a [Rule], bool),
}

/// A range of numbers: from `first` to the next range.
#[derive(Debug, Clone, Copy)]
struct Range<'a> {
    first: u32,
    leaf: Leaf<'a>,
}

/// Generates the program.
pub(super) fn generate(policy: &Policy, newer: Newer) -> Result<Vec<Instruction>, SeccompError> {
    let mut asm = Assembler::default();
    let mut next = asm.ret(Action::KILL_THREAD.0);
    for audit in architectures(policy).into_iter().rev() {
        let ranges = ranges(policy, audit, newer);
        let tree = Tree { default: policy.default };
        tree.emit(&mut asm, &ranges)?;
        let start = asm.load(0);
        next = asm.branch(Test::Equal, audit, start, next);
    }
    asm.continue_at(next);
    asm.load(4);
    asm.finish()
}

/// The architectures as the kernel names them, the native one first: it is tested first.
fn architectures(policy: &Policy) -> Vec<u32> {
    let mut found = Vec::new();
    for audit in policy.interfaces.iter().map(|interface| interface.abi.audit()) {
        if !found.contains(&audit) {
            found.push(audit);
        }
    }
    found
}

/// Collects ranges and merges neighbours with the same verdict.
#[derive(Default)]
struct Ranges<'a>(Vec<Range<'a>>);

impl<'a> Ranges<'a> {
    /// Numbers from `first` on are decided by `leaf`.
    fn from(&mut self, first: u32, leaf: Leaf<'a>) {
        // A range that begins where the last one does replaces it.
        self.0.pop_if(|last| last.first == first);
        if self.0.last().is_none_or(|last| last.leaf != leaf) {
            self.0.push(Range { first, leaf });
        }
    }

    /// The syscalls of an interface; between them the default, and after the newest ENOSYS.
    fn interface(&mut self, interface: &'a Interface, default: Action, newer: Newer) {
        for (number, decision) in &interface.syscalls {
            let leaf = match decision {
                Decision::Always(action) => Leaf::Act(*action),
                Decision::ByArguments(rules) => Leaf::Rules(rules, interface.abi.wide()),
            };
            self.from(*number, leaf);
            self.from(number + 1, Leaf::Act(default));
        }
        if newer == Newer::Enosys
            && !default.permits()
            && let Some(newest) = interface.newest
        {
            self.from(newest + 1, Leaf::Act(Action::errno(ENOSYS)));
        }
    }
}

/// All numbers of an architecture, from zero.
fn ranges<'a>(policy: &'a Policy, audit: u32, newer: Newer) -> Vec<Range<'a>> {
    let find = |abi: Abi| policy.interfaces.iter().find(|interface| interface.abi == abi);
    let default = Leaf::Act(policy.default);
    let unlisted = Leaf::Act(Action::KILL_THREAD);
    let mut ranges = Ranges::default();
    ranges.from(0, default);
    if audit != Abi::X32.audit() {
        let own = policy.interfaces.iter().filter(|interface| interface.abi.audit() == audit);
        own.for_each(|interface| ranges.interface(interface, policy.default, newer));
        return ranges.0;
    }
    // x86-64 and x32 are one architecture to the kernel. If one of them isn't listed, its calls are
    // those of a foreign architecture.
    let (wide, narrow) = (find(Abi::X86_64), find(Abi::X32));
    match wide {
        Some(interface) => ranges.interface(interface, policy.default, newer),
        None => ranges.from(0, unlisted),
    }
    match narrow {
        Some(interface) => {
            ranges.from(X32_BIT, default);
            ranges.interface(interface, policy.default, newer);
        }
        None => {
            ranges.from(X32_BIT, unlisted);
            ranges.from(SKIPPED, default);
        }
    }
    ranges.0
}

/// A range, and single numbers in it with other verdicts. A few of those are cheaper tested one after
/// another than as ranges between ranges.
#[derive(Debug)]
struct Span<'a> {
    first: u32,
    leaf: Leaf<'a>,
    holes: Vec<(u32, Leaf<'a>)>,
}

/// From here on a tree is the shorter way.
const MOST_HOLES: usize = 3;

/// Gathers single numbers into the ranges around them.
fn spans<'a>(ranges: &[Range<'a>]) -> Vec<Span<'a>> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    let mut rest = ranges;
    while let [range, tail @ ..] = rest {
        match (spans.last_mut(), tail) {
            (Some(span), [next, after @ ..])
                if range.first + 1 == next.first
                    && next.leaf == span.leaf
                    && span.holes.len() < MOST_HOLES =>
            {
                span.holes.push((range.first, range.leaf));
                rest = after;
            }
            _ => {
                spans.push(Span { first: range.first, leaf: range.leaf, holes: Vec::new() });
                rest = tail;
            }
        }
    }
    spans
}

struct Tree {
    default: Action,
}

impl Tree {
    /// Emits the tree for ranges that begin at zero; it wants the number in the accumulator.
    fn emit(&self, asm: &mut Assembler, ranges: &[Range<'_>]) -> Result<(), SeccompError> {
        let mut leaves = Leaves::default();
        for range in ranges {
            if let Leaf::Rules(rules, wide) = range.leaf
                && leaves.find(range.leaf).is_none()
            {
                let label = arguments::emit(asm, rules, self.default, wide)?;
                leaves.0.push((rules, wide, label));
            }
        }
        let root = node(asm, &spans(ranges), &leaves)?;
        asm.continue_at(root);
        Ok(())
    }
}

/// The argument rules that are emitted already, of one architecture.
#[derive(Default)]
struct Leaves<'a>(Vec<(&'a [Rule], bool, Label)>);

impl Leaves<'_> {
    fn find(&self, leaf: Leaf<'_>) -> Option<Label> {
        let Leaf::Rules(rules, wide) = leaf else { return None };
        self.0.iter().find(|known| known.0 == rules && known.1 == wide).map(|known| known.2)
    }

    fn label(&self, asm: &mut Assembler, leaf: Leaf<'_>) -> Label {
        match (leaf, self.find(leaf)) {
            (_, Some(label)) => label,
            (Leaf::Act(action), None) => asm.ret(action.0),
            // Not reached: `Tree::emit` has emitted all rules.
            (Leaf::Rules(..), None) => asm.ret(Action::KILL_PROCESS.0),
        }
    }
}

fn node(asm: &mut Assembler, spans: &[Span<'_>], leaves: &Leaves<'_>) -> Result<Label, SeccompError> {
    asm.check_length()?;
    match spans {
        [] => Ok(asm.ret(Action::KILL_PROCESS.0)),
        [only] => Ok(span(asm, only, leaves)),
        _ => {
            let (below, above) = spans.split_at(middle(spans));
            let yes = node(asm, above, leaves)?;
            let no = node(asm, below, leaves)?;
            Ok(asm.branch(Test::GreaterEqual, above[0].first, yes, no))
        }
    }
}

/// Tests the holes of a span one after another.
fn span(asm: &mut Assembler, span: &Span<'_>, leaves: &Leaves<'_>) -> Label {
    let around = leaves.label(asm, span.leaf);
    span.holes.iter().rev().fold(around, |next, (number, leaf)| {
        let hole = leaves.label(asm, *leaf);
        asm.branch(Test::Equal, *number, hole, next)
    })
}

/// Where to split: so that about as many visited numbers lie on either side.
fn middle(spans: &[Span<'_>]) -> usize {
    let (first, last) = (weight(spans[0].first), weight(spans[spans.len() - 1].first));
    let target = first.midpoint(last + 1);
    match spans.partition_point(|span| weight(span.first) < target) {
        at if at == 0 || at == spans.len() => spans.len() / 2,
        at => at,
    }
}

/// A measure of how many visited numbers lie below this one. x32's numbers, which the kernel doesn't
/// visit, weigh little, so that their part of the tree hangs off to the side.
fn weight(number: u32) -> u32 {
    const SCALE: u32 = 16;
    match number.checked_sub(X32_BIT) {
        Some(narrow) => VISITED * SCALE + narrow.min(VISITED * 2),
        None => number.min(VISITED) * SCALE,
    }
}
