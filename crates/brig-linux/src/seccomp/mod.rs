//! Seccomp: policies of the OCI runtime specification, compiled to kernel filters by a small BPF
//! generator of our own.
//!
//! libseccomp takes a runtime ten milliseconds and more for docker's policy, and a filter that tests
//! one syscall after another takes the kernel another one to load, since it runs a new filter for
//! every syscall number. Here a policy is resolved (`rules`: names to numbers, several rules for a
//! syscall to one decision), numbers with the same decision become ranges, and the ranges a balanced
//! search tree per architecture (`tree`), assembled from its end to its start (`asm`).
//!
//! What a policy means is what libseccomp makes of it through runc, and a test compares the verdicts:
//!
//! - Rules for one syscall are alternatives; the tests of one rule must all hold. Two tests of one
//!   rule for the same argument make two rules (runc).
//! - A rule without tests beats those with tests; the first of several such wins. Among rules with
//!   tests and different actions the order is that of `order`.
//! - Rules that repeat the default action are left out. Names that nobody knows are ignored.
//! - The native architecture is always part of a filter. Calls of one that isn't listed end the
//!   thread. x86-64 and x32 are told apart by the number's bit 30.
//! - On 32-bit interfaces the low halves of the arguments are compared. Rules for i386's sockets and
//!   System V IPC also hold behind `socketcall` and `ipc`.
//! - Numbers above the newest syscall that the policy knows fail with ENOSYS ([`Newer`]).

mod abi;
mod action;
mod arguments;
mod asm;
mod build;
mod docker;
#[rustfmt::skip]
mod docker_names;
mod engine;
mod error;
mod filter;
pub mod flags;
#[rustfmt::skip]
mod numbers;
mod order;
mod rules;
mod tree;

use oci_spec::runtime::LinuxSeccomp;

pub use abi::Abi;
pub use action::Action;
pub use docker::{KernelVersion, docker_default};
pub use engine::{engine_policy, engine_policy_in_place};
pub use error::SeccompError;
pub use filter::{Call, Filter, Instruction, Statistics};
pub use tree::Newer;

/// Compiles a policy for this machine.
///
/// # Errors
/// [`SeccompError`], when the policy is contradictory, out of range, or too long for a filter.
pub fn compile(policy: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let native = Abi::native()
        .ok_or(SeccompError::UnsupportedArchitecture { architecture: std::env::consts::ARCH })?;
    compile_for(policy, native, Newer::default())
}

/// Compiles a policy for a machine with the given interface.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(policy: &LinuxSeccomp, native: Abi, newer: Newer) -> Result<Filter, SeccompError> {
    let resolved = rules::resolve(policy, native)?;
    let instructions = tree::generate(&resolved, newer)?;
    let asked = policy.flags().as_deref().unwrap_or_default();
    let flags = flags::number(asked, resolved.listener);
    Ok(Filter { instructions, flags, statistics: resolved.statistics() })
}

#[cfg(test)]
mod tests;
