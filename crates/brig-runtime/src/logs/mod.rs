//! Reads a container's log: docker's json-file lines, as the supervisor writes them.
//!
//! ```text
//! log.2.gz   log.1   log     oldest to newest; only `log` grows, and a full one moves up by a rename
//! {"log":"a line\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//! ```
//!
//! One record is one line of output, or a piece of one that was longer than 16 KiB: then all but its last record have
//! no line feed. `tail` counts records, as docker does. A damaged line (a crash while it was written) is passed over
//! and counted.
//!
//! A file is known by its inode, whatever its name is in this moment, so that a rotation while the log is read neither
//! hides a record nor shows one twice. A file that a reader has opened stays readable when its name is gone; what was
//! rotated away before a follower came to it is missed, as it is with docker.

mod files;
mod gzip;
mod lines;
mod parse;
#[cfg(test)]
mod tests;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::files::LogFile;
use self::lines::Lines;
use self::parse::Parser;
use self::watch::Watch;
use crate::time::Timestamp;

pub use self::files::{compressed, rotated};
pub use self::gzip::Origin;

/// The most files that a log may have, so that all of them can be open at once.
pub const MAX_LOG_FILES: u32 = 500;

/// Why a log can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused.
    #[error("can't read the log `{}`", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Changes of the log can't be waited for.
    #[error("can't watch the log `{}`", path.display())]
    Watch {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Which records, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to wait for more until the container ends.
    pub follow: bool,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Not after this.
    pub until: Option<Timestamp>,
    /// Only so many records at the end of what is there; `None` for all.
    pub tail: Option<u64>,
}

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output, and a terminal's.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogRecord<'a> {
    /// The text, with its line feed if it has one.
    #[serde(rename = "log", borrow)]
    pub text: Cow<'a, str>,
    /// Where it was written to.
    pub stream: LogStream,
    /// What the record says of its container (`--log-opt labels`, `env`, `tag`).
    #[serde(default)]
    pub attrs: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

impl LogRecord<'_> {
    /// Writes the record as `docker logs` shows it: with `timestamps`, the time and a space come first.
    pub fn show(&self, to: &mut impl Write, timestamps: bool) -> io::Result<()> {
        if timestamps {
            write!(to, "{} ", self.time)?;
        }
        to.write_all(self.text.as_bytes())
    }
}

/// Who is given the records of a log.
pub trait LogSink {
    /// Takes a record; may break off.
    fn record(&mut self, record: &LogRecord<'_>) -> ControlFlow<()>;

    /// Everything that is there was given: called before more is waited for, and at the end. For what the sink has
    /// collected.
    fn caught_up(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

struct Each<F>(F);

impl<F: FnMut(&LogRecord<'_>) -> ControlFlow<()>> LogSink for Each<F> {
    fn record(&mut self, record: &LogRecord<'_>) -> ControlFlow<()> {
        self.0(record)
    }
}

/// Reads the log at `path` and hands each record to `sink`, which may break off. Follows, when asked to, as long as
/// `runs` says that the container does; what was written before its end is read in any case. A missing log is an empty
/// one. Returns how many damaged lines were passed over.
pub fn read_log(
    path: &Path,
    options: &LogOptions,
    runs: impl FnMut() -> bool,
    sink: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
) -> Result<u64, LogError> {
    read_log_to(path, options, runs, &mut Each(sink))
}

/// As [`read_log`], to a sink that collects.
pub fn read_log_to(
    path: &Path,
    options: &LogOptions,
    mut runs: impl FnMut() -> bool,
    sink: &mut impl LogSink,
) -> Result<u64, LogError> {
    // The watch comes before the first look: what happens in between is an event.
    let watch = if options.follow { Some(Watch::new(path)?) } else { None };
    let mut reader = Reader::open(path, options)?;
    loop {
        let running = watch.is_some() && runs();
        if reader.read(sink)?.is_break() || sink.caught_up().is_break() || !running {
            return Ok(reader.damaged);
        }
        if let Some(watch) = &watch {
            watch.wait()?;
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    options: &'a LogOptions,
    /// The files that are left to read, the oldest first. The last one may still grow.
    files: VecDeque<Lines>,
    parser: Parser,
    damaged: u64,
}

impl<'a> Reader<'a> {
    /// Opens the log where reading begins: `tail` is about what is there now, not about what comes.
    fn open(path: &'a Path, options: &'a LogOptions) -> Result<Self, LogError> {
        let failed = |source| LogError::Read { path: path.into(), source };
        let mut files = files::open_newest_first(path, None).map_err(failed)?;
        if let Some(tail) = options.tail {
            files::begin_at_tail(&mut files, tail).map_err(failed)?;
        }
        let mut reader =
            Self { path, options, files: VecDeque::new(), parser: Parser::default(), damaged: 0 };
        reader.append(files).map_err(failed)?;
        Ok(reader)
    }

    fn append(&mut self, newest_first: Vec<LogFile>) -> io::Result<()> {
        for file in newest_first.into_iter().rev() {
            // Who doesn't follow gets what was there, and an end, however fast the container writes.
            let lines = if self.options.follow { Lines::growing(file)? } else { Lines::as_it_is(file)? };
            self.files.push_back(lines);
        }
        Ok(())
    }

    /// Reads to the present end.
    fn read(&mut self, sink: &mut impl LogSink) -> Result<ControlFlow<()>, LogError> {
        let path = self.path;
        let failed = |source| LogError::Read { path: path.into(), source };
        loop {
            while let Some(lines) = self.files.front_mut() {
                let flow = drain(lines, &mut self.parser, self.options, &mut self.damaged, sink);
                if flow.map_err(failed)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if self.files.len() == 1 {
                    break;
                }
                let read = self.files.pop_front();
                // Half a line in a file that doesn't grow any more.
                self.damaged += u64::from(read.is_some_and(|lines| lines.has_half()));
            }
            if !self.options.follow || !self.find_newer().map_err(failed)? {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Opens the files that came behind the last one, and says whether there are any. Nothing is written to a file
    /// after it was moved, so what it had meanwhile is read before them.
    fn find_newer(&mut self) -> io::Result<bool> {
        match files::id_of(self.path)? {
            None => return Ok(false),
            now if now == self.files.back().map(Lines::id) => return Ok(false),
            Some(_) => {}
        }
        // Now that nothing is written to it any more.
        let last = self.files.back().map(Lines::known).transpose()?;
        let newer = files::open_newest_first(self.path, last)?;
        let found = !newer.is_empty();
        self.append(newer)?;
        Ok(found)
    }
}

/// Gives the records of one file, to its present end.
fn drain(
    lines: &mut Lines,
    parser: &mut Parser,
    options: &LogOptions,
    damaged: &mut u64,
    sink: &mut impl LogSink,
) -> io::Result<ControlFlow<()>> {
    while let Some(line) = lines.next()? {
        let Some(record) = parser.parse(line) else {
            *damaged += u64::from(!line.trim_ascii().is_empty());
            continue;
        };
        if options.until.is_some_and(|until| record.time > until) {
            // What was collected is still to be shown.
            let _ = sink.caught_up();
            return Ok(ControlFlow::Break(()));
        }
        if options.since.is_some_and(|since| record.time < since) {
            continue;
        }
        if sink.record(&record).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}
