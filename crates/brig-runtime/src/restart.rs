//! Restart policies: docker's words, docker's rules, docker's patience.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;

/// What is waited before the first restart.
const FIRST: Duration = Duration::from_millis(100);
/// What is waited at most.
const LONGEST: Duration = Duration::from_secs(60);
/// A payload that ran for so long has worked: the next wait is the first one again.
const WORKED: Duration = Duration::from_secs(10);

/// When a container is started again after its payload has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When it failed; at most so many times in a row, where a number is given.
    OnFailure {
        /// How many times; `None` for ever.
        max: Option<u32>,
    },
    /// Whatever it ended with; also after a boot, even if somebody had stopped it.
    Always,
    /// As `always`, but not after a boot if somebody had stopped it.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a payload that ended with `status`, and which nobody stopped, is started again after `restarts` restarts.
    pub fn again(self, status: &ExitStatus, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { max } => !status.success() && max.is_none_or(|max| restarts < max),
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Whether a container is started after a boot that had ended with `exit`, or whose end nobody saw.
    pub fn at_boot(self, exit: Option<&ExitStatus>, stopped_by_user: bool) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { .. } => !stopped_by_user && exit.is_some_and(|exit| !exit.success()),
            Self::Always => true,
            Self::UnlessStopped => !stopped_by_user,
        }
    }

    /// docker's word, without the number.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// The number of `on-failure`; 0 for none, as docker's `inspect` shows it.
    pub fn maximum(self) -> u32 {
        match self {
            Self::OnFailure { max } => max.unwrap_or(0),
            _ => 0,
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.maximum() {
            0 => f.write_str(self.name()),
            max => write!(f, "{}:{max}", self.name()),
        }
    }
}

impl FromStr for RestartPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
        match (name, count) {
            ("no" | "", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure { max: None }),
            ("on-failure", Some(count)) => match count.parse::<u32>() {
                Ok(max) => Ok(Self::OnFailure { max: Some(max).filter(|max| *max > 0) }),
                Err(_) => Err(format!("`{count}` isn't a number of restarts")),
            },
            ("no" | "always" | "unless-stopped", Some(_)) => {
                Err("a number of restarts is for `on-failure` alone".into())
            }
            _ => Err("the policies are no, on-failure[:n], always and unless-stopped".into()),
        }
    }
}

impl Serialize for RestartPolicy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RestartPolicy {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How long is waited before each restart: doubled each time, up to a minute.
#[derive(Clone, Copy, Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// What is waited now, after a payload that `ran` for so long.
    pub fn next(&mut self, ran: Duration) -> Duration {
        let wait = if ran >= WORKED { FIRST } else { self.0 };
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_as_docker_writes_them() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<RestartPolicy>().unwrap().to_string(), text);
        }
        assert_eq!("on-failure:0".parse(), Ok(RestartPolicy::OnFailure { max: None }));
        assert_eq!("".parse(), Ok(RestartPolicy::No));
        for text in ["never", "always:3", "on-failure:x", "on-failure:-1", "on-failure:", "no:1"] {
            assert!(text.parse::<RestartPolicy>().is_err(), "{text}");
        }
    }

    #[test]
    fn who_is_started_again() {
        let (ok, failed) = (ExitStatus::exited(0), ExitStatus::exited(3));
        for (policy, status, restarts, again) in [
            ("no", &failed, 0, false),
            ("always", &ok, 1000, true),
            ("unless-stopped", &failed, 0, true),
            ("on-failure", &ok, 0, false),
            ("on-failure", &failed, 1000, true),
            ("on-failure:2", &failed, 1, true),
            ("on-failure:2", &failed, 2, false),
        ] {
            let policy: RestartPolicy = policy.parse().unwrap();
            assert_eq!(policy.again(status, restarts), again, "{policy} {status:?} {restarts}");
        }
    }

    #[test]
    fn who_is_started_after_a_boot() {
        let (ok, failed) = (ExitStatus::exited(0), ExitStatus::exited(3));
        for (policy, exit, by_user, starts) in [
            ("no", &failed, false, false),
            ("always", &ok, true, true),
            ("unless-stopped", &ok, true, false),
            ("unless-stopped", &ok, false, true),
            ("on-failure", &ok, false, false),
            ("on-failure", &failed, false, true),
            ("on-failure", &failed, true, false),
        ] {
            let policy: RestartPolicy = policy.parse().unwrap();
            assert_eq!(policy.at_boot(Some(exit), by_user), starts, "{policy} {exit:?} {by_user}");
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits[..3], [100, 200, 400]);
        assert_eq!(waits[9..], [51_200, 60_000, 60_000]);
        assert_eq!(backoff.next(WORKED), FIRST);
        assert_eq!(backoff.next(Duration::ZERO), FIRST * 2);
    }
}
