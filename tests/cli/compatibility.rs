//! `docs/compatibility.md` says what is there.

use super::env;

/// The flags that the help of a verb lists, with the other names of verbs and flags; `None` without such a verb.
fn help(verb: &str) -> Option<String> {
    let mut args: Vec<_> = verb.split(' ').collect();
    args.push("--help");
    let output = env().brig(&args);
    // Where there is no such verb, clap shows its group's help.
    let is_its = output.code() == 0 && output.stdout.contains(&format!("Usage: brig {verb}"));
    is_its.then_some(output.stdout)
}

/// Whether the help has a flag, at the beginning of a line or among the aliases.
fn has(help: &str, flag: &str) -> bool {
    let words = |line: &str| line.split([' ', ',', ':', ']', '[', '=']).any(|word| word == flag);
    let is_of_flags = |line: &str| line.trim_start().starts_with('-') || line.contains("alias");
    help.lines().filter(|line| is_of_flags(line)).any(words)
}

#[test]
fn the_tables_are_those_of_the_binary() {
    let text = include_str!("../../docs/compatibility.md");
    let (mut verb, mut shown, mut is_verdict) = ("", None, false);
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### `") {
            verb = heading.split('`').next().unwrap_or_default();
            shown = help(verb);
            is_verdict = true;
        } else if is_verdict && !line.is_empty() {
            // The first paragraph below says whether there is the verb.
            is_verdict = false;
            if line.starts_with("absent") == shown.is_some() {
                wrong.push(format!("`{verb}`: {line}"));
            }
        } else if let Some((flags, verdict)) = line.strip_prefix("| `").and_then(|row| row.split_once(" | "))
        {
            let flag = flags.trim_end_matches('`').rsplit('`').next().unwrap_or_default();
            let is_there = shown.as_deref().is_some_and(|help| has(help, flag));
            if is_there == verdict.starts_with("absent") {
                wrong.push(format!("`{verb} {flag}`: {verdict}"));
            }
            rows += 1;
        }
    }
    assert!(rows > 150, "only {rows} rows were found");
    assert!(wrong.is_empty(), "docs/compatibility.md is wrong about:\n{}", wrong.join("\n"));
}
