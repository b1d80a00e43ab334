//! Reads a container's log: docker's json-file lines, as the supervisor writes them.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","time":"2026-01-02T03:04:05.000000006Z"}
//! ```
//!
//! One record is one line of output, or a piece of one that was longer than 16 KiB: then all but its last record have
//! no line feed. `tail` counts records, as docker does. A damaged line (a crash while it was written) is passed over
//! and counted. Rotation isn't known here yet: a log is one file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::Deserialize;

use crate::time::Timestamp;

/// The longest line that is read: a record of 16 KiB in which every byte is escaped has a tenth of it.
const MAX_LINE: usize = 1024 * 1024;
/// What is read at once when the end of the log is looked for, in bytes.
const BLOCK: u64 = 64 * 1024;
/// How often a follower looks whether the container still runs when nothing happens in its directory: the end of a
/// supervisor that was killed is no event there.
const LOOK: Duration = Duration::from_secs(1);

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

/// Reads the log at `path` and hands each record to `sink`, which may break off. Follows, when asked to, as long as
/// `runs` says that the container does; what was written before its end is read in any case. A missing log is an empty
/// one. Returns how many damaged lines were passed over.
pub fn read_log(
    path: &Path,
    options: &LogOptions,
    mut runs: impl FnMut() -> bool,
    mut sink: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
) -> Result<u64, LogError> {
    // The watch comes before the first look: what happens in between is an event.
    let watch = if options.follow { Some(Watch::new(path)?) } else { None };
    let mut reader = Reader { path, options, lines: None, damaged: 0 };
    let mut first = true;
    loop {
        let running = watch.is_some() && runs();
        if reader.read(&mut sink, first)?.is_break() || !running {
            return Ok(reader.damaged);
        }
        first = false;
        if let Some(watch) = &watch {
            watch.wait()?;
        }
    }
}

struct Reader<'a> {
    path: &'a Path,
    options: &'a LogOptions,
    lines: Option<Lines>,
    damaged: u64,
}

impl Reader<'_> {
    /// Reads to the present end.
    fn read(
        &mut self,
        sink: &mut impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
        first: bool,
    ) -> Result<ControlFlow<()>, LogError> {
        let failed = |source| LogError::Read { path: self.path.into(), source };
        if self.lines.is_none() {
            self.lines = self.open(first).map_err(failed)?;
        }
        let Some(lines) = &mut self.lines else { return Ok(ControlFlow::Continue(())) };
        while let Some(line) = lines.next().map_err(failed)? {
            let Ok(record) = serde_json::from_slice::<LogRecord<'_>>(line) else {
                self.damaged += u64::from(!line.trim_ascii().is_empty());
                continue;
            };
            if self.options.until.is_some_and(|until| record.time > until) {
                return Ok(ControlFlow::Break(()));
            }
            if self.options.since.is_some_and(|since| record.time < since) {
                continue;
            }
            if sink(&record).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Opens the log where reading begins: `tail` is about what was there first, not about what comes.
    fn open(&self, first: bool) -> io::Result<Option<Lines>> {
        let mut file = match File::open(self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if let Some(tail) = self.options.tail.filter(|_| first) {
            let start = start_of_tail(&mut file, tail)?;
            file.seek(SeekFrom::Start(start))?;
        }
        Ok(Some(Lines { file: BufReader::new(file), line: Vec::new(), complete: false, skipping: false }))
    }
}

/// Lines of a file that grows: a line counts when its line feed is there.
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    complete: bool,
    skipping: bool,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        if self.complete {
            self.line.clear();
            self.complete = false;
        }
        loop {
            let room = (MAX_LINE - self.line.len()) as u64;
            (&mut self.file).take(room).read_until(b'\n', &mut self.line)?;
            if self.line.last() == Some(&b'\n') {
                self.complete = true;
                if std::mem::take(&mut self.skipping) {
                    // The rest of what was too long is no line of its own, but its one damaged one.
                    return Ok(Some(b"too long"));
                }
                return Ok(Some(&self.line));
            }
            if self.line.len() < MAX_LINE {
                return Ok(None);
            }
            self.line.clear();
            self.skipping = true;
        }
    }
}

/// Where the last `count` lines begin.
fn start_of_tail(file: &mut File, count: u64) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut position = length;
    // The line feed of the last line ends it and begins none.
    let mut wanted = count.saturating_add(1);
    let mut block = Vec::new();
    while position > 0 {
        let begin = position.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        (&mut *file).take(position - begin).read_to_end(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            wanted -= 1;
            if wanted == 0 {
                return Ok(begin + at as u64 + 1);
            }
        }
        position = begin;
    }
    Ok(0)
}

/// Waits for changes in the log's directory: of the log, and of the record, which says that the container ended.
struct Watch<'a> {
    path: &'a Path,
    inotify: Inotify,
}

impl<'a> Watch<'a> {
    fn new(path: &'a Path) -> Result<Self, LogError> {
        let failed = |error: Errno| LogError::Watch { path: path.into(), source: error.into() };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        inotify.add_watch(dir, events).map_err(failed)?;
        Ok(Self { path, inotify })
    }

    fn wait(&self) -> Result<(), LogError> {
        let failed = |error: Errno| LogError::Watch { path: self.path.into(), source: error.into() };
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    struct Log {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    impl Log {
        fn new(lines: impl IntoIterator<Item = u32>) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let log = Self { _dir: dir, path };
            lines.into_iter().for_each(|number| log.append(number));
            log
        }

        fn append(&self, number: u32) {
            let second = number % 60;
            let line = format!(
                "{{\"log\":\"line {number}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:{second:02}.5Z\"}}\n"
            );
            self.append_raw(line.as_bytes());
        }

        fn append_raw(&self, bytes: &[u8]) {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
            file.write_all(bytes).unwrap();
        }

        fn read(&self, options: &LogOptions) -> (Vec<String>, u64) {
            let mut texts = Vec::new();
            let damaged = read_log(
                &self.path,
                options,
                || false,
                |record| {
                    texts.push(record.text.trim_end().to_owned());
                    ControlFlow::Continue(())
                },
            );
            (texts, damaged.unwrap())
        }
    }

    fn at(second: u32) -> Option<Timestamp> {
        Some(format!("2026-01-01T00:00:{second:02}Z").parse().unwrap())
    }

    #[test]
    fn everything_or_the_tail_of_it() {
        let log = Log::new(0..20);
        assert_eq!(log.read(&LogOptions::default()).0.len(), 20);
        for (tail, first) in [(3, Some("line 17")), (20, Some("line 0")), (100, Some("line 0")), (0, None)] {
            let options = LogOptions { tail: Some(tail), ..LogOptions::default() };
            assert_eq!(log.read(&options).0.first().map(String::as_str), first, "tail {tail}");
        }
    }

    #[test]
    fn the_tail_of_a_log_larger_than_a_block() {
        let log = Log::new(0..5000);
        let options = LogOptions { tail: Some(3000), ..LogOptions::default() };
        let (texts, damaged) = log.read(&options);
        assert_eq!((texts.len(), texts[0].as_str(), damaged), (3000, "line 2000", 0));
    }

    #[test]
    fn between_two_times() {
        let log = Log::new(0..20);
        let options = LogOptions { since: at(5), until: at(8), ..LogOptions::default() };
        assert_eq!(log.read(&options).0, ["line 5", "line 6", "line 7"]);
    }

    #[test]
    fn a_missing_log_is_empty() {
        let log = Log::new([]);
        assert_eq!(log.read(&LogOptions::default()), (vec![], 0));
    }

    #[test]
    fn damaged_and_overlong_lines_are_passed_over_and_counted() {
        let log = Log::new([1]);
        log.append_raw(b"{\"log\":\"half\n");
        log.append_raw(&vec![b'x'; MAX_LINE * 2 + 17]);
        log.append_raw(b"\n");
        log.append(2);
        log.append_raw(b"{\"log\":\"not yet whole");
        assert_eq!(log.read(&LogOptions::default()), (vec!["line 1".into(), "line 2".into()], 2));
    }

    #[test]
    fn shown_with_and_without_time() {
        let record = LogRecord {
            text: "a\n".into(),
            stream: LogStream::Stdout,
            time: "2026-01-01T00:00:00.5Z".parse().unwrap(),
        };
        let mut shown = Vec::new();
        record.show(&mut shown, true).unwrap();
        record.show(&mut shown, false).unwrap();
        assert_eq!(shown, b"2026-01-01T00:00:00.500000000Z a\na\n");
    }

    #[test]
    fn following_sees_what_comes_and_ends_with_the_container() {
        let log = Log::new(0..3);
        let running = AtomicBool::new(true);
        let options = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
        let mut texts = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 3..6 {
                    std::thread::sleep(Duration::from_millis(20));
                    log.append(number);
                }
                log.append_raw(b"{\"log\":\"6\",\"stream\":\"std");
                std::thread::sleep(Duration::from_millis(20));
                log.append_raw(b"err\",\"time\":\"2026-01-01T00:01:00Z\"}\n");
                running.store(false, Ordering::SeqCst);
                fs::rename(&log.path, log.path.with_extension("x")).unwrap();
                fs::rename(log.path.with_extension("x"), &log.path).unwrap();
            });
            let sink = |record: &LogRecord<'_>| {
                texts.push(record.text.trim_end().to_owned());
                ControlFlow::Continue(())
            };
            read_log(&log.path, &options, || running.load(Ordering::SeqCst), sink).unwrap();
        });
        assert_eq!(texts, ["line 2", "line 3", "line 4", "line 5", "6"]);
    }

    #[test]
    fn following_stops_at_until_and_when_the_reader_has_enough() {
        let log = Log::new(0..10);
        let options = LogOptions { follow: true, until: at(4), ..LogOptions::default() };
        let mut seen = 0;
        read_log(
            &log.path,
            &options,
            || true,
            |_| {
                seen += 1;
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        assert_eq!(seen, 4);
        let options = LogOptions { follow: true, ..LogOptions::default() };
        read_log(&log.path, &options, || true, |_| ControlFlow::Break(())).unwrap();
    }
}
