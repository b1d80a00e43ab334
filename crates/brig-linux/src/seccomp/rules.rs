//! A policy of the OCI runtime specification, resolved: for each interface, its syscalls by number,
//! and for each syscall one action or an ordered list of argument rules, of which the first that
//! matches decides.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

use super::abi::{Abi, multiplexed, row};
use super::action::Action;
use super::error::SeccompError;
use super::filter::Statistics;
use super::numbers::Row;
use super::order;

/// Rules times names of a policy. Docker's has 450, the table of numbers 484 rows.
const MAX_RULES: usize = 1 << 16;
/// Conditional rules for one syscall. A rule needs two instructions at least, and 4096 are possible.
const MAX_RULES_OF_ONE: usize = 2048;

/// How an argument is compared, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Compare {
    NotEqual,
    Less,
    LessEqual,
    Equal,
    GreaterEqual,
    Greater,
    /// Equal under the mask.
    Masked(u64),
}

/// One argument test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ArgumentTest {
    /// 0 to 5.
    pub(super) index: u8,
    pub(super) compare: Compare,
    pub(super) value: u64,
}

/// Tests that must all hold, in the order of their arguments, and what follows. At least one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) tests: Vec<ArgumentTest>,
    pub(super) action: Action,
}

/// What is known of one syscall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// The same for all arguments.
    Always(Action),
    /// The first rule that matches decides; the default action, if none does.
    ByArguments(Vec<Rule>),
}

/// An interface's part of a policy.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) abi: Abi,
    /// By number, ascending.
    pub(super) syscalls: Vec<(u32, Decision)>,
    /// The largest number that the policy knows, also from rules that repeat the default action.
    pub(super) newest: Option<u32>,
}

/// A resolved policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) default: Action,
    pub(super) interfaces: Vec<Interface>,
    /// Whether any rule asks the listener.
    pub(super) listener: bool,
    /// Names that no table has.
    pub(super) unknown: usize,
}

impl Policy {
    /// Counts the decisions of the native interface.
    pub(super) fn statistics(&self) -> Statistics {
        let mut counts = Statistics { unknown: self.unknown, ..Statistics::default() };
        let native = self.interfaces.first().map(|interface| interface.syscalls.as_slice());
        for (_, decision) in native.unwrap_or_default() {
            let count = match decision {
                Decision::ByArguments(_) => &mut counts.conditional,
                Decision::Always(action) if *action == Action::ALLOW => &mut counts.allowed,
                Decision::Always(action) if action.refuses() => &mut counts.refused,
                Decision::Always(action) if action.kills() => &mut counts.fatal,
                Decision::Always(_) => &mut counts.observed,
            };
            *count += 1;
        }
        counts
    }
}

/// A rule of the policy with its alternatives, by how wide arguments are.
struct Prepared {
    action: Action,
    wide: Vec<Vec<ArgumentTest>>,
    narrow: Vec<Vec<ArgumentTest>>,
}

/// A name that is known, and its rule's place.
#[derive(Clone, Copy)]
struct Named {
    row: &'static Row,
    rule: usize,
}

/// One alternative of a rule for one number. Small, since there are many, and in this order they
/// are sorted: by number, then as the policy has them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    number: u32,
    /// Place among the known names.
    named: u32,
    /// Place among the rule's alternatives.
    alternative: u32,
    /// The operation behind a multiplexer, or 0.
    operation: u32,
}

/// The tests of an entry. Behind a multiplexer the first argument is the operation; the rest is what
/// libseccomp makes of it: the other tests stay where they were.
fn tests_of(tests: &[ArgumentTest], operation: u32) -> Vec<ArgumentTest> {
    if operation == 0 {
        return tests.to_vec();
    }
    let first = ArgumentTest { index: 0, compare: Compare::Equal, value: u64::from(operation) };
    std::iter::once(first).chain(tests.iter().copied().filter(|test| test.index != 0)).collect()
}

/// A policy's names and rules, for one interface.
struct View<'a> {
    abi: Abi,
    named: &'a [Named],
    rules: &'a [Prepared],
}

impl View<'_> {
    /// The alternatives of a rule; here and below, places in `named` were given by `entries`.
    fn alternatives(&self, named: &Named) -> &[Vec<ArgumentTest>] {
        let rule = &self.rules[named.rule];
        if self.abi.wide() { &rule.wide } else { &rule.narrow }
    }

    fn action(&self, entry: Entry) -> Action {
        self.rules[self.named[entry.named as usize].rule].action
    }

    fn tests(&self, entry: Entry) -> &[ArgumentTest] {
        &self.alternatives(&self.named[entry.named as usize])[entry.alternative as usize]
    }

    fn always(&self, entry: Entry) -> bool {
        entry.operation == 0 && self.tests(entry).is_empty()
    }

    /// All alternatives by number. A rule that says what the default says is left out, as in runc.
    fn entries(&self, default: Action) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.named.len() + self.named.len() / 8);
        for (at, named) in (0u32..).zip(self.named) {
            if self.rules[named.rule].action != default {
                self.add(at, named, &mut entries);
            }
        }
        entries.sort_unstable();
        entries
    }

    /// Adds what one rule for one name means: a rule for its own number, and on i386 also one for the
    /// multiplexer.
    fn add(&self, at: u32, named: &Named, entries: &mut Vec<Entry>) {
        let own = self.abi.number_in(named.row).map(|number| (number, 0));
        let shared = if self.abi == Abi::X86 { multiplexed(named.row) } else { None };
        for (alternative, _) in (0u32..).zip(self.alternatives(named)) {
            for (number, operation) in [shared, own].into_iter().flatten() {
                entries.push(Entry { number, named: at, alternative, operation });
            }
        }
    }

    /// What the rules for one number add up to. A rule without tests beats those with tests, and the
    /// first of them the others; so it is in libseccomp.
    fn decide(&self, group: &[Entry]) -> Result<Decision, SeccompError> {
        if let Some(entry) = group.iter().find(|entry| self.always(**entry)) {
            return Ok(Decision::Always(self.action(*entry)));
        }
        let name = || self.named[group[0].named as usize].row.0.to_owned();
        if group.len() > MAX_RULES_OF_ONE {
            let (what, rules) = (name(), group.len());
            return Err(SeccompError::TooManyRules { what, rules, most: MAX_RULES_OF_ONE });
        }
        let rule = |entry: &Entry| Rule {
            tests: tests_of(self.tests(*entry), entry.operation),
            action: self.action(*entry),
        };
        match order::order(group.iter().map(rule).collect(), self.abi.wide()) {
            Some(rules) => Ok(Decision::ByArguments(rules)),
            None => Err(SeccompError::Contradiction { syscall: name() }),
        }
    }
}

/// Resolves a policy for a machine whose own interface is `native`.
pub(super) fn resolve(policy: &LinuxSeccomp, native: Abi) -> Result<Policy, SeccompError> {
    let default =
        Action::from_oci(policy.default_action(), policy.default_errno_ret(), "the default action")?;
    if default == Action::NOTIFY {
        return Err(SeccompError::NotifyByDefault);
    }
    let syscalls = policy.syscalls().as_deref().unwrap_or_default();
    let rules = syscalls.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
    let (named, unknown) = look_up(syscalls)?;
    let interfaces = abis(policy, native)
        .into_iter()
        .map(|abi| interface(&View { abi, named: &named, rules: &rules }, default))
        .collect::<Result<Vec<_>, _>>()?;
    let listener = named.iter().any(|named| rules[named.rule].action == Action::NOTIFY);
    Ok(Policy { default, interfaces, listener, unknown })
}

/// The interfaces of the policy: the native one always (libseccomp adds it by itself), and those
/// listed. Foreign ones without a table can't occur on this machine and are left to the verdict for
/// unlisted architectures.
fn abis(policy: &LinuxSeccomp, native: Abi) -> Vec<Abi> {
    let mut abis = vec![native];
    let listed = policy.architectures().as_deref().unwrap_or_default();
    for abi in listed.iter().filter_map(|arch| Abi::from_oci(*arch)) {
        if !abis.contains(&abi) {
            abis.push(abi);
        }
    }
    abis
}

fn prepare(rule: &LinuxSyscall) -> Result<Prepared, SeccompError> {
    let first = rule.names().first().map_or("a rule without a name", String::as_str);
    check_indices(rule, first)?;
    let arguments = rule.args().as_deref().unwrap_or_default();
    Ok(Prepared {
        action: Action::from_oci(rule.action(), rule.errno_ret(), first)?,
        wide: alternatives(arguments, u64::MAX),
        narrow: alternatives(arguments, u64::from(u32::MAX)),
    })
}

fn look_up(syscalls: &[LinuxSyscall]) -> Result<(Vec<Named>, usize), SeccompError> {
    let rules = syscalls.iter().map(|rule| rule.names().len()).sum();
    if rules > MAX_RULES {
        return Err(SeccompError::TooManyRules { what: "all syscalls".to_owned(), rules, most: MAX_RULES });
    }
    let mut named = Vec::with_capacity(rules);
    for (rule, syscall) in syscalls.iter().enumerate() {
        let known = syscall.names().iter().filter_map(|name| row(name));
        named.extend(known.map(|row| Named { row, rule }));
    }
    let unknown = rules - named.len();
    Ok((named, unknown))
}

fn check_indices(rule: &LinuxSyscall, first: &str) -> Result<(), SeccompError> {
    let arguments = rule.args().as_deref().unwrap_or_default();
    match arguments.iter().map(LinuxSeccompArg::index).find(|index| *index > 5) {
        Some(index) => Err(SeccompError::ArgumentIndex { syscall: first.to_owned(), index }),
        None => Ok(()),
    }
}

fn interface(view: &View<'_>, default: Action) -> Result<Interface, SeccompError> {
    let newest = view.named.iter().filter_map(|named| view.abi.number_in(named.row)).max();
    let entries = view.entries(default);
    let mut syscalls = Vec::with_capacity(entries.len());
    for group in entries.chunk_by(|a, b| a.number == b.number) {
        syscalls.push((group[0].number, view.decide(group)?));
    }
    Ok(Interface { abi: view.abi, syscalls, newest })
}

/// The tests of a rule. Where two of them look at the same argument, each test becomes a rule of its
/// own: not what one would expect, but what runc does and policies are written for.
fn alternatives(arguments: &[LinuxSeccompArg], width: u64) -> Vec<Vec<ArgumentTest>> {
    let mut tests: Vec<ArgumentTest> = arguments.iter().map(|arg| test(width, arg)).collect();
    let twice = (0..6).any(|index| tests.iter().filter(|test| test.index == index).count() > 1);
    if twice {
        return tests.iter().map(|test| meaningful(vec![*test])).collect();
    }
    tests.sort_by_key(|test| test.index);
    vec![meaningful(tests)]
}

/// Without the tests that always hold: masks that cover nothing.
fn meaningful(mut tests: Vec<ArgumentTest>) -> Vec<ArgumentTest> {
    tests.retain(|test| test.compare != Compare::Masked(0));
    tests
}

fn test(width: u64, argument: &LinuxSeccompArg) -> ArgumentTest {
    let value = argument.value() & width;
    let (compare, value) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (Compare::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (Compare::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (Compare::LessEqual, value),
        LinuxSeccompOperator::ScmpCmpEq => (Compare::Equal, value),
        LinuxSeccompOperator::ScmpCmpGe => (Compare::GreaterEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (Compare::Greater, value),
        // Here `value` is the mask. Bits outside of it are never compared.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (Compare::Masked(value), argument.value_two().unwrap_or(0) & value)
        }
    };
    // check_indices has refused what doesn't fit.
    let index = u8::try_from(argument.index()).unwrap_or(u8::MAX);
    ArgumentTest { index, compare, value }
}
