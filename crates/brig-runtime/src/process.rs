//! Processes, named so that a reused number isn't taken for them.

use std::fs::File;
use std::io::{self, Read};

use crate::record::ProcessId;

impl ProcessId {
    /// Names the process that has this pid now.
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::read(pid, &format!("/proc/{pid}/stat"))
    }

    /// Names this process.
    pub fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).unwrap_or_default();
        Self::read(pid, "/proc/self/stat")
    }

    /// Whether it is the process that has this pid now. A zombie counts.
    pub fn exists(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }

    fn read(pid: i32, path: &str) -> io::Result<Self> {
        let stat = read_small(path)?;
        let start_time =
            start_time(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, path.to_owned()))?;
        Ok(Self { pid, start_time })
    }
}

/// A file of the kernel's that comes whole in one read.
pub(crate) fn read_small(path: &str) -> io::Result<String> {
    let mut buffer = [0; 1024];
    let count = File::open(path)?.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

/// Field 22. Field 2 is the name in parentheses, which may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    // The first of these is field 3.
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_exists_and_another_start_time_is_another_process() {
        let own = ProcessId::own().unwrap();
        assert!(own.exists());
        assert!(!ProcessId { start_time: own.start_time + 1, ..own }.exists());
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_is_skipped() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(start_time(stat), Some(4242));
    }
}
