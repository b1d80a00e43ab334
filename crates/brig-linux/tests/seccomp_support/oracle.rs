//! What a policy means, worked out slowly: every rule is looked at for every call.

use std::collections::HashMap;

use brig_linux::seccomp::{Abi, Call};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};

const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];
const X32_BIT: u32 = 0x4000_0000;
const KILL: u32 = 0;

/// The i386 multiplexers' operations (`linux/net.h`, `linux/ipc.h`).
const MULTIPLEXED: [(&str, &str, u64); 6] = [
    ("socket", "socketcall", 1),
    ("connect", "socketcall", 3),
    ("accept", "socketcall", 5),
    ("send", "socketcall", 9),
    ("semop", "ipc", 1),
    ("shmat", "ipc", 21),
];

struct Rule {
    tests: Vec<LinuxSeccompArg>,
    action: u32,
}

/// The rules of a policy by interface and number.
pub(crate) struct Oracle {
    default: u32,
    rules: HashMap<(u32, u32), Vec<Rule>>,
    listed: Vec<Abi>,
}

impl Oracle {
    pub(crate) fn new(policy: &LinuxSeccomp, native: Abi) -> Self {
        let default = policy.default_action().as_u32(policy.default_errno_ret());
        let mut listed = vec![native];
        listed.extend(policy.architectures().iter().flatten().filter_map(|arch| Abi::from_oci(*arch)));
        let mut oracle = Self { default, rules: HashMap::new(), listed };
        for rule in policy.syscalls().iter().flatten() {
            if rule.action().as_u32(rule.errno_ret()) != default {
                rule.names().iter().for_each(|name| oracle.add(rule, name));
            }
        }
        oracle
    }

    fn add(&mut self, rule: &LinuxSyscall, name: &str) {
        let action = rule.action().as_u32(rule.errno_ret());
        let args = rule.args().clone().unwrap_or_default();
        let twice = (0..6).any(|index| args.iter().filter(|arg| arg.index() == index).count() > 1);
        let alternatives = if twice { args.iter().map(|arg| vec![*arg]).collect() } else { vec![args] };
        for abi in self.listed.clone() {
            for tests in &alternatives {
                if let Some(number) = abi.number(name) {
                    self.insert(abi, number, tests.clone(), action);
                }
                let multiplexed = MULTIPLEXED.iter().find(|known| known.0 == name && abi == Abi::X86);
                if let Some((_, multiplexer, operation)) = multiplexed {
                    let mut behind = vec![equal(*operation)];
                    behind.extend(tests.iter().filter(|test| test.index() != 0));
                    self.insert(abi, abi.number(multiplexer).unwrap(), behind, action);
                }
            }
        }
    }

    fn insert(&mut self, abi: Abi, number: u32, tests: Vec<LinuxSeccompArg>, action: u32) {
        let rules = self.rules.entry((abi.audit(), number)).or_default();
        // A test under an empty mask is none.
        let mask = |test: &LinuxSeccompArg| test.value() & width(abi);
        let tests = tests.into_iter().filter(|test| test.op() != MASKED || mask(test) != 0).collect();
        rules.push(Rule { tests, action });
    }

    /// The verdicts that the policy justifies: more than one, where rules with different actions
    /// match.
    pub(crate) fn verdicts(&self, call: &Call) -> Vec<u32> {
        let x32 = call.number & X32_BIT != 0 && call.number != u32::MAX;
        let of_call = |abi: &Abi| {
            abi.audit() == call.audit_arch
                && (*abi != Abi::X32 || call.number >= X32_BIT)
                && (*abi != Abi::X86_64 || !(x32 || call.number >= X32_BIT) || call.number == u32::MAX)
        };
        let Some(abi) = ABIS.iter().find(|abi| self.listed.contains(abi) && of_call(abi)) else {
            return vec![KILL];
        };
        let none = Vec::new();
        let rules = self.rules.get(&(call.audit_arch, call.number)).unwrap_or(&none);
        if let Some(always) = rules.iter().find(|rule| rule.tests.is_empty()) {
            return vec![always.action];
        }
        let holds = |rule: &&Rule| rule.tests.iter().all(|test| holds(test, call, width(*abi)));
        let mut actions: Vec<u32> = rules.iter().filter(holds).map(|rule| rule.action).collect();
        if actions.is_empty() {
            actions.push(self.default);
        }
        actions
    }
}

const MASKED: LinuxSeccompOperator = LinuxSeccompOperator::ScmpCmpMaskedEq;

fn equal(value: u64) -> LinuxSeccompArg {
    serde_json::from_value(serde_json::json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" })).unwrap()
}

fn width(abi: Abi) -> u64 {
    if matches!(abi, Abi::X86_64 | Abi::Aarch64) { u64::MAX } else { 0xffff_ffff }
}

fn holds(test: &LinuxSeccompArg, call: &Call, width: u64) -> bool {
    let (argument, value) = (call.arguments[test.index()] & width, test.value() & width);
    match test.op() {
        LinuxSeccompOperator::ScmpCmpNe => argument != value,
        LinuxSeccompOperator::ScmpCmpLt => argument < value,
        LinuxSeccompOperator::ScmpCmpLe => argument <= value,
        LinuxSeccompOperator::ScmpCmpEq => argument == value,
        LinuxSeccompOperator::ScmpCmpGe => argument >= value,
        LinuxSeccompOperator::ScmpCmpGt => argument > value,
        MASKED => argument & value == test.value_two().unwrap_or(0) & value,
    }
}
