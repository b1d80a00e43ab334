//! Why a policy can't become a filter.

/// A policy that can't be compiled. The noun is the syscall's name, where one rule is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// There is no table of syscall numbers for the architecture that this program runs on.
    #[error("no syscall table for the architecture {architecture}: run without a seccomp policy")]
    UnsupportedArchitecture {
        /// As `std::env::consts::ARCH` calls it.
        architecture: &'static str,
    },
    /// `SCMP_ACT_NOTIFY` as the default action: the process that must hand the listener over would
    /// wait for that listener.
    #[error("SCMP_ACT_NOTIFY can't be the default action of a seccomp policy")]
    NotifyByDefault,
    /// An `errnoRet` that the kernel can't return (ERRNO: at most 4095, TRACE: 16 bits).
    #[error("errnoRet {value} of {rule} is out of range: at most {most}")]
    ErrnoRange {
        /// `the default action`, or the rule's first syscall.
        rule: String,
        /// What the policy says.
        value: u32,
        /// What is possible.
        most: u32,
    },
    /// A syscall has six arguments, numbered from 0.
    #[error("rule for {syscall} tests argument {index}: the last one is 5")]
    ArgumentIndex {
        /// The rule's first syscall.
        syscall: String,
        /// What the policy says.
        index: usize,
    },
    /// A rule contradicts an earlier one: the same or wider conditions, another action. libseccomp
    /// refuses it too (`EEXIST`).
    #[error("two rules for {syscall} have the same conditions and different actions")]
    Contradiction {
        /// The syscall.
        syscall: String,
    },
    /// More rules than any filter could hold.
    #[error("seccomp policy has {rules} rules for {what}: at most {most} can be compiled")]
    TooManyRules {
        /// A syscall's name, or `all syscalls`.
        what: String,
        /// How many there are.
        rules: usize,
        /// How many there may be.
        most: usize,
    },
    /// The kernel takes at most 4096 instructions (`BPF_MAXINSNS`).
    #[error("seccomp filter needs more than {most} instructions: use fewer argument tests")]
    FilterTooLong {
        /// The kernel's limit.
        most: usize,
    },
    /// Bytes that aren't a filter: not whole instructions, none, or too many.
    #[error("{length} bytes aren't a seccomp filter")]
    NotAFilter {
        /// How many bytes were given.
        length: usize,
    },
}
