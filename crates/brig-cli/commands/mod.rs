//! One file a group of verbs. Each verb is a struct of its flags with `execute`.

pub(crate) mod change;
pub(crate) mod completion;
pub(crate) mod container;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod files;
mod filter;
pub(crate) mod flags;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod info;
mod inspect;
pub(crate) mod logs;
pub(crate) mod man;
mod notices;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod run;
pub(crate) mod supervision;
pub(crate) mod system;
pub(crate) mod update;
pub(crate) mod values;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod watch;

use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{EngineOptions, Result};

use crate::args::{Cli, Command, ContainerCommand, Globals, ImageCommand, SystemCommand};

/// What verbs need: the global flags, and the engine on the root that they name.
pub(crate) struct Context {
    pub(crate) globals: Globals,
}

impl Context {
    /// Opens the engine.
    pub(crate) fn engine(&self) -> Result<Engine> {
        Engine::open(EngineOptions {
            root: self.globals.root.clone(),
            run_root: self.globals.run_root.clone(),
            insecure_registries: self.globals.insecure_registry.clone(),
        })
    }
}

/// Runs the verb.
pub(crate) fn execute(cli: Cli) -> Result<ExitCode> {
    let context = Context { globals: cli.globals };
    let context = &context;
    match cli.command {
        Command::Run(verb) | Command::Container(ContainerCommand::Run(verb)) => verb.execute(context),
        Command::Create(verb) | Command::Container(ContainerCommand::Create(verb)) => verb.execute(context),
        Command::Start(verb) | Command::Container(ContainerCommand::Start(verb)) => verb.execute(context),
        Command::Stop(verb) | Command::Container(ContainerCommand::Stop(verb)) => verb.execute(context),
        Command::Kill(verb) | Command::Container(ContainerCommand::Kill(verb)) => verb.execute(context),
        Command::Wait(verb) | Command::Container(ContainerCommand::Wait(verb)) => verb.execute(context),
        Command::Restart(verb) | Command::Container(ContainerCommand::Restart(verb)) => verb.execute(context),
        Command::Rename(verb) | Command::Container(ContainerCommand::Rename(verb)) => verb.execute(context),
        Command::Pause(verb) | Command::Container(ContainerCommand::Pause(verb)) => verb.execute(context),
        Command::Unpause(verb) | Command::Container(ContainerCommand::Unpause(verb)) => verb.execute(context),
        Command::Exec(verb) | Command::Container(ContainerCommand::Exec(verb)) => verb.execute(context),
        Command::Attach(verb) | Command::Container(ContainerCommand::Attach(verb)) => verb.execute(context),
        Command::Ps(verb) | Command::Container(ContainerCommand::Ls(verb)) => verb.execute(context),
        Command::Rm(verb) | Command::Container(ContainerCommand::Rm(verb)) => verb.execute(context),
        Command::Update(verb) | Command::Container(ContainerCommand::Update(verb)) => verb.execute(context),
        Command::Logs(verb) | Command::Container(ContainerCommand::Logs(verb)) => verb.execute(context),
        Command::Cp(verb) | Command::Container(ContainerCommand::Cp(verb)) => verb.execute(context),
        Command::Diff(verb) | Command::Container(ContainerCommand::Diff(verb)) => verb.execute(context),
        Command::Export(verb) | Command::Container(ContainerCommand::Export(verb)) => verb.execute(context),
        Command::Import(verb) | Command::Image(ImageCommand::Import(verb)) => verb.execute(context),
        Command::Commit(verb) | Command::Container(ContainerCommand::Commit(verb)) => verb.execute(context),
        Command::History(verb) | Command::Image(ImageCommand::History(verb)) => verb.execute(context),
        Command::Inspect(verb) => verb.execute(context, system::Of::Either),
        Command::Container(ContainerCommand::Inspect(verb)) => verb.execute(context, system::Of::Containers),
        Command::Image(ImageCommand::Inspect(verb)) => verb.execute(context, system::Of::Images),
        Command::Pull(verb) | Command::Image(ImageCommand::Pull(verb)) => verb.execute(context),
        Command::Push(verb) | Command::Image(ImageCommand::Push(verb)) => verb.execute(context),
        Command::Images(verb) | Command::Image(ImageCommand::Ls(verb)) => verb.execute(context),
        Command::Rmi(verb) | Command::Image(ImageCommand::Rm(verb)) => verb.execute(context),
        Command::Tag(verb) | Command::Image(ImageCommand::Tag(verb)) => verb.execute(context),
        Command::Load(verb) | Command::Image(ImageCommand::Load(verb)) => verb.execute(context),
        Command::Save(verb) | Command::Image(ImageCommand::Save(verb)) => verb.execute(context),
        Command::Top(verb) | Command::Container(ContainerCommand::Top(verb)) => verb.execute(context),
        Command::Stats(verb) | Command::Container(ContainerCommand::Stats(verb)) => verb.execute(context),
        Command::Container(ContainerCommand::Prune(verb)) => verb.execute(context),
        Command::Image(ImageCommand::Prune(verb)) => verb.execute(context),
        Command::Volume(verb) => verb.execute(context),
        Command::Info(verb) | Command::System(SystemCommand::Info(verb)) => verb.execute(context),
        Command::System(SystemCommand::Df(verb)) => verb.execute(context),
        Command::System(SystemCommand::Prune(verb)) => verb.execute(context),
        Command::System(SystemCommand::Start(verb)) => verb.execute(context),
        Command::System(SystemCommand::Events(verb)) => verb.execute(context),
        Command::Oci(words) => Ok(words.execute(context)),
        Command::Generate(verb) => verb.execute(context),
        Command::Events(verb) => verb.execute(context),
        Command::Fsck(verb) => verb.execute(context),
        Command::Doctor(verb) => verb.execute(context),
        Command::Demo(verb) => verb.execute(context),
        Command::Version(verb) => verb.execute(context),
        Command::Completion(verb) => verb.execute(context),
        Command::Man(verb) => verb.execute(context),
    }
}
