//! Whether limits mean something, on this machine: docker's rules.

use std::fs;

use super::Limits;

/// The least memory that a container gets by: docker's 6 MB.
const LEAST_MEMORY: u64 = 6 << 20;
/// The largest number of a processor or node: beyond what any kernel has.
const MOST: u32 = 8191;

/// Limits that can't be given to anybody.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Less memory than anything runs in.
    #[error("minimum {what} allowed is 6MB")]
    TooLittleMemory {
        /// `memory limit` or `memory reservation`.
        what: &'static str,
    },
    /// Swap without a limit of memory.
    #[error("you should always set the memory limit when using the memory-swap limit: give --memory too")]
    SwapWithoutMemory,
    /// Memory and swap together are less than memory.
    #[error("minimum memory-swap limit should be larger than the memory limit, which it includes")]
    SwapBelowMemory,
    /// More is reserved than allowed.
    #[error("minimum memory limit can not be less than the memory reservation limit")]
    ReservationAboveMemory,
    /// Not between 0 and 100.
    #[error("invalid value: {value}, valid memory swappiness range is 0-100")]
    Swappiness {
        /// As given.
        value: u64,
    },
    /// `--cpus` and its parts.
    #[error("conflicting options: --cpus and {other} cannot both be set")]
    CpusAnd {
        /// `--cpu-period` or `--cpu-quota`.
        other: &'static str,
    },
    /// More processors than there are, or next to none.
    #[error("range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available")]
    Cpus {
        /// How many there are.
        there: usize,
    },
    /// Not between a millisecond and a second.
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    Period,
    /// Less than a millisecond.
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    Quota,
    /// No list of numbers.
    #[error("invalid value `{value}` for cpuset {what}: give numbers and ranges, such as `0-3,7`")]
    Cpuset {
        /// `cpus` or `mems`.
        what: &'static str,
        /// As given.
        value: String,
    },
    /// A weight out of range.
    #[error("the block I/O weight {weight} is out of range: give 10 to 1000")]
    BlockWeight {
        /// As given.
        weight: u16,
    },
    /// Processors or nodes that aren't there.
    #[error("requested {what} are not available - requested {value}, available: {there}")]
    NotThere {
        /// `CPUs` or `memory nodes`.
        what: &'static str,
        /// As given.
        value: String,
        /// What there is.
        there: String,
    },
}

/// The processors and memory nodes of a machine, as the kernel lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `0-3`
    pub cpus: String,
    /// `0`
    pub nodes: String,
}

impl Machine {
    /// This one.
    pub fn look() -> Self {
        // Both files are there since 2.6; without them there is one of each, as far as anybody knows.
        let read = |path| fs::read_to_string(path).map_or_else(|_| "0".into(), |text| text.trim().to_owned());
        Self { cpus: read("/sys/devices/system/cpu/online"), nodes: read("/sys/devices/system/node/online") }
    }
}

impl Limits {
    /// Whether they mean something on this machine.
    pub fn check(&self, machine: &Machine) -> Result<(), LimitError> {
        self.check_memory()?;
        self.check_cpu(machine)?;
        self.check_block_io()?;
        let mems = "memory nodes";
        check_set("cpus", "CPUs", self.cpuset_cpus.as_deref(), &machine.cpus)?;
        check_set("mems", mems, self.cpuset_mems.as_deref(), &machine.nodes)
    }

    fn check_memory(&self) -> Result<(), LimitError> {
        for (what, limit) in [("memory limit", self.memory), ("memory reservation", self.memory_reservation)]
        {
            if limit.is_some_and(|limit| limit < LEAST_MEMORY) {
                return Err(LimitError::TooLittleMemory { what });
            }
        }
        // Unlimited swap says nothing about memory.
        match (self.memory, self.memory_swap.and_then(|swap| u64::try_from(swap).ok())) {
            (None, Some(_)) => return Err(LimitError::SwapWithoutMemory),
            (Some(memory), Some(swap)) if swap < memory => return Err(LimitError::SwapBelowMemory),
            _ => {}
        }
        match (self.memory, self.memory_reservation) {
            (Some(memory), Some(reserved)) if reserved > memory => {
                return Err(LimitError::ReservationAboveMemory);
            }
            _ => {}
        }
        match self.memory_swappiness {
            Some(value @ 101..) => Err(LimitError::Swappiness { value }),
            _ => Ok(()),
        }
    }

    fn check_block_io(&self) -> Result<(), LimitError> {
        let block_io = &self.block_io;
        let weights = block_io.weight.into_iter().chain(block_io.weights.iter().map(|one| one.weight));
        if let Some(weight) = weights.into_iter().find(|weight| !(10..=1000).contains(weight)) {
            return Err(LimitError::BlockWeight { weight });
        }
        Ok(())
    }

    fn check_cpu(&self, machine: &Machine) -> Result<(), LimitError> {
        if let Some(nanos) = self.nano_cpus {
            for (other, given) in [("--cpu-period", self.cpu_period), ("--cpu-quota", self.cpu_quota)] {
                if given.is_some() {
                    return Err(LimitError::CpusAnd { other });
                }
            }
            let there = numbers(&machine.cpus).map_or(1, |cpus| cpus.len());
            if nanos < 10_000_000 || nanos > there as u64 * 1_000_000_000 {
                return Err(LimitError::Cpus { there });
            }
        }
        if self.cpu_period.is_some_and(|period| !(1_000..=1_000_000).contains(&period)) {
            return Err(LimitError::Period);
        }
        if self.cpu_quota.is_some_and(|quota| quota < 1_000) { Err(LimitError::Quota) } else { Ok(()) }
    }
}

fn check_set(
    name: &'static str,
    what: &'static str,
    wanted: Option<&str>,
    there: &str,
) -> Result<(), LimitError> {
    let Some(value) = wanted else { return Ok(()) };
    let Some(asked) = numbers(value) else {
        return Err(LimitError::Cpuset { what: name, value: value.into() });
    };
    let have = numbers(there).unwrap_or_default();
    if asked.iter().all(|number| have.contains(number)) {
        return Ok(());
    }
    Err(LimitError::NotThere { what, value: value.into(), there: there.into() })
}

/// The numbers of a list such as `0-3,7`.
fn numbers(list: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number <= MOST);
        let (first, last) = (number(first)?, number(last)?);
        if first > last || numbers.len() > MOST as usize {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn check(limits: Limits) -> Result<(), String> {
        let machine = Machine { cpus: "0-3".into(), nodes: "0".into() };
        limits.check(&machine).map_err(|error| error.to_string())
    }

    fn limits() -> Limits {
        Limits::default()
    }

    #[test]
    fn what_means_something_passes() {
        for limits in [
            limits(),
            Limits { memory: Some(6 * MB), memory_swap: Some(6 << 20), ..limits() },
            Limits {
                memory: Some(64 * MB),
                memory_swap: Some(-1),
                memory_reservation: Some(64 * MB),
                ..limits()
            },
            Limits { memory_swap: Some(-1), memory_swappiness: Some(0), ..limits() },
            Limits { nano_cpus: Some(1_500_000_000), ..limits() },
            Limits { nano_cpus: Some(4_000_000_000), ..limits() },
            Limits { cpu_period: Some(1000), cpu_quota: Some(1000), cpu_shares: Some(2), ..limits() },
            Limits { cpuset_cpus: Some("0-1,3".into()), cpuset_mems: Some("0".into()), ..limits() },
        ] {
            assert_eq!(check(limits.clone()), Ok(()), "{limits:?}");
        }
    }

    #[test]
    fn what_means_nothing_says_why() {
        for (limits, says) in [
            (Limits { memory: Some(6 * MB - 1), ..limits() }, "minimum memory limit allowed is 6MB"),
            (Limits { memory_reservation: Some(1), ..limits() }, "minimum memory reservation allowed is 6MB"),
            (Limits { memory_swap: Some(64 << 20), ..limits() }, "always set the memory limit"),
            (
                Limits { memory: Some(9 * MB), memory_swap: Some(8 << 20), ..limits() },
                "larger than the memory",
            ),
            (
                Limits { memory: Some(8 * MB), memory_reservation: Some(9 * MB), ..limits() },
                "less than the memory reservation",
            ),
            (Limits { memory_swappiness: Some(101), ..limits() }, "range is 0-100"),
            (Limits { nano_cpus: Some(4_000_000_001), ..limits() }, "from 0.01 to 4.00"),
            (Limits { nano_cpus: Some(1), ..limits() }, "only 4 CPUs"),
            (
                Limits { nano_cpus: Some(1 << 30), cpu_period: Some(1000), ..limits() },
                "--cpus and --cpu-period",
            ),
            (
                Limits { nano_cpus: Some(1 << 30), cpu_quota: Some(1000), ..limits() },
                "--cpus and --cpu-quota",
            ),
            (Limits { cpu_period: Some(999), ..limits() }, "CPU cfs period"),
            (Limits { cpu_period: Some(1_000_001), ..limits() }, "CPU cfs period"),
            (Limits { cpu_quota: Some(999), ..limits() }, "CPU cfs quota"),
            (Limits { cpuset_cpus: Some("0-4".into()), ..limits() }, "requested 0-4, available: 0-3"),
            (Limits { cpuset_mems: Some("1".into()), ..limits() }, "requested memory nodes"),
        ] {
            let error = check(limits.clone()).unwrap_err();
            assert!(error.contains(says), "{limits:?}: {error}");
        }
        for list in ["", "a", "1-", "3-1", "0,,1", "0-99999999", "-1", "0 1"] {
            let error = check(Limits { cpuset_cpus: Some(list.into()), ..limits() }).unwrap_err();
            assert!(error.contains("invalid value") && error.contains("cpuset cpus"), "{list}: {error}");
        }
    }

    #[test]
    fn processors_become_a_quota() {
        assert_eq!(
            Limits { nano_cpus: Some(1_500_000_000), ..limits() }.bandwidth(),
            (Some(150_000), Some(100_000))
        );
        assert_eq!(Limits { cpu_quota: Some(5000), ..limits() }.bandwidth(), (Some(5000), None));
    }
}
