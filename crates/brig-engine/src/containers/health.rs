//! The health check of a container: the image's, and what the caller puts in its place.

use std::time::Duration;

use brig_oci::{ImageHealthcheck, RunConfig};
use brig_runtime::HealthCheck;
use brig_runtime::plan::HealthPlan;

use super::exec::ExecOptions;
use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The shortest time that docker takes for an interval or a timeout.
const SHORTEST: Duration = Duration::from_millis(1);

/// What the caller says about the health check. What it doesn't say is the image's, or docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthOptions {
    /// Whether there is none, whatever the image says.
    pub disabled: bool,
    /// A line for the container's shell.
    pub command: Option<String>,
    /// Between two looks.
    pub interval: Option<Duration>,
    /// How long a look may take.
    pub timeout: Option<Duration>,
    /// How long after the start failures don't count.
    pub start_period: Option<Duration>,
    /// Between two looks in that time.
    pub start_interval: Option<Duration>,
    /// How many failures in a row make it unhealthy.
    pub retries: Option<u32>,
}

impl HealthOptions {
    fn says_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The check of a new container.
pub(crate) fn check(config: &RunConfig, options: &HealthOptions) -> Result<Option<HealthCheck>> {
    if options.disabled {
        if *options != (HealthOptions { disabled: true, ..HealthOptions::default() }) {
            let problem = "it excludes the other options of the health check";
            return Err(Error::invalid("option", "--no-healthcheck", problem));
        }
        return Ok(None);
    }
    let none = ImageHealthcheck::default();
    let image = config.healthcheck.as_ref().unwrap_or(&none);
    let test = match &options.command {
        Some(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        None => image.test.clone(),
    };
    match test.first().map(String::as_str) {
        Some("CMD" | "CMD-SHELL") if test.len() > 1 => {}
        // docker's word for none; also that of an image which inherits nothing.
        _ if options.says_nothing() => return Ok(None),
        _ => {
            let problem = "the image has no health check that it could be for: give `--health-cmd`";
            return Err(Error::invalid("option", "--health-…", problem));
        }
    }
    let time = |name: &'static str, given: Option<Duration>, of_image: i64, default: Duration| {
        let of_image = u64::try_from(of_image).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos);
        let time = given.or(of_image).unwrap_or(default);
        if time < SHORTEST && !time.is_zero() {
            return Err(Error::invalid(name, format!("{time:?}"), "it must be at least 1ms"));
        }
        Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    };
    Ok(Some(HealthCheck {
        test,
        interval_ms: time("interval", options.interval, image.interval, HealthCheck::INTERVAL)?.max(1),
        timeout_ms: time("timeout", options.timeout, image.timeout, HealthCheck::TIMEOUT)?.max(1),
        start_period_ms: time("start period", options.start_period, image.start_period, Duration::ZERO)?,
        start_interval_ms: time(
            "start interval",
            options.start_interval,
            image.start_interval,
            HealthCheck::START_INTERVAL,
        )?
        .max(1),
        retries: options
            .retries
            .or_else(|| u32::try_from(image.retries).ok())
            .filter(|retries| *retries > 0)
            .unwrap_or(HealthCheck::RETRIES),
    }))
}

impl Engine {
    /// What the supervisor needs to look after the health of a container.
    pub(crate) fn health_plan(&self, container: &ContainerInfo) -> Result<Option<HealthPlan>> {
        let Some(check) = &container.spec.health else { return Ok(None) };
        let args = match (container.spec.kind.as_str(), check.test.as_slice()) {
            // There is no shell: the words are a module or function, and its arguments.
            ("wasm", [shell, line]) if shell == "CMD-SHELL" => {
                line.split_whitespace().map(str::to_owned).collect()
            }
            _ => check.command(),
        };
        let options = ExecOptions { args, ..ExecOptions::default() };
        let request = self.exec_request(container, &options)?;
        Ok(Some(HealthPlan { check: check.clone(), request }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(test: &[&str]) -> RunConfig {
        let test = test.iter().map(|word| (*word).to_owned()).collect();
        let healthcheck =
            ImageHealthcheck { test, interval: 5_000_000_000, retries: 7, ..Default::default() };
        RunConfig { healthcheck: Some(healthcheck), ..RunConfig::default() }
    }

    fn with_command() -> HealthOptions {
        HealthOptions { command: Some("check".into()), ..HealthOptions::default() }
    }

    #[test]
    fn the_images_check_and_what_replaces_it() {
        let of_image = check(&image(&["CMD", "a"]), &HealthOptions::default()).unwrap().unwrap();
        assert_eq!((of_image.interval_ms, of_image.retries, of_image.timeout_ms), (5000, 7, 30_000));
        let given = check(&image(&["CMD", "a"]), &with_command()).unwrap().unwrap();
        assert_eq!((given.test, given.retries), (vec!["CMD-SHELL".to_owned(), "check".into()], 7));
        let alone = check(&RunConfig::default(), &with_command()).unwrap().unwrap();
        assert_eq!((alone.interval_ms, alone.retries), (30_000, 3));
    }

    #[test]
    fn none_is_none() {
        for config in [RunConfig::default(), image(&["NONE"]), image(&[])] {
            assert_eq!(check(&config, &HealthOptions::default()).unwrap(), None);
        }
        let disabled = HealthOptions { disabled: true, ..HealthOptions::default() };
        assert_eq!(check(&image(&["CMD", "a"]), &disabled).unwrap(), None);
        assert!(check(&image(&["CMD", "a"]), &HealthOptions { disabled: true, ..with_command() }).is_err());
        let retries = HealthOptions { retries: Some(2), ..HealthOptions::default() };
        assert!(check(&RunConfig::default(), &retries).is_err());
    }
}
