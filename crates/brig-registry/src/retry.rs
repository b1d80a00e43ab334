//! Second attempts: few, further and further apart, and only for what may pass by itself.

use std::hash::BuildHasher;
use std::time::Duration;

use crate::client::ClientOptions;
use crate::endpoint::Endpoint;
use crate::error::Error;

/// The longest pause that brig chooses by itself.
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// How many bytes make up for a failure. Fewer don't, so that a registry that sends a byte and hangs up can't go on for
/// as many times as a blob has bytes.
const PROGRESS: u64 = 1024 * 1024;

/// The failures of one request so far.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    failures: u32,
    limit: u32,
    backoff: Duration,
    max_wait: Duration,
    progress: u64,
}

impl Retry {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        Self {
            failures: 0,
            limit: options.retries,
            backoff: options.backoff,
            max_wait: options.max_retry_wait,
            progress: 0,
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `error` itself, when there is to be none.
    pub(crate) async fn pause(&mut self, error: Error, endpoint: &Endpoint) -> Result<(), Error> {
        let Some(wait) = self.after(&error, endpoint.has_answered()) else { return Err(error) };
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// How long to wait after a failure; `None` for giving up.
    pub(crate) fn after(&mut self, error: &Error, answered: bool) -> Option<Duration> {
        let hiccup = answered && matches!(error, Error::Network { .. });
        if !(error.is_transient() && answered || hiccup) || self.failures >= self.limit {
            return None;
        }
        let grown = self.backoff.saturating_mul(1 << self.failures.min(16)).min(MAX_BACKOFF);
        self.failures += 1;
        match error.retry_after() {
            Some(asked) if asked > self.max_wait => None,
            Some(asked) => Some(asked.max(jitter(grown))),
            None => Some(jitter(grown)),
        }
    }

    /// Takes note of `bytes` more that came.
    pub(crate) fn progress(&mut self, bytes: u64) {
        self.progress = self.progress.saturating_add(bytes);
        if self.progress >= PROGRESS {
            (self.progress, self.failures) = (0, 0);
        }
    }
}

/// Between half and all of a pause, so that many clients don't come back at once.
fn jitter(pause: Duration) -> Duration {
    let random = std::hash::RandomState::new().hash_one(0_u8) % 512;
    let half = pause / 2;
    half + half.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(after: u64) -> Error {
        Error::TooManyRequests {
            reference: "r".into(),
            host: "h".into(),
            retry_after: Some(Duration::from_secs(after)),
            message: String::new(),
        }
    }

    fn broken() -> Error {
        Error::Unavailable {
            reference: "r".into(),
            host: "h".into(),
            status: 503,
            retry_after: None,
            message: String::new(),
        }
    }

    #[test]
    fn attempts_are_few_and_pauses_grow() {
        let options = ClientOptions { retries: 3, ..ClientOptions::default() };
        let mut retry = Retry::new(&options);
        let pauses: Vec<_> = (0..4).map(|_| retry.after(&broken(), true)).collect();
        assert!(pauses[3].is_none());
        assert!(pauses[2].unwrap() >= options.backoff * 2 && pauses[0].unwrap() <= options.backoff);
        retry.progress(PROGRESS - 1);
        assert!(retry.after(&broken(), true).is_none());
        retry.progress(1);
        assert!(retry.after(&broken(), true).is_some());
    }

    #[test]
    fn a_registry_may_ask_for_patience_but_not_for_ever() {
        let mut retry = Retry::new(&ClientOptions::default());
        assert!(retry.after(&limited(2), true).unwrap() >= Duration::from_secs(2));
        assert!(retry.after(&limited(100_000), true).is_none());
    }

    #[test]
    fn what_will_not_pass_is_not_tried_again() {
        let mut retry = Retry::new(&ClientOptions::default());
        let missing = Error::ManifestNotFound { reference: "r".into(), host: "h".into() };
        assert!(retry.after(&missing, true).is_none());
        assert!(retry.after(&broken(), false).is_none());
    }
}
