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

use clap::{Args, FromArgMatches, Parser};

use self::args::{Cli, Globals, Verb};
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
    let all = || Cli::try_parse_from(std::iter::once(&OsString::from("brig oci")).chain(words));
    match one_verb(words).map_or_else(all, Ok) {
        Ok(cli) => match verbs::execute(&cli) {
            Ok(code) => code,
            Err(error) => report::failed(&cli, &error),
        },
        Err(error) => report::usage(&error),
    }
}

/// Global options with a value in a word of its own.
const WITH_VALUES: [&str; 4] = ["--root", "--log", "--log-format", "--cgroup-manager"];

/// Parses with the description of one verb alone, as `crate::parse` does it. What isn't plain is parsed again with all.
fn one_verb(words: &[OsString]) -> Option<Cli> {
    let mut at = 0;
    while words.get(at)?.to_str()?.starts_with('-') {
        at += if WITH_VALUES.contains(&words[at].to_str()?) { 2 } else { 1 };
    }
    let (before, rest) = words.split_at(at);
    let (verb, after) = rest.split_first()?;
    let words: Vec<&OsString> = before.iter().chain(after).collect();
    macro_rules! verbs {
        ($($name:literal => $wrap:expr,)*) => {
            match verb.to_str()? {
                $($name => of(&words, $wrap),)*
                _ => None,
            }
        };
    }
    verbs! {
        "create" => Verb::Create,
        "start" => Verb::Start,
        "run" => Verb::Run,
        "state" => Verb::State,
        "kill" => Verb::Kill,
        "delete" => Verb::Delete,
        "exec" => Verb::Exec,
        "ps" => Verb::Ps,
    }
}

fn of<A: Args>(words: &[&OsString], wrap: impl FnOnce(A) -> Verb) -> Option<Cli> {
    let verb = A::augment_args(Globals::augment_args(clap::Command::new("brig oci")));
    let verb = verb.disable_version_flag(true).no_binary_name(true);
    let matches = verb.try_get_matches_from(words).ok()?;
    let globals = Globals::from_arg_matches(&matches).ok()?;
    Some(Cli { globals, verb: Some(wrap(A::from_arg_matches(&matches).ok()?)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_understand_the_same() {
        for line in [
            "--root /r run -b /b box",
            "--log-format=json --log /l create --bundle /b --pid-file p box",
            "create box --bundle b --root /r",
            "run -d box",
            "start box",
            "state --log=x box",
            "kill --all box 9",
            "kill box",
            "delete -f box",
            "exec -e A=b --tty box sh -c exit --tty",
            "exec --process p --detach box",
            "exec box",
            "ps -f json box",
            "ps box -ef",
            "--debug --rootless true run box",
            "list",
            "--root",
            "run",
            "run --help",
        ] {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            let all = Cli::try_parse_from(std::iter::once(&OsString::from("brig oci")).chain(&words));
            if let Some(cli) = one_verb(&words) {
                assert_eq!(format!("{cli:?}"), format!("{:?}", all.unwrap()), "{line}");
            }
        }
        let plain: Vec<OsString> = ["--root", "/r", "run", "box"].map(OsString::from).to_vec();
        assert!(one_verb(&plain).is_some());
    }
}
