//! The `brig` command: docker's verbs over one engine for Linux and wasm containers, without a daemon.

mod args;
mod attach;
mod commands;
mod complete;
mod error;
mod examples;
mod format;
mod list;
mod oci;
mod output;
mod parse;
mod progress;
mod table;
mod template;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    error::catch_bugs(run)
}

fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(words) = oci::asked(&arguments) {
        return oci::run(&words);
    }
    if let Some(version) = parse::version(&arguments) {
        return match output::print(version) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error::report(&error, args::ErrorFormat::Text),
        };
    }
    if let Some(words) = complete::asked(&arguments) {
        return match output::print(&complete::answer(&words)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error::report(&error, args::ErrorFormat::Text),
        };
    }
    let cli = match parse::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => return error::usage(&error),
    };
    let format = cli.globals.error_format();
    match commands::execute(cli) {
        Ok(status) => status,
        Err(error) => error::report(&error, format),
    }
}
