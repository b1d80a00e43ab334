//! The files of a log: `log`, and `log.1`, `log.2`, … that were rotated away, the newest with the smallest number. Of
//! `log.3` and `log.3.gz` the plain one counts, if it is there: the other one isn't finished, or is left over.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::MAX_LOG_FILES;
use super::gzip::Origin;

/// What is read at once when the end of a file is looked for, in bytes.
const BLOCK: u64 = 64 * 1024;

/// What a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A file of a log, open.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) id: FileId,
    pub(super) file: File,
    /// Of a compressed file: which one it was.
    pub(super) compressed: Option<Option<Origin>>,
    /// How many lines at its beginning aren't wanted.
    pub(super) skip: u64,
}

impl LogFile {
    /// Whether this is the other one, compressed since that was opened.
    fn was(&self, other: &Known) -> bool {
        other.id == self.id || self.compressed.flatten().is_some_and(|origin| Some(origin) == other.origin)
    }

    fn known(&self) -> io::Result<Known> {
        let origin = match self.compressed {
            Some(origin) => origin,
            None => Some(Origin::of(&self.file.metadata()?)),
        };
        Ok(Known { id: self.id, origin })
    }
}

/// A file that was opened before, and still is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: FileId,
    /// What it is as a plain file, as far as that is known.
    pub(super) origin: Option<Origin>,
}

/// The file that was rotated away `number` rotations ago.
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// The same, compressed.
pub fn compressed(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(rotated(path, number));
    name.push(".gz");
    name.into()
}

/// Which file has this name now.
pub(super) fn id_of(path: &Path) -> io::Result<Option<FileId>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(FileId::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the files that are newer than `last`, or all of them.
///
/// A file only ever moves to a greater number, so whoever opens them in this order meets each at least once, whatever
/// is rotated meanwhile. One that is met again is open already, and so its inode is no other file's.
pub(super) fn open_newest_first(path: &Path, last: Option<Known>) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut number = 0;
    loop {
        let highest = highest_number(path)?;
        if number > highest {
            return Ok(files);
        }
        for number in number..=highest {
            let Some(found) = open_number(path, number)? else { continue };
            if last.is_some_and(|last| found.was(&last)) {
                return Ok(files);
            }
            if !is_among(&found, &files)? {
                files.push(found);
            }
        }
        number = highest + 1;
    }
}

fn is_among(found: &LogFile, files: &[LogFile]) -> io::Result<bool> {
    for file in files {
        if found.was(&file.known()?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open_number(path: &Path, number: u32) -> io::Result<Option<LogFile>> {
    if number == 0 {
        return open(path);
    }
    if let Some(plain) = open(&rotated(path, number))? {
        return Ok(Some(plain));
    }
    let Some(mut packed) = open(&compressed(path, number))? else { return Ok(None) };
    packed.compressed = Some(Origin::read(&packed.file)?);
    Ok(Some(packed))
}

fn open(path: &Path) -> io::Result<Option<LogFile>> {
    match File::open(path) {
        Ok(file) => Ok(Some(LogFile { id: FileId::of(&file.metadata()?), file, compressed: None, skip: 0 })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of the oldest file. A kill between two renames leaves a gap, so the directory says it.
fn highest_number(path: &Path) -> io::Result<u32> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut highest = 0;
    for entry in entries {
        let found = entry?.file_name();
        let number = found.as_encoded_bytes().strip_prefix(name).and_then(number);
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest)
}

/// `.3`, `.3.gz`
fn number(suffix: &[u8]) -> Option<u32> {
    let suffix = suffix.strip_suffix(b".gz").unwrap_or(suffix);
    let digits = suffix.strip_prefix(b".").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= MAX_LOG_FILES).then_some(number)
}

/// Leaves the files that hold the last `tail` lines, the oldest of them at their first.
pub(super) fn begin_at_tail(newest_first: &mut Vec<LogFile>, tail: u64) -> io::Result<()> {
    let mut wanted = tail;
    for index in 0..newest_first.len() {
        let LogFile { file, compressed, skip, .. } = &mut newest_first[index];
        if compressed.is_some() {
            let lines = count_lines(file)?;
            if lines >= wanted {
                *skip = lines - wanted;
                newest_first.truncate(index + 1);
                return Ok(());
            }
            wanted -= lines;
            continue;
        }
        match end_of_file(file, wanted)? {
            Tail::Begins(at) => {
                file.seek(SeekFrom::Start(at))?;
                newest_first.truncate(index + 1);
                return Ok(());
            }
            Tail::Before(lines) => {
                file.seek(SeekFrom::Start(0))?;
                wanted -= lines;
            }
        }
    }
    Ok(())
}

/// How many lines a compressed file has. A damaged one has those before the damage.
fn count_lines(file: &mut File) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut block = vec![0; 64 * 1024];
    let mut lines = 0;
    {
        let mut text = MultiGzDecoder::new(&mut *file);
        while let Ok(count @ 1..) = text.read(&mut block) {
            lines += memchr::memchr_iter(b'\n', &block[..count]).count() as u64;
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(lines)
}

enum Tail {
    /// The lines begin at this offset.
    Begins(u64),
    /// The file has fewer, this many.
    Before(u64),
}

/// Where the last `count` lines begin.
fn end_of_file(file: &mut File, count: u64) -> io::Result<Tail> {
    let mut position = file.seek(SeekFrom::End(0))?;
    // The line feed of the last line ends it and begins none.
    let mut seen = 0;
    let mut block = Vec::new();
    while position > 0 {
        let begin = position.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(begin))?;
        block.clear();
        (&mut *file).take(position - begin).read_to_end(&mut block)?;
        for at in memchr::memrchr_iter(b'\n', &block) {
            if seen == count {
                return Ok(Tail::Begins(begin + at as u64 + 1));
            }
            seen += 1;
        }
        position = begin;
    }
    Ok(if seen == count { Tail::Begins(0) } else { Tail::Before(seen) })
}
