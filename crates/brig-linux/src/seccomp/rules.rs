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

/// A rule for one number, as the policy's order gives them.
struct Entry<'a> {
    number: u32,
    name: &'a str,
    tests: Vec<ArgumentTest>,
    action: Action,
}

/// The policy with its names looked up once.
struct Named<'a> {
    row: &'static Row,
    rule: &'a LinuxSyscall,
    action: Action,
}

/// Resolves a policy for a machine whose own interface is `native`.
pub(super) fn resolve(policy: &LinuxSeccomp, native: Abi) -> Result<Policy, SeccompError> {
    let default =
        Action::from_oci(policy.default_action(), policy.default_errno_ret(), "the default action")?;
    if default == Action::NOTIFY {
        return Err(SeccompError::NotifyByDefault);
    }
    let (named, unknown) = look_up(policy.syscalls().as_deref().unwrap_or_default())?;
    let interfaces = abis(policy, native)
        .into_iter()
        .map(|abi| interface(abi, &named, default))
        .collect::<Result<Vec<_>, _>>()?;
    let listener = named.iter().any(|named| named.action == Action::NOTIFY);
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

fn look_up(syscalls: &[LinuxSyscall]) -> Result<(Vec<Named<'_>>, usize), SeccompError> {
    let rules = syscalls.iter().map(|rule| rule.names().len()).sum();
    if rules > MAX_RULES {
        return Err(SeccompError::TooManyRules { what: "all syscalls".to_owned(), rules, most: MAX_RULES });
    }
    let (mut named, mut unknown) = (Vec::with_capacity(rules), 0);
    for rule in syscalls {
        let first = rule.names().first().map_or("a rule without a name", String::as_str);
        let action = Action::from_oci(rule.action(), rule.errno_ret(), first)?;
        check_indices(rule, first)?;
        for name in rule.names() {
            match row(name) {
                Some(row) => named.push(Named { row, rule, action }),
                None => unknown += 1,
            }
        }
    }
    Ok((named, unknown))
}

fn check_indices(rule: &LinuxSyscall, first: &str) -> Result<(), SeccompError> {
    let arguments = rule.args().as_deref().unwrap_or_default();
    match arguments.iter().map(LinuxSeccompArg::index).find(|index| *index > 5) {
        Some(index) => Err(SeccompError::ArgumentIndex { syscall: first.to_owned(), index }),
        None => Ok(()),
    }
}

fn interface(abi: Abi, named: &[Named<'_>], default: Action) -> Result<Interface, SeccompError> {
    let newest = named.iter().filter_map(|named| abi.number_in(named.row)).max();
    let mut entries = Vec::with_capacity(named.len());
    // A rule that says what the default says is left out, as in runc.
    for named in named.iter().filter(|named| named.action != default) {
        add_entries(abi, named, &mut entries);
    }
    // Stable: for each number, the order of the policy stays.
    entries.sort_by_key(|entry| entry.number);
    let syscalls = entries
        .chunk_by_mut(|a, b| a.number == b.number)
        .map(|group| Ok((group[0].number, decide(abi, group)?)))
        .collect::<Result<Vec<_>, SeccompError>>()?;
    Ok(Interface { abi, syscalls, newest })
}

/// Adds what one rule for one name means for an interface: a rule for its own number, and on i386
/// also one for the multiplexer.
fn add_entries<'a>(abi: Abi, named: &Named<'a>, entries: &mut Vec<Entry<'a>>) {
    let (name, action) = (named.row.0, named.action);
    for tests in alternatives(abi, named.rule.args().as_deref().unwrap_or_default()) {
        if abi == Abi::X86
            && let Some((multiplexer, operation)) = multiplexed(name)
            && let Some(number) = abi.number(multiplexer)
        {
            entries.push(Entry { number, name, tests: behind(operation, &tests), action });
        }
        if let Some(number) = abi.number_in(named.row) {
            entries.push(Entry { number, name, tests, action });
        }
    }
}

/// The tests for an operation of a multiplexer. Its first argument is the operation; the rest is
/// what libseccomp makes of it: the other tests stay where they were.
fn behind(operation: u32, tests: &[ArgumentTest]) -> Vec<ArgumentTest> {
    let first = ArgumentTest { index: 0, compare: Compare::Equal, value: u64::from(operation) };
    std::iter::once(first).chain(tests.iter().copied().filter(|test| test.index != 0)).collect()
}

/// The tests of a rule. Where two of them look at the same argument, each test becomes a rule of its
/// own: not what one would expect, but what runc does and policies are written for.
fn alternatives(abi: Abi, arguments: &[LinuxSeccompArg]) -> Vec<Vec<ArgumentTest>> {
    let mut tests: Vec<ArgumentTest> = arguments.iter().map(|arg| test(abi, arg)).collect();
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

fn test(abi: Abi, argument: &LinuxSeccompArg) -> ArgumentTest {
    let width = if abi.wide() { u64::MAX } else { u64::from(u32::MAX) };
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

/// What the rules for one number add up to. A rule without tests beats those with tests, and the
/// first of them the others; so it is in libseccomp.
fn decide(abi: Abi, group: &mut [Entry<'_>]) -> Result<Decision, SeccompError> {
    if let Some(entry) = group.iter().find(|entry| entry.tests.is_empty()) {
        return Ok(Decision::Always(entry.action));
    }
    let name = group[0].name;
    if group.len() > MAX_RULES_OF_ONE {
        return Err(SeccompError::TooManyRules {
            what: name.to_owned(),
            rules: group.len(),
            most: MAX_RULES_OF_ONE,
        });
    }
    let rules = group
        .iter_mut()
        .map(|entry| Rule { tests: std::mem::take(&mut entry.tests), action: entry.action })
        .collect();
    match order::order(rules, abi.wide()) {
        Some(rules) => Ok(Decision::ByArguments(rules)),
        None => Err(SeccompError::Contradiction { syscall: name.to_owned() }),
    }
}
