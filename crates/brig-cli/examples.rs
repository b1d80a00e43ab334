//! The examples that the help of verbs ends with. Beside the verbs' own files, so that parsing one verb's arguments
//! doesn't touch them.

use clap::Command;

/// A command line, and what it does.
type Example = (&'static str, &'static str);

/// By verb: that of the short spelling where there are two.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "run",
        &[
            ("brig run --rm -it debian bash", "a shell"),
            ("brig run -d --name web -m 256m me/web", "in the background, with a limit"),
            ("brig run --rm -v ./data:/data me/app:1 import /data", "with files of this machine"),
            ("brig run ./hello.wasm one two", "a bare WASI module or component"),
            ("brig run --platform wasi/wasm me/app:1", "the wasm image of an index"),
        ],
    ),
    (
        "create",
        &[
            ("brig create --name web me/web", "an id is printed; brig start runs it"),
            ("brig create --cidfile web.id me/web", "the id goes to a file, too"),
        ],
    ),
    (
        "start",
        &[("brig start web db", "in the background"), ("brig start -ai job", "and attach this terminal")],
    ),
    (
        "stop",
        &[
            ("brig stop web db", "asks, and kills after ten seconds"),
            ("brig stop -t 60 db", "gives it a minute"),
            ("brig stop -s INT -t -1 job", "asks by SIGINT, and never kills"),
        ],
    ),
    ("restart", &[("brig restart -t 2 web", "")]),
    ("rename", &[("brig rename web web-old", "")]),
    (
        "kill",
        &[("brig kill web", "SIGKILL"), ("brig kill -s HUP web", "SIGHUP, which many servers reload at")],
    ),
    ("wait", &[("brig wait job", "prints its exit code")]),
    (
        "exec",
        &[
            ("brig exec -it web sh", "a shell in a container that runs"),
            ("brig exec -u root -w /srv web ls -l", ""),
            ("brig exec -e DEBUG=1 calc add 2 3", "of wasm: a function that its module exports"),
        ],
    ),
    (
        "attach",
        &[
            ("brig attach web", "ctrl-p ctrl-q leaves it running"),
            ("brig attach --no-stdin web", "only looks"),
        ],
    ),
    (
        "ps",
        &[
            ("brig ps -a", "those that don't run, too"),
            ("brig ps -q --filter status=running --filter name=web", "ids, for scripts"),
            ("brig ps --format 'table {{.Names}}\\t{{.Status}}'", "columns of your choice"),
            ("brig ps -a --format json", "an object a line"),
        ],
    ),
    (
        "rm",
        &[
            ("brig rm web db", ""),
            ("brig rm -f web", "kills it first"),
            ("brig rm $(brig ps -aq)", "all that don't run"),
        ],
    ),
    ("top", &[("brig top web", ""), ("brig top web -o pid,rss,args", "columns of ps(1)")]),
    (
        "stats",
        &[
            ("brig stats", "as it changes, until ctrl-c"),
            ("brig stats --no-stream web db", "once"),
            ("brig stats --no-stream --format json", "for programs"),
        ],
    ),
    (
        "update",
        &[
            ("brig update -m 512m --cpus 1.5 web", "of a container that runs, at once"),
            ("brig update --restart unless-stopped web", ""),
        ],
    ),
    (
        "logs",
        &[
            ("brig logs -f --tail 20 web", "the last lines, and what comes"),
            ("brig logs --since 10m -t web", "of the last ten minutes, with times"),
        ],
    ),
    (
        "cp",
        &[
            ("brig cp web:/etc/app.conf .", "out of it"),
            ("brig cp -a ./site web:/srv", "into it, with owners and modes"),
            ("brig cp web:/var/log - | tar t", "as a tar"),
        ],
    ),
    ("diff", &[("brig diff web", "A added, C changed, D deleted")]),
    ("export", &[("brig export -o web.tar web", ""), ("brig export web | tar x -C /srv/root", "")]),
    (
        "commit",
        &[
            ("brig commit web me/web:debug", ""),
            ("brig commit -c 'ENV DEBUG=1' -m 'with a debugger' web me/web:debug", "and change its config"),
        ],
    ),
    (
        "inspect",
        &[
            ("brig inspect web", "a container or an image"),
            ("brig inspect -f '{{.State.ExitCode}}' job", "one field"),
            ("brig inspect --type image -f '{{json .Config.Env}}' debian", ""),
        ],
    ),
    (
        "pull",
        &[
            ("brig pull debian:12", "from docker.io"),
            ("brig pull --platform wasi/wasm ghcr.io/me/app:1", "of an index, the wasm image"),
            ("brig pull registry.example.com:5000/app@sha256:DIGEST", "exactly this one"),
        ],
    ),
    (
        "push",
        &[
            ("brig push registry.example.com/me/app:1", ""),
            ("brig --insecure-registry registry:5000 push registry:5000/app", "without TLS"),
        ],
    ),
    (
        "images",
        &[
            ("brig images", ""),
            ("brig images --filter 'reference=me/*'", "some of them"),
            ("brig images --format '{{.Repository}}:{{.Tag}}'", "names alone"),
        ],
    ),
    (
        "rmi",
        &[
            ("brig rmi me/app:1", "a name, and the image with its last"),
            ("brig rmi -f 0123abcd", "by its id"),
        ],
    ),
    ("tag", &[("brig tag me/app:1 registry.example.com/me/app:1", "")]),
    (
        "load",
        &[
            ("brig load -i app.tar", "from docker save, brig save, skopeo"),
            ("brig load --tag me/app:1 < app.tar.zst", "under another name"),
        ],
    ),
    (
        "save",
        &[
            ("brig save -o app.tar me/app:1 me/db:1", ""),
            ("brig save me/app:1 | ssh host brig load", "to another machine"),
        ],
    ),
    (
        "import",
        &[
            ("brig import -c 'CMD [\"sh\"]' rootfs.tar me/base:1", ""),
            ("brig export web | brig import - me/web:flat", "without layers"),
        ],
    ),
    ("history", &[("brig history --no-trunc me/app:1", "each step as it was")]),
    (
        "events",
        &[
            ("brig events", "as they happen, until ctrl-c"),
            ("brig events --since 1h --until 0s --filter event=die", "of the last hour"),
            ("brig events --format '{{json .}}'", "for programs"),
        ],
    ),
    ("info", &[("brig info", ""), ("brig info -f '{{json .}}'", "for programs")]),
    ("version", &[("brig version", ""), ("brig version --format json", "for programs")]),
    (
        "completion",
        &[
            ("source <(brig completion bash)", "in ~/.bashrc"),
            ("source <(brig completion zsh)", "in ~/.zshrc, behind compinit"),
            ("brig completion fish | source", "in ~/.config/fish/config.fish"),
        ],
    ),
    (
        "container prune",
        &[
            ("brig container prune", "asks first"),
            ("brig container prune -f --filter until=24h", "those that are older than a day"),
        ],
    ),
    (
        "image prune",
        &[
            ("brig image prune", "those without a name; asks first"),
            ("brig image prune -af", "all that no container uses; doesn't ask"),
        ],
    ),
    ("system prune", &[("brig system prune", "asks first"), ("brig system prune -af", "doesn't")]),
    ("system df", &[("brig system df", ""), ("brig system df -v", "each image and container")]),
];

/// The short spellings of long ones that are called otherwise.
const SHORT: &[(&str, &str)] = &[("container ls", "ps"), ("image ls", "images"), ("image rm", "rmi")];

/// Adds the examples to the help of all verbs below `command`.
pub(crate) fn add(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    names.iter().fold(command, |command, name| {
        let path = format!("{path} {name}");
        command.mut_subcommand(name, |verb| below(with_examples(verb, path.trim_start()), &path))
    })
}

fn with_examples(verb: Command, path: &str) -> Command {
    let Some(examples) = of(path) else { return verb };
    let mut help = format!("Examples:\n{}", lines(examples));
    if let Some(more) = verb.get_after_help() {
        help = format!("{help}\n\n{more}");
    }
    verb.after_help(help)
}

/// `image pull` has those of `pull`.
fn of(path: &str) -> Option<&'static [Example]> {
    let find = |path: &str| EXAMPLES.iter().find(|(verb, _)| *verb == path).map(|(_, examples)| *examples);
    let short = SHORT.iter().find(|(long, _)| *long == path).map(|(_, short)| *short);
    let short = short.or_else(|| path.strip_prefix("container ").or_else(|| path.strip_prefix("image ")));
    find(path).or_else(|| find(short?))
}

fn lines(examples: &[Example]) -> String {
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let line = |(line, does): &Example| format!("  {line:width$}    {does}").trim_end().to_owned();
    examples.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, described};

    /// The words of the command line that brig is given.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
        let line = line
            .trim_start_matches("source <(")
            .trim_end_matches(')')
            .split(" | ")
            .find(|part| part.starts_with("brig"));
        for c in line.unwrap_or_default().chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(std::mem::take(&mut word)),
                '<' | '>' if !quoted => return words,
                c => word.push(c),
            }
        }
        words.push(word);
        words
    }

    #[test]
    fn examples_are_command_lines_of_their_verbs() {
        for (verb, examples) in EXAMPLES {
            for (line, _) in *examples {
                let line = line.replace("$(brig ps -aq)", "ids");
                let words = words(&line);
                let settled = Cli::try_parse_from(&words).and_then(Cli::settled);
                assert!(settled.is_ok(), "{line}: {:?} {words:?}", settled.err());
                assert!(line.contains(&format!(" {verb} ")) || line.ends_with(&format!(" {verb}")), "{line}");
            }
        }
    }

    #[test]
    fn examples_belong_to_verbs_and_fit_a_screen() {
        let command = described();
        for (path, examples) in EXAMPLES {
            let verb = path.split(' ').try_fold(&command, |command, name| command.find_subcommand(name));
            let help = verb.and_then(Command::get_after_help).unwrap_or_else(|| panic!("{path} has none"));
            assert!(help.to_string().starts_with("Examples:\n  "), "{path}");
            assert!(lines(examples).lines().all(|line| line.len() <= 100), "{path}: too wide");
        }
    }

    #[test]
    fn both_spellings_have_the_same() {
        assert_eq!(of("image pull"), of("pull"));
        assert_eq!(of("container ls"), of("ps"));
        assert_eq!(of("image rm"), of("rmi"));
        assert_eq!(of("container prune").map(|all| all[0].0), Some("brig container prune"));
        assert_eq!(of("fsck"), None);
    }
}
