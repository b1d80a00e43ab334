//! `run` and `create`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use brig_engine::blocking::Engine;
use brig_engine::{
    ContainerInfo, CreateOptions, Error, ErrorKind, Isolation, Kind, Limits, Network, Platform, Result,
    VolumeSource, Wanted,
};
use clap::{Args, ValueEnum};

use super::flags::{BlockFlags, CidFile, FileFlags, LimitFlags, LogFlags, MountFlags, TuningFlags};
use super::supervision::SupervisionFlags;
use super::values::parse_duration;
use super::{Context, image, notices};
use crate::attach;
use crate::{error, output, terminal};

/// Flags of `run` and `create`.
#[derive(Args, Debug)]
pub(crate) struct ContainerFlags {
    /// Give the container a name
    #[arg(long)]
    name: Option<String>,
    /// Set an environment variable; a bare NAME takes yours
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    #[command(flatten)]
    mounts: MountFlags,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Host name [default: the short id]
    #[arg(long = "hostname", value_name = "NAME")]
    hostname: Option<String>,
    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Network: a loopback of its own, or the host's
    #[arg(long, visible_alias = "net", value_enum, default_value_t = NetworkFlag::None)]
    network: NetworkFlag,
    /// Choose an image by platform, such as linux/amd64 or wasi/wasm
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Run as `linux` or `wasm`, whatever the image says
    #[arg(long, value_name = "NAME")]
    runtime: Option<String>,
    /// What surrounds a wasm container
    #[arg(long, value_enum, default_value_t = IsolationFlag::Process)]
    isolation: IsolationFlag,
    #[command(flatten)]
    limits: LimitFlags,
    #[command(flatten)]
    block: BlockFlags,
    #[command(flatten)]
    tuning: TuningFlags,
    /// Kill the container after this time, such as 10s or 1m30s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    files: FileFlags,
    /// Attach metadata
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Security options: no-new-privileges, seccomp=unconfined|FILE
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    #[command(flatten)]
    supervision: SupervisionFlags,
    /// Give the container a terminal
    #[arg(short, long)]
    tty: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// When to pull the image first
    #[arg(long, value_enum, default_value_t = PullPolicy::Missing)]
    pull: PullPolicy,
    /// Say nothing about a pull
    #[arg(short, long)]
    quiet: bool,
    /// Image, or the path of a .wasm file
    image: String,
    /// Command and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// `--network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkFlag {
    /// A loopback of its own.
    None,
    /// The host's.
    Host,
}

/// `--isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IsolationFlag {
    /// A sandboxed engine process for each container.
    Process,
}

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Always.
    Always,
    /// When it isn't in the store.
    Missing,
    /// Never.
    Never,
}

/// Create and run a new container from an image
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: the program's own; 124 time ran out, 125 brig failed, 126 not runnable, 127 not
found, 134 a wasm trap, 137 memory ran out or killed, 128+n signal n."
)]
pub(crate) struct Run {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    foreground: attach::Foreground,
    #[command(flatten)]
    flags: ContainerFlags,
}

/// Create a new container
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    flags: ContainerFlags,
}

impl Create {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let image = ImageWay::of(&self.flags);
        let options = self.flags.into_options(self.rm, false)?;
        let container = image.create(context, &engine, &options)?;
        if terminal::stderr_is_terminal() {
            notices::say_network_once(&engine, &container);
            notices::say_walls_once(&engine, &container);
        }
        output::line(&container.spec.id)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Run {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let format = context.globals.error_format();
        // From here on the exit code is the payload's, so brig's own failures have codes of their own.
        Ok(self.run(context).unwrap_or_else(|error| error::report_run(&error, format)))
    }

    fn run(self, context: &Context) -> Result<ExitCode> {
        let detach = self.detach;
        if self.flags.tty && self.flags.interactive && !detach && !terminal::stdin_is_terminal() {
            let reason = "standard input is not a terminal: leave out -t, or run it from one";
            return Err(Error::Unsupported { what: "-t".into(), reason: reason.into() });
        }
        let engine = context.engine()?;
        let image = ImageWay::of(&self.flags);
        let options = self.flags.into_options(self.rm, true)?;
        let container = image.create(context, &engine, &options)?;
        if !detach && terminal::stderr_is_terminal() {
            notices::say_network_once(&engine, &container);
        }
        // Whoever looks: it is about walls.
        notices::say_walls_once(&engine, &container);
        if detach {
            engine.start(&container, None)?;
            output::line(&container.spec.id)?;
            return Ok(ExitCode::SUCCESS);
        }
        attach::start(&engine, &container, true, &self.foreground)
    }
}

/// How a container comes from its image.
struct ImageWay {
    pull: PullPolicy,
    quiet: bool,
    cid_file: Option<PathBuf>,
}

impl ImageWay {
    fn of(flags: &ContainerFlags) -> Self {
        Self { pull: flags.pull, quiet: flags.quiet, cid_file: flags.files.cid_file() }
    }

    /// Creates the container, and writes its id down where that is asked for.
    fn create(&self, context: &Context, engine: &Engine, options: &CreateOptions) -> Result<ContainerInfo> {
        let Some(path) = &self.cid_file else { return self.create_or_pull(context, engine, options) };
        let file = CidFile::take(path)?;
        match self.create_or_pull(context, engine, options) {
            Ok(container) => file.keep(&container.spec.id).map(|()| container),
            Err(error) => {
                file.discard();
                Err(error)
            }
        }
    }

    /// Creates the container; pulls the image first where that is asked for or needed.
    fn create_or_pull(
        &self,
        context: &Context,
        engine: &Engine,
        options: &CreateOptions,
    ) -> Result<ContainerInfo> {
        self.pull_mounted(context, engine, options)?;
        if self.pull == PullPolicy::Always && !engine.is_wasm_file(&options.image) {
            self.pull(context, engine, options)?;
        }
        let missing = match engine.create(options) {
            Err(error) if self.pull == PullPolicy::Missing && is_missing(&error) => error,
            result => return result,
        };
        if missing.kind() == ErrorKind::NotFound && !self.quiet {
            output::note(&format!("Unable to find image '{}' locally", options.image));
        }
        self.pull(context, engine, options)?;
        engine.create(options)
    }

    /// Pulls the images that are to be mounted, by the same rules.
    fn pull_mounted(&self, context: &Context, engine: &Engine, options: &CreateOptions) -> Result<()> {
        let wanted = Wanted::default();
        for volume in &options.volumes {
            let VolumeSource::Image(name) = &volume.source else { continue };
            match self.pull {
                PullPolicy::Never => continue,
                PullPolicy::Missing if engine.has_image(name, &wanted)? => continue,
                PullPolicy::Missing if !self.quiet => {
                    output::note(&format!("Unable to find image '{name}' locally"));
                }
                PullPolicy::Missing | PullPolicy::Always => {}
            }
            image::pull(context, engine, name, &wanted, self.quiet)?;
        }
        Ok(())
    }

    fn pull(&self, context: &Context, engine: &Engine, options: &CreateOptions) -> Result<()> {
        image::pull(context, engine, &options.image, &options.wanted, self.quiet).map(drop)
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::ImageNotFound { .. } | Error::Incomplete { .. })
}

impl ContainerFlags {
    fn into_options(self, auto_remove: bool, start_follows: bool) -> Result<CreateOptions> {
        let kind = self.runtime.as_deref().map(kind).transpose()?;
        let mounts = self.mounts.mounts()?;
        let mut tuning = self.tuning.tuning()?;
        tuning.tmpfs.extend(mounts.tmpfs);
        let limits = self.limits.changes().apply(&Limits::default());
        Ok(CreateOptions {
            image: self.image,
            wanted: Wanted { platform: self.platform, kind },
            name: self.name,
            args: self.args,
            entrypoint: self.entrypoint,
            env: self.files.env(self.env)?,
            volumes: mounts.volumes,
            volumes_from: mounts.volumes_from,
            workdir: self.workdir,
            user: self.user,
            hostname: self.hostname,
            read_only: self.read_only,
            network: match self.network {
                NetworkFlag::None => Network::None,
                NetworkFlag::Host => Network::Host,
            },
            isolation: match self.isolation {
                IsolationFlag::Process => Isolation::Process,
            },
            limits: Limits {
                memory_swappiness: self.tuning.swappiness()?,
                timeout_ms: self.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
                block_io: self.block.block_io(limits.block_io.weight),
                ..limits
            },
            tuning,
            stop_signal: self.tuning.stop_signal()?,
            stop_timeout: self.tuning.stop_timeout(),
            log: self.log.config()?,
            labels: labels(&self.files.labels(&self.label)?),
            restart: self.supervision.restart,
            health: self.supervision.health(),
            init: self.supervision.init,
            security_opt: self.security_opt,
            tty: self.tty,
            interactive: self.interactive,
            auto_remove,
            start_follows,
        })
    }
}

fn kind(name: &str) -> Result<Kind> {
    Kind::from_runtime_name(name).ok_or_else(|| Error::Invalid {
        what: "runtime",
        value: name.into(),
        problem: "the runtimes are `linux` and `wasm` (docker's and containerd's names are understood)"
            .into(),
    })
}

fn labels(given: &[String]) -> BTreeMap<String, String> {
    let split = |label: &String| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        (key.to_owned(), value.to_owned())
    };
    given.iter().map(split).collect()
}
