//! Where a container's output is kept: docker's `--log-driver` and `--log-opt`, and what the supervisor makes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::logs::MAX_LOG_FILES;
use crate::plan::LogPlan;

/// What is kept by default.
const JSON_FILE: &str = "json-file";
/// docker's limits of the driver `local`: bytes of a file, and files.
const LOCAL: (u64, u32) = (20_000_000, 5);
/// The options of files.
const FILE: &[&str] = &["max-size", "max-file", "compress"];
/// The options about what each record says beside its text.
const ATTRS: &[&str] = &["labels", "labels-regex", "env", "env-regex", "tag"];
/// The options about a log that is slow.
const DELIVERY: &[&str] = &["mode", MAX_BUFFER];
const MAX_BUFFER: &str = "max-buffer-size";
/// docker's `max-buffer-size`, in bytes.
const DEFAULT_BUFFER: u64 = 1_000_000;

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
    #[error("unknown log opt `{name}` for {driver} log driver: the options are {there}")]
    Option {
        /// The driver.
        driver: String,
        /// The option.
        name: String,
        /// What there is.
        there: String,
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

    /// What the supervisor is told; `None` for keeping nothing. What the container says in each record (`labels`, `env`,
    /// `tag`) isn't in it yet.
    ///
    /// The driver `local` is a json-file with docker's limits for it, compressed.
    pub fn plan(&self) -> Result<Option<LogPlan>, LogConfigError> {
        match self.driver.as_str() {
            JSON_FILE => {
                self.only(&[FILE, ATTRS, DELIVERY])?;
                self.file(None, 1, false).map(Some)
            }
            "local" => {
                self.only(&[FILE, DELIVERY])?;
                self.file(Some(LOCAL.0), LOCAL.1, true).map(Some)
            }
            "journald" => {
                self.only(&[ATTRS, DELIVERY])?;
                let max_buffer = self.max_buffer()?;
                Ok(Some(LogPlan::Journald { tag: None, fields: Vec::new(), max_buffer }))
            }
            "none" => {
                self.only(&[DELIVERY])?;
                self.max_buffer().map(|_| None)
            }
            driver => Err(LogConfigError::Driver { driver: driver.into() }),
        }
    }

    /// An option's value, if it says something.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn file(
        &self,
        mut max_size: Option<u64>,
        mut max_files: u32,
        mut compress: bool,
    ) -> Result<LogPlan, LogConfigError> {
        for (name, value) in &self.options {
            match name.as_str() {
                "max-size" => max_size = Some(size(name, value)?),
                "max-file" => max_files = files(name, value)?,
                "compress" => compress = boolean(name, value)?,
                _ => {}
            }
        }
        // Each write goes to the file at once: there is nothing that could hold the container up, and no buffer.
        self.max_buffer()?;
        if compress && (max_files < 2 || max_size.is_none()) {
            let problem = "compress cannot be true when max-file is less than 2 or max-size is not set";
            return Err(invalid("compress", "true", problem));
        }
        Ok(LogPlan::File { max_size, max_files, compress, attrs: String::new() })
    }

    /// How much may wait for a log that is slow, in bytes; `None` where the container waits for it.
    fn max_buffer(&self) -> Result<Option<u64>, LogConfigError> {
        let nonblocking = match self.options.get("mode").map_or("", String::as_str) {
            "" | "blocking" => false,
            "non-blocking" => true,
            mode => return Err(invalid("mode", mode, "the modes are blocking and non-blocking")),
        };
        match self.options.get(MAX_BUFFER) {
            Some(value) if !nonblocking => {
                Err(invalid(MAX_BUFFER, value, "it is only supported with `mode=non-blocking`"))
            }
            Some(value) => binary_size(MAX_BUFFER, value).map(Some),
            None => Ok(nonblocking.then_some(DEFAULT_BUFFER)),
        }
    }

    /// Refuses options that the driver hasn't got.
    fn only(&self, groups: &[&[&str]]) -> Result<(), LogConfigError> {
        let there = || groups.iter().copied().flatten().copied();
        match self.options.keys().find(|name| there().all(|known| known != name.as_str())) {
            None => Ok(()),
            Some(name) => Err(LogConfigError::Option {
                driver: self.driver.clone(),
                name: name.clone(),
                there: there().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

fn invalid(name: &str, value: &str, problem: &str) -> LogConfigError {
    LogConfigError::Value { name: name.into(), value: value.into(), problem: problem.into() }
}

/// The words that Go's `strconv.ParseBool` takes.
fn boolean(name: &str, value: &str) -> Result<bool, LogConfigError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(invalid(name, value, "give `true` or `false`")),
    }
}

/// Sizes of memory have binary units in docker, with the same names.
fn binary_size(name: &str, value: &str) -> Result<u64, LogConfigError> {
    scaled(name, value, 1024)
}

/// docker's decimal units: `10m` are ten million bytes.
fn size(name: &str, value: &str) -> Result<u64, LogConfigError> {
    scaled(name, value, 1000)
}

fn scaled(name: &str, value: &str, kilo: u64) -> Result<u64, LogConfigError> {
    let wrong = || {
        let problem = format!("{name} must be a positive number, with k, m or g where it is so many bytes");
        invalid(name, value, &problem)
    };
    let text = value.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match text[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => kilo,
        "m" => kilo.pow(2),
        "g" => kilo.pow(3),
        "t" => kilo.pow(4),
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
        Ok(Some(LogPlan::File {
            max_size: max_size.into(),
            max_files,
            compress: false,
            attrs: String::new(),
        }))
    }

    fn compressed(max_size: u64, max_files: u32) -> Result<Option<LogPlan>, String> {
        let max_size = Some(max_size);
        Ok(Some(LogPlan::File { max_size, max_files, compress: true, attrs: String::new() }))
    }

    fn journald(max_buffer: Option<u64>) -> Result<Option<LogPlan>, String> {
        Ok(Some(LogPlan::Journald { tag: None, fields: Vec::new(), max_buffer }))
    }

    #[test]
    fn drivers_and_their_options() {
        assert_eq!(LogConfig::default().plan(), Ok(file(None, 1).unwrap()));
        assert_eq!(plan("json-file", &[("max-size", "10m"), ("max-file", "3")]), file(10_000_000, 3));
        assert_eq!(plan("json-file", &[("mode", "blocking"), ("compress", "false")]), file(None, 1));
        assert_eq!(plan("local", &[]), compressed(20_000_000, 5));
        assert_eq!(plan("local", &[("max-file", "2")]), compressed(20_000_000, 2));
        assert_eq!(plan("local", &[("max-file", "1"), ("compress", "0")]), file(20_000_000, 1));
        assert_eq!(
            plan("json-file", &[("max-size", "1k"), ("max-file", "2"), ("compress", "true")]),
            compressed(1000, 2)
        );
        assert_eq!(plan("none", &[]), Ok(None));
        assert_eq!(plan("journald", &[]), journald(None));
    }

    #[test]
    fn slow_logs() {
        assert_eq!(plan("journald", &[("mode", "blocking")]), journald(None));
        assert_eq!(plan("journald", &[("mode", "non-blocking")]), journald(Some(1_000_000)));
        let options = [("mode", "non-blocking"), ("max-buffer-size", "4m")];
        assert_eq!(plan("journald", &options), journald(Some(4 * 1024 * 1024)));
        assert_eq!(plan("json-file", &options), file(None, 1));
        assert_eq!(plan("none", &options), Ok(None));
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
            ("json-file", Some(("compress", "true")), "compress cannot be true when max-file"),
            ("json-file", Some(("compress", "yes")), "give `true` or `false`"),
            ("local", Some(("max-file", "1")), "compress cannot be true"),
            ("local", Some(("mode", "fast")), "blocking and non-blocking"),
            ("local", Some(("tag", "x")), "unknown log opt `tag` for local log driver"),
            ("journald", Some(("max-buffer-size", "1m")), "only supported with `mode=non-blocking`"),
            ("journald", Some(("max-size", "1m")), "the options are labels, labels-regex, env"),
            ("none", Some(("max-size", "1m")), "unknown log opt `max-size` for none log driver"),
        ] {
            let error = plan(driver, option.as_slice()).unwrap_err();
            assert!(error.contains(says), "{driver} {option:?}: {error}");
        }
    }
}
