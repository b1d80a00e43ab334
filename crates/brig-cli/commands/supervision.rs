//! What `run` and `create` say to the supervisor: when to start again, how to look after the health.

use std::time::Duration;

use brig_engine::{HealthOptions, RestartPolicy};
use clap::Args;

use super::values::{parse_duration, parse_time};

/// Restart and health.
#[derive(Args, Debug)]
pub(crate) struct SupervisionFlags {
    /// When to start it again after its end: no, on-failure, on-failure:MAX, always or unless-stopped
    #[arg(long, value_name = "POLICY", default_value = "no")]
    pub(crate) restart: RestartPolicy,
    /// Put an init before the program: it passes signals on and reaps orphans
    #[arg(long)]
    pub(crate) init: bool,
    /// Find out with this shell command whether the container works
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two looks [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    health_interval: Option<Duration>,
    /// How long a look may take [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    health_timeout: Option<Duration>,
    /// How long after its start failures don't count [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    health_start_period: Option<Duration>,
    /// Time between two looks in that time [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    health_start_interval: Option<Duration>,
    /// How many failures in a row make it unhealthy [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    health_retries: Option<u32>,
    /// Look at nothing, whatever the image says
    #[arg(long)]
    no_healthcheck: bool,
}

impl SupervisionFlags {
    /// What is said about the health check.
    pub(crate) fn health(&self) -> HealthOptions {
        HealthOptions {
            disabled: self.no_healthcheck,
            command: self.health_cmd.clone(),
            interval: self.health_interval,
            timeout: self.health_timeout,
            start_period: self.health_start_period,
            start_interval: self.health_start_interval,
            retries: self.health_retries,
        }
    }
}
