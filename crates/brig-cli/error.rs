//! Errors for people and for programs, and exit codes, in one place.

use std::error::Error as _;
use std::io::Write;
use std::panic::UnwindSafe;
use std::process::ExitCode;

use brig_engine::{Error, ErrorKind};

use crate::args::ErrorFormat;

/// Exit code of a usage error.
const USAGE: u8 = 2;
/// What programs are told of a usage error.
const USAGE_CODE: &str = "usage";
/// Exit code of a bug (`EX_SOFTWARE`).
const BUG: u8 = 70;

/// clap's own messages: help and version succeed; wrong usage is 125 for `run` and `exec`, whose other codes are the
/// payload's, and 2 elsewhere.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let arguments = arguments();
    if error.use_stderr() && format(&arguments) == ErrorFormat::Json {
        write(&usage_json(error));
    } else {
        // Nothing can be done about a terminal that is gone.
        let _ = error.print();
    }
    if error.use_stderr() { failure(&arguments, USAGE) } else { ExitCode::SUCCESS }
}

/// Runs the program. A panic is a bug: it is told in one sentence, and has an exit code of its own. Unwinding puts the
/// terminal back on its way.
pub(crate) fn catch_bugs(run: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    let backtrace = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.payload_as_str().unwrap_or("something that brig didn't expect");
        let place = panic.location().map(|place| format!(" ({place})")).unwrap_or_default();
        let message = format!("this is a bug in brig, please report it with what you did: {what}{place}");
        write(&match format(&arguments()) {
            ErrorFormat::Json => document(ErrorKind::Internal.code(), &message, &[], None),
            ErrorFormat::Text => format!("brig: {message}\n"),
        });
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            backtrace(panic);
        }
    }));
    std::panic::catch_unwind(run).unwrap_or_else(|_| failure(&arguments(), BUG))
}

/// The exit code of a failure that isn't an [`Error`]: `run` and `exec` have one for all of them.
fn failure(arguments: &[String], code: u8) -> ExitCode {
    match verb(arguments) {
        "run" | "exec" => ExitCode::from(brig_engine::exit::CODE_ENGINE),
        _ => ExitCode::from(code),
    }
}

fn arguments() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}

/// The format that a command line asks for which clap refused.
fn format(arguments: &[String]) -> ErrorFormat {
    let ours = arguments.iter().take_while(|argument| *argument != "--");
    let values = ours.clone().zip(ours.skip(1)).map(|(name, value)| (name.as_str(), value.as_str()));
    let json = values.into_iter().any(|pair| pair == ("--format", "json"))
        || arguments.iter().any(|argument| argument == "--format=json");
    if json { ErrorFormat::Json } else { ErrorFormat::Text }
}

/// clap's message, which is a sentence, maybe with a list, then tips, then the usage.
fn usage_json(error: &clap::Error) -> String {
    use clap::error::ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return document(USAGE_CODE, "a command is missing", &[], Some("brig --help lists them"));
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let hint = paragraphs.next().filter(|hint| !hint.starts_with("For more information"));
    document(USAGE_CODE, message, &[], hint.as_deref().map(|hint| hint.strip_prefix("tip: ").unwrap_or(hint)))
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
pub(crate) fn report(error: &Error, format: ErrorFormat) -> ExitCode {
    print(error, format);
    match error.kind() {
        ErrorKind::Internal => ExitCode::from(BUG),
        _ => ExitCode::FAILURE,
    }
}

/// Prints an error of `run` or `exec` and gives its code: 127 not found, 126 not runnable, 125 anything else.
pub(crate) fn report_run(error: &Error, format: ErrorFormat) -> ExitCode {
    print(error, format);
    ExitCode::from(error.run_code())
}

fn print(error: &Error, format: ErrorFormat) {
    write(&match format {
        ErrorFormat::Json => json(error),
        ErrorFormat::Text => text(error),
    });
}

fn write(text: &str) {
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
    document(error.kind().code(), &error.to_string(), &causes, error.hint().as_deref())
}

/// An error for programs.
fn document(code: &str, message: &str, causes: &[String], hint: Option<&str>) -> String {
    let document = serde_json::json!({
        "error": { "code": code, "message": message, "causes": causes, "hint": hint }
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
            assert_eq!(verb(&words(line)), expected, "{line}");
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_format_is_found_in_a_refused_command_line() {
        for (line, expected) in [
            ("brig ps --format json --nope", ErrorFormat::Json),
            ("brig --format=json ps --nope", ErrorFormat::Json),
            ("brig --format table ps --nope", ErrorFormat::Text),
            ("brig exec x --nope -- --format json", ErrorFormat::Text),
        ] {
            assert_eq!(format(&words(line)), expected, "{line}");
        }
    }

    #[test]
    fn a_panic_has_the_exit_code_of_a_bug() {
        let before = std::panic::take_hook();
        let code = catch_bugs(|| panic!("that can't be"));
        std::panic::set_hook(before);
        assert_eq!(code, ExitCode::from(BUG));
    }
}
