//! `completion`: scripts for shells. They ask `brig __complete`, so that they needn't be made anew for another version.

use std::process::ExitCode;

use brig_engine::Result;
use clap::{Args, ValueEnum};

use super::Context;
use crate::output;

/// Print a script that completes brig's command lines
#[derive(Args, Debug)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that there are scripts for.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub(crate) fn execute(self, _context: &Context) -> Result<ExitCode> {
        output::print(match self.shell {
            Shell::Bash => include_str!("../complete/scripts/brig.bash"),
            Shell::Zsh => include_str!("../complete/scripts/brig.zsh"),
            Shell::Fish => include_str!("../complete/scripts/brig.fish"),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
