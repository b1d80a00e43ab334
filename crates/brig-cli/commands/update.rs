//! `update`.

use std::process::ExitCode;

use brig_engine::{Error, LimitChanges, RestartPolicy, Result};
use clap::Args;

use super::Context;
use super::container::each;
use super::flags::LimitFlags;

/// Change limits of containers
#[derive(Args, Debug)]
#[command(
    after_help = "A running container's limits change at once, unless it was started without any of the kind."
)]
pub(crate) struct Update {
    #[command(flatten)]
    limits: LimitFlags,
    /// When to start it again after its end: no, on-failure, on-failure:MAX, always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Update {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let changes = self.limits.changes();
        if changes == LimitChanges::default() && self.restart.is_none() {
            return Err(Error::Invalid {
                what: "update",
                value: self.containers.join(" "),
                problem: "you must provide one or more flags when using this command".into(),
            });
        }
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| {
            engine.update(name, &changes, self.restart)?;
            Ok(Some(name.to_owned()))
        }))
    }
}
