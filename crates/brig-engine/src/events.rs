//! Reading the log of events.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use brig_runtime::{Event, Timestamp};

use crate::blocking::Engine;
use crate::error::{Error, Result};

/// How often a follower looks for more.
const POLL: Duration = Duration::from_millis(100);

impl Engine {
    /// Events since `since` (or from now on, where neither bound is given) until `until`; without `until` it goes on
    /// as they come.
    pub fn events(&self, since: Option<Timestamp>, until: Option<Timestamp>) -> Result<Events> {
        let path = self.roots().events();
        let open =
            |path: &PathBuf| std::fs::OpenOptions::new().read(true).append(true).create(true).open(path);
        let mut file = open(&path).map_err(Error::io("read", &path))?;
        if since.is_none() && until.is_none() {
            file.seek(SeekFrom::End(0)).map_err(Error::io("read", &path))?;
        }
        Ok(Events { reader: BufReader::new(file), line: Vec::new(), path, since, until })
    }
}

/// Events, oldest first.
#[derive(Debug)]
pub struct Events {
    reader: BufReader<File>,
    line: Vec<u8>,
    path: PathBuf,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Events {
    /// The next whole line; `None` at the end for now. What is there of an unfinished one waits for the rest.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.read_until(b'\n', &mut self.line)?;
        Ok(self.line.ends_with(b"\n").then(|| std::mem::take(&mut self.line)))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line() {
                Ok(Some(line)) => line,
                Ok(None) if self.is_over() => return None,
                Ok(None) => {
                    std::thread::sleep(POLL);
                    continue;
                }
                Err(error) => return Some(Err(Error::io("read", &self.path)(error))),
            };
            // A line that isn't an event was cut off by a power cut; those after it count.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else { continue };
            if self.until.is_some_and(|until| event.time > until) {
                return None;
            }
            if self.since.is_none_or(|since| event.time >= since) {
                return Some(Ok(event));
            }
        }
    }
}
