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

use clap::{Args, Parser};

use self::args::Cli;
use crate::commands::Context;

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

/// The command, where options of `brig` stand before it.
#[derive(Args, Debug)]
pub(crate) struct Words {
    /// A verb of runc's, and its arguments: `brig oci --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

impl Words {
    pub(crate) fn execute(&self, context: &Context) -> ExitCode {
        let root =
            context.globals.root.iter().flat_map(|root| ["--root".into(), root.clone().into_os_string()]);
        run(&root.chain(self.words.iter().cloned()).collect::<Vec<_>>())
    }
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
