//! A command line that isn't whole yet, read as clap will read it.

use std::path::PathBuf;

use brig_engine::EngineOptions;
use clap::{Arg, Command};

/// The words before the one that is being typed.
pub(crate) struct Line<'a> {
    /// The innermost verb.
    pub(crate) command: &'a Command,
    /// The names of the verbs, from the outermost.
    pub(super) verbs: Vec<&'a str>,
    /// The positional arguments.
    pub(super) given: Vec<&'a str>,
    /// The flags, with the values of those that have one.
    flags: Vec<(&'a Arg, &'a str)>,
    /// A flag that waits for its value.
    pending: Option<&'a Arg>,
    /// Whether no flags of brig can come any more.
    is_rest: bool,
}

/// What the word is that is being typed.
pub(super) enum Next<'a> {
    /// A flag.
    Flag,
    /// A verb.
    Verb,
    /// A value of a flag, or a positional argument.
    Value {
        /// Whose value it is.
        arg: &'a Arg,
        /// What stands before it in the same word.
        prefix: &'a str,
        /// The value, as far as it is typed.
        typed: &'a str,
    },
    /// Nothing that brig knows about.
    Nothing,
}

impl<'a> Line<'a> {
    pub(crate) fn read(command: &'a Command, words: &'a [String]) -> Self {
        let mut line = Self {
            command,
            verbs: Vec::new(),
            given: Vec::new(),
            flags: Vec::new(),
            pending: None,
            is_rest: false,
        };
        words.iter().for_each(|word| line.take(word));
        line
    }

    /// Whether a flag was given.
    pub(super) fn has(&self, arg: &Arg) -> bool {
        self.flags.iter().any(|(given, _)| given.get_id() == arg.get_id())
    }

    /// The value that a flag was given last.
    pub(super) fn value(&self, id: &str) -> Option<&'a str> {
        self.flags.iter().rfind(|(arg, _)| arg.get_id() == id).map(|(_, value)| *value)
    }

    /// The roots that the verb would work on.
    pub(super) fn roots(&self) -> EngineOptions {
        let path = |id, variable| {
            let given = self.value(id).map(PathBuf::from);
            given
                .or_else(|| std::env::var_os(variable).map(PathBuf::from))
                .filter(|path| !path.as_os_str().is_empty())
        };
        EngineOptions {
            root: path("root", "BRIG_ROOT"),
            run_root: path("run_root", "BRIG_RUN_ROOT"),
            ..EngineOptions::default()
        }
    }

    /// What `typed` is, behind the words that were read.
    pub(super) fn next(&self, typed: &'a str) -> Next<'a> {
        if let Some(arg) = self.pending {
            return Next::Value { arg, prefix: "", typed };
        }
        if !self.is_rest && typed.starts_with('-') {
            return match typed.split_once('=') {
                None => Next::Flag,
                Some((name, value)) => match self.long(name.trim_start_matches('-')) {
                    Some(arg) => Next::Value { arg, prefix: &typed[..=name.len()], typed: value },
                    None => Next::Nothing,
                },
            };
        }
        if self.command.has_subcommands() {
            return Next::Verb;
        }
        match self.positional() {
            Some(arg) => Next::Value { arg, prefix: "", typed },
            None => Next::Nothing,
        }
    }

    fn take(&mut self, word: &'a str) {
        if let Some(arg) = self.pending.take() {
            self.flags.push((arg, word));
        } else if self.is_rest {
            self.given.push(word);
        } else if word == "--" {
            self.is_rest = true;
        } else if let Some(long) = word.strip_prefix("--") {
            self.take_long(long);
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.take_short(letters);
        } else if let Some(verb) = self.command.find_subcommand(word) {
            self.command = verb;
            self.verbs.push(verb.get_name());
        } else {
            self.given.push(word);
            // What follows is the container's: `run image -flag-of-its-program`.
            self.is_rest = self.positional().is_some_and(Arg::is_trailing_var_arg_set);
        }
    }

    fn take_long(&mut self, text: &'a str) {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        match (self.long(name), value) {
            (Some(arg), None) if needs_value(arg) => self.pending = Some(arg),
            (Some(arg), value) => self.flags.push((arg, value.unwrap_or_default())),
            (None, _) => {}
        }
    }

    /// `-it`, `-eNAME`, `-e`.
    fn take_short(&mut self, letters: &'a str) {
        for (at, letter) in letters.char_indices() {
            let Some(arg) = self.arguments().find(|arg| arg.get_short() == Some(letter)) else { return };
            if !arg.get_action().takes_values() {
                self.flags.push((arg, ""));
                continue;
            }
            match &letters[at + letter.len_utf8()..] {
                "" => self.pending = Some(arg),
                value => self.flags.push((arg, value)),
            }
            return;
        }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        let is_it = |arg: &&Arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|others| others.contains(&name))
        };
        self.arguments().find(is_it)
    }

    fn arguments(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        self.command.get_arguments()
    }

    /// The positional argument that comes next.
    fn positional(&self) -> Option<&'a Arg> {
        let all: Vec<_> = self.command.get_positionals().collect();
        let many = |arg: &&Arg| arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        all.get(self.given.len()).or_else(|| all.last().filter(|arg| many(arg))).copied()
    }
}

/// Whether the next word is its value.
fn needs_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}
