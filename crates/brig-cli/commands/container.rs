//! Verbs on containers that exist.

use std::process::ExitCode;
use std::time::Duration;

use brig_engine::blocking::Engine;
use brig_engine::{ContainerInfo, Error, ExecOptions, HealthStatus, Result, State, Timestamp};
use clap::Args;

use super::values::signal;
use super::{Context, notices};
use crate::{attach, error, output, table, terminal};

/// Does something to each of several containers: prints the name of each that it was done to, goes on after a
/// failure, and fails at the end if there was one.
pub(crate) fn each(
    names: &[String],
    context: &Context,
    action: impl Fn(&str) -> Result<Option<String>>,
) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let done = action(name).and_then(|text| text.map_or(Ok(()), |text| output::line(&text)));
        if let Err(failure) = done {
            code = error::report(&failure, context.globals.error_format());
        }
    }
    code
}

/// Start stopped containers
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Attach this terminal to its output
    #[arg(short, long)]
    attach: bool,
    /// Attach standard input too
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    keys: attach::Keys,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Start {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        if self.attach || self.interactive {
            let format = context.globals.error_format();
            return Ok(self.attached(context).unwrap_or_else(|failure| error::report_run(&failure, format)));
        }
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| {
            let container = engine.container(name)?;
            // docker's answer to a running one is its name, too.
            if !container.state.state.is_active() {
                say_notices(&engine, &container);
                engine.start(&container, None)?;
            }
            Ok(Some(name.to_owned()))
        }))
    }

    /// The exit code is the payload's, so brig's own failures have codes of their own.
    fn attached(&self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let [name] = self.containers.as_slice() else {
            return Err(Error::Invalid {
                what: "containers",
                value: self.containers.join(" "),
                problem: "only one container can be attached to".into(),
            });
        };
        let container = engine.container(name)?;
        if container.state.state.is_active() {
            return attach::attach(&engine, name, self.interactive, &self.keys.clone().into());
        }
        say_notices(&engine, &container);
        attach::start(&engine, &container, self.interactive, &self.keys.clone().into())
    }
}

fn say_notices(engine: &Engine, container: &ContainerInfo) {
    if terminal::stderr_is_terminal() {
        notices::say_network_once(engine, container);
        notices::say_walls_once(engine, container);
    }
}

/// Stop running containers
#[derive(Args, Debug)]
pub(crate) struct Stop {
    /// Seconds to wait before killing; -1 is for ever [default: the container's --stop-timeout, or 10]
    #[arg(short, long, visible_alias = "timeout", allow_negative_numbers = true)]
    time: Option<i64>,
    /// Signal to ask with [default: the image's, or TERM]
    #[arg(short, long)]
    signal: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Stop {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let signal = self.signal.as_deref().map(signal).transpose()?;
        let grace = self.time.map(grace);
        Ok(each(&self.containers, context, |name| {
            match engine.stop(name, signal, grace) {
                // docker's answer to one that was never started is its name, too.
                Err(Error::WrongState { .. }) => {}
                stopped => drop(stopped?),
            }
            Ok(Some(name.to_owned()))
        }))
    }
}

/// docker's -1 waits for ever.
pub(super) fn grace(seconds: i64) -> Duration {
    u64::try_from(seconds).map_or(Duration::MAX, Duration::from_secs)
}

/// Kill running containers
#[derive(Args, Debug)]
pub(crate) struct Kill {
    /// Signal to send
    #[arg(short, long, default_value = "KILL")]
    signal: String,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Kill {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let signal = signal(&self.signal)?;
        Ok(each(&self.containers, context, |name| {
            engine.kill(name, signal)?;
            Ok(Some(name.to_owned()))
        }))
    }
}

/// Wait until containers stop, then print their exit codes
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Wait {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| Ok(Some(engine.wait(name)?.code.to_string()))))
    }
}

/// Run a command in a running container
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Don't wait for it
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User, and group, by name or number [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory [default: the container's]
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    keys: attach::Keys,
    /// Name or id
    container: String,
    /// Command and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let format = context.globals.error_format();
        Ok(self.run(context).unwrap_or_else(|failure| error::report_run(&failure, format)))
    }

    fn run(self, context: &Context) -> Result<ExitCode> {
        if self.tty && self.interactive && !self.detach && !terminal::stdin_is_terminal() {
            let reason = "standard input is not a terminal: leave out -t, or run it from one";
            return Err(Error::Unsupported { what: "-t".into(), reason: reason.into() });
        }
        let engine = context.engine()?;
        let options = ExecOptions {
            args: self.command,
            env: self.env,
            user: self.user,
            workdir: self.workdir,
            tty: self.tty,
            interactive: self.interactive,
            detach: self.detach,
            size: None,
        };
        attach::exec(&engine, &self.container, options, &self.keys)
    }
}

/// Attach this terminal to a running container
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// Don't attach standard input
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    foreground: attach::Foreground,
    /// Name or id
    container: String,
}

impl Attach {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let attached = context
            .engine()
            .and_then(|engine| attach::attach(&engine, &self.container, !self.no_stdin, &self.foreground));
        Ok(attached.unwrap_or_else(|failure| error::report_run(&failure, context.globals.error_format())))
    }
}

/// docker's words: `Up 3 seconds`, `Exited (0) 2 minutes ago`, `Created`.
pub(crate) fn status(container: &ContainerInfo) -> String {
    let since = |time: Option<Timestamp>| table::duration(time.map(Timestamp::elapsed).unwrap_or_default());
    match container.state.state {
        State::Running => format!("Up {}{}", since(container.state.started_at), health(container)),
        State::Restarting => {
            let code = container.state.exit.as_ref().map_or(0, |exit| exit.code);
            format!("Restarting ({code}) {} ago", since(container.state.finished_at))
        }
        State::Paused => format!("Up {} (Paused)", since(container.state.started_at)),
        State::Stopped => {
            let code = container.state.exit.as_ref().map_or(0, |exit| exit.code);
            format!("Exited ({code}) {} ago", since(container.state.finished_at))
        }
        State::Creating => "Creating".into(),
        State::Created => "Created".into(),
        State::Dead => "Dead".into(),
    }
}

fn health(container: &ContainerInfo) -> &'static str {
    match container.state.health.as_ref().map(|health| health.status) {
        None => "",
        Some(HealthStatus::Starting) => " (health: starting)",
        Some(HealthStatus::Healthy) => " (healthy)",
        Some(HealthStatus::Unhealthy) => " (unhealthy)",
    }
}

/// Remove containers
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Kill it first if it runs; don't complain if it isn't there
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Rm {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        Ok(each(&self.containers, context, |name| match engine.remove_with(name, self.force, self.volumes) {
            Err(Error::ContainerNotFound { .. }) if self.force => Ok(None),
            result => result.map(|()| Some(name.to_owned())),
        }))
    }
}
