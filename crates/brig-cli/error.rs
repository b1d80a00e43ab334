//! Errors for people and for programs, and exit codes, in one place.

use std::error::Error as _;
use std::io::Write;
use std::process::ExitCode;

use brig_engine::{Error, ErrorKind};

use crate::args::Format;

/// Exit code of a usage error.
const USAGE: u8 = 2;
/// Exit code of a bug (`EX_SOFTWARE`).
const BUG: u8 = 70;

/// clap's own messages: help and version succeed; wrong usage is 125 for `run` and `exec`, whose other codes are the
/// payload's, and 2 elsewhere.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done about a terminal that is gone.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    match verb(&arguments) {
        "run" | "exec" => ExitCode::from(brig_engine::exit::CODE_ENGINE),
        _ => ExitCode::from(USAGE),
    }
}

/// The verb of a command line that clap refused.
fn verb(arguments: &[String]) -> &str {
    let mut rest = arguments.iter().skip(1).map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            // The global options, whose values are arguments of their own.
            "--root" | "--run-root" | "--format" | "--insecure-registry" => drop(rest.next()),
            "container" => {}
            option if option.starts_with('-') => {}
            verb => return verb,
        }
    }
    ""
}

/// Prints an error and gives the exit code of a verb that isn't `run` or `exec`.
pub(crate) fn report(error: &Error, format: Format) -> ExitCode {
    print(error, format);
    match error.kind() {
        ErrorKind::Internal => ExitCode::from(BUG),
        _ => ExitCode::FAILURE,
    }
}

/// Prints an error of `run` or `exec` and gives its code: 127 not found, 126 not runnable, 125 anything else.
pub(crate) fn report_run(error: &Error, format: Format) -> ExitCode {
    print(error, format);
    ExitCode::from(error.run_code())
}

fn print(error: &Error, format: Format) {
    let text = match format {
        Format::Json => json(error),
        Format::Table => text(error),
    };
    // Nothing can be done about a terminal that is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// One sentence, the chain under `caused by:`, and a hint.
fn text(error: &Error) -> String {
    let mut text = format!("brig: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("  caused by: {cause}\n"));
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    text
}

fn json(error: &Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let document = serde_json::json!({
        "error": {
            "code": error.kind().code(),
            "message": error.to_string(),
            "causes": causes,
            "hint": error.hint(),
        }
    });
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_behind_global_options() {
        for (line, expected) in [
            ("brig run --nope", "run"),
            ("brig --root /x --format=json run --nope", "run"),
            ("brig container exec --nope", "exec"),
            ("brig --root", ""),
            ("brig ps run", "ps"),
        ] {
            let arguments: Vec<String> = line.split(' ').map(Into::into).collect();
            assert_eq!(verb(&arguments), expected, "{line}");
        }
    }
}
