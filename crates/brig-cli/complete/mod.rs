//! What may come next on a command line: the verb `__complete`, which the shells' scripts call. It isn't one of clap's
//! verbs, so that no other command pays for it and no help shows it.
//!
//! The answer's first line tells the shell what to do by itself: `:` and any of `files`, `directories` and `nospace`.
//! Each line after it is a candidate for the whole word, and behind a tab what it means. A failure is an answer without
//! candidates: nobody wants to read errors while typing.

pub(crate) mod line;
mod values;

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{ArgAction, Command};

use crate::args;
use line::{Line, Next};

/// The most candidates that are told.
const MAX_CANDIDATES: usize = 2000;

/// The words to complete, when that is what is asked for. The last of them is the one that is being typed.
pub(crate) fn asked(arguments: &[OsString]) -> Option<Vec<String>> {
    match arguments {
        [_, verb, words @ ..] if verb == "__complete" => {
            Some(words.iter().map(|word| word.to_string_lossy().into_owned()).collect())
        }
        _ => None,
    }
}

/// What the shell is told.
pub(crate) fn answer(words: &[String]) -> String {
    let mut command = args::described();
    command.build();
    complete(&command, words).to_string()
}

/// Candidates, and what the shell does by itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    files: bool,
    directories: bool,
    no_space: bool,
    candidates: Vec<Candidate>,
}

/// A word, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    word: String,
    meaning: String,
}

impl Candidate {
    fn new(word: impl Into<String>, meaning: impl ToString) -> Self {
        let meaning = meaning.to_string();
        Self { word: word.into(), meaning: meaning.lines().next().unwrap_or_default().to_owned() }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = [("files", self.files), ("directories", self.directories), ("nospace", self.no_space)];
        let told: Vec<_> = told.iter().filter(|(_, holds)| *holds).map(|(word, _)| *word).collect();
        writeln!(f, ":{}", told.join(" "))?;
        for Candidate { word, meaning } in self.candidates.iter().take(MAX_CANDIDATES) {
            // A name with a line break would be two candidates.
            if word.contains(char::is_control) {
                continue;
            }
            f.write_str(word)?;
            if !meaning.is_empty() {
                let meaning = meaning.replace(char::is_control, " ");
                write!(f, "\t{meaning}")?;
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}

fn complete(command: &Command, words: &[String]) -> Answer {
    let (typed, before) = words.split_last().map_or(("", words), |(typed, before)| (typed.as_str(), before));
    let line = Line::read(command, before);
    let mut answer = match line.next(typed) {
        Next::Flag => flags(&line),
        Next::Verb => verbs(line.command),
        Next::Value { arg, prefix, typed } => {
            let mut answer = values::of(&line, arg, typed);
            answer.candidates.iter_mut().for_each(|candidate| candidate.word.insert_str(0, prefix));
            answer
        }
        Next::Nothing => Answer::default(),
    };
    answer.candidates.retain(|candidate| candidate.word.starts_with(typed));
    answer
}

/// The verbs, by their first names.
fn verbs(command: &Command) -> Answer {
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let candidates = shown.map(|verb| {
        Candidate::new(verb.get_name(), verb.get_about().map(ToString::to_string).unwrap_or_default())
    });
    Answer { candidates: candidates.collect(), ..Answer::default() }
}

/// The flags that may be given still.
fn flags(line: &Line<'_>) -> Answer {
    let mut candidates = Vec::new();
    for arg in line.command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set()) {
        let again = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        if !again && line.has(arg) {
            continue;
        }
        let meaning = arg.get_help().map(ToString::to_string).unwrap_or_default();
        candidates.extend(arg.get_long().map(|long| Candidate::new(format!("--{long}"), &meaning)));
        candidates.extend(arg.get_short().map(|short| Candidate::new(format!("-{short}"), &meaning)));
    }
    Answer { candidates, ..Answer::default() }
}

#[cfg(test)]
mod tests;
