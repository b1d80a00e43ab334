//! The command line: one struct a verb, with docker's flags.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    change, container, demo, doctor, generate, image, info, logs, prune, run, system, watch,
};

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

/// Options of every verb.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// Where images and containers are kept [default: /var/lib/brig, or $XDG_DATA_HOME/brig]
    #[arg(long, global = true, env = "BRIG_ROOT", value_name = "DIR", hide_env_values = true)]
    pub(crate) root: Option<PathBuf>,
    /// Where locks and sockets are kept [default: below a given --root; /run/brig, or $XDG_RUNTIME_DIR/brig]
    #[arg(long, global = true, env = "BRIG_RUN_ROOT", value_name = "DIR", hide_env_values = true)]
    pub(crate) run_root: Option<PathBuf>,
    /// Print tables for people, or JSON for programs; errors too
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// Speak HTTP with this registry (loopback may always)
    #[arg(long, global = true, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
}

impl Globals {
    pub(crate) fn error_format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    pub(crate) fn json(&self) -> bool {
        self.format == Some(Format::Json)
    }
}

/// How output looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one JSON document.
    Json,
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
    Ps(container::Ps),
    /// Remove containers
    Rm(container::Rm),
    /// Show the processes of a container
    Top(watch::Top),
    /// Show what containers take, as it changes
    Stats(watch::Stats),
    /// Print what a container printed
    Logs(logs::Logs),
    /// Show everything about containers or images
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
    /// Print what happened, and what happens
    Events(system::Events),
    /// Check the store, and mend it
    Fsck(system::Fsck),
    /// Say what this host can do, and how to fix what it can't
    Doctor(doctor::Doctor),
    /// Run a Linux and a wasm container from images built into this binary
    Demo(demo::Demo),
    /// Print versions
    Version(system::Version),
    /// Say what there is: containers, images, roots, and what this host can do
    Info(info::Info),
    /// Print what other programs need to look after containers
    #[command(subcommand)]
    Generate(generate::Generate),
    /// Manage images
    #[command(subcommand)]
    Image(ImageCommand),
    /// Manage containers
    #[command(subcommand)]
    Container(ContainerCommand),
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
    Events(system::Events),
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
    Ls(container::Ps),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(container::Rm),
    /// Show the processes of a container
    Top(watch::Top),
    /// Show what containers take, as it changes
    Stats(watch::Stats),
    /// Print what a container printed
    Logs(logs::Logs),
    /// Show everything about containers
    Inspect(system::Inspect),
    /// Remove all containers that don't run
    Prune(prune::Containers),
}
