//! The order in which argument rules of one syscall are tried.
//!
//! Where rules have one action the order doesn't matter. Where actions differ and conditions overlap
//! it decides, and policies are written for libseccomp's: it keeps a tree of half-word comparisons
//! whose levels are sorted, and the first leaf that is reached decides. In words: a higher argument
//! before a lower one; equality before "less" before "greater"; then the tighter bound first. Rules
//! that begin with the same comparison are ordered by how they go on, and one that ends there covers
//! all that go on.

use std::cmp::Ordering;

use super::rules::{ArgumentTest, Compare, Rule};

/// A comparison of half an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Argument, then whether it is the high half.
    word: u8,
    /// What the machine will do; equal for a comparison and its negation.
    kind: Kind,
    /// How the policy put it: equality 3, less 2, greater 1.
    rank: u8,
    mask: u32,
    value: u32,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Equal,
    Masked,
    Greater,
    GreaterEqual,
}

impl Step {
    /// Whether one instruction can serve both.
    fn shares(&self, other: &Self) -> bool {
        (self.word, self.kind, self.mask, self.value) == (other.word, other.kind, other.mask, other.value)
    }

    /// Which is tried first.
    fn before(&self, other: &Self) -> bool {
        let values = if self.rank == 2 { self.value.cmp(&other.value) } else { other.value.cmp(&self.value) };
        other.word.cmp(&self.word).then(other.rank.cmp(&self.rank)).then(values) == Ordering::Less
    }
}

/// A rule on its way through the levels.
struct Path {
    rule: Rule,
    steps: Vec<Step>,
    position: usize,
}

/// Orders the rules and drops those that an earlier, wider one covers. `None` if a later rule would
/// cover an earlier one with another action, or says the opposite under the same conditions.
pub(super) fn order(rules: Vec<Rule>, wide: bool) -> Option<Vec<Rule>> {
    if rules.len() == 1 {
        return Some(rules);
    }
    let paths = rules.into_iter().enumerate().map(|(position, rule)| {
        let steps = rule.tests.iter().flat_map(|test| steps(test, wide)).collect();
        Path { rule, steps, position }
    });
    let mut ordered = Vec::new();
    level(paths.collect(), 0, &mut ordered)?;
    Some(ordered)
}

/// Groups by the comparison at this depth, orders the groups, and goes on in each.
fn level(paths: Vec<Path>, depth: usize, ordered: &mut Vec<Rule>) -> Option<()> {
    let mut groups: Vec<(Step, Vec<Path>)> = Vec::new();
    for path in paths {
        let step = path.steps[depth];
        match groups.iter_mut().find(|(known, _)| known.shares(&step)) {
            Some((_, group)) => group.push(path),
            None => {
                let at = groups.iter().position(|(known, _)| step.before(known));
                groups.insert(at.unwrap_or(groups.len()), (step, vec![path]));
            }
        }
    }
    for (_, group) in groups {
        finish_or_descend(group, depth + 1, ordered)?;
    }
    Some(())
}

/// Handles rules that share their first `depth` comparisons.
fn finish_or_descend(group: Vec<Path>, depth: usize, ordered: &mut Vec<Rule>) -> Option<()> {
    let (ended, mut going_on): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|path| path.steps.len() == depth);
    // By negation: `== 5` and `!= 5` share a comparison, but never match together.
    let mut widest: Vec<Path> = Vec::new();
    for path in ended {
        match widest.iter().find(|known| same_way(known, &path, depth)) {
            Some(known) if known.rule.action != path.rule.action => return None,
            Some(_) => {}
            None => widest.push(path),
        }
    }
    for wide in &widest {
        let covered = |path: &Path| same_way(wide, path, depth);
        let contradicts = |path: &Path| {
            path.position < wide.position && path.rule.action != wide.rule.action && covered(path)
        };
        if going_on.iter().any(contradicts) {
            return None;
        }
        going_on.retain(|path| !covered(path));
    }
    ordered.extend(widest.into_iter().map(|path| path.rule));
    if going_on.is_empty() { Some(()) } else { level(going_on, depth, ordered) }
}

/// Whether both rules leave their shared comparisons on the same side.
fn same_way(a: &Path, b: &Path, depth: usize) -> bool {
    a.steps.iter().zip(&b.steps).take(depth).all(|(a, b)| a.negated == b.negated && a.rank == b.rank)
}

/// The comparisons of a test: of the high half first, where there is one.
fn steps(test: &ArgumentTest, wide: bool) -> impl Iterator<Item = Step> {
    let (rank, negated) = match test.compare {
        Compare::NotEqual => (3, true),
        Compare::Equal | Compare::Masked(_) => (3, false),
        Compare::Less | Compare::LessEqual => (2, true),
        Compare::Greater | Compare::GreaterEqual => (1, false),
    };
    let mask = if let Compare::Masked(mask) = test.compare { mask } else { u64::MAX };
    let half = move |high: bool, kind: Kind| {
        let pick = |value: u64| if high { upper(value) } else { lower(value) };
        let word = test.index * 2 + u8::from(high);
        Step { word, kind, rank, mask: pick(mask), value: pick(test.value), negated }
    };
    let (high, low) = kinds(test.compare);
    wide.then(|| half(true, high)).into_iter().chain(std::iter::once(half(false, low)))
}

/// What the halves are compared by.
fn kinds(compare: Compare) -> (Kind, Kind) {
    match compare {
        Compare::Equal | Compare::NotEqual => (Kind::Equal, Kind::Equal),
        Compare::Masked(_) => (Kind::Masked, Kind::Masked),
        Compare::Greater | Compare::LessEqual => (Kind::Greater, Kind::Greater),
        Compare::GreaterEqual | Compare::Less => (Kind::Greater, Kind::GreaterEqual),
    }
}

/// The high half.
pub(super) fn upper(value: u64) -> u32 {
    lower(value >> 32)
}

/// The low half.
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(super) fn lower(value: u64) -> u32 {
    value as u32
}
