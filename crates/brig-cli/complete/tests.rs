use super::*;

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}

/// What is told for a line without `brig`, whose last word is being typed.
fn told(line: &str) -> Answer {
    let mut command = args::described();
    command.build();
    complete(&command, &words(line))
}

fn candidates(line: &str) -> Vec<String> {
    told(line).candidates.into_iter().map(|candidate| candidate.word).collect()
}

#[track_caller]
fn tells(line: &str, expected: &[&str]) {
    assert_eq!(candidates(line), expected, "{line:?}");
}

#[test]
fn verbs_with_what_they_do() {
    tells("ru", &["run"]);
    tells("container pru", &["prune"]);
    tells("--root /r sto", &["stop"]);
    tells("--root=/r image l", &["ls", "load"]);
    tells("comp", &["completion"]);
    let all = told("");
    assert!(all.candidates.contains(&Candidate::new("ps", "List containers")), "{all:?}");
    assert!(!candidates("__").contains(&"__complete".to_owned()));
    assert_eq!(candidates("nope "), candidates(""));
}

#[test]
fn flags_that_may_be_given_still() {
    tells("run --memory-", &["--memory-swap", "--memory-reservation", "--memory-swappiness"]);
    tells("run --rm --r", &["--read-only", "--runtime", "--restart", "--root", "--run-root"]);
    tells("run --env A=b --en", &["--env", "--entrypoint", "--env-file"]);
    tells("ps -q --qui", &[]);
    tells("ps -aq --al", &[]);
    assert!(candidates("run -").contains(&"-d".to_owned()));
    // What follows an image is its program's.
    tells("run busybox --r", &[]);
    tells("exec web -", &[]);
    tells("rm -- --f", &[]);
    assert!(candidates("rm web --").contains(&"--force".to_owned()));
}

#[test]
fn values_of_flags() {
    tells("run --network ", &["none", "host"]);
    tells("run --network=h", &["--network=host"]);
    tells("run --net=h", &["--net=host"]);
    tells("run --pull ne", &["never"]);
    tells("run --sig-proxy=", &["--sig-proxy=true", "--sig-proxy=false"]);
    tells("run --platform was", &["wasi/wasm"]);
    tells("kill -s TE", &["TERM"]);
    tells("run --cap-add NET_A", &["NET_ADMIN"]);
    tells("ps --filter stat", &["status="]);
    tells("ps -f status=ex", &["status=exited"]);
    tells("container ls --filter=status=ex", &["--filter=status=exited"]);
    tells("images --filter dangling=t", &["dangling=true"]);
    tells("completion ", &["bash", "zsh", "fish"]);
    assert!(told("ps --filter n").no_space);
    assert!(candidates("run -e PAT").contains(&"PATH".to_owned()));
    tells("run --memory ", &[]);
    tells("run --nope=x", &[]);
}

#[test]
fn files_where_files_are_wanted() {
    for line in ["load -i ", "load --input=x", "run --env-file ", "save -o ", "run ./", "cp ./a ", "import "]
    {
        assert!(told(line).files, "{line}");
    }
    assert!(told("--root ").directories);
    let volume = told("run -v ");
    assert!(volume.files && volume.no_space);
    assert_eq!(told("run -v /a:/"), Answer::default());
    assert_eq!(told("run --workdir "), Answer::default());
}

#[test]
fn signals_and_filters_are_those_that_are_understood() {
    use clap::Parser;
    for word in candidates("kill -s ") {
        assert!(brig_engine::signal(&word).is_some(), "{word}");
    }
    for verb in ["ps", "images", "events"] {
        let error = args::Cli::try_parse_from(["brig", verb, "--filter", "?=x"]).unwrap_err().to_string();
        for key in candidates(&format!("{verb} --filter ")) {
            let known =
                error.split(|c: char| !c.is_ascii_alphanumeric() && !"-!".contains(c)).collect::<Vec<_>>();
            assert!(known.contains(&key.trim_end_matches('=')), "{verb} {key}: {error}");
        }
    }
}

#[test]
fn what_is_told_is_lines() {
    let answer = Answer {
        no_space: true,
        files: true,
        candidates: vec![
            Candidate::new("a", "first\nsecond"),
            Candidate::new("b", ""),
            Candidate::new("c\nd", ""),
            Candidate::new("e", "x\ty"),
        ],
        ..Answer::default()
    };
    assert_eq!(answer.to_string(), ":files nospace\na\tfirst\nb\ne\tx y\n");
    assert_eq!(Answer::default().to_string(), ":\n");
}

#[test]
fn odd_words_have_answers() {
    for word in
        ["", "-", "--", "=", "-=", "--=", "--é=", "-é", "--root=", "-eé", "\n", "--network==", ":", "-it="]
    {
        for line in
            ["", "run ", "run -e ", "run x ", "ps -f ", "image ", "cp a:", "é --root ", "run -itv ", "-- "]
        {
            assert!(told(&format!("{line}{word}")).to_string().starts_with(':'), "{line}{word}");
        }
    }
    assert_eq!(answer(&[]), answer(&[String::new()]));
}

#[test]
fn only_the_first_word_asks() {
    let arguments = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert_eq!(asked(&arguments("brig __complete run ")), Some(words("run ")));
    assert_eq!(asked(&arguments("brig __complete")), Some(Vec::new()));
    assert_eq!(asked(&arguments("brig run __complete")), None);
}
