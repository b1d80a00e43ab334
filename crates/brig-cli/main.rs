//! The `brig` command: docker's verbs over one engine for Linux and wasm containers, without a daemon.

mod args;
mod attach;
mod commands;
mod error;
mod output;
mod progress;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return error::usage(&error),
    };
    let format = cli.globals.error_format();
    match commands::execute(cli) {
        Ok(status) => status,
        Err(error) => error::report(&error, format),
    }
}
