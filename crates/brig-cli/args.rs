//! The command line: one struct a verb, with docker's flags.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::commands::{
    change, completion, container, demo, doctor, events, files, generate, image, info, logs, man, prune, ps,
    run, system, update, version, volume, watch,
};
use crate::examples;
use crate::format::Format;
use crate::oci;

/// Runs OCI images as Linux containers or as WebAssembly, from one store, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "brig", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  brig run --rm -it debian bash        a Linux container
  brig run --rm ghcr.io/me/app:wasm    a WebAssembly one, from the same store
  brig run ./hello.wasm                a bare file
  brig demo                            both, without a network")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// All verbs, as help shows them.
pub(crate) fn described() -> clap::Command {
    examples::add(Cli::command())
}

/// Options of every verb.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Where images and containers are kept [default: /var/lib/brig, or $XDG_DATA_HOME/brig]
    #[arg(long, global = true, env = "BRIG_ROOT", value_name = "DIR", hide_env_values = true)]
    pub(crate) root: Option<PathBuf>,
    /// Where locks and sockets are kept [default: below a given --root; /run/brig, or $XDG_RUNTIME_DIR/brig]
    #[arg(long, global = true, env = "BRIG_RUN_ROOT", value_name = "DIR", hide_env_values = true)]
    pub(crate) run_root: Option<PathBuf>,
    /// How to print: `table`, `json` (errors too), `table TEMPLATE`, or a Go TEMPLATE such as `{{.ID}}`
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Speak HTTP with this registry (loopback may always)
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
}

impl Globals {
    pub(crate) fn error_format(&self) -> ErrorFormat {
        if self.json() { ErrorFormat::Json } else { ErrorFormat::Text }
    }

    pub(crate) fn json(&self) -> bool {
        self.format == Some(Format::Json)
    }

    /// Whether output is a table, of whichever columns.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self.format, None | Some(Format::Table | Format::Columns(_)))
    }

    /// Whether output is what a verb prints for people.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.format, None | Some(Format::Table))
    }
}

/// How errors look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// For people.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// The short spelling of `--format` that some of docker's verbs have.
#[derive(Args, Debug)]
pub(crate) struct ShortFormat {
    /// The same as --format
    #[arg(short = 'f', id = "short_format", value_name = "FORMAT", conflicts_with = "format")]
    pub(crate) format: Option<Format>,
}

impl Cli {
    /// Takes the short spelling for the long one, and refuses a template where nothing is printed by it.
    pub(crate) fn settled(mut self) -> Result<Self, clap::Error> {
        if let Some(short) = self.command.short_format() {
            self.globals.format = short.format.take().or(self.globals.format.take());
        }
        if self.globals.format.as_ref().is_some_and(Format::is_template) && !self.command.prints_fields() {
            let message =
                "the value for '--format <FORMAT>' is a template, and this command prints no fields";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(self)
    }
}

impl Command {
    fn short_format(&mut self) -> Option<&mut ShortFormat> {
        match self {
            Self::Inspect(verb)
            | Self::Image(ImageCommand::Inspect(verb))
            | Self::Container(ContainerCommand::Inspect(verb)) => Some(&mut verb.short_format),
            Self::Volume(volume::Volumes::Inspect(verb)) => Some(&mut verb.short_format),
            Self::Version(verb) => Some(&mut verb.short_format),
            Self::Info(verb) | Self::System(SystemCommand::Info(verb)) => Some(&mut verb.short_format),
            _ => None,
        }
    }

    /// Whether it prints something that templates can pick from: such verbs print by `list::List` or
    /// `Format::document`. The others refuse a template, lest it be ignored.
    fn prints_fields(&self) -> bool {
        use ContainerCommand as Container;
        use ImageCommand as Image;
        match self {
            Self::Ps(_) | Self::Stats(_) | Self::Top(_) | Self::Inspect(_) | Self::Images(_) => true,
            Self::Pull(_) | Self::Push(_) | Self::Load(_) | Self::Events(_) | Self::Info(_) => true,
            Self::Version(_) | Self::Fsck(_) | Self::Doctor(_) | Self::History(_) => true,
            Self::Container(verb) => {
                matches!(
                    verb,
                    Container::Ls(_) | Container::Stats(_) | Container::Top(_) | Container::Inspect(_)
                )
            }
            Self::Image(verb) => matches!(
                verb,
                Image::Ls(_)
                    | Image::Pull(_)
                    | Image::Push(_)
                    | Image::Load(_)
                    | Image::Inspect(_)
                    | Image::History(_)
            ),
            Self::Volume(verb) => matches!(verb, volume::Volumes::Ls(_) | volume::Volumes::Inspect(_)),
            Self::System(verb) => {
                matches!(verb, SystemCommand::Df(_) | SystemCommand::Events(_) | SystemCommand::Info(_))
            }
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create and run a new container from an image
    Run(Box<run::Run>),
    /// Create a new container
    Create(Box<run::Create>),
    /// Start stopped containers
    Start(container::Start),
    /// Stop running containers
    Stop(container::Stop),
    /// Stop containers, and start them again
    Restart(change::Restart),
    /// Give a container another name
    Rename(change::Rename),
    /// Freeze all processes of containers
    Pause(change::Pause),
    /// Let frozen containers go on
    Unpause(change::Unpause),
    /// Kill running containers
    Kill(container::Kill),
    /// Wait until containers stop, then print their exit codes
    Wait(container::Wait),
    /// Run a command in a running container
    Exec(container::Exec),
    /// Attach this terminal to a running container
    Attach(container::Attach),
    /// List containers
    Ps(ps::Ps),
    /// Remove containers
    Rm(container::Rm),
    /// Show the processes of a container
    Top(watch::Top),
    /// Show what containers take, as it changes
    Stats(watch::Stats),
    /// Change limits of containers
    Update(update::Update),
    /// Print what a container printed
    Logs(logs::Logs),
    /// Copy files between a container and this machine
    Cp(files::Cp),
    /// List what a container has changed in its image's files
    Diff(files::Diff),
    /// Write a container's file system to a tar, without what is mounted in it
    Export(files::Export),
    /// Make an image of a container: its image, and what the container has changed
    Commit(files::Commit),
    /// Show everything about containers, images or volumes
    Inspect(system::Inspect),
    /// Download an image
    Pull(image::Pull),
    /// Upload an image
    Push(image::Push),
    /// List images
    Images(image::List),
    /// Remove images
    Rmi(image::Remove),
    /// Give an image another name
    Tag(image::Tag),
    /// Load images from an archive or layout
    Load(image::Load),
    /// Save images to an OCI archive
    Save(image::Save),
    /// Make an image of a tar with a root file system
    Import(files::Import),
    /// Show how an image came about
    History(image::History),
    /// Print what happened, and what happens
    Events(events::Events),
    /// Check the store, and mend it
    Fsck(system::Fsck),
    /// Say what this host can do, and how to fix what it can't
    Doctor(doctor::Doctor),
    /// Run a Linux and a wasm container from images built into this binary
    Demo(demo::Demo),
    /// Print versions
    Version(version::Version),
    /// Say what there is: containers, images, roots, and what this host can do
    Info(info::Info),
    /// Run OCI bundles as containers, with runc's command line
    #[command(disable_help_flag = true)]
    Oci(oci::Words),
    /// Print what other programs need to look after containers
    #[command(subcommand)]
    Generate(generate::Generate),
    /// Print a script that completes brig's command lines
    Completion(completion::Completion),
    /// Write the manual's pages
    #[command(hide = true)]
    Man(man::Man),
    /// Manage images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Manage containers
    #[command(subcommand)]
    Container(ContainerCommand),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Volumes),
    /// Manage the whole
    #[command(subcommand)]
    System(SystemCommand),
}

/// `brig system …`.
#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes space on disk
    Df(info::Df),
    /// Print what happened, and what happens
    Events(events::Events),
    /// Say what there is: containers, images, roots, and what this host can do
    Info(info::Info),
    /// Remove all containers that don't run, and images without a name
    Prune(prune::System),
    /// Start the containers that should run by their restart policies: after a boot
    Start(info::Start),
}

/// `brig image …`: the long spellings.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(image::List),
    /// Download an image
    Pull(image::Pull),
    /// Upload an image
    Push(image::Push),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(image::Remove),
    /// Give an image another name
    Tag(image::Tag),
    /// Load images from an archive or layout
    Load(image::Load),
    /// Save images to an OCI archive
    Save(image::Save),
    /// Make an image of a tar with a root file system
    Import(files::Import),
    /// Show how an image came about
    History(image::History),
    /// Show everything about images
    Inspect(system::Inspect),
    /// Remove images without a name, or all that no container uses
    Prune(prune::Images),
}

/// `brig container …`: the long spellings.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// Create and run a new container from an image
    Run(Box<run::Run>),
    /// Create a new container
    Create(Box<run::Create>),
    /// Start stopped containers
    Start(container::Start),
    /// Stop running containers
    Stop(container::Stop),
    /// Stop containers, and start them again
    Restart(change::Restart),
    /// Give a container another name
    Rename(change::Rename),
    /// Freeze all processes of containers
    Pause(change::Pause),
    /// Let frozen containers go on
    Unpause(change::Unpause),
    /// Kill running containers
    Kill(container::Kill),
    /// Wait until containers stop, then print their exit codes
    Wait(container::Wait),
    /// Run a command in a running container
    Exec(container::Exec),
    /// Attach this terminal to a running container
    Attach(container::Attach),
    /// List containers
    #[command(visible_aliases = ["ps", "list"])]
    Ls(ps::Ps),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(container::Rm),
    /// Show the processes of a container
    Top(watch::Top),
    /// Show what containers take, as it changes
    Stats(watch::Stats),
    /// Change limits of containers
    Update(update::Update),
    /// Print what a container printed
    Logs(logs::Logs),
    /// Copy files between a container and this machine
    Cp(files::Cp),
    /// List what a container has changed in its image's files
    Diff(files::Diff),
    /// Write a container's file system to a tar, without what is mounted in it
    Export(files::Export),
    /// Make an image of a container: its image, and what the container has changed
    Commit(files::Commit),
    /// Show everything about containers
    Inspect(system::Inspect),
    /// Remove all containers that don't run
    Prune(prune::Containers),
}
