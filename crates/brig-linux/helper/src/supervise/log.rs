//! The container's log: where its output is kept, record by record.
//!
//! A line of output is one record. Output without a line feed is kept until one comes; a line longer than
//! [`MAX_RECORD`] becomes several records, all but the last without a line feed, as docker writes them. Bytes that
//! aren't UTF-8 become U+FFFD; attached clients get the exact bytes.

mod compress;
mod file;
mod journald;

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use brig_runtime::Timestamp;
use brig_runtime::plan::{LogPlan, SupervisorPlan};

use self::file::{FileLog, Keeping};
use self::journald::Journald;
use super::sys;

/// The longest piece of output in one record, in bytes: docker's.
const MAX_RECORD: usize = 16 * 1024;

/// The payload's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, and a terminal's.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Err => "stderr",
        }
    }
}

/// What went wrong with the log; the container goes on.
#[derive(Debug)]
pub(super) enum LogTrouble {
    /// Records couldn't be written.
    Missing(io::Error),
    /// The log is slower than the container, and has no more room.
    Dropped,
    /// A full file couldn't be rotated away; it grows on.
    NotRotated(io::Error),
    /// A file that was rotated away stays as it is.
    NotCompressed(io::Error),
}

impl fmt::Display for LogTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(error) => write!(f, "output is missing in the log: {error}"),
            Self::Dropped => f.write_str("output is missing in the log, which is slower than the container"),
            Self::NotRotated(error) => write!(f, "the log can't be rotated: {error}"),
            Self::NotCompressed(error) => write!(f, "a rotated log can't be compressed: {error}"),
        }
    }
}

/// Where records go.
#[derive(Debug)]
enum Sink {
    File(FileLog),
    Journald(Journald),
}

/// The log. The supervisor is its only writer.
#[derive(Debug)]
pub(super) struct Log {
    sink: Sink,
    /// Output that waits for its line feed.
    unfinished: [Vec<u8>; 2],
}

impl Log {
    /// Opens what the plan asks for.
    pub(super) fn open(plan: &SupervisorPlan) -> io::Result<Option<Self>> {
        let sink = match &plan.log {
            None => return Ok(None),
            Some(LogPlan::File { max_size, max_files, compress, attrs }) => {
                let (max_size, max_files, compress) = (*max_size, *max_files, *compress);
                let keeping = Keeping { max_size, max_files, compress, attrs };
                Sink::File(FileLog::open(&plan.dir.join("log"), keeping)?)
            }
            Some(LogPlan::Journald { tag, fields, max_buffer }) => {
                Sink::Journald(Journald::connect(plan, tag.as_deref(), fields, *max_buffer)?)
            }
        };
        Ok(Some(Self { sink, unfinished: [Vec::new(), Vec::new()] }))
    }

    /// Takes output. After an error these records are lost, and the log is as it was before.
    pub(super) fn write(&mut self, stream: Stream, mut data: &[u8]) -> Result<(), LogTrouble> {
        let time = Timestamp::now().to_string();
        let mut unfinished = std::mem::take(&mut self.unfinished[stream as usize]);
        while let Some(end) = end_of_record(unfinished.len(), data) {
            let (piece, rest) = data.split_at(end);
            data = rest;
            if unfinished.is_empty() {
                self.record(stream, piece, &time)?;
            } else {
                unfinished.extend_from_slice(piece);
                let whole = whole_characters(&unfinished);
                self.record(stream, &unfinished[..whole], &time)?;
                unfinished.drain(..whole);
            }
        }
        unfinished.extend_from_slice(data);
        self.unfinished[stream as usize] = unfinished;
        self.flush()
    }

    /// Writes what never got its line feed.
    pub(super) fn finish(&mut self) -> Result<(), LogTrouble> {
        let time = Timestamp::now().to_string();
        for stream in [Stream::Out, Stream::Err] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                self.record(stream, &rest, &time)?;
            }
        }
        self.flush()
    }

    /// What has to be waited for, beside output.
    pub(super) fn interest(&self) -> Option<(&dyn AsRawFd, i16)> {
        match &self.sink {
            Sink::File(file) => file.compression().map(|child| (child.end() as &dyn AsRawFd, libc::POLLIN)),
            Sink::Journald(journal) => {
                journal.to_poll().map(|socket| (socket as &dyn AsRawFd, libc::POLLOUT))
            }
        }
    }

    /// What was waited for has happened.
    pub(super) fn ready(&mut self) -> Result<(), LogTrouble> {
        match &mut self.sink {
            Sink::File(file) => file.take_compressed(),
            Sink::Journald(journal) => journal.send_waiting().map_err(LogTrouble::Missing),
        }
    }

    /// Ends what goes on, in some `patience`: the supervisor ends. Files that are `removed` need no compression.
    pub(super) fn close(&mut self, removed: bool, patience: Duration) -> Result<(), LogTrouble> {
        let end = Instant::now() + if removed && self.is_files() { Duration::ZERO } else { patience };
        let mut closed = Ok(());
        while let Some((fd, events)) = self.interest() {
            let rest = end.saturating_duration_since(Instant::now());
            let mut fds = [sys::interest(fd.as_raw_fd(), events)];
            let timeout = i32::try_from(rest.as_millis()).unwrap_or(i32::MAX);
            if rest.is_zero() || sys::poll(&mut fds, timeout).is_err() {
                break;
            }
            closed = closed.and(self.ready());
        }
        if let Sink::File(file) = &mut self.sink {
            file.stop_compressing();
        }
        closed
    }

    fn is_files(&self) -> bool {
        matches!(self.sink, Sink::File(_))
    }

    fn record(&mut self, stream: Stream, text: &[u8], time: &str) -> Result<(), LogTrouble> {
        match &mut self.sink {
            Sink::File(file) => file.record(stream, text, time),
            Sink::Journald(journal) => journal.record(stream, text).map_err(LogTrouble::Missing),
        }
    }

    fn flush(&mut self) -> Result<(), LogTrouble> {
        match &mut self.sink {
            Sink::File(file) => file.flush(),
            Sink::Journald(journal) => {
                if journal.has_dropped() {
                    Err(LogTrouble::Dropped)
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// Where the record ends that begins with `kept` earlier bytes and goes on with `data`: behind a line feed, or where
/// it is full; `None` when it doesn't end in `data`.
fn end_of_record(kept: usize, data: &[u8]) -> Option<usize> {
    let room = MAX_RECORD.saturating_sub(kept);
    let window = &data[..data.len().min(room)];
    if let Some(line_feed) = window.iter().position(|&byte| byte == b'\n') {
        return Some(line_feed + 1);
    }
    (data.len() >= room).then(|| whole_characters(window))
}

/// The length of `window` without the beginning of a character that goes on behind it. A line feed ends everything.
fn whole_characters(window: &[u8]) -> usize {
    if window.ends_with(b"\n") {
        return window.len();
    }
    let tail = window.len().saturating_sub(3);
    let cut = (tail..window.len()).rev().find(|&at| window[at] >= 0xc0);
    match cut {
        Some(at) if at > 0 && window.len() - at < character_length(window[at]) => at,
        _ => window.len(),
    }
}

/// How many bytes a character has that begins with `lead`.
fn character_length(lead: u8) -> usize {
    match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> Log {
        let sink = Sink::File(
            FileLog::open(path, Keeping { max_size: None, max_files: 1, compress: false, attrs: "" })
                .unwrap(),
        );
        Log { sink, unfinished: [Vec::new(), Vec::new()] }
    }

    fn records(write: impl FnOnce(&mut Log)) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path);
        write(&mut log);
        log.finish().unwrap();
        read(&path)
    }

    fn read(path: &Path) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(path).unwrap();
        let values = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let field = |value: &serde_json::Value, name| value[name].as_str().unwrap().to_owned();
        values.map(|value| (field(&value, "stream"), field(&value, "log"))).collect()
    }

    fn texts(pieces: &[&[u8]]) -> Vec<String> {
        let records = records(|log| pieces.iter().for_each(|piece| log.write(Stream::Out, piece).unwrap()));
        records.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(texts(&[b"a", b"b\nc", b"\n", b"\n", b"d"]), ["ab\n", "c\n", "\n", "d"]);
        assert_eq!(texts(&[b"a", b"\xf0\nb\n"]), ["a\u{fffd}\n", "b\n"]);
    }

    #[test]
    fn streams_dont_mix() {
        let records = records(|log| {
            log.write(Stream::Out, b"out").unwrap();
            log.write(Stream::Err, b"err\n").unwrap();
            log.write(Stream::Out, b"put\n").unwrap();
        });
        let expected = [("stderr", "err\n"), ("stdout", "output\n")];
        assert_eq!(records, expected.map(|(stream, text)| (stream.to_owned(), text.to_owned())));
    }

    #[test]
    fn every_byte_survives_or_is_replaced() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(texts(&[&all]).concat(), String::from_utf8_lossy(&all));
        assert_eq!(texts(&["ü€😀\"\\\t\r\n".as_bytes()]), ["ü€😀\"\\\t\r\n"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        for (before, character) in [(0, "é"), (1, "é"), (2, "€"), (3, "😀"), (1, "😀")] {
            let line = "x".repeat(before) + &character.repeat(20_000) + "\n";
            for size in [1000, 4096, 16_383, 16_384, 65_536, 100_000] {
                let pieces: Vec<_> = line.as_bytes().chunks(size).collect();
                let texts = texts(&pieces);
                assert_eq!(texts.concat(), line, "{before} {character} {size}");
                assert!(texts.iter().all(|text| text.len() <= MAX_RECORD));
                assert!(texts.iter().rev().skip(1).all(|text| text.len() > MAX_RECORD - 7));
            }
        }
    }

    #[test]
    fn a_line_of_exactly_one_record_is_one() {
        let line = "x".repeat(MAX_RECORD - 1) + "\n";
        assert_eq!(texts(&[line.as_bytes()]), [line]);
    }

    #[test]
    fn a_half_record_of_a_crash_spoils_no_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "{\"log\":\"half").unwrap();
        let mut log = open(&path);
        log.write(Stream::Out, b"whole\n").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"log\":\"half\n{\"log\":\"whole\\n\""), "{text}");
    }
}
