//! `container prune`, `image prune`, `volume prune`, `system prune`: what isn't used goes.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use brig_engine::{Error, PruneFilter, PrunedContainers, Result};
use clap::Args;

use super::Context;
use super::values::moment;
use crate::{error, output, table, terminal};

/// What is common to all of them.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    /// Only some: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Remove all containers that don't run
#[derive(Args, Debug)]
pub(crate) struct Containers {
    #[command(flatten)]
    common: Common,
}

/// Remove images without a name, or all that no container uses
#[derive(Args, Debug)]
pub(crate) struct Images {
    /// Remove all that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

/// Remove all containers that don't run, and images without a name
#[derive(Args, Debug)]
pub(crate) struct System {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Remove anonymous volumes that no container uses, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    common: Common,
}

/// Remove anonymous volumes that no container uses
#[derive(Args, Debug)]
pub(crate) struct Volumes {
    /// Remove all that no container uses, not only those that nobody named
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    common: Common,
}

impl Common {
    fn parse(&self) -> Result<PruneFilter> {
        let mut filter = PruneFilter::default();
        let label = |value: &str| match value.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (value.to_owned(), None),
        };
        for text in &self.filter {
            match text.split_once('=') {
                Some(("until", time)) => filter.until = Some(moment(time)?),
                Some(("label", value)) => filter.labels.push(label(value)),
                Some(("label!", value)) => filter.not_labels.push(label(value)),
                _ => {
                    let problem = "the filters are until=TIME, label=KEY[=VALUE] and label!=KEY[=VALUE]";
                    return Err(Error::Invalid {
                        what: "filter",
                        value: text.clone(),
                        problem: problem.into(),
                    });
                }
            }
        }
        Ok(filter)
    }

    /// docker's question. Without somebody to answer it, `--force` has to be given.
    fn may(&self, what: &[&str]) -> Result<bool> {
        if self.force {
            return Ok(true);
        }
        if !terminal::stdin_is_terminal() {
            let reason = "there is nobody to ask: give --force";
            return Err(Error::Unsupported { what: "removing without asking".into(), reason: reason.into() });
        }
        let what: String = what.iter().map(|line| format!("  - {line}\n")).collect();
        let failed = |source| Error::Io { action: "use the terminal", path: None, source };
        let mut err = std::io::stderr().lock();
        write!(err, "WARNING! This will remove:\n{what}\nAre you sure you want to continue? [y/N] ")
            .map_err(failed)?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }
}

/// What was removed, as docker prints it.
#[derive(Default)]
struct Removed {
    text: String,
    bytes: u64,
    /// What is still there, and why.
    failed: Vec<Error>,
}

impl Removed {
    fn containers(&mut self, context: &Context, filter: &PruneFilter) -> Result<()> {
        let PrunedContainers { removed, failed } = context.engine()?.prune_containers(filter)?;
        self.failed.extend(failed);
        if !removed.is_empty() {
            self.text.push_str("Deleted Containers:\n");
        }
        for (id, bytes) in &removed {
            self.text.push_str(&format!("{id}\n"));
            self.bytes += bytes;
        }
        if !removed.is_empty() {
            self.text.push('\n');
        }
        Ok(())
    }

    fn images(&mut self, context: &Context, all: bool, filter: &PruneFilter) -> Result<()> {
        let engine = context.engine()?;
        let before = engine.disk_usage()?.images.size;
        let (words, report) = engine.prune_images(all, filter)?;
        if !words.is_empty() {
            self.text.push_str(&format!("Deleted Images:\n{}\n\n", words.join("\n").to_lowercase()));
        }
        let freed = before.saturating_sub(engine.disk_usage()?.images.size);
        self.bytes += freed.max(report.blob_bytes);
        Ok(())
    }

    fn volumes(&mut self, context: &Context, all: bool, filter: &PruneFilter) -> Result<()> {
        let removed = context.engine()?.prune_volumes(all, filter)?;
        if !removed.is_empty() {
            self.text.push_str("Deleted Volumes:\n");
        }
        for (name, bytes) in &removed {
            self.text.push_str(&format!("{name}\n"));
            self.bytes += bytes;
        }
        if !removed.is_empty() {
            self.text.push('\n');
        }
        Ok(())
    }

    fn print(self, context: &Context) -> Result<ExitCode> {
        output::print(&format!("{}Total reclaimed space: {}\n", self.text, table::size(self.bytes)))?;
        let mut code = ExitCode::SUCCESS;
        for failure in &self.failed {
            code = error::report(failure, context.globals.error_format());
        }
        Ok(code)
    }
}

impl Containers {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let filter = self.common.parse()?;
        if !self.common.may(&["all containers that don't run"])? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut removed = Removed::default();
        removed.containers(context, &filter)?;
        removed.print(context)
    }
}

impl Volumes {
    pub(crate) fn execute(mut self, context: &Context) -> Result<ExitCode> {
        // docker's `-a`, in its API's words.
        let before = self.common.filter.len();
        self.common.filter.retain(|filter| !matches!(filter.as_str(), "all=1" | "all=true"));
        let all = self.all || before != self.common.filter.len();
        let filter = self.common.parse()?;
        if filter.until.is_some() {
            let problem = "the filters of volumes are label=KEY[=VALUE] and label!=KEY[=VALUE]";
            return Err(Error::Invalid { what: "filter", value: "until".into(), problem: problem.into() });
        }
        let what = if all { "all volumes" } else { "anonymous volumes" };
        if !self.common.may(&[&format!("{what} not used by at least one container")])? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut removed = Removed::default();
        removed.volumes(context, all, &filter)?;
        removed.print(context)
    }
}

/// What goes of the images.
fn which(all: bool) -> &'static str {
    if all { "all images that no container uses" } else { "all images without a name" }
}

impl Images {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let filter = self.common.parse()?;
        if !self.common.may(&[which(self.all)])? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut removed = Removed::default();
        removed.images(context, self.all, &filter)?;
        removed.print(context)
    }
}

impl System {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let filter = self.common.parse()?;
        let mut what = vec!["all containers that don't run", which(self.all)];
        if self.volumes {
            if filter.until.is_some() {
                let problem = "the \"until\" filter is not supported with \"--volumes\"";
                return Err(Error::Invalid {
                    what: "filter",
                    value: "until".into(),
                    problem: problem.into(),
                });
            }
            what.push("anonymous volumes not used by at least one container");
        }
        if !self.common.may(&what)? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut removed = Removed::default();
        // First the containers: they use images and volumes.
        removed.containers(context, &filter)?;
        if self.volumes {
            removed.volumes(context, false, &filter)?;
        }
        removed.images(context, self.all, &filter)?;
        removed.print(context)
    }
}
