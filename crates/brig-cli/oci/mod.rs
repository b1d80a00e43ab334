//! `brig oci`: the command line of runc, over the same containers that the engine makes. Also what this program is when it
//! is called `brig-oci` or `runc`.

mod args;
mod foreground;
mod limits;
mod report;
mod show;
mod verbs;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::args::Cli;

/// The names under which the program is this command.
const NAMES: [&str; 2] = ["brig-oci", "runc"];
/// The verb under which the command is in `brig`.
pub(crate) const VERB: &str = "oci";

/// The words after the command's name, if it was called.
pub(crate) fn asked(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let name = arguments.first().map(Path::new)?.file_name()?.to_str()?;
    if NAMES.contains(&name) {
        return Some(arguments[1..].to_vec());
    }
    (arguments.get(1)? == VERB).then(|| arguments[2..].to_vec())
}

/// Does what the words say.
pub(crate) fn run(words: &[OsString]) -> ExitCode {
    let name = std::iter::once(OsString::from("brig oci"));
    match Cli::try_parse_from(name.chain(words.iter().cloned())) {
        Ok(cli) => match verbs::execute(&cli) {
            Ok(code) => code,
            Err(error) => report::failed(&cli, &error),
        },
        Err(error) => report::usage(&error),
    }
}
