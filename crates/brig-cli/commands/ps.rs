//! `ps`.

use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{ContainerInfo, MountRecord, Result};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::container::status;
use super::filter::containers::{ContainerFilter, ContainerFilters};
use super::values::docker_time;
use crate::list::{self, Fields, List};
use crate::{table, template};

/// docker's, and brig's `Kind`, `Platform` and `ExitCode`.
const FIELDS: Fields = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Kind", "KIND"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("ExitCode", "EXIT CODE"),
];
const COLUMNS: &[&str] = &["ID", "Image", "Kind", "Command", "RunningFor", "Status", "Ports", "Names"];
/// How many characters of a command docker shows.
const COMMAND: usize = 20;
/// And of the name of a mount.
const MOUNT: usize = 15;

/// List containers
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// Show stopped ones too
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Don't shorten ids, commands and mounts
    #[arg(long)]
    no_trunc: bool,
    /// Show how much disk their writable layers take, and all of their files
    #[arg(short, long)]
    size: bool,
    /// Show only some: ancestor, before, exited, expose, health, id, is-task, label, name, network, publish, since,
    /// status or volume
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<ContainerFilter>,
    /// Show the newest N, of all states
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Show the newest one, of any state
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,
}

impl Ps {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut containers = engine.containers()?;
        let filters = ContainerFilters::new(&self.filter, &containers)?;
        // docker's -1 is none, and so is 0.
        let last = if self.latest { Some(1) } else { self.last };
        let last = last.and_then(|last| usize::try_from(last).ok()).filter(|last| *last > 0);
        let all = self.all || last.is_some() || filters.are_of_all_states();
        containers.retain(|container| all || container.state.state.is_active());
        containers.retain(|container| filters.admit(container));
        containers.truncate(last.unwrap_or(usize::MAX));
        self.print(context, &engine, &containers)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, context: &Context, engine: &Engine, containers: &[ContainerInfo]) -> Result<()> {
        let mut columns = COLUMNS.to_vec();
        columns.extend(self.size.then_some("Size"));
        let shortened: &[&str] = if self.no_trunc { &[] } else { &["Command", "Image", "Names"] };
        let mut list = List::new(FIELDS, &columns).shortening(shortened);
        let sized = !self.quiet && (self.size || list.wants(context, "Size"));
        for container in containers {
            let mut row = self.row(container);
            if sized {
                row["Size"] = size(engine, container)?.into();
            }
            list.labelled_row(row, &container.spec.labels);
        }
        list.print(context, self.quiet.then_some("ID"))
    }

    fn row(&self, container: &ContainerInfo) -> Value {
        let (spec, state) = (&container.spec, &container.state);
        let exit = state.exit.as_ref().map(|exit| exit.code.to_string());
        json!({
            "ID": if self.no_trunc { &spec.id } else { container.short_id() },
            "Names": spec.name,
            "Image": brig_engine::familiar(&spec.image.reference),
            "Kind": spec.kind,
            "Command": self.command(&spec.args),
            "CreatedAt": docker_time(spec.created_at),
            "RunningFor": table::ago(spec.created_at.elapsed()),
            "State": state.state.docker(),
            "Status": status(container),
            "Size": "0B",
            "Labels": list::pairs(&spec.labels),
            "Mounts": self.mounts(container),
            "LocalVolumes": local_volumes(container).to_string(),
            "Networks": spec.network,
            "Platform": spec.image.platform,
            "ExitCode": exit.unwrap_or_default(),
        })
    }

    /// In quotes, as Go writes them: a command may have several lines.
    fn command(&self, args: &[String]) -> String {
        let command = args.join(" ");
        template::quote(&if self.no_trunc { command } else { table::ellipsis(&command, COMMAND) })
    }

    fn mounts(&self, container: &ContainerInfo) -> String {
        let name = |mount: &MountRecord| {
            let image = mount.mounted_image.as_ref();
            let image = image.map(|mounted| brig_engine::familiar(&mounted.image.reference));
            let name = mount.volume.clone().or(image);
            let name = name.unwrap_or_else(|| mount.source.to_string_lossy().into_owned());
            if self.no_trunc { name } else { table::ellipsis(&name, MOUNT) }
        };
        container.spec.mounts.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

fn local_volumes(container: &ContainerInfo) -> usize {
    container.spec.mounts.iter().filter(|mount| mount.volume.is_some()).count()
}

/// docker's words: `12kB (virtual 34MB)`.
fn size(engine: &Engine, container: &ContainerInfo) -> Result<String> {
    let size = engine.container_size(container)?;
    let writable = table::size(size.writable);
    Ok(match size.total() {
        0 => writable,
        total => format!("{writable} (virtual {})", table::size(total)),
    })
}
