//! The files of a log: `log`, and `log.1`, `log.2`, … that were rotated away, the newest with the smallest number.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::MAX_LOG_FILES;

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
}

/// The file that was rotated away `number` rotations ago.
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
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
pub(super) fn open_newest_first(path: &Path, last: Option<FileId>) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut number = 0;
    loop {
        let highest = highest_number(path)?;
        if number > highest {
            return Ok(files);
        }
        for number in number..=highest {
            let name = if number == 0 { path.to_owned() } else { rotated(path, number) };
            let Some(found) = open(&name)? else { continue };
            if Some(found.id) == last {
                return Ok(files);
            }
            if files.iter().all(|file| file.id != found.id) {
                files.push(found);
            }
        }
        number = highest + 1;
    }
}

fn open(path: &Path) -> io::Result<Option<LogFile>> {
    match File::open(path) {
        Ok(file) => Ok(Some(LogFile { id: FileId::of(&file.metadata()?), file })),
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

/// `.3`
fn number(suffix: &[u8]) -> Option<u32> {
    let digits = suffix.strip_prefix(b".").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= MAX_LOG_FILES).then_some(number)
}

/// Leaves the files that hold the last `tail` lines, the oldest of them at their first.
pub(super) fn begin_at_tail(newest_first: &mut Vec<LogFile>, tail: u64) -> io::Result<()> {
    let mut wanted = tail;
    for index in 0..newest_first.len() {
        let file = &mut newest_first[index].file;
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
