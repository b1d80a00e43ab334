//! libseccomp as a reference: builds the same policies through it and reads the programs back.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod oracle;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use brig_linux::seccomp::{Abi, Filter};
use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSyscall};

/// In the order in which the reference program prints numbers.
pub(crate) const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X86, Abi::X32, Abi::Aarch64, Abi::Arm];

/// `EEXIST`: libseccomp found two rules that contradict each other.
pub(crate) const EEXIST: i32 = -17;

/// `ETIME`: libseccomp got lost.
pub(crate) const ETIME: i32 = -62;

/// A built reference program.
pub(crate) struct Reference {
    program: PathBuf,
    _directory: tempfile::TempDir,
}

impl Reference {
    /// Builds it, or says why not.
    pub(crate) fn build() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("reference");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp_support/reference.c");
        let built =
            Command::new("cc").args(["-O1", "-o"]).arg(&program).arg(source).arg("-lseccomp").output();
        match built {
            Ok(output) if output.status.success() => Some(Self { program, _directory: directory }),
            _ => {
                eprintln!("skipped: needs cc and libseccomp-dev");
                None
            }
        }
    }

    fn run(&self, mode: &str, input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(&self.program)
            .arg(mode)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "reference {mode}: {}", output.status);
        output.stdout
    }

    /// Those of the names that mean the same to libseccomp as to our table, and those that don't.
    pub(crate) fn agreed(&self, policy: &LinuxSeccomp) -> (HashSet<String>, Vec<String>) {
        let names = policy.syscalls().iter().flatten().flat_map(LinuxSyscall::names);
        let input = names.map(String::as_str).collect::<Vec<_>>().join("\n");
        let output = String::from_utf8(self.run("numbers", input.as_bytes())).unwrap();
        let (mut same, mut other) = (HashSet::new(), Vec::new());
        for line in output.lines() {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            // Negative: none, or on i386 perhaps a multiplexer.
            let theirs: Vec<i64> = words.map(|word| word.parse().unwrap()).collect();
            let ours = ABIS.map(|abi| abi.number(name).map_or(-1, i64::from));
            let equal = |at: usize| ours[at] == theirs[at] || theirs[at] < 0 && (ours[at] < 0 || at == 1);
            if (0..ABIS.len()).all(equal) {
                same.insert(name.to_owned());
            } else {
                other.push(format!("{line} (ours: {ours:?})"));
            }
        }
        (same, other)
    }

    /// The policies as libseccomp compiles them, or its errors.
    pub(crate) fn filters(
        &self,
        policies: &[(LinuxSeccomp, Abi)],
        optimize: u32,
    ) -> Vec<Result<Filter, i32>> {
        let mut input = String::new();
        for (policy, native) in policies {
            write_policy(&mut input, policy, *native, optimize);
        }
        let output = self.run("filters", input.as_bytes());
        let mut rest = output.as_slice();
        let mut filters = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<8>() {
            let status = i32::from_ne_bytes(head[..4].try_into().unwrap());
            let length = usize::try_from(u32::from_ne_bytes(head[4..].try_into().unwrap())).unwrap();
            let (bytes, tail) = tail.split_at(length);
            rest = tail;
            filters.push(if status == 0 { Ok(Filter::from_bytes(bytes, 0).unwrap()) } else { Err(status) });
        }
        assert_eq!(filters.len(), policies.len());
        filters
    }

    /// How long the kernel takes to load a filter, the best of some: nanoseconds.
    pub(crate) fn load_time(&self, filter: &Filter) -> u64 {
        let once =
            || String::from_utf8(self.run("load", &filter.to_bytes())).unwrap().trim().parse().unwrap();
        (0..15).map(|_| once()).min().unwrap()
    }
}

/// Writes a policy as runc gives it to libseccomp.
fn write_policy(text: &mut String, policy: &LinuxSeccomp, native: Abi, optimize: u32) {
    let default = policy.default_action().as_u32(policy.default_errno_ret());
    writeln!(text, "policy {default:x} {optimize}").unwrap();
    match native {
        Abi::X86_64 => {}
        Abi::Aarch64 => writeln!(text, "only {:x}", Arch::ScmpArchAarch64 as u32).unwrap(),
        other => unreachable!("no reference for {other:?}"),
    }
    for arch in policy.architectures().as_deref().unwrap_or_default() {
        writeln!(text, "arch {:x}", *arch as u32).unwrap();
    }
    for rule in policy.syscalls().as_deref().unwrap_or_default() {
        let action = rule.action().as_u32(rule.errno_ret());
        if action != default {
            write_rule(text, rule, action);
        }
    }
    text.push_str("end\n");
}

fn write_rule(text: &mut String, rule: &LinuxSyscall, action: u32) {
    let args = rule.args().as_deref().unwrap_or_default();
    let distinct: HashSet<usize> = args.iter().map(LinuxSeccompArg::index).collect();
    for name in rule.names() {
        if distinct.len() == args.len() {
            write_tests(text, name, action, args);
        } else {
            args.iter().for_each(|arg| write_tests(text, name, action, &[*arg]));
        }
    }
}

fn write_tests(text: &mut String, name: &str, action: u32, args: &[LinuxSeccompArg]) {
    write!(text, "rule {action:x} {name} {}", args.len()).unwrap();
    for arg in args {
        let (index, op, a, b) = (arg.index(), arg.op() as u32, arg.value(), arg.value_two().unwrap_or(0));
        write!(text, " {index} {op} {a:x} {b:x}").unwrap();
    }
    text.push('\n');
}

/// The policy with these names only.
pub(crate) fn restricted(policy: &LinuxSeccomp, known: &HashSet<String>) -> LinuxSeccomp {
    let mut rules = policy.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        rule.set_names(rule.names().iter().filter(|name| known.contains(*name)).cloned().collect());
    }
    let mut policy = policy.clone();
    policy.set_syscalls(Some(rules));
    policy
}

/// A small generator of numbers (xorshift*), the same on every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 16).unwrap() % end
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
