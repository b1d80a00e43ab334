//! `volume …`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;

use brig_engine::{Error, Result, VolumeInfo, VolumeOptions};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::container::each;
use super::filter::{has_label, key_and_value, parse_bool, same_variant};
use super::{Context, prune, system};
use crate::args::ShortFormat;
use crate::list::{self, Fields, List};
use crate::{error, output};

/// docker's.
const FIELDS: Fields = &[
    ("Driver", "DRIVER"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

/// `brig volume …`.
#[derive(Debug, Subcommand)]
pub(crate) enum Volumes {
    /// Create a volume
    Create(Create),
    /// Show everything about volumes
    Inspect(Inspect),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Remove anonymous volumes that no container uses
    Prune(prune::Volumes),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(Rm),
}

impl Volumes {
    /// Runs the verb.
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Create(verb) => verb.execute(context),
            Self::Inspect(verb) => verb.execute(context),
            Self::Ls(verb) => verb.execute(context),
            Self::Prune(verb) => verb.execute(context),
            Self::Rm(verb) => verb.execute(context),
        }
    }
}

/// Create a volume
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Driver: local
    #[arg(short, long, default_value = "local", value_name = "DRIVER")]
    driver: String,
    /// Attach metadata
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Options of the driver: type=none, o=bind and device=DIRECTORY
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Name [default: a generated one]
    name: Option<String>,
}

impl Create {
    fn execute(self, context: &Context) -> Result<ExitCode> {
        let options = VolumeOptions {
            name: self.name,
            driver: Some(self.driver),
            labels: pairs(&self.label),
            driver_options: pairs(&self.opt),
        };
        output::line(&context.engine()?.create_volume(&options)?.name)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn pairs(given: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        (key.to_owned(), value.to_owned())
    };
    given.iter().map(split).collect()
}

/// Show everything about volumes
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) short_format: ShortFormat,
    /// Names
    #[arg(required = true)]
    names: Vec<String>,
}

impl Inspect {
    fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let (mut documents, mut code) = (Vec::new(), ExitCode::SUCCESS);
        for name in &self.names {
            match engine.volume(name) {
                Ok(volume) => documents.push(document(&volume)),
                Err(failure) => code = error::report(&failure, context.globals.error_format()),
            }
        }
        system::print_documents(context, &documents)?;
        Ok(code)
    }
}

/// docker's fields.
pub(super) fn document(volume: &VolumeInfo) -> Value {
    json!({
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": (!volume.labels.is_empty()).then_some(&volume.labels),
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": (!volume.options.is_empty()).then_some(&volume.options),
        "Scope": "local",
    })
}

/// List volumes
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    /// Show only some: dangling, driver, label or name
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<VolumeFilter>,
}

impl Ls {
    fn execute(self, context: &Context) -> Result<ExitCode> {
        let mut list = List::new(FIELDS, &["Driver", "Name"]);
        for volume in context.engine()?.volumes()? {
            if self.admits(&volume) {
                list.labelled_row(row(&volume), &volume.labels);
            }
        }
        list.print(context, self.quiet.then_some("Name"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn admits(&self, volume: &VolumeInfo) -> bool {
        super::filter::admit(
            &self.filter,
            same_variant,
            |filter| matches!(filter, VolumeFilter::Label(_)),
            |filter| match filter {
                VolumeFilter::Dangling(dangling) => volume.users.is_empty() == *dangling,
                VolumeFilter::Driver(driver) => volume.driver == driver,
                VolumeFilter::Label(label) => has_label(&volume.labels, label),
                VolumeFilter::Name(part) => volume.name.contains(part),
            },
        )
    }
}

fn row(volume: &VolumeInfo) -> Value {
    // docker finds out neither links nor size here, and the last three are a swarm's.
    json!({
        "Driver": volume.driver,
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": volume.mountpoint,
        "Labels": list::pairs(&volume.labels),
        "Links": "N/A",
        "Size": "N/A",
        "Availability": "N/A",
        "Group": "N/A",
        "Status": "N/A",
    })
}

/// A filter of `volume ls`.
#[derive(Clone, Debug)]
enum VolumeFilter {
    Dangling(bool),
    Driver(String),
    Label(String),
    Name(String),
}

impl FromStr for VolumeFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = key_and_value(text)?;
        Ok(match key {
            "dangling" => Self::Dangling(parse_bool(value)?),
            "driver" => Self::Driver(value.into()),
            "label" => Self::Label(value.into()),
            "name" => Self::Name(value.into()),
            _ => return Err("the filters are dangling, driver, label and name".into()),
        })
    }
}

/// Remove volumes
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Don't complain if it isn't there
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(required = true)]
    names: Vec<String>,
}

impl Rm {
    fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        Ok(each(&self.names, context, |name| match engine.remove_volume(name) {
            Err(Error::VolumeNotFound { .. }) if self.force => Ok(Some(name.to_owned())),
            result => result.map(|()| Some(name.to_owned())),
        }))
    }
}
