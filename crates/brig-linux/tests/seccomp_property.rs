//! Any policy: never a panic, and an answer in bounded time.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]

#[path = "seccomp_support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use brig_linux::seccomp::{Abi, Call, Newer, SeccompError, compile_for};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};
use support::Random;

/// Generous, for a busy machine and an unoptimised build.
const BOUND: Duration = Duration::from_secs(5);

const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];

fn number(random: &mut Random) -> u64 {
    match random.below(5) {
        0 => random.next(),
        1 => u64::MAX - random.next() % 3,
        2 => 1 << random.below(64),
        _ => random.next() % 8,
    }
}

fn action(random: &mut Random) -> &'static str {
    random.pick(&[
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_LOG",
        "SCMP_ACT_ALLOW",
    ])
}

fn argument(random: &mut Random) -> Value {
    let op = random.pick(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    let index = if random.one_in(200) { number(random) } else { random.next() % 6 };
    let mut argument = json!({ "index": index, "value": number(random), "op": format!("SCMP_CMP_{op}") });
    if random.one_in(2) {
        argument["valueTwo"] = number(random).into();
    }
    argument
}

fn rule(random: &mut Random) -> Value {
    let names = ["read", "socket", "clone", "semop", "", "no_such_call", "ipc", "mseal", "set_tls"];
    let names: Vec<_> = (0..random.below(4)).map(|_| random.pick(&names)).collect();
    let mut rule = json!({ "names": names, "action": action(random) });
    if random.one_in(3) {
        rule["errnoRet"] = (number(random) % 5000).into();
    }
    if random.one_in(2) {
        rule["args"] = (0..random.below(8)).map(|_| argument(random)).collect::<Vec<_>>().into();
    }
    rule
}

fn policy(random: &mut Random) -> Value {
    let archs = ["X86_64", "X86", "X32", "AARCH64", "ARM", "NATIVE", "S390X", "RISCV64"];
    let archs: Vec<_> = (0..random.below(5)).map(|_| format!("SCMP_ARCH_{}", random.pick(&archs))).collect();
    let rules: Vec<_> = (0..random.below(25)).map(|_| rule(random)).collect();
    json!({ "defaultAction": action(random), "architectures": archs, "syscalls": rules })
}

#[test]
fn random_policies_never_panic_and_give_programs_that_end() {
    let mut random = Random(23);
    let mut compiled = 0;
    for _ in 0..3000 {
        let policy: LinuxSeccomp = serde_json::from_value(policy(&mut random)).unwrap();
        let start = Instant::now();
        let filter = compile_for(&policy, random.pick(&ABIS), Newer::Enosys);
        assert!(start.elapsed() < BOUND);
        let Ok(filter) = filter else { continue };
        compiled += 1;
        for _ in 0..20 {
            let arguments = std::array::from_fn(|_| number(&mut random));
            let low = u32::try_from(number(&mut random) & 0xffff_ffff).unwrap();
            let call = Call { number: low, audit_arch: random.pick(&ABIS).audit(), arguments };
            assert!(filter.verdict(&call).is_some());
        }
    }
    assert!(compiled > 500, "{compiled}");
}

fn refuse(policy: Value) -> SeccompError {
    let policy: LinuxSeccomp = serde_json::from_value(policy).unwrap();
    let start = Instant::now();
    let error = compile_for(&policy, Abi::X86_64, Newer::Enosys).unwrap_err();
    assert!(start.elapsed() < BOUND, "took {:?}", start.elapsed());
    error
}

fn equal(values: impl Iterator<Item = u64>) -> Vec<Value> {
    values
        .map(|value| {
            let args = json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
            json!({ "names": ["read"], "action": "SCMP_ACT_LOG", "args": args })
        })
        .collect()
}

#[test]
fn oversized_policies_are_refused_soon() {
    let policy = |rules: Vec<Value>| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
    let long = refuse(policy(equal(0..2000)));
    assert!(matches!(long, SeccompError::FilterTooLong { .. }), "{long}");
    let many = refuse(policy(equal(0..20_000)));
    assert!(matches!(many, SeccompError::TooManyRules { .. }), "{many}");
    let names = vec!["read"; 70_000];
    let crowd = refuse(policy(vec![json!({ "names": names, "action": "SCMP_ACT_LOG" })]));
    assert!(matches!(crowd, SeccompError::TooManyRules { .. }), "{crowd}");
}
