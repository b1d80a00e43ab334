//! Standard output. A reader that went away (`brig ps | head`) ends the program quietly, as it does other tools.

use std::io::{self, Write};

use brig_engine::{Error, Result};
use serde::Serialize;

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    finish(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Prints a line.
pub(crate) fn line(text: &str) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a document for programs.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| failed(error.into()))?;
    text.push('\n');
    print(&text)
}

/// Prints one line of JSON: a stream of documents.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<()> {
    line(&serde_json::to_string(value).map_err(|error| failed(error.into()))?)
}

/// Tells people something beside the output: on standard error.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Standard output for a stream of bytes.
#[derive(Debug)]
pub(crate) struct Stream;

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match io::stdout().lock().write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => quiet_end(),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().lock().flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => quiet_end(),
            flushed => flushed,
        }
    }
}

/// The result of writing to standard output.
pub(crate) fn finish(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => quiet_end(),
        result => result.map_err(failed),
    }
}

#[expect(clippy::exit, reason = "the reader is gone: nothing that would follow can be seen")]
fn quiet_end() -> ! {
    std::process::exit(0)
}

fn failed(source: io::Error) -> Error {
    Error::Io { action: "write to standard output", path: None, source }
}
