//! The values that flags and positional arguments may have.

use std::fs;

use brig_engine::{Glimpse, Peek, State};
use clap::{Arg, ValueHint};

use super::line::Line;
use super::{Answer, Candidate};

/// The most files that are looked at.
const MAX_FILES: usize = 10_000;

const SIGNALS: &[&str] =
    &["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "TSTP", "WINCH"];
const LOG_OPTIONS: &[&str] = &[
    "compress=",
    "env=",
    "env-regex=",
    "labels=",
    "labels-regex=",
    "max-buffer-size=",
    "max-file=",
    "max-size=",
    "mode=",
    "tag=",
];
const PLATFORMS: &[&str] = &["linux/amd64", "linux/arm64", "wasi/wasm"];
const CAPABILITIES: &[&str] = &[
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
const ULIMITS: &[&str] = &[
    "core=",
    "cpu=",
    "data=",
    "fsize=",
    "locks=",
    "memlock=",
    "msgqueue=",
    "nice=",
    "nofile=",
    "nproc=",
    "rss=",
    "rtprio=",
    "rttime=",
    "sigpending=",
    "stack=",
];
/// The filters, by verb.
pub(super) const FILTERS: &[(&[&str], &[&str])] = &[
    (
        &["ps"],
        &[
            "ancestor=",
            "before=",
            "exited=",
            "expose=",
            "health=",
            "id=",
            "is-task=",
            "label=",
            "name=",
            "network=",
            "publish=",
            "since=",
            "status=",
            "volume=",
        ],
    ),
    (&["images"], &["before=", "dangling=", "label=", "label!=", "reference=", "since=", "until="]),
    (&["events"], &["container=", "event=", "image=", "label=", "type=", "volume="]),
    (&["volume ls"], &["dangling=", "driver=", "label=", "name="]),
    (&["prune"], &["until=", "label=", "label!="]),
];

/// What a value may be.
pub(super) fn of(line: &Line<'_>, arg: &Arg, typed: &str) -> Answer {
    let known: Vec<_> = arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).collect();
    if !known.is_empty() {
        let meaning = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string);
        let candidate = |value| {
            Candidate::new(clap::builder::PossibleValue::get_name(value), meaning(value).unwrap_or_default())
        };
        return answer(known.iter().map(candidate).collect());
    }
    match arg.is_positional() {
        true => positional(line, arg.get_id().as_str(), typed),
        false => flag(line, arg, typed),
    }
}

fn flag(line: &Line<'_>, arg: &Arg, typed: &str) -> Answer {
    match arg.get_long().or(arg.get_id().as_str().into()).unwrap_or_default() {
        "env" => words(&variables()),
        "volume" if typed.contains(':') => Answer::default(),
        "volume" => mounted(line, typed),
        "volumes-from" => containers(line, Peek::new(&line.roots()).ok()),
        "platform" => words(PLATFORMS),
        "runtime" => words(&["linux", "wasm"]),
        "signal" | "stop-signal" => words(SIGNALS),
        "log-driver" => words(&["json-file", "local", "journald", "none"]),
        "log-opt" => keys(LOG_OPTIONS),
        "restart" => words(&["no", "on-failure", "always", "unless-stopped"]),
        "cap-add" | "cap-drop" => words(CAPABILITIES),
        "ulimit" => keys(ULIMITS),
        "security-opt" => words(&["no-new-privileges", "seccomp=unconfined"]),
        "format" | "short_format" => words(&["json", "table"]),
        "filter" => filter(line, typed),
        _ => match arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath => path(arg),
            _ => Answer::default(),
        },
    }
}

fn path(arg: &Arg) -> Answer {
    let is_directory = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "DIR"));
    Answer { files: !is_directory, directories: is_directory, ..Answer::default() }
}

fn positional(line: &Line<'_>, id: &str, typed: &str) -> Answer {
    let peek = || Peek::new(&line.roots()).ok();
    match (line.verbs.as_slice(), id) {
        (["container", "inspect"], "names") => containers(line, peek()),
        (["image", "inspect"], "names") => images(line, peek()),
        (["volume", "inspect" | "rm"], _) => volumes(line, peek()),
        (_, "names") => match line.value("of") {
            Some("container") => containers(line, peek()),
            Some("image") => images(line, peek()),
            Some("volume") => volumes(line, peek()),
            _ => {
                let mut all = containers(line, peek());
                all.candidates.extend(images(line, peek()).candidates);
                all.candidates.extend(volumes(line, peek()).candidates);
                all
            }
        },
        ([.., "run" | "create"], "image") => runnable(line, peek(), typed),
        ([.., "cp"], _) => copied(line, peek(), typed),
        ([.., "import" | "man"], "file" | "dir") => Answer { files: true, ..Answer::default() },
        ([.., "import" | "commit"], "name") | (_, "image" | "images" | "pattern") => images(line, peek()),
        ([.., "tag"], "source" | "target") => images(line, peek()),
        (_, "container" | "containers") => containers(line, peek()),
        _ => Answer::default(),
    }
}

/// The containers that the verb can do something with.
fn containers(line: &Line<'_>, peek: Option<Peek>) -> Answer {
    let fits = |container: &Glimpse| fits(line.verbs.last().copied().unwrap_or_default(), container.state);
    let all = peek.map(|peek| peek.containers()).unwrap_or_default();
    let left = all.iter().filter(|container| fits(container) && !line.given.contains(&&*container.name));
    let meaning = |container: &Glimpse| {
        format!("{}, {}", container.state.docker(), brig_engine::familiar(&container.image))
    };
    answer(left.map(|container| Candidate::new(&container.name, meaning(container))).collect())
}

fn fits(verb: &str, state: State) -> bool {
    match verb {
        "exec" | "attach" | "top" | "pause" => state == State::Running,
        "unpause" => state == State::Paused,
        "stop" | "kill" | "stats" | "wait" => state.is_active(),
        "start" => !state.is_active(),
        _ => true,
    }
}

fn images(line: &Line<'_>, peek: Option<Peek>) -> Answer {
    let all = peek.map(|peek| peek.images()).unwrap_or_default();
    let left = all.into_iter().filter(|name| !line.given.contains(&&**name));
    answer(left.map(|name| Candidate::new(name, "")).collect())
}

fn volumes(line: &Line<'_>, peek: Option<Peek>) -> Answer {
    let all = peek.map(|peek| peek.volumes()).unwrap_or_default();
    let left = all.into_iter().filter(|name| !line.given.contains(&&**name));
    answer(left.map(|name| Candidate::new(name, "a volume")).collect())
}

/// The source of a mount, and a `:` behind it.
fn mounted(line: &Line<'_>, typed: &str) -> Answer {
    let mut all = match typed.starts_with(['.', '/', '~']) {
        true => Answer::default(),
        false => volumes(line, Peek::new(&line.roots()).ok()),
    };
    all.candidates.iter_mut().for_each(|candidate| candidate.word.push(':'));
    Answer { files: true, no_space: true, ..all }
}

/// An image, or a file of a module.
fn runnable(line: &Line<'_>, peek: Option<Peek>, typed: &str) -> Answer {
    if typed.starts_with(['.', '/', '~']) {
        return Answer { files: true, ..Answer::default() };
    }
    let mut all = images(line, peek);
    all.candidates.extend(modules().into_iter().map(|name| Candidate::new(name, "a file here")));
    all
}

/// The files here that `run` takes for modules without a `./`.
fn modules() -> Vec<String> {
    let here = fs::read_dir(".").into_iter().flatten().flatten().take(MAX_FILES);
    let names = here.filter_map(|entry| entry.file_name().into_string().ok());
    let mut all: Vec<_> = names.filter(|name| name.ends_with(".wasm") || name.ends_with(".wat")).collect();
    all.sort();
    all
}

/// A file of this machine, or `container:`. What is in a container isn't looked at.
fn copied(line: &Line<'_>, peek: Option<Peek>, typed: &str) -> Answer {
    if typed.starts_with(['.', '/', '~']) {
        return Answer { files: true, ..Answer::default() };
    }
    if typed.contains(':') {
        return Answer::default();
    }
    let mut all = containers(line, peek);
    all.candidates.iter_mut().for_each(|candidate| candidate.word.push(':'));
    Answer { files: true, no_space: true, ..all }
}

fn filter(line: &Line<'_>, typed: &str) -> Answer {
    let verb = match line.verbs.as_slice() {
        ["container", "ls"] => "ps",
        ["image", "ls"] => "images",
        ["volume", "ls"] => "volume ls",
        [.., verb] => verb,
        [] => "",
    };
    match (verb, typed.split_once('=').map(|(key, _)| key)) {
        ("ps", Some("status")) => {
            let states = ["created", "restarting", "running", "paused", "exited", "dead"];
            words(&states.map(|state| format!("status={state}")))
        }
        ("ps", Some("health")) => {
            words(&["starting", "healthy", "unhealthy", "none"].map(|health| format!("health={health}")))
        }
        ("images", Some("dangling")) => words(&["dangling=true", "dangling=false"]),
        (_, Some(_)) => Answer::default(),
        (verb, None) => {
            let known = FILTERS.iter().find(|(verbs, _)| verbs.contains(&verb));
            known.map(|(_, filters)| keys(filters)).unwrap_or_default()
        }
    }
}

/// The names of our variables: `-e NAME` takes ours.
fn variables() -> Vec<String> {
    let mut all: Vec<_> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    all.sort();
    all
}

fn answer(candidates: Vec<Candidate>) -> Answer {
    Answer { candidates, ..Answer::default() }
}

fn words<S: AsRef<str>>(words: &[S]) -> Answer {
    answer(words.iter().map(|word| Candidate::new(word.as_ref(), "")).collect())
}

/// Words whose value follows at once.
fn keys(words_with_equals: &[&str]) -> Answer {
    Answer { no_space: true, ..words(words_with_equals) }
}
