//! `logs`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use brig_engine::logs::{LogRecord, LogSink, LogStream};
use brig_engine::{Error, LogOptions, Result, Timestamp};
use clap::Args;

use super::Context;
use super::values::moment;
use crate::output;

/// Output is written in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;

/// Print what a container printed
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on as it prints
    #[arg(short, long)]
    follow: bool,
    /// Print what `--log-opt labels`, `env` and `tag` put beside each line
    #[arg(long)]
    details: bool,
    /// Print the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "N|all", default_value = "all", allow_negative_numbers = true)]
    tail: String,
    /// Only what came since a time (RFC 3339, or seconds since 1970) or within a duration (10m)
    #[arg(long)]
    since: Option<String>,
    /// Only what came before a time (RFC 3339, or seconds since 1970) or a duration ago (10m)
    #[arg(long)]
    until: Option<String>,
    /// Name or id
    container: String,
}

impl Logs {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let options = LogOptions {
            follow: self.follow,
            tail: tail(&self.tail)?,
            since: self.since.as_deref().map(moment).transpose()?,
            until: self.until.as_deref().map(moment).transpose()?,
        };
        let mut printer = Printer::new(self.timestamps, self.details);
        engine.logs_to(&self.container, &options, &mut printer)?;
        printer.failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

/// Writes each record to the stream that it came from, many at once.
struct Printer {
    timestamps: bool,
    details: bool,
    stream: LogStream,
    /// What goes to that stream next. Before the other one gets anything this is written, so that their order stays.
    waiting: Vec<u8>,
    /// The time that was shown last: records that were written together have the same.
    shown: Option<(Timestamp, String)>,
    failure: Option<Error>,
}

impl Printer {
    fn new(timestamps: bool, details: bool) -> Self {
        let (stream, waiting) = (LogStream::Stdout, Vec::new());
        Self { timestamps, details, stream, waiting, shown: None, failure: None }
    }

    fn put_time(&mut self, time: Timestamp) {
        let shown = match self.shown.take() {
            Some(shown) if shown.0 == time => shown,
            _ => (time, format!("{time} ")),
        };
        self.waiting.extend_from_slice(shown.1.as_bytes());
        self.shown = Some(shown);
    }

    fn write(&mut self) -> ControlFlow<()> {
        let written = write(self.stream, &self.waiting);
        self.waiting.clear();
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl LogSink for Printer {
    fn record(&mut self, record: &LogRecord<'_>) -> ControlFlow<()> {
        if record.stream != self.stream || self.waiting.len() >= PIECE {
            self.write()?;
            self.stream = record.stream;
        }
        if self.timestamps {
            self.put_time(record.time);
        }
        if self.details {
            self.waiting.extend_from_slice(details(&record.attrs).as_bytes());
        }
        self.waiting.extend_from_slice(record.text.as_bytes());
        ControlFlow::Continue(())
    }

    fn caught_up(&mut self) -> ControlFlow<()> {
        self.write()
    }
}

/// docker's `key=value,key2=value2 `, as in a URL's query; a space where there is nothing.
fn details(attrs: &BTreeMap<String, String>) -> String {
    let pairs = attrs.iter().map(|(key, value)| format!("{}={}", query_escaped(key), query_escaped(value)));
    pairs.collect::<Vec<_>>().join(",") + " "
}

/// As Go's `url.QueryEscape`.
fn query_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn write(stream: LogStream, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match stream {
        LogStream::Stderr => {
            let written = io::stderr().lock().write_all(bytes);
            written.map_err(|source| Error::Io { action: "write to standard error", path: None, source })
        }
        LogStream::Stdout => {
            let mut out = io::stdout().lock();
            output::finish(out.write_all(bytes).and_then(|()| out.flush()))
        }
    }
}

/// docker's rule: a negative number is all of them, too.
fn tail(text: &str) -> Result<Option<u64>> {
    match text.parse::<i64>() {
        Ok(number) => Ok(u64::try_from(number).ok()),
        Err(_) if text == "all" => Ok(None),
        Err(_) => Err(Error::Invalid {
            what: "number of lines",
            value: text.into(),
            problem: "give a number, or `all`".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_as_in_a_query() {
        let attrs = [("b", "ü&,="), ("a.b-c_d~", "x y")].map(|(key, value)| (key.into(), value.into()));
        assert_eq!(details(&attrs.into()), "a.b-c_d~=x+y,b=%C3%BC%26%2C%3D ");
        assert_eq!(details(&BTreeMap::new()), " ");
    }

    #[test]
    fn how_many_lines_of_a_log() {
        for (text, lines) in [("all", None), ("-1", None), ("-5", None), ("0", Some(0)), ("7", Some(7))] {
            assert_eq!(tail(text).unwrap(), lines, "{text}");
        }
        assert!(tail("some").is_err());
    }
}
