//! Verbs that change containers and leave them there: `restart`, `rename`, `pause`, `unpause`.

use std::process::ExitCode;

use brig_engine::Result;
use clap::Args;

use super::Context;
use super::container::{each, grace};
use super::values::signal;

/// Stop containers, and start them again
#[derive(Args, Debug)]
pub(crate) struct Restart {
    /// Seconds to wait before killing [default: the container's, or 10]
    #[arg(short, long, visible_alias = "timeout", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Signal to ask with [default: the image's, or TERM]
    #[arg(short, long)]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Restart {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let signal = self.signal.as_deref().map(signal).transpose()?;
        let grace = self.time.map(grace);
        Ok(each(&self.containers, context, |name| {
            engine.restart(name, signal, grace)?;
            Ok(Some(name.to_owned()))
        }))
    }
}

/// Give a container another name
#[derive(Args, Debug)]
pub(crate) struct Rename {
    /// Name or id
    container: String,
    /// The other name
    new_name: String,
}

impl Rename {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        // docker shows names with a slash, and takes them so.
        context.engine()?.rename(&self.container, self.new_name.trim_start_matches('/'))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Freeze all processes of containers
#[derive(Args, Debug)]
pub(crate) struct Pause {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Pause {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| engine.pause(name).map(|()| Some(name.to_owned()))))
    }
}

/// Let frozen containers go on
#[derive(Args, Debug)]
pub(crate) struct Unpause {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Unpause {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| engine.unpause(name).map(|()| Some(name.to_owned()))))
    }
}
