//! Where output is kept.

use brig_engine::{LogConfig, Result};
use clap::Args;

use super::pairs;

/// `--log-driver` and `--log-opt`.
#[derive(Args, Debug)]
pub(crate) struct LogFlags {
    /// Where output is kept: json-file, local, journald or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Options of the log driver: max-size=10m, max-file=3, compress=true, labels=NAME,…, env=NAME,…, tag={{.Name}}, …
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

impl LogFlags {
    pub(crate) fn config(&self) -> Result<LogConfig> {
        let options = pairs("log option", &self.log_opt)?;
        let driver = self.log_driver.clone().filter(|driver| !driver.is_empty());
        Ok(LogConfig { driver: driver.unwrap_or_else(|| LogConfig::default().driver), options })
    }
}
