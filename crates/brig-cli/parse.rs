//! From the command line to [`Cli`], by way of one verb's arguments where that is enough.
//!
//! Building clap's description of all verbs takes 0.3 ms and a hundred pages of memory. So the verb is looked for first,
//! and only its own arguments are described; whatever isn't plain (help, a mistake, options before the verb, `image ls`)
//! is parsed again with everything, which knows how to say it.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, FromArgMatches, Parser};

use crate::args::{self, Cli, Command, Globals};
use crate::complete::line::Line;

/// Parses the arguments of this process, its name first.
pub(crate) fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    match one_verb(arguments) {
        Some(cli) => Ok(cli),
        None => by_all_verbs(arguments),
    }
    .and_then(Cli::settled)
}

/// What `--version` prints, when that is all that is asked for. The same as clap's, which [`parse`] would give.
pub(crate) fn version(arguments: &[OsString]) -> Option<&'static str> {
    match arguments {
        [_, only] if only == "--version" || only == "-V" => {
            Some(concat!("brig ", env!("CARGO_PKG_VERSION"), "\n"))
        }
        _ => None,
    }
}

fn by_all_verbs(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(arguments).or_else(|_| by_described_verbs(arguments))
}

/// Help and mistakes are told with all that help has.
fn by_described_verbs(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = args::described();
    let parsed = command.try_get_matches_from_mut(arguments);
    let parsed = parsed.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| with_whole_usage(error.format(&mut command), &mut command, arguments))
}

/// clap's usage behind a mistake shows what was given as if it were required, even what came from the environment.
fn with_whole_usage(
    mut error: clap::Error,
    command: &mut clap::Command,
    arguments: &[OsString],
) -> clap::Error {
    if error.get(ContextKind::Usage).is_some() {
        command.build();
        let words: Vec<_> =
            arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let usage = Line::read(command, &words).command.clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

fn one_verb(arguments: &[OsString]) -> Option<Cli> {
    let rest = arguments.get(1..)?;
    macro_rules! verbs {
        ($($verb:literal => $wrap:expr,)*) => {
            match rest.first()?.to_str()? {
                $($verb => of(rest, $wrap),)*
                _ => None,
            }
        };
    }
    verbs! {
        "run" => |run| Command::Run(Box::new(run)),
        "create" => |create| Command::Create(Box::new(create)),
        "start" => Command::Start,
        "stop" => Command::Stop,
        "restart" => Command::Restart,
        "pause" => Command::Pause,
        "unpause" => Command::Unpause,
        "kill" => Command::Kill,
        "wait" => Command::Wait,
        "exec" => Command::Exec,
        "attach" => Command::Attach,
        "ps" => Command::Ps,
        "rm" => Command::Rm,
        "logs" => Command::Logs,
        "top" => Command::Top,
        "stats" => Command::Stats,
        "cp" => Command::Cp,
        "diff" => Command::Diff,
        "inspect" => Command::Inspect,
        "pull" => Command::Pull,
        "images" => Command::Images,
    }
}

/// Parses `verb arguments…` as this verb and the options of every verb.
fn of<A: Args>(rest: &[OsString], wrap: impl FnOnce(A) -> Command) -> Option<Cli> {
    let verb = A::augment_args(Globals::augment_args(clap::Command::new("brig")));
    let matches = verb.disable_version_flag(true).try_get_matches_from(rest).ok()?;
    let globals = Globals::from_arg_matches(&matches).ok()?;
    Some(Cli { globals, command: wrap(A::from_arg_matches(&matches).ok()?) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn both_ways_understand_the_same() {
        for line in [
            "brig run --rm -it -e A=b -v /a:/b:ro --name x debian:12 sh -c exit --rm",
            "brig run --format json --root /r ./a.wasm -- --format table",
            "brig run -dm 1g --memory-swap 2g image",
            "brig run",
            "brig run --no-such-flag image",
            "brig run --help",
            "brig create --rm image a b",
            "brig start -a x",
            "brig stop -t 3 x y",
            "brig kill -s TERM x",
            "brig wait x",
            "brig exec -it x sh -c true",
            "brig exec x",
            "brig attach x",
            "brig ps -aq --format json",
            "brig rm -f x",
            "brig logs -f --tail 3 x",
            "brig cp -aL x:/a - --root /r",
            "brig cp - x:/a",
            "brig cp x:/a",
            "brig diff x --format json",
            "brig inspect x --root /r",
            "brig inspect -f {{.Id}} x",
            "brig inspect -f {{.Id x",
            "brig inspect -f json --format json x",
            "brig ps --format {{.ID}}",
            "brig rm --format {{.ID}} x",
            "brig container ls --format {{.ID}}",
            "brig pull --platform wasi/wasm x --insecure-registry host:1",
            "brig images -q",
            "brig image ls",
            "brig --root /r ps",
            "brig -V",
            "brig ps -V",
            "brig",
        ] {
            let arguments = words(line);
            let text = |parsed: Result<Cli, clap::Error>| match parsed {
                Ok(cli) => format!("{cli:?}"),
                Err(error) => error.to_string(),
            };
            let all = by_all_verbs(&arguments).and_then(Cli::settled);
            assert_eq!(text(parse(&arguments)), text(all), "{line}");
        }
    }

    #[test]
    fn what_was_given_is_not_shown_as_required() {
        for line in ["brig --root /r pull", "brig pull --root /r", "brig image pull --format json"] {
            let error = parse(&words(line)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("pull [OPTIONS] <IMAGE>\n"), "{line}: {error}");
        }
    }

    #[test]
    fn the_version_is_claps() {
        let clap = Cli::command().render_version();
        assert_eq!(version(&words("brig --version")), Some(clap.as_str()));
        assert_eq!(version(&words("brig -V")), Some(clap.as_str()));
        assert_eq!(version(&words("brig -V ps")), None);
    }
}
