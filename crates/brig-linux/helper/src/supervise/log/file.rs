//! A log in files: docker's json-file lines, and their rotation.
//!
//! ```text
//! log is full:   log.new is made   log.1 → log.2   log → log.1   log.new → log
//! ```
//!
//! Each step is one rename, the oldest file first, so that whoever reads finds every file under some name after each of
//! them; a rename onto the last name is how the oldest one goes. A kill in between leaves a name that nobody has: the
//! next rotation moves no more files than it takes to close that gap, and a missing `log` is made anew.
//!
//! With `compress`, files that were rotated away become `log.1.gz` and so on, one after the other, by a child
//! ([`super::compress`]). While both are there the plain one counts, so that whoever reads finds either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use brig_runtime::logs::{compressed, rotated};

use super::compress::Compression;
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
    compress: bool,
    /// The file that is being compressed.
    compression: Option<Compression>,
    not_compressed: Option<io::Error>,
}

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping<'a> {
    /// The size of a file.
    pub(super) max_size: Option<u64>,
    /// How many there are.
    pub(super) max_files: u32,
    /// Whether they are compressed once they were rotated away.
    pub(super) compress: bool,
    /// What is in each record: JSON, or nothing.
    pub(super) attrs: &'a str,
}

impl FileLog {
    /// Opens or makes the log. A half record that a crash left is cut off by a line feed.
    pub(super) fn open(path: &Path, keeping: Keeping<'_>) -> io::Result<Self> {
        let Keeping { max_size, max_files, compress, attrs } = keeping;
        let mut file = options().append(true).open(path)?;
        let mut length = file.metadata()?.len();
        if length > 0 && !ends_a_line(&file, length)? {
            file.write_all(b"\n")?;
            length += 1;
        }
        let full_at = max_size.unwrap_or(u64::MAX);
        let path = path.to_owned();
        let attrs = if attrs.is_empty() { Vec::new() } else { format!(r#","attrs":{attrs}"#).into_bytes() };
        Ok(Self {
            path,
            file,
            length,
            batch: Vec::new(),
            max_size,
            full_at,
            max_files,
            attrs,
            not_rotated: None,
            compress,
            compression: None,
            not_compressed: None,
        })
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
        self.not_rotated.take().map_or(Ok(()), |error| Err(LogTrouble::NotRotated(error)))?;
        self.not_compressed.take().map_or(Ok(()), |error| Err(LogTrouble::NotCompressed(error)))
    }

    /// The file that is being compressed.
    pub(super) fn compression(&self) -> Option<&Compression> {
        self.compression.as_ref()
    }

    /// Puts the compressed file, if it is ready, in the place of the plain one, and goes on with the next.
    pub(super) fn take_compressed(&mut self) -> Result<(), LogTrouble> {
        let Some(ended) = self.compression.as_ref().and_then(Compression::ended) else { return Ok(()) };
        let number = self.compression.take().map_or(0, |compression| compression.number);
        let replaced = ended.and_then(|()| {
            fs::rename(self.packed(), compressed(&self.path, number))?;
            fs::remove_file(self.name(number))
        });
        replaced.map_err(LogTrouble::NotCompressed)?;
        self.compress_next();
        Ok(())
    }

    /// Gives the compression up: the file stays as it is, until the next rotation.
    pub(super) fn stop_compressing(&mut self) {
        if let Some(compression) = self.compression.take() {
            compression.abandon();
            // It is replaced by the next one, too.
            let _ = fs::remove_file(self.packed());
        }
    }

    /// Begins with the newest file that isn't compressed yet, unless another one is being.
    fn compress_next(&mut self) {
        if !self.compress || self.compression.is_some() {
            return;
        }
        let Some(number) = (1..self.max_files).find(|&number| self.name(number).exists()) else { return };
        match Compression::begin(&self.name(number), &self.packed(), number) {
            Ok(compression) => self.compression = Some(compression),
            Err(error) => self.not_compressed = Some(error),
        }
    }

    /// Where it is made.
    fn packed(&self) -> PathBuf {
        self.with_suffix(".gz.new")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(suffix);
        name.into()
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
            Ok(file) => {
                (self.file, self.length, self.full_at) = (file, 0, max_size);
                self.compress_next();
            }
            Err(error) => {
                self.full_at = self.length.saturating_add(max_size);
                self.not_rotated = Some(error);
            }
        }
    }

    /// Gives the new file. It is made first: where that fails, nothing was moved.
    fn rotate(&mut self) -> io::Result<File> {
        let new = self.with_suffix(".new");
        // Without its old contents, should a kill have left one; it is empty then.
        remove_if_there(&new)?;
        let file = options().append(true).create_new(true).open(&new)?;
        for number in (0..self.first_gap()?).rev() {
            self.move_up(number)?;
        }
        fs::rename(&new, &self.path)?;
        Ok(file)
    }

    /// Gives a file the next number, in whichever form it is. The one that has it goes, in both.
    fn move_up(&mut self, number: u32) -> io::Result<()> {
        if self.compression.as_ref().is_some_and(|compression| compression.number == number + 1) {
            self.stop_compressing();
        }
        let (from, to) = (self.name(number), self.name(number + 1));
        if !self.compress {
            return fs::rename(from, to);
        }
        let (packed_from, packed_to) = (compressed(&self.path, number), compressed(&self.path, number + 1));
        if number == 0 || from.try_exists()? {
            // A kill has left it beside the plain one.
            remove_if_there(&packed_from)?;
            fs::rename(from, to)?;
            remove_if_there(&packed_to)?;
        } else {
            remove_if_there(&to)?;
            fs::rename(packed_from, packed_to)?;
        }
        if let Some(compression) = self.compression.as_mut().filter(|known| known.number == number) {
            compression.number += 1;
        }
        Ok(())
    }

    /// The lowest number that no file has, or that of the oldest file, which the one before it replaces.
    fn first_gap(&self) -> io::Result<u32> {
        let oldest = self.max_files.saturating_sub(1);
        for number in 0..oldest {
            let packed = self.compress && compressed(&self.path, number).try_exists()?;
            if !packed && !self.name(number).try_exists()? {
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
        FileLog::open(path, Keeping { max_size: Some(max_size), max_files, compress: false, attrs: "" })
            .unwrap()
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
        let mut log = FileLog::open(
            &path,
            Keeping { max_size: None, max_files: 1, compress: false, attrs: r#"{"a":"b\"c"}"# },
        )
        .unwrap();
        say(&mut log, 7..8);
        let expected = r#"{"log":"0007\n","stream":"stdout","attrs":{"a":"b\"c"},"time":"2026-01-02T03:04:05.000000006Z"}"#;
        assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), expected);
        assert_eq!(numbers(&path), [7]);
    }

    /// Waits until all is compressed.
    fn settle(log: &mut FileLog) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while log.compression().is_some() {
            assert!(std::time::Instant::now() < end);
            log.take_compressed().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn open_compressed(path: &Path, max_size: u64, max_files: u32) -> FileLog {
        let keeping = Keeping { max_size: Some(max_size), max_files, compress: true, attrs: "" };
        FileLog::open(path, keeping).unwrap()
    }

    #[test]
    fn rotated_files_are_compressed_and_read_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open_compressed(&path, 1, 4);
        say(&mut log, 0..1);
        assert!(log.compression().is_none());
        for until in 1..9 {
            say(&mut log, until..until + 1);
            let first = until.saturating_sub(3);
            assert_eq!(numbers(&path), (first..=until).collect::<Vec<_>>(), "{until}");
            settle(&mut log);
            assert_eq!(numbers(&path), (first..=until).collect::<Vec<_>>(), "{until}");
        }
        assert_eq!(names(dir.path()), ["log", "log.1.gz", "log.2.gz", "log.3.gz"]);
    }

    #[test]
    fn rotations_go_on_while_a_file_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = open_compressed(&path, 1, 5);
        for number in 0..40 {
            say(&mut log, number..number + 1);
            if number % 7 == 0 {
                settle(&mut log);
            } else if number % 3 == 0 {
                log.take_compressed().unwrap();
            }
            let first = (number + 1_u32).saturating_sub(5);
            assert_eq!(numbers(&path), (first..=number).collect::<Vec<_>>());
        }
        settle(&mut log);
        assert_eq!(names(dir.path()), ["log", "log.1.gz", "log.2.gz", "log.3.gz", "log.4.gz"]);
        log.stop_compressing();
        // What a kill leaves beside a plain file is no file of the log.
        fs::write(rotated(&path, 2), fs::read(&path).unwrap()).unwrap();
        assert_eq!(numbers(&path), [35, 36, 39, 38, 39]);
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
