//! Errors, as callers of runc read them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::ExitCode;

use brig_engine::bundle::BundleError;
use serde_json::json;

use super::args::{Cli, Globals, LogFormat, Verb};

/// What runc's exec exits with when there was no process.
const EXEC_FAILED: u8 = 255;

/// Tells an error on standard error, and in the log.
pub(super) fn failed(cli: &Cli, error: &BundleError) -> ExitCode {
    let message = chain(error);
    tell(&cli.globals, "error", &message);
    match cli.verb {
        Some(Verb::Exec(_)) => ExitCode::from(EXEC_FAILED),
        _ => ExitCode::FAILURE,
    }
}

/// Tells what changed nothing.
pub(super) fn warning(globals: &Globals, error: &dyn std::error::Error) {
    tell(globals, "warning", &chain(error));
}

/// The same in words.
pub(super) fn note(globals: &Globals, text: &str) {
    tell(globals, "warning", text);
}

fn tell(globals: &Globals, level: &str, message: &str) {
    // Nothing can be done about a terminal that is gone.
    let _ = writeln!(io::stderr(), "brig oci: {level}: {message}");
    if let Some(path) = &globals.log {
        let line = line(globals.log_format, level, message);
        let opened = OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = opened.and_then(|mut log| log.write_all(line.as_bytes())) {
            let _ = writeln!(io::stderr(), "brig oci: can't write to the log `{}`: {error}", path.display());
        }
    }
}

/// An error with what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    // What podman and the shims of containerd look for, to tell a missing program from a missing file.
    if text.contains("execute `") && text.ends_with(&format!("(os error {NOT_FOUND})")) {
        text.push_str(": executable file not found in $PATH");
    }
    text
}

/// `ENOENT`.
const NOT_FOUND: i32 = 2;

/// A line of the log.
fn line(format: LogFormat, level: &str, message: &str) -> String {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match format {
        LogFormat::Json => format!("{}\n", json!({ "level": level, "msg": message, "time": time })),
        LogFormat::Text => format!("time={time:?} level={level} msg={message:?}\n"),
    }
}

/// clap's messages. Also a mistake is runc's exit code.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a terminal that is gone.
    let _ = error.print();
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
