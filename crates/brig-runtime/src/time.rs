//! Points in time, kept as nanoseconds since the epoch, shown as RFC 3339 with nanoseconds, as docker's logs do.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time (UTC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Now.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// How long ago, or zero for a time to come.
    pub fn elapsed(self) -> Duration {
        SystemTime::from(self.0).elapsed().unwrap_or_default()
    }

    /// Seconds since the epoch.
    pub fn as_second(self) -> i64 {
        self.0.as_second()
    }

    /// Nanoseconds since the epoch.
    pub fn as_nanosecond(self) -> i128 {
        self.0.as_nanosecond()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        // A clock outside of the years -9999 to 9999 is broken; the epoch is as good as any answer.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = i128::try_from(since.as_nanos()).unwrap_or_default();
        Self(jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default())
    }
}

impl std::str::FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.9}", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `500ms`.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = (duration - Duration::from_secs(seconds - seconds % 60)).as_secs_f64();
    match (hours, minutes) {
        (0, 0) if duration < Duration::from_secs(1) => format!("{}ms", duration.as_secs_f64() * 1000.0),
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (millis, text) in
            [(500, "500ms"), (1500, "1.5s"), (30_000, "30s"), (90_000, "1m30s"), (7_200_000, "2h0m0s")]
        {
            assert_eq!(in_words(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn shown_with_nanoseconds_and_read_back() {
        let time: Timestamp = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.000000006Z");
        assert_eq!("2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap().to_string().len(), 30);
    }
}
