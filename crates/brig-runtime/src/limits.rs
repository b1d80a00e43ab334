//! What a container may use. The same words for both kinds.

mod block;
mod check;

use serde::{Deserialize, Serialize};

pub use block::{BlockDevice, BlockIo, BlockRate, BlockRateKind, BlockWeight};
pub use check::{LimitError, Machine};

/// The period of the CPU quota that `--cpus` becomes, in microseconds: the kernel's own.
pub const CPU_PERIOD: u64 = 100_000;

/// Limits of one container. `None` is no limit. A limit that can't be given is an error (invariant 9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes: the cgroup's for a Linux container; for wasm also the sum of all linear memories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Memory and swap together, in bytes; -1 for as much swap as there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<i64>,
    /// Memory that is left to it when others want some, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reservation: Option<u64>,
    /// How readily its memory is swapped out, up to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swappiness: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// Processors, in billionths of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nano_cpus: Option<u64>,
    /// The weight beside others, 1024 for an ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<u64>,
    /// How often the quota is given, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// How long it may run in each period, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<u64>,
    /// The processors that it may run on: `0-3,7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that it may have memory of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// How long the payload may run, in milliseconds of wall-clock time. Then it is killed, with code 124.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// How it may use block devices.
    #[serde(default, skip_serializing_if = "BlockIo::is_empty")]
    pub block_io: BlockIo,
}

/// What is to become of limits. `None` leaves a limit as it is; where one can be taken away, `Some(None)` does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitChanges {
    /// As [`Limits::memory`].
    pub memory: Option<u64>,
    /// As [`Limits::memory_swap`].
    pub memory_swap: Option<i64>,
    /// As [`Limits::memory_reservation`].
    pub memory_reservation: Option<u64>,
    /// As [`Limits::pids`].
    pub pids: Option<Option<u64>>,
    /// As [`Limits::nano_cpus`].
    pub nano_cpus: Option<u64>,
    /// As [`Limits::cpu_shares`].
    pub cpu_shares: Option<u64>,
    /// As [`Limits::cpu_period`].
    pub cpu_period: Option<u64>,
    /// As [`Limits::cpu_quota`].
    pub cpu_quota: Option<Option<u64>>,
    /// As [`Limits::cpuset_cpus`].
    pub cpuset_cpus: Option<String>,
    /// As [`Limits::cpuset_mems`].
    pub cpuset_mems: Option<String>,
    /// As [`BlockIo::weight`].
    pub block_weight: Option<u16>,
}

impl LimitChanges {
    /// The limits afterwards.
    pub fn apply(&self, limits: &Limits) -> Limits {
        let changes = self.clone();
        let old = limits.clone();
        Limits {
            memory: changes.memory.or(old.memory),
            memory_swap: changes.memory_swap.or(old.memory_swap),
            memory_reservation: changes.memory_reservation.or(old.memory_reservation),
            pids: changes.pids.unwrap_or(old.pids),
            nano_cpus: changes.nano_cpus.or(old.nano_cpus),
            cpu_shares: changes.cpu_shares.or(old.cpu_shares),
            cpu_period: changes.cpu_period.or(old.cpu_period),
            cpu_quota: changes.cpu_quota.unwrap_or(old.cpu_quota),
            cpuset_cpus: changes.cpuset_cpus.or(old.cpuset_cpus),
            cpuset_mems: changes.cpuset_mems.or(old.cpuset_mems),
            block_io: BlockIo { weight: changes.block_weight.or(old.block_io.weight), ..old.block_io },
            timeout_ms: old.timeout_ms,
            memory_swappiness: old.memory_swappiness,
        }
    }
}

impl Limits {
    /// Quota and period of the processor, where there is one.
    pub fn bandwidth(&self) -> (Option<u64>, Option<u64>) {
        match self.nano_cpus {
            Some(nanos) => {
                let quota = u128::from(nanos) * u128::from(CPU_PERIOD) / 1_000_000_000;
                (u64::try_from(quota).ok(), Some(CPU_PERIOD))
            }
            None => (self.cpu_quota, self.cpu_period),
        }
    }
}
