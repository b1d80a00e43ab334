//! A log in files: docker's json-file lines, and their rotation.
//!
//! ```text
//! log is full:   log.new is made   log.1 → log.2   log → log.1   log.new → log
//! ```
//!
//! Each step is one rename, the oldest file first, so that whoever reads finds every file under some name after each of
//! them; a rename onto the last name is how the oldest one goes. A kill in between leaves a name that nobody has: the
//! next rotation moves no more files than it takes to close that gap, and a missing `log` is made anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use brig_runtime::logs::rotated;

use super::{LogTrouble, Stream};

/// Records are written together up to about this many bytes.
const BATCH: usize = 64 * 1024;

/// The files, the newest one open for appending.
#[derive(Debug)]
pub(super) struct FileLog {
    path: PathBuf,
    file: File,
    /// The end of the last whole record.
    length: u64,
    batch: Vec<u8>,
    /// The size of a file, and what has to be reached until the next rotation is tried.
    max_size: Option<u64>,
    full_at: u64,
    max_files: u32,
    /// What stands between a record's stream and its time.
    attrs: Vec<u8>,
    not_rotated: Option<io::Error>,
}

impl FileLog {
    /// Opens or makes the log, in which each record has these attributes (JSON, or nothing). A half record that a crash left is cut off by a line feed.
    pub(super) fn open(path: &Path, max_size: Option<u64>, max_files: u32, attrs: &str) -> io::Result<Self> {
        let mut file = options().append(true).open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 && !ends_a_line(&file, length)? {
            file.write_all(b"\n")?;
            length += 1;
        }
        let full_at = max_size.unwrap_or(u64::MAX);
        let path = path.to_owned();
        let attrs = if attrs.is_empty() { Vec::new() } else { format!(r#","attrs":{attrs}"#).into_bytes() };
        let (batch, not_rotated) = (Vec::new(), None);
        Ok(Self { path, file, length, batch, max_size, full_at, max_files, attrs, not_rotated })
    }

    /// Takes a record, which is written with the next ones, or by [`FileLog::flush`].
    pub(super) fn record(&mut self, stream: Stream, text: &[u8], time: &str) -> Result<(), LogTrouble> {
        if self.length + self.batch.len() as u64 >= self.full_at {
            self.write().map_err(LogTrouble::Missing)?;
            self.rotate_or_go_on();
        }
        self.batch.extend_from_slice(br#"{"log":""#);
        escape(&mut self.batch, text);
        self.batch.extend_from_slice(br#"","stream":""#);
        self.batch.extend_from_slice(stream.name().as_bytes());
        self.batch.push(b'"');
        self.batch.extend_from_slice(&self.attrs);
        self.batch.extend_from_slice(br#","time":""#);
        self.batch.extend_from_slice(time.as_bytes());
        self.batch.extend_from_slice(b"\"}\n");
        if self.batch.len() >= BATCH { self.write().map_err(LogTrouble::Missing) } else { Ok(()) }
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self) -> Result<(), LogTrouble> {
        self.write().map_err(LogTrouble::Missing)?;
        self.not_rotated.take().map_or(Ok(()), |error| Err(LogTrouble::NotRotated(error)))
    }

    /// One write for many records. A full disk may take a part of it: that part is taken back, so that no half record
    /// stands before the next one.
    fn write(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.batch);
        match &written {
            Ok(()) => self.length += self.batch.len() as u64,
            Err(_) => self.file.set_len(self.length)?,
        }
        self.batch.clear();
        self.batch.shrink_to(BATCH);
        written
    }

    /// A log that is larger than it should be is better than one that lacks something: it is tried again when as much
    /// has come once more.
    fn rotate_or_go_on(&mut self) {
        let Some(max_size) = self.max_size else { return };
        match self.rotate() {
            Ok(file) => (self.file, self.length, self.full_at) = (file, 0, max_size),
            Err(error) => {
                self.full_at = self.length.saturating_add(max_size);
                self.not_rotated = Some(error);
            }
        }
    }

    /// Gives the new file. It is made first: where that fails, nothing was moved.
    fn rotate(&self) -> io::Result<File> {
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        // Without its old contents, should a kill have left one; it is empty then.
        remove_if_there(Path::new(&new))?;
        let file = options().append(true).create_new(true).open(&new)?;
        for number in (0..self.first_gap()?).rev() {
            fs::rename(self.name(number), self.name(number + 1))?;
        }
        fs::rename(&new, &self.path)?;
        Ok(file)
    }

    /// The lowest number that no file has, or that of the oldest file, which the one before it replaces.
    fn first_gap(&self) -> io::Result<u32> {
        let oldest = self.max_files.saturating_sub(1);
        for number in 0..oldest {
            if !self.name(number).try_exists()? {
                return Ok(number);
            }
        }
        Ok(oldest)
    }

    fn name(&self, number: u32) -> PathBuf {
        if number == 0 { self.path.clone() } else { rotated(&self.path, number) }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).create(true).mode(0o640);
    options
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn ends_a_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

/// Text inside of a JSON string.
fn escape(into: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut plain = 0;
        for (at, &byte) in valid.iter().enumerate() {
            if byte >= 0x20 && byte != b'"' && byte != b'\\' {
                continue;
            }
            into.extend_from_slice(&valid[plain..at]);
            plain = at + 1;
            escape_byte(into, byte);
        }
        into.extend_from_slice(&valid[plain..]);
        if !chunk.invalid().is_empty() {
            into.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_byte(into: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => into.extend_from_slice(&[b'\\', byte]),
        b'\n' => into.extend_from_slice(b"\\n"),
        b'\r' => into.extend_from_slice(b"\\r"),
        b'\t' => into.extend_from_slice(b"\\t"),
        _ => {
            into.extend_from_slice(b"\\u00");
            into.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use brig_runtime::logs::{LogOptions, read_log};

    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.000000006Z";

    fn open(path: &Path, max_size: u64, max_files: u32) -> FileLog {
        FileLog::open(path, Some(max_size), max_files, "").unwrap()
    }

    fn say(log: &mut FileLog, numbers: std::ops::Range<u32>) {
        for number in numbers {
            log.record(Stream::Out, format!("{number:04}\n").as_bytes(), TIME).unwrap();
        }
        log.flush().unwrap();
    }

    /// What a reader finds.
    fn numbers(path: &Path) -> Vec<u32> {
        let mut numbers = Vec::new();
        let sink = |record: &brig_runtime::logs::LogRecord<'_>| {
            numbers.push(record.text.trim().parse().unwrap());
            ControlFlow::Continue(())
        };
        assert_eq!(read_log(path, &LogOptions::default(), || false, sink).unwrap(), 0);
        numbers
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_goes_and_the_oldest_one_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let record = {
            let mut log = open(&dir.path().join("one"), 1_000_000, 1);
            say(&mut log, 0..1);
            log.length
        };
        fs::remove_file(dir.path().join("one")).unwrap();
        let mut log = open(&path, record * 10, 3);
        for (until, expected) in [(10, 0..10), (11, 0..11), (30, 0..30), (31, 10..31), (57, 30..57)] {
            let from = numbers(&path).last().map_or(0, |last| last + 1);
            say(&mut log, from..until);
            assert_eq!(numbers(&path), expected.collect::<Vec<_>>(), "{until}");
        }
        assert_eq!(names(dir.path()), ["log", "log.1", "log.2"]);
        assert_eq!(fs::metadata(rotated(&path, 2)).unwrap().len(), record * 10);
        // Another supervisor goes on where this one was.
        let mut log = open(&path, record * 10, 3);
        say(&mut log, 57..60);
        assert_eq!(numbers(&path), (30..60).collect::<Vec<_>>());
        say(&mut log, 60..61);
        assert_eq!(numbers(&path), (40..61).collect::<Vec<_>>());
    }

    #[test]
    fn records_have_their_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = FileLog::open(&path, None, 1, r#"{"a":"b\"c"}"#).unwrap();
        say(&mut log, 7..8);
        let expected = r#"{"log":"0007\n","stream":"stdout","attrs":{"a":"b\"c"},"time":"2026-01-02T03:04:05.000000006Z"}"#;
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), expected);
        assert_eq!(numbers(&path), [7]);
    }

    #[test]
    fn one_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path, 1, 1);
        say(&mut log, 0..7);
        assert_eq!((numbers(&path), names(dir.path())), (vec![6], vec!["log".to_owned()]));
    }

    #[test]
    fn a_kill_between_two_steps_loses_and_doubles_nothing() {
        for files in 1..=4 {
            for killed_after in 0..=5 {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("log");
                say(&mut open(&path, 1, 5), 0..files);
                let expected: Vec<u32> = (0..files).collect();
                // The steps of a rotation, as far as they came.
                let new = dir.path().join("log.new");
                let mut steps: Vec<(PathBuf, PathBuf)> = vec![];
                for number in (0..files).rev() {
                    let from = if number == 0 { path.clone() } else { rotated(&path, number) };
                    steps.push((from, rotated(&path, number + 1)));
                }
                steps.push((new.clone(), path.clone()));
                fs::write(&new, "").unwrap();
                for (from, to) in steps.iter().take(killed_after) {
                    fs::rename(from, to).unwrap();
                }
                assert_eq!(numbers(&path), expected, "{files} files, killed after {killed_after}");
                // The next supervisor's first rotation closes the gap, and nothing goes yet.
                let mut log = open(&path, 1, 5);
                assert_eq!(numbers(&path), expected);
                say(&mut log, files..files + 1);
                assert_eq!(numbers(&path), (0..=files).collect::<Vec<_>>(), "{files} {killed_after}");
            }
        }
    }

    #[test]
    fn what_cant_be_rotated_grows_on_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open(&path, 1, 2);
        say(&mut log, 0..1);
        // Nothing can be made there.
        fs::create_dir(dir.path().join("log.new")).unwrap();
        log.record(Stream::Out, b"1\n", TIME).unwrap();
        assert!(matches!(log.flush(), Err(LogTrouble::NotRotated(_))));
        assert_eq!(numbers(&path), [0, 1]);
        fs::remove_dir(dir.path().join("log.new")).unwrap();
        say(&mut log, 2..4);
        assert_eq!(numbers(&path), [2, 3]);
    }
}
