//! What flags are given: sizes, durations and points in time, as docker reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brig_engine::{Error, Result, Timestamp};
use jiff::civil;
use jiff::tz::TimeZone;

/// `64m`, `1.5g`, `512k`, `100b`: docker's binary units.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number with b, k, m or g, such as `64m`".to_owned();
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].trim_end_matches('b').trim_end_matches('i');
    let factor: u64 = match unit {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return Err(wrong()),
    };
    let digits = digits.trim_end();
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(factor).ok_or_else(|| "out of range".into());
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let bytes = digits.parse::<f64>().map_err(|_| wrong())? * factor as f64;
    // 2^64 itself is out of range; what lies below it is a whole number of bytes after the cut.
    if bytes >= u64::MAX as f64 {
        return Err("out of range".into());
    }
    #[expect(clippy::cast_possible_truncation, reason = "docker cuts the fraction of a byte off, too")]
    #[expect(clippy::cast_sign_loss, reason = "the digits have no sign")]
    let bytes = bytes as u64;
    Ok(bytes)
}

/// As [`parse_size`], and docker's -1 for no limit.
pub(crate) fn parse_size_or_unlimited(text: &str) -> Result<i64, String> {
    if text == "-1" {
        return Ok(-1);
    }
    i64::try_from(parse_size(text)?).map_err(|_| "out of range".into())
}

/// `1.5` processors in billionths of one.
pub(crate) fn parse_cpus(text: &str) -> Result<u64, String> {
    let wrong = || "expected a number such as `1.5`".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(wrong());
    }
    if fraction.trim_end_matches('0').len() > 9 {
        return Err("value is too precise".into());
    }
    let nanos = format!("{:0<9}", fraction.trim_end_matches('0')).parse::<u64>().map_err(|_| wrong())?;
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| wrong())? };
    whole.checked_mul(1_000_000_000).and_then(|whole| whole.checked_add(nanos)).ok_or_else(wrong)
}

/// A signal by name or number.
pub(crate) fn signal(text: &str) -> Result<i32> {
    brig_engine::signal(text).ok_or_else(|| Error::Invalid {
        what: "signal",
        value: text.into(),
        problem: "give a name such as `TERM` or a number from 1 to 64".into(),
    })
}

/// `10`, `10s`, `500ms`, `1m30s`, `2h`: seconds without a unit. Zero is none.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_time(text)? {
        Duration::ZERO => Err(no_time()),
        duration => Ok(duration),
    }
}

/// As [`parse_duration`], and zero is a time, too.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| no_time()),
        Err(_) => duration_with_units(text).ok_or_else(no_time),
    }
}

fn no_time() -> String {
    "expected a time such as `10s`, `500ms` or `1m30s`".to_owned()
}

/// Go's durations: numbers with units, one after another.
fn duration_with_units(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
    }
    (!text.is_empty()).then_some(total)
}

/// A point in time, as docker reads it: a duration before now (`10m`), seconds since 1970 (`1136073845.5`), or a date
/// and time of RFC 3339, which may end early and is this machine's where it names no zone (`2026-01-02T03:04`).
pub(crate) fn moment(text: &str) -> Result<Timestamp> {
    moment_in(text, &TimeZone::system)
}

/// A time as docker's lists show it: this machine's, `2026-01-02 03:04:05 +0100 CET`.
pub(crate) fn docker_time(time: Timestamp) -> String {
    docker_time_in(time, TimeZone::system())
}

fn docker_time_in(time: Timestamp, zone: TimeZone) -> String {
    match jiff::Timestamp::from_nanosecond(time.as_nanosecond()) {
        Ok(known) => known.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        Err(_) => time.to_string(),
    }
}

fn moment_in(text: &str, zone: &dyn Fn() -> TimeZone) -> Result<Timestamp> {
    let known = unix_time(text).or_else(|| before_now(text)).or_else(|| date(text, zone));
    known.ok_or_else(|| Error::Invalid {
        what: "time",
        value: text.into(),
        problem:
            "give a time such as `2026-01-02T03:04:05Z`, seconds since 1970, or a duration such as `10m`"
                .into(),
    })
}

/// `1136073600` or `1136073600.000000001`.
fn unix_time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds.parse().ok()?, nanoseconds)).map(Into::into)
}

fn before_now(text: &str) -> Option<Timestamp> {
    let ago = duration_with_units(text)?;
    Some(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH).into())
}

/// RFC 3339, and what is left of it without seconds, minutes, hours or a zone.
fn date(text: &str, zone: &dyn Fn() -> TimeZone) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (day, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let local = match (time.ends_with(['Z', 'z']), day.ends_with('Z')) {
        (false, false) => zone(),
        _ => TimeZone::UTC,
    };
    let day: civil::Date = day.trim_end_matches('Z').parse().ok()?;
    let time = match time.trim_end_matches(['Z', 'z']) {
        "" => civil::Time::midnight(),
        hour if hour.len() == 2 => civil::Time::new(hour.parse().ok()?, 0, 0, 0).ok()?,
        time => time.parse().ok()?,
    };
    let moment = day.to_datetime(time).to_zoned(local).ok()?.timestamp();
    Some(SystemTime::from(moment).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_dockers_units() {
        assert_eq!(parse_size("64m"), Ok(64 << 20));
        assert_eq!(parse_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_size("100b"), Ok(100));
        assert_eq!(parse_size("1.5g"), Ok(3 << 29));
        assert_eq!(parse_size("0.5 kb"), Ok(512));
        assert_eq!(parse_size("0"), Ok(0));
        for text in ["", "m", "-1", "1x", "1.2.3m", "infm", "1e3", "99999999999g", "20000000.5t"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_in_billionths() {
        for (text, nanos) in [
            ("2", 2_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
            ("0.000000001", 1),
            ("1.", 1_000_000_000),
        ] {
            assert_eq!(parse_cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", ".", "-1", "1e3", "0.0000000001", "1.5.5", "99999999999", " 1"] {
            assert!(parse_cpus(text).is_err(), "{text}");
        }
        assert_eq!(parse_size_or_unlimited("-1"), Ok(-1));
        assert_eq!(parse_size_or_unlimited("1k"), Ok(1024));
        assert!(parse_size_or_unlimited("-2").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        for text in ["", "0", "0s", "s", "1d", "-1", "1s2", "4000000000000000h4000000000000000h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    /// Two hours east of Greenwich.
    fn at(text: &str) -> String {
        let zone = || TimeZone::fixed(jiff::tz::offset(2));
        moment_in(text, &zone).map(|time| time.to_string()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn moments_as_docker_reads_them() {
        for (text, expected) in [
            ("1136073845", "2006-01-01T00:04:05.000000000Z"),
            ("1136073845.5", "2006-01-01T00:04:05.500000000Z"),
            ("0", "1970-01-01T00:00:00.000000000Z"),
            ("2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000000000Z"),
            ("2006-01-02T15:04:05.25+01:00", "2006-01-02T14:04:05.250000000Z"),
            ("2006-01-02T15:04:05.000000006", "2006-01-02T13:04:05.000000006Z"),
            ("2006-01-02T15:04", "2006-01-02T13:04:00.000000000Z"),
            ("2006-01-02T15", "2006-01-02T13:00:00.000000000Z"),
            ("2006-01-02T15:04Z", "2006-01-02T15:04:00.000000000Z"),
            ("2006-01-02Z", "2006-01-02T00:00:00.000000000Z"),
            ("2006-01-02", "2006-01-01T22:00:00.000000000Z"),
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
        for text in ["", "yesterday", "-5m", "1.5.5", "2006-13-01", "2006-01-02T25", "2006-01-02T1", "10d"] {
            assert!(at(text).starts_with("invalid time"), "{text}: {}", at(text));
        }
    }

    #[test]
    fn times_as_docker_shows_them() {
        let time: Timestamp = "2006-01-02T15:04:05.9Z".parse().unwrap();
        assert_eq!(docker_time_in(time, TimeZone::UTC), "2006-01-02 15:04:05 +0000 UTC");
        let east = docker_time_in(time, TimeZone::fixed(jiff::tz::offset(2)));
        assert_eq!(east, "2006-01-02 17:04:05 +0200 +02");
    }

    #[test]
    fn a_duration_is_before_now() {
        for (text, seconds) in [("0s", 0), ("10m", 600), ("1h30m", 5400)] {
            let elapsed = moment(text).unwrap().elapsed().as_secs();
            assert!((seconds..seconds + 5).contains(&elapsed), "{text}: {elapsed}");
        }
    }
}
