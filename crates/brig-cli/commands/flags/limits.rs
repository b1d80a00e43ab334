//! Limits of `run`, `create` and `update`.

use brig_engine::LimitChanges;
use clap::Args;

use crate::commands::values::{parse_cpus, parse_size, parse_size_or_unlimited};

/// docker's words for what a container may use. Zero is nothing said.
#[derive(Args, Debug)]
pub(crate) struct LimitFlags {
    /// Memory limit, such as 64m or 1.5g; 0 is none
    #[arg(short, long, value_name = "BYTES", value_parser = parse_size)]
    memory: Option<u64>,
    /// Limit of memory and swap together; -1 is unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = parse_size_or_unlimited, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Memory that it keeps when others want some
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    memory_reservation: Option<u64>,
    /// Limit of processes and threads; 0 or -1 is none
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Number of CPUs, such as 1.5
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// CPU shares: the weight beside others, 1024 for an ordinary one
    #[arg(short, long, value_name = "N")]
    cpu_shares: Option<u64>,
    /// How often the CPU quota is given, in microseconds
    #[arg(long, value_name = "N")]
    cpu_period: Option<u64>,
    /// CPU quota in each period, in microseconds; -1 is none
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// CPUs that it may run on, such as 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that it may have memory of
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Block I/O weight beside others, 10 to 1000; 0 is none
    #[arg(long, value_name = "N")]
    blkio_weight: Option<u16>,
}

impl LimitFlags {
    pub(crate) fn changes(self) -> LimitChanges {
        let said = |number: &u64| *number > 0;
        let positive = |number| u64::try_from(number).ok().filter(said);
        LimitChanges {
            memory: self.memory.filter(said),
            memory_swap: self.memory_swap.filter(|bytes| *bytes != 0),
            memory_reservation: self.memory_reservation.filter(said),
            pids: self.pids_limit.map(positive),
            nano_cpus: self.cpus.filter(said),
            cpu_shares: self.cpu_shares.filter(said),
            cpu_period: self.cpu_period.filter(said),
            cpu_quota: self.cpu_quota.filter(|quota| *quota != 0).map(positive),
            cpuset_cpus: self.cpuset_cpus.filter(|list| !list.is_empty()),
            cpuset_mems: self.cpuset_mems.filter(|list| !list.is_empty()),
            block_weight: self.blkio_weight.filter(|weight| *weight != 0),
        }
    }
}
