//! Our filters beside libseccomp's: the same verdict for every call.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]

#[path = "seccomp_support/mod.rs"]
mod support;

use brig_linux::seccomp::{
    Abi, Call, Filter, KernelVersion, Newer, SeccompError, compile_for, docker_default, engine_policy,
};
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};
use support::oracle::Oracle;
use support::{ABIS, EEXIST, ETIME, Random, Reference, restricted};

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };
/// x86-64, i386, AArch64, Arm, and one that nobody lists (riscv64).
const AUDIT: [u32; 5] = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0xc000_00f3];
const X32_BIT: u32 = 0x4000_0000;

/// Numbers at the edges of what a number can be.
const EDGES: [u32; 12] = [
    0x3fff_ffff,
    X32_BIT - 1,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0xf_0001,
    0xf_0005,
    X32_BIT + 1500,
    2000,
    65_536,
    0x4000_ffff,
];

fn all_numbers() -> Vec<u32> {
    let low = 0..=1000;
    low.clone().chain(low.map(|number| number | X32_BIT)).chain(EDGES).collect()
}

/// Argument lists that tell the tests of a policy apart: around every value that it names.
fn argument_lists(policy: &LinuxSeccomp, random: &mut Random, count: usize) -> Vec<[u64; 6]> {
    let mut values = vec![0, 1, 0xffff_ffff, 1 << 32, u64::MAX];
    let rules = policy.syscalls().as_deref().unwrap_or_default();
    for arg in rules.iter().flat_map(|rule| rule.args().as_deref().unwrap_or_default()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            let around = [value, value.wrapping_add(1), value.wrapping_sub(1)];
            values.extend(around);
            values.extend(around.map(|value| value ^ (1 << 32)));
            values.push(arg.value() & random.next());
        }
    }
    values.sort_unstable();
    values.dedup();
    let mut lists: Vec<[u64; 6]> = (0..count).map(|_| [random.pick(&values); 6]).collect();
    lists.extend((0..count).map(|_| std::array::from_fn(|_| random.pick(&values))));
    lists
}

/// Compares two filters; gives the number of calls, or the first call that they disagree about.
fn compare(
    ours: &Filter,
    reference: &Filter,
    numbers: &[u32],
    arguments: &[[u64; 6]],
) -> Result<usize, String> {
    let mut calls = 0;
    for audit_arch in AUDIT {
        for number in numbers {
            for list in arguments {
                let call = Call { number: *number, audit_arch, arguments: *list };
                let (a, b) = (ours.verdict(&call), reference.verdict(&call));
                if a != b || a.is_none() {
                    return Err(format!("{call:x?}: ours {a:x?}, libseccomp's {b:x?}"));
                }
                calls += 1;
            }
        }
    }
    Ok(calls)
}

fn report(name: &str, reference: &Reference, ours: &Filter, theirs: &Filter) {
    eprintln!(
        "{name}: {} instructions, loaded in {} ns; libseccomp's {} instructions, {} ns",
        ours.instructions().len(),
        reference.load_time(ours),
        theirs.instructions().len(),
        reference.load_time(theirs),
    );
}

fn named_policies() -> Vec<(&'static str, LinuxSeccomp, Abi)> {
    let (none, admin) =
        (Capabilities::new(), Capabilities::from([Capability::SysAdmin, Capability::SysChroot]));
    vec![
        ("docker", docker_default(&none, KERNEL, Abi::X86_64), Abi::X86_64),
        ("docker, SYS_ADMIN", docker_default(&admin, KERNEL, Abi::X86_64), Abi::X86_64),
        ("docker, arm64", docker_default(&none, KERNEL, Abi::Aarch64), Abi::Aarch64),
        ("engine", engine_policy(false), Abi::X86_64),
        ("engine, network", engine_policy(true), Abi::X86_64),
    ]
}

#[test]
fn policies_that_ship_have_libseccomps_verdicts() {
    let Some(reference) = Reference::build() else { return };
    let mut random = Random(1);
    for (name, policy, native) in named_policies() {
        let (known, other) = reference.agreed(&policy);
        // Debian's libseccomp 2.5.4 says that x32 lacks map_shadow_stack.
        assert!(other.len() <= 1, "{other:?}");
        let policy = restricted(&policy, &known);
        let ours = compile_for(&policy, native, Newer::Default).unwrap();
        for optimize in [1, 2] {
            let theirs = reference.filters(&[(policy.clone(), native)], optimize).remove(0).unwrap();
            // All numbers with some arguments, then those that matter with many.
            let some = argument_lists(&policy, &mut random, 3);
            compare(&ours, &theirs, &all_numbers(), &some).unwrap();
            let conditional: Vec<u32> =
                ["socket", "clone", "personality", "ioctl", "prlimit64", "socketpair", "execveat"]
                    .iter()
                    .flat_map(|name| ABIS.into_iter().filter_map(|abi| abi.number(name)))
                    .collect();
            let many = argument_lists(&policy, &mut random, 300);
            compare(&ours, &theirs, &conditional, &many).unwrap();
            if native == Abi::X86_64 {
                report(&format!("{name} (libseccomp optimize={optimize})"), &reference, &ours, &theirs);
            }
        }
    }
}

/// Calls with and without numbers of their own on i386, x32 and Arm, some with arguments that matter.
const NAMES: [&str; 22] = [
    "read",
    "write",
    "open",
    "close",
    "clone",
    "socket",
    "connect",
    "accept",
    "ioctl",
    "personality",
    "ptrace",
    "execve",
    "mmap",
    "semop",
    "shmat",
    "prctl",
    "kill",
    "waitid",
    "openat2",
    "futex",
    "writev",
    "send",
];

const OPERATORS: [LinuxSeccompOperator; 7] = [
    LinuxSeccompOperator::ScmpCmpNe,
    LinuxSeccompOperator::ScmpCmpLt,
    LinuxSeccompOperator::ScmpCmpLe,
    LinuxSeccompOperator::ScmpCmpEq,
    LinuxSeccompOperator::ScmpCmpGe,
    LinuxSeccompOperator::ScmpCmpGt,
    LinuxSeccompOperator::ScmpCmpMaskedEq,
];

const ACTIONS: [(LinuxSeccompAction, Option<u32>); 9] = [
    (LinuxSeccompAction::ScmpActAllow, None),
    (LinuxSeccompAction::ScmpActErrno, None),
    (LinuxSeccompAction::ScmpActErrno, Some(38)),
    (LinuxSeccompAction::ScmpActErrno, Some(13)),
    (LinuxSeccompAction::ScmpActKillThread, None),
    (LinuxSeccompAction::ScmpActKillProcess, None),
    (LinuxSeccompAction::ScmpActTrap, None),
    (LinuxSeccompAction::ScmpActTrace, Some(7)),
    (LinuxSeccompAction::ScmpActLog, None),
];

fn random_value(random: &mut Random, wide: bool) -> u64 {
    const NARROW: [u64; 8] = [0, 1, 2, 3, 8, 0x10_0000, 0x7fff_ffff, 0xffff_ffff];
    let low = random.pick(&NARROW);
    let high = if wide && random.one_in(3) { random.pick(&[1, 2, 0xffff_ffff]) } else { 0 };
    high << 32 | low
}

fn random_test(
    random: &mut Random,
    operators: &[LinuxSeccompOperator],
    index: usize,
    wide: bool,
) -> LinuxSeccompArg {
    let op = random.pick(operators);
    let value = random_value(random, wide);
    let builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    match op {
        LinuxSeccompOperator::ScmpCmpMaskedEq => builder.value_two(random_value(random, wide)),
        _ => builder,
    }
    .build()
    .unwrap()
}

/// How wild random policies are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Rules of one syscall have one action, so that any order gives the same verdict.
    OneAction,
    /// Actions are mixed, but nothing leads libseccomp into its bugs (see [`Tally`]): one test a
    /// rule, or first tests of different arguments, and small values. And one "not equal": of two,
    /// libseccomp follows the first or the second, depending on the argument's high half.
    Tame,
    /// Anything.
    Wild,
}

fn random_tests(
    random: &mut Random,
    kind: Kind,
    operators: &[LinuxSeccompOperator],
    at: usize,
    alone: bool,
) -> Vec<LinuxSeccompArg> {
    let wide = kind != Kind::Tame;
    if alone {
        let index = random.below(6);
        return vec![random_test(random, operators, index, wide)];
    }
    let count = random.pick(&[1, 1, 1, 2, 2, 3]);
    let first = if kind == Kind::Tame { at } else { random.below(3) };
    // Rarely the same argument twice, which runc takes for alternatives.
    let free = kind != Kind::Tame && random.one_in(10);
    let index = |random: &mut Random, at| if free { random.below(6) } else { first + at };
    (0..count)
        .map(|at| {
            let index = index(random, at);
            random_test(random, operators, index, wide)
        })
        .collect()
}

fn random_rule(random: &mut Random, name: &str, action: (LinuxSeccompAction, Option<u32>)) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(vec![name.to_owned()]);
    rule.set_action(action.0).set_errno_ret(action.1.filter(|_| !random.one_in(4)));
    rule
}

fn random_policy(random: &mut Random, native: Abi, kind: Kind) -> LinuxSeccomp {
    let mut policy = LinuxSeccomp::default();
    let (action, errno) = random.pick(&ACTIONS);
    policy.set_default_action(action).set_default_errno_ret(errno);
    let all: &[Arch] = match native {
        Abi::Aarch64 => &[Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => &[Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
    };
    policy.set_architectures(Some(all.iter().copied().filter(|_| random.one_in(2)).collect()));
    let mut rules = Vec::new();
    for name in NAMES.iter().filter(|_| random.one_in(2)).collect::<Vec<_>>() {
        let (first, alone) = (random.pick(&ACTIONS), random.one_in(2) && kind == Kind::Tame);
        for at in 0..random.pick(&[1, 1, 2, 3, 4]) {
            let action = if kind == Kind::OneAction { first } else { random.pick(&ACTIONS) };
            let mut rule = random_rule(random, name, action);
            let operators = if kind == Kind::Tame && at > 0 { &OPERATORS[1..] } else { &OPERATORS };
            if kind == Kind::OneAction {
                rule.set_errno_ret(first.1);
            }
            if !random.one_in(4) {
                rule.set_args(Some(random_tests(random, kind, operators, at, alone)));
            }
            rules.push(rule);
        }
    }
    policy.set_syscalls(Some(rules));
    policy
}

/// The numbers that a policy names, their neighbours, and some others.
fn relevant_numbers(policy: &LinuxSeccomp, random: &mut Random) -> Vec<u32> {
    let mut numbers: Vec<u32> = EDGES.to_vec();
    let multiplexers = ["socketcall", "ipc"];
    let rules = policy.syscalls().as_deref().unwrap_or_default();
    let names = rules.iter().flat_map(|rule| rule.names()).map(String::as_str).chain(multiplexers);
    for name in names {
        for abi in ABIS {
            if let Some(number) = abi.number(name) {
                numbers.extend([number, number + 1, number.wrapping_sub(1)]);
            }
        }
    }
    numbers.extend((0..20).map(|_| u32::try_from(random.below(1000)).unwrap()));
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// What came of comparing policies, and within those that both compile, calls.
#[derive(Debug, Default)]
struct Tally {
    compiled_by_both: usize,
    refused_by_both: usize,
    refused_by_us_alone: usize,
    refused_by_libseccomp_alone: usize,
    libseccomp_ran_in_circles: usize,
    calls: usize,
    /// libseccomp 2.5 gives a verdict that no matching rule has: it forgets rules that share a high
    /// half with another, and tests one argument in place of another after some fallthroughs.
    unjustified_by_libseccomp: usize,
    /// Both verdicts are justified, but not the same.
    different: usize,
}

fn tally(reference: &Reference, seed: u64, kind: Kind) -> Tally {
    const POLICIES: usize = 200;
    let mut random = Random(seed);
    let policies: Vec<(LinuxSeccomp, Abi)> = (0..POLICIES)
        .map(|at| {
            let native = if at % 4 == 3 { Abi::Aarch64 } else { Abi::X86_64 };
            (random_policy(&mut random, native, kind), native)
        })
        .collect();
    let mut tally = Tally::default();
    let theirs = reference.filters(&policies, 1);
    for ((policy, native), theirs) in policies.iter().zip(theirs) {
        match (compile_for(policy, *native, Newer::Default), theirs) {
            (Ok(ours), Ok(theirs)) => {
                tally.compiled_by_both += 1;
                judge(policy, *native, &ours, &theirs, &mut random, &mut tally);
            }
            (Err(SeccompError::Contradiction { .. }), Err(EEXIST)) => tally.refused_by_both += 1,
            (Err(SeccompError::Contradiction { .. }), Ok(_)) => tally.refused_by_us_alone += 1,
            (_, Err(ETIME)) => tally.libseccomp_ran_in_circles += 1,
            (Ok(_), Err(EEXIST)) => tally.refused_by_libseccomp_alone += 1,
            (ours, theirs) => panic!("ours {:?}, libseccomp's {:?}", ours.err(), theirs.err()),
        }
    }
    eprintln!("{tally:?}");
    tally
}

/// Lets the policy itself judge both filters. Ours must always be justified by it.
fn judge(
    policy: &LinuxSeccomp,
    native: Abi,
    ours: &Filter,
    theirs: &Filter,
    random: &mut Random,
    tally: &mut Tally,
) {
    let oracle = Oracle::new(policy, native);
    let (numbers, lists) = (relevant_numbers(policy, random), argument_lists(policy, random, 14));
    for audit_arch in AUDIT {
        for (number, list) in numbers.iter().flat_map(|number| lists.iter().map(move |list| (*number, *list)))
        {
            let call = Call { number, audit_arch, arguments: list };
            let (a, b) = (ours.verdict(&call).unwrap(), theirs.verdict(&call).unwrap());
            let justified = oracle.verdicts(&call);
            let explain = || format!("{call:x?}: {a:x}, justified {justified:x?}, libseccomp's {b:x}");
            assert!(justified.contains(&a), "{}\n{}", explain(), rules_for(policy, number));
            tally.calls += 1;
            if !justified.contains(&b) {
                tally.unjustified_by_libseccomp += 1;
            } else if a != b {
                tally.different += 1;
                if tally.different <= 3 {
                    eprintln!("{}\n{}", explain(), rules_for(policy, number));
                }
            }
        }
    }
}

fn rules_for(policy: &LinuxSeccomp, number: u32) -> String {
    let named = |name: &String| ABIS.iter().any(|abi| abi.number(name) == Some(number));
    let rules = policy.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(named));
    serde_json::to_string(&rules.collect::<Vec<_>>()).unwrap()
}

#[test]
fn random_policies_with_one_action_for_a_syscall() {
    let Some(reference) = Reference::build() else { return };
    let tally = tally(&reference, 7, Kind::OneAction);
    assert_eq!((tally.different, tally.refused_by_us_alone), (0, 0));
}

#[test]
fn random_policies_with_mixed_actions() {
    let Some(reference) = Reference::build() else { return };
    for seed in 11..13 {
        let tally = tally(&reference, seed, Kind::Tame);
        assert_eq!((tally.different, tally.refused_by_us_alone), (0, 0));
        assert!(tally.unjustified_by_libseccomp < tally.calls / 10_000);
    }
}

/// Beyond what libseccomp gets right, the policy's own word counts; differences stay rare.
#[test]
fn wild_random_policies() {
    let Some(reference) = Reference::build() else { return };
    let tally = tally(&reference, 17, Kind::Wild);
    assert_eq!(tally.refused_by_us_alone, 0);
    assert!(tally.different < tally.calls / 10_000);
}
