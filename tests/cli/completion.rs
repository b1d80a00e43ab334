//! Completion: what `__complete` tells of a real store, and what real shells make of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use brig_testing::image::{ImageBuilder, LayerBuilder};
use brig_testing::{Invocation, TestEnv, need, need_tool};

use super::{env, load, with_busybox};

/// A store with an image, and two containers that never ran.
fn with_two_containers() -> TestEnv {
    let env = env();
    let files = LayerBuilder::new().file("app", 0o755, "x");
    load(&env, &ImageBuilder::linux().files(files).entrypoint(&["/app"]).build(), "example.com/small:v1");
    for name in ["first-one", "second-one"] {
        let _ = env.brig(&["create", "--name", name, "example.com/small:v1"]).success();
    }
    env
}

/// The candidates for the last of the words.
#[track_caller]
fn candidates(env: &TestEnv, words: &[&str]) -> Vec<String> {
    let output = env.brig(&[&["__complete"], words].concat()).success();
    assert_eq!(output.stderr, "");
    output.stdout.lines().skip(1).map(String::from).collect()
}

#[test]
fn names_come_from_the_store() {
    let env = with_two_containers();
    let meaning = "\tcreated, example.com/small:v1";
    let both = [format!("first-one{meaning}"), format!("second-one{meaning}")];
    assert_eq!(candidates(&env, &["start", ""]), both);
    assert_eq!(candidates(&env, &["rm", "second-one", ""]), both[..1]);
    assert_eq!(candidates(&env, &["container", "inspect", "sec"]), both[1..]);
    assert_eq!(candidates(&env, &["cp", "fir"]), [format!("first-one:{meaning}")]);
    for (words, expected) in [
        (&["exec", ""][..], &[][..]),
        (&["stop", ""], &[]),
        (&["run", "--rm", "exa"], &["example.com/small:v1"]),
        (&["rmi", ""], &["example.com/small:v1"]),
        (&["push", "example.com/small:"], &["example.com/small:v1"]),
        (&["run", "example.com/small:v1", ""], &[]),
        (&["inspect", "e"], &["example.com/small:v1"]),
        (&["inspect", "--type", "container", "e"], &[]),
        (&["--root", "/nowhere", "rm", ""], &[]),
    ] {
        assert_eq!(candidates(&env, words), expected, "{words:?}");
    }
}

#[test]
fn volumes_are_named_for_mounts() {
    let env = env();
    let volume = env.root().join("volumes/data");
    fs::create_dir_all(&volume).unwrap();
    fs::write(volume.join("volume.json"), "{}").unwrap();
    assert_eq!(candidates(&env, &["run", "-v", "da"]), ["data:\ta volume"]);
    assert_eq!(candidates(&env, &["run", "--volume=da"]), ["--volume=data:\ta volume"]);
    assert_eq!(candidates(&env, &["run", "-v", "./da"]), [""; 0]);
}

#[test]
fn a_verb_is_told_of_containers_that_it_can_do_something_with() {
    let env = need!(with_busybox());
    let _ = env.brig(&["run", "-d", "--name", "runs", "busybox", "sleep", "60"]).success();
    let _ = env.brig(&["create", "--name", "rests", "busybox"]).success();
    let names = |verb: &str| {
        let lines = candidates(&env, &[verb, ""]);
        lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for verb in ["exec", "attach", "stop", "kill", "pause", "top"] {
        assert_eq!(names(verb), ["runs"], "{verb}");
    }
    assert_eq!(names("start"), ["rests"]);
    for verb in ["rm", "logs", "restart"] {
        assert_eq!(names(verb), ["rests", "runs"], "{verb}");
    }
}

/// All files below a directory, and when each was changed last.
fn files(dir: &Path, found: &mut BTreeMap<PathBuf, SystemTime>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        found.insert(path.clone(), about.modified().unwrap());
        if about.is_dir() {
            files(&path, found);
        }
    }
}

#[test]
fn completion_changes_nothing_and_makes_no_root() {
    let env = with_two_containers();
    let look = || {
        let mut found = BTreeMap::new();
        files(&env.root(), &mut found);
        files(&env.run_root(), &mut found);
        found
    };
    let before = look();
    for words in [&["rm", ""][..], &["rmi", ""], &["run", ""], &["cp", ""], &["inspect", ""], &[""]] {
        let _ = candidates(&env, words);
        let root = env.path().join("new");
        let args = [&["__complete", "--root", root.to_str().unwrap()], words].concat();
        let _ = env.brig(&args).success();
        assert!(!root.exists(), "{words:?}");
    }
    assert_eq!(look(), before);
}

#[test]
fn help_shows_the_verb_for_people_alone() {
    let env = env();
    let help = env.brig(&["--help"]).success().shows("completion");
    assert!(!help.stdout.contains("__complete"));
    let _ = env.brig(&["completion", "tcsh"]).exits(2);
}

/// A shell that finds brig and its script.
fn shell(env: &TestEnv, shell: &str, args: &[&str]) -> Invocation {
    let script = env.brig(&["completion", shell.rsplit('/').next().unwrap()]).success().stdout;
    env.write("script", script);
    let brig = Path::new(env!("CARGO_BIN_EXE_brig")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    env.program(shell, args)
        .env("PATH", format!("{}:{path}", brig.display()))
        .env("BRIG_ROOT", env.root())
        .env("BRIG_RUN_ROOT", env.run_root())
        .env("INPUTRC", "/dev/null")
}

/// The words of a line as bash has them: `=` and `:` are words of their own.
fn words_of_bash(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in line.split(' ') {
        let mut rest = word;
        while let Some(at) = rest.find(['=', ':']) {
            words.extend((at > 0).then(|| rest[..at].to_owned()));
            words.push(rest[at..=at].to_owned());
            rest = &rest[at + 1..];
        }
        words.extend((!rest.is_empty() || word.is_empty()).then(|| rest.to_owned()));
    }
    words
}

/// What bash would put in the place of the last word, by the function of the script.
#[track_caller]
fn bash(env: &TestEnv, line: &str) -> String {
    let function = r#"source ./script
        COMP_LINE=$1; COMP_POINT=${#1}; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
        _brig brig
        echo "${COMPREPLY[*]}""#;
    let words = words_of_bash(line);
    let mut args = vec!["--norc", "--noprofile", "-c", function, "bash", line];
    args.extend(words.iter().map(String::as_str));
    let output = shell(env, "bash", &args).run().success();
    assert_eq!(output.stderr, "", "{line}");
    output.stdout.trim_end().to_owned()
}

#[test]
fn bash_completes() {
    need!(need_tool("bash"));
    let env = with_two_containers();
    env.write("note.txt", "");
    for (line, expected) in [
        ("brig ru", "run"),
        ("brig image pr", "prune"),
        ("brig run --memory-sw", "--memory-swap --memory-swappiness"),
        ("brig run --network ", "none host"),
        ("brig run --network=", "none host"),
        ("brig run --network=h", "host"),
        ("brig ps -f status=ex", "exited"),
        ("brig   start ", "first-one second-one"),
        ("brig rm second-one ", "first-one"),
        ("brig run --rm example.com/small:", "v1"),
        ("brig rmi example.com/sm", "example.com/small:v1"),
        ("brig cp first-", "first-one:"),
        ("brig rm \"first", "first-one"),
        ("brig rm '", "first-one second-one"),
        ("brig load -i no", "note.txt"),
        ("brig load --input=no", "note.txt"),
        ("brig --run-root=/nowhere stop ", ""),
        ("brig run -e A=b:c --network n", "none"),
        ("brig nope -", "-h --help --version -V --root --run-root --format --insecure-registry"),
    ] {
        let (mut told, mut expected): (Vec<_>, Vec<_>) = (
            bash(&env, line).split(' ').map(String::from).collect(),
            expected.split(' ').map(String::from).collect(),
        );
        told.sort();
        expected.sort();
        assert_eq!(told, expected, "{line}");
    }
}

/// Types a line with tabs into a shell at a terminal, and then its end.
#[track_caller]
fn typed(shell: Invocation, setup: &str, line: &str, expected: &str) {
    let _ = shell.run_on_terminal(&format!("{setup}\n{line}\nexit\n")).shows(expected);
}

/// A half-typed verb, flag, and name; what they are once completed says which container was shown.
const TYPED: &str = "brig insp\t--form\t'<{{.Name}}>' sec\t";
const SHOWN: &str = "</second-one>";

#[test]
fn bash_completes_at_a_terminal() {
    let bash = need!(need_tool("bash"));
    let env = with_two_containers();
    let invocation = shell(&env, bash.to_str().unwrap(), &["--norc", "--noprofile", "-i"]);
    typed(invocation, "source ./script", TYPED, SHOWN);
}

#[test]
fn zsh_completes_at_a_terminal() {
    let zsh = need!(need_tool("zsh"));
    let env = with_two_containers();
    let invocation = shell(&env, zsh.to_str().unwrap(), &["-f", "-i"]);
    typed(invocation, "autoload -U compinit; compinit -u -D; source ./script", TYPED, SHOWN);
}

#[test]
fn fish_completes() {
    let fish = need!(need_tool("fish"));
    let env = with_two_containers();
    env.write("note.txt", "");
    let complete = "source ./script; for line in $argv; complete -C $line; end";
    let lines = ["brig ru", "brig run --network=h", "brig start sec", "brig run exa", "brig load --input=no"];
    let args = [&["--no-config", "-c", complete][..], &lines].concat();
    let output = shell(&env, fish.to_str().unwrap(), &args).run().success();
    let words: Vec<_> = output.stdout.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(words, ["run", "--network=host", "second-one", "example.com/small:v1", "--input=note.txt"]);
    assert!(output.stdout.contains("second-one\tcreated, example.com/small:v1\n"), "{}", output.stdout);
}
