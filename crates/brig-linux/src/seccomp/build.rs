//! Writes policies down.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator,
    LinuxSyscall,
};

/// A rule on its way into the specification's form.
pub(super) struct Rule(LinuxSyscall);

impl Rule {
    pub(super) fn allow(names: &[&str]) -> Self {
        Self::new(names, LinuxSeccompAction::ScmpActAllow)
    }

    pub(super) fn kill_process(names: &[&str]) -> Self {
        Self::new(names, LinuxSeccompAction::ScmpActKillProcess)
    }

    pub(super) fn errno(names: &[&str], number: u32) -> Self {
        let mut rule = Self::new(names, LinuxSeccompAction::ScmpActErrno);
        rule.0.set_errno_ret(Some(number));
        rule
    }

    fn new(names: &[&str], action: LinuxSeccompAction) -> Self {
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.iter().map(|name| (*name).to_owned()).collect());
        rule.set_action(action);
        Self(rule)
    }

    /// With one argument test.
    pub(super) fn when(mut self, test: LinuxSeccompArg) -> LinuxSyscall {
        self.0.set_args(Some(vec![test]));
        self.0
    }
}

impl From<Rule> for LinuxSyscall {
    fn from(rule: Rule) -> Self {
        rule.0
    }
}

/// An argument compared with a value.
pub(super) fn arg(index: usize, op: LinuxSeccompOperator, value: u64) -> LinuxSeccompArg {
    built(LinuxSeccompArgBuilder::default().index(index).op(op).value(value))
}

/// An argument that must equal a value in the bits of a mask.
pub(super) fn masked(index: usize, mask: u64, value: u64) -> LinuxSeccompArg {
    let op = LinuxSeccompOperator::ScmpCmpMaskedEq;
    built(LinuxSeccompArgBuilder::default().index(index).op(op).value(mask).value_two(value))
}

/// The builder is the only way to make one. It fails where a field was left out, and here every field
/// has a default.
fn built(builder: LinuxSeccompArgBuilder) -> LinuxSeccompArg {
    builder.build().unwrap_or_default()
}

/// A policy; ERRNO means EPERM.
pub(super) fn policy(
    default: LinuxSeccompAction,
    architectures: Vec<Arch>,
    rules: Vec<LinuxSyscall>,
) -> LinuxSeccomp {
    let mut policy = LinuxSeccomp::default();
    policy.set_default_action(default);
    policy.set_architectures((!architectures.is_empty()).then_some(architectures));
    policy.set_syscalls(Some(rules));
    policy
}
