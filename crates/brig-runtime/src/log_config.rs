//! Where a container's output is kept: docker's `--log-driver` and `--log-opt`, and what the supervisor makes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::logs::MAX_LOG_FILES;
use crate::plan::LogPlan;

/// What is kept by default.
const JSON_FILE: &str = "json-file";
/// docker's limits of the driver `local`: bytes of a file, and files.
const LOCAL: (u64, u32) = (20_000_000, 5);

/// A log driver and its options, as given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `json-file`, `local`, `journald` or `none`.
    pub driver: String,
    /// Its options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// Why output can't be kept so.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogConfigError {
    /// There is no such driver.
    #[error("the log driver `{driver}` isn't there: use json-file, local, journald or none")]
    Driver {
        /// As given.
        driver: String,
    },
    /// The driver has no such option.
    #[error("unknown log opt `{name}` for {driver} log driver: {there}")]
    Option {
        /// The driver.
        driver: String,
        /// The option.
        name: String,
        /// What there is.
        there: &'static str,
    },
    /// The option's value means nothing.
    #[error("invalid log opt `{name}={value}`: {problem}")]
    Value {
        /// The option.
        name: String,
        /// As given.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: JSON_FILE.into(), options: BTreeMap::new() }
    }
}

impl LogConfig {
    /// Whether it is what a container has that nobody said anything about.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is a file that can be read.
    pub fn is_readable(&self) -> bool {
        matches!(self.driver.as_str(), JSON_FILE | "local")
    }

    /// What the supervisor is told; `None` for keeping nothing.
    ///
    /// The driver `local` is a json-file with docker's limits for it.
    pub fn plan(&self) -> Result<Option<LogPlan>, LogConfigError> {
        match self.driver.as_str() {
            JSON_FILE => Ok(Some(self.file(None, 1)?)),
            "local" => Ok(Some(self.file(Some(LOCAL.0), LOCAL.1)?)),
            "journald" => self.none_but_mode().map(|()| Some(LogPlan::Journald)),
            "none" => self.none_but_mode().map(|()| None),
            driver => Err(LogConfigError::Driver { driver: driver.into() }),
        }
    }

    fn file(&self, mut max_size: Option<u64>, mut max_files: u32) -> Result<LogPlan, LogConfigError> {
        for (name, value) in &self.options {
            match name.as_str() {
                "max-size" => max_size = Some(size(name, value)?),
                "max-file" => max_files = files(name, value)?,
                "compress" if value == "false" => {}
                "compress" => return Err(invalid(name, value, "rotated logs aren't compressed here")),
                "mode" => blocking(name, value)?,
                _ => return Err(self.unknown(name, "the options are max-size, max-file and mode=blocking")),
            }
        }
        Ok(LogPlan::File { max_size, max_files })
    }

    fn none_but_mode(&self) -> Result<(), LogConfigError> {
        for (name, value) in &self.options {
            match name.as_str() {
                "mode" => blocking(name, value)?,
                _ => return Err(self.unknown(name, "the option is mode=blocking")),
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str, there: &'static str) -> LogConfigError {
        LogConfigError::Option { driver: self.driver.clone(), name: name.into(), there }
    }
}

fn invalid(name: &str, value: &str, problem: &str) -> LogConfigError {
    LogConfigError::Value { name: name.into(), value: value.into(), problem: problem.into() }
}

fn blocking(name: &str, value: &str) -> Result<(), LogConfigError> {
    match value {
        "blocking" => Ok(()),
        _ => Err(invalid(name, value, "output is only delivered `blocking`")),
    }
}

/// docker's decimal units: `10m` are ten million bytes.
fn size(name: &str, value: &str) -> Result<u64, LogConfigError> {
    let wrong = || {
        invalid(name, value, "max-size must be a positive number, with k, m or g where it is so many bytes")
    };
    let text = value.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = digits.trim_end().split_once('.').unwrap_or((digits.trim_end(), ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let nanos: u64 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let part = u128::from(nanos) * u128::from(factor) / 1_000_000_000;
    let bytes = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(factor));
    let bytes = bytes.and_then(|bytes| bytes.checked_add(u64::try_from(part).ok()?));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

fn files(name: &str, value: &str) -> Result<u32, LogConfigError> {
    match value.parse() {
        Ok(0) => Err(invalid(name, value, "max-file cannot be less than 1")),
        Ok(number) if number <= MAX_LOG_FILES => Ok(number),
        _ => Err(invalid(name, value, &format!("give a number up to {MAX_LOG_FILES}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(driver: &str, options: &[(&str, &str)]) -> Result<Option<LogPlan>, String> {
        let options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        LogConfig { driver: driver.into(), options }.plan().map_err(|error| error.to_string())
    }

    fn file(max_size: impl Into<Option<u64>>, max_files: u32) -> Result<Option<LogPlan>, String> {
        Ok(Some(LogPlan::File { max_size: max_size.into(), max_files }))
    }

    #[test]
    fn drivers_and_their_options() {
        assert_eq!(LogConfig::default().plan(), Ok(file(None, 1).unwrap()));
        assert_eq!(plan("json-file", &[("max-size", "10m"), ("max-file", "3")]), file(10_000_000, 3));
        assert_eq!(plan("json-file", &[("mode", "blocking"), ("compress", "false")]), file(None, 1));
        assert_eq!(plan("local", &[]), file(20_000_000, 5));
        assert_eq!(plan("local", &[("max-file", "2")]), file(20_000_000, 2));
        assert_eq!(plan("none", &[]), Ok(None));
        assert_eq!(plan("journald", &[]), Ok(Some(LogPlan::Journald)));
    }

    #[test]
    fn sizes_in_decimal_units() {
        for (text, bytes) in [
            ("1", 1),
            ("10b", 10),
            ("1k", 1000),
            ("1.5KB", 1500),
            ("2 MiB", 2_000_000),
            ("0.25g", 250_000_000),
        ] {
            assert_eq!(plan("json-file", &[("max-size", text)]), file(bytes, 1), "{text}");
        }
        for text in ["", "0", "-1", "m", "1x", "1.2.3", "1.0000000000", "99999999999999999999", "20000000t"] {
            let error = plan("json-file", &[("max-size", text)]).unwrap_err();
            assert!(error.contains("max-size must be a positive number"), "{text}: {error}");
        }
    }

    #[test]
    fn what_isnt_there_is_refused() {
        for (driver, option, says) in [
            ("syslog", None, "use json-file, local, journald or none"),
            ("json-file", Some(("max-sise", "1")), "unknown log opt `max-sise` for json-file log driver"),
            ("json-file", Some(("max-file", "0")), "max-file cannot be less than 1"),
            ("json-file", Some(("max-file", "501")), "up to 500"),
            ("json-file", Some(("max-file", "many")), "up to 500"),
            ("json-file", Some(("compress", "true")), "compressed"),
            ("local", Some(("mode", "non-blocking")), "blocking"),
            ("none", Some(("max-size", "1m")), "unknown log opt `max-size` for none log driver"),
        ] {
            let error = plan(driver, option.as_slice()).unwrap_err();
            assert!(error.contains(says), "{driver} {option:?}: {error}");
        }
    }
}
