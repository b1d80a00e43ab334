//! Health checks: a program that is run in the container now and then, docker's `HEALTHCHECK`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How many results are kept: docker's.
const MAX_RESULTS: usize = 5;
/// How much of a result's output is kept, in bytes: docker's.
pub const MAX_OUTPUT: usize = 4096;

/// How it is found out whether a container works. All numbers are resolved: none is "the default".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// As docker's `Test`: `CMD` and a program with arguments, or `CMD-SHELL` and a line for the shell.
    pub test: Vec<String>,
    /// Between the end of one look and the next, in milliseconds.
    pub interval_ms: u64,
    /// How long a look may take, in milliseconds.
    pub timeout_ms: u64,
    /// How long after its start failures don't count, in milliseconds.
    pub start_period_ms: u64,
    /// Between looks in that time, in milliseconds.
    pub start_interval_ms: u64,
    /// How many failures in a row make it unhealthy.
    pub retries: u32,
}

impl HealthCheck {
    /// docker's default of [`HealthCheck::interval_ms`].
    pub const INTERVAL: Duration = Duration::from_secs(30);
    /// docker's default of [`HealthCheck::timeout_ms`].
    pub const TIMEOUT: Duration = Duration::from_secs(30);
    /// docker's default of [`HealthCheck::start_interval_ms`].
    pub const START_INTERVAL: Duration = Duration::from_secs(5);
    /// docker's default of [`HealthCheck::retries`].
    pub const RETRIES: u32 = 3;

    /// The program that is run. Empty for a test that is none.
    pub fn command(&self) -> Vec<String> {
        match self.test.split_first() {
            Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
            Some((kind, rest)) if kind == "CMD-SHELL" => {
                ["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How long to wait for the next look, `age` after the start.
    pub fn wait(&self, health: &Health, age: Duration) -> Duration {
        let starting = health.status == HealthStatus::Starting && age < self.start_period();
        Duration::from_millis(if starting { self.start_interval_ms } else { self.interval_ms })
    }

    fn start_period(&self) -> Duration {
        Duration::from_millis(self.start_period_ms)
    }
}

/// Whether a container works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It isn't known yet.
    #[default]
    Starting,
    /// The last look succeeded, or not enough have failed since one did.
    Healthy,
    /// It doesn't.
    Unhealthy,
}

impl HealthStatus {
    /// docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of a container's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Whether it works.
    pub status: HealthStatus,
    /// How many looks in a row have failed.
    pub failing_streak: u32,
    /// The last results, the oldest first.
    pub log: Vec<HealthResult>,
}

/// What one look saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 for healthy; -1 when the program couldn't be run or took too long.
    pub exit_code: i32,
    /// What the program printed, at most [`MAX_OUTPUT`] bytes, or why there was none.
    pub output: String,
}

impl Health {
    /// Takes a result, `age` after the start. Says whether the status has changed.
    pub fn take(&mut self, check: &HealthCheck, result: HealthResult, age: Duration) -> bool {
        let before = self.status;
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || age >= check.start_period() {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        if self.log.len() >= MAX_RESULTS {
            self.log.remove(0);
        }
        self.log.push(result);
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            test: vec!["CMD".into(), "true".into()],
            interval_ms: 1000,
            timeout_ms: 1000,
            start_period_ms: 5000,
            start_interval_ms: 100,
            retries: 3,
        }
    }

    fn results(codes: &[(i32, u64)]) -> Health {
        let mut health = Health::default();
        for (exit_code, second) in codes {
            let now = Timestamp::now();
            let result = HealthResult { start: now, end: now, exit_code: *exit_code, output: String::new() };
            health.take(&check(), result, Duration::from_secs(*second));
        }
        health
    }

    #[test]
    fn failures_count_after_the_start_period_or_the_first_success() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        for (codes, status, streak) in [
            (&[(1, 0), (1, 1), (1, 2), (1, 3)][..], Starting, 0),
            (&[(1, 0), (1, 6), (1, 7)], Starting, 2),
            (&[(1, 6), (1, 7), (1, 8)], Unhealthy, 3),
            (&[(0, 0), (1, 1), (1, 2)], Healthy, 2),
            (&[(0, 0), (1, 1), (1, 2), (-1, 3)], Unhealthy, 3),
            (&[(1, 6), (1, 7), (1, 8), (0, 9)], Healthy, 0),
        ] {
            let health = results(codes);
            assert_eq!((health.status, health.failing_streak), (status, streak), "{codes:?}");
        }
    }

    #[test]
    fn five_results_are_kept_and_changes_told() {
        let health = results(&[(1, 0); 9]);
        assert_eq!(health.log.len(), 5);
        let now = Timestamp::now();
        let result = HealthResult { start: now, end: now, exit_code: 0, output: String::new() };
        let mut health = Health::default();
        assert!(health.take(&check(), result.clone(), Duration::ZERO));
        assert!(!health.take(&check(), result, Duration::ZERO));
    }

    #[test]
    fn looks_are_more_frequent_in_the_start_period() {
        let (check, starting) = (check(), Health::default());
        assert_eq!(check.wait(&starting, Duration::ZERO), Duration::from_millis(100));
        assert_eq!(check.wait(&starting, Duration::from_secs(6)), Duration::from_secs(1));
        let healthy = Health { status: HealthStatus::Healthy, ..Health::default() };
        assert_eq!(check.wait(&healthy, Duration::ZERO), Duration::from_secs(1));
    }

    #[test]
    fn programs_with_and_without_a_shell() {
        let command = |test: &[&str]| {
            let test = test.iter().map(|word| (*word).to_owned()).collect();
            HealthCheck { test, ..check() }.command()
        };
        assert_eq!(command(&["CMD", "a", "b"]), ["a", "b"]);
        assert_eq!(command(&["CMD-SHELL", "a | b"]), ["/bin/sh", "-c", "a | b"]);
        assert!(command(&["NONE"]).is_empty());
        assert!(command(&[]).is_empty());
    }
}
