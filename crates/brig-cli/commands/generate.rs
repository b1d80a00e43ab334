//! `generate`: what other programs need to look after containers.

use std::path::PathBuf;
use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{ContainerInfo, Error, RestartPolicy, Result};
use clap::{Args, Subcommand};

use super::Context;
use crate::args::Globals;
use crate::output;

/// Print what other programs need to look after containers
#[derive(Debug, Subcommand)]
pub(crate) enum Generate {
    /// Print systemd units: for containers, or for what `brig system start` starts
    Systemd(Systemd),
}

/// Print systemd units: for containers, or for what `brig system start` starts
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  brig generate systemd > /etc/systemd/system/brig.service       everything with a restart policy, at boot
  brig generate systemd web > /etc/systemd/system/brig-web.service   one container, as a service of its own
  brig generate systemd --files web db                           a file for each, here")]
pub(crate) struct Systemd {
    /// Write each unit to a file here, and print its path
    #[arg(short, long)]
    files: bool,
    /// The beginning of the units' names
    #[arg(long, value_name = "NAME", default_value = "brig")]
    container_prefix: String,
    /// Seconds to wait before killing at a stop [default: the container's, or 10]
    #[arg(short, long, visible_alias = "stop-timeout")]
    time: Option<u32>,
    /// systemd's restart policy
    #[arg(long, value_name = "POLICY", value_parser = ["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"])]
    restart_policy: Option<String>,
    /// Names or ids; none for the unit of `brig system start`
    containers: Vec<String>,
}

impl Generate {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        match self {
            Self::Systemd(verb) => verb.execute(context),
        }
    }
}

impl Systemd {
    fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let brig = Brig::of(&engine, &context.globals)?;
        let mut units = Vec::new();
        if self.containers.is_empty() {
            units.push((format!("{}.service", self.container_prefix), brig.boot_unit()));
        }
        for name in &self.containers {
            let container = engine.container(name)?;
            let file = format!("{}-{}.service", self.container_prefix, container.spec.name);
            units.push((file, self.unit(&brig, &container)?));
        }
        for (file, text) in units {
            if self.files {
                let path = std::path::absolute(&file).map_err(failed("find", &file))?;
                std::fs::write(&path, text).map_err(failed("write", &file))?;
                output::line(&path.display().to_string())?;
            } else {
                output::print(&text)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The service is the foreground client: it lives as long as the container, and ends with its code. The container has
    /// a supervisor of its own, so that systemd's restart and brig's must not both be at work.
    fn unit(&self, brig: &Brig, container: &ContainerInfo) -> Result<String> {
        let spec = &container.spec;
        if spec.auto_remove {
            let reason = "it is removed at its end (`--rm`), and the unit would start it a second time";
            return Err(Error::Unsupported {
                what: format!("a unit for `{}`", spec.name),
                reason: reason.into(),
            });
        }
        if spec.restart != RestartPolicy::No {
            let (name, policy) = (&spec.name, spec.restart);
            let reason = format!(
                "its restart policy is `{policy}`: systemd and its supervisor would both start it. \
                 `brig update --restart no {name}`, or the unit of `brig system start` (`brig generate systemd`)"
            );
            return Err(Error::Unsupported { what: format!("a unit for `{name}`"), reason });
        }
        let own = spec.stop_timeout.map_or(10, |seconds| i64::try_from(seconds).unwrap_or(-1));
        let grace = self.time.map_or(own, i64::from);
        let timeout = if grace < 0 { "infinity".to_owned() } else { grace.saturating_add(20).to_string() };
        let policy = self.restart_policy.as_deref().unwrap_or("on-failure");
        let (name, id, command) = (&spec.name, &spec.id, brig.command());
        Ok(format!(
            "[Unit]\n\
             Description=brig container {name}\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             RequiresMountsFor={}\n\
             \n\
             [Service]\n\
             Type=exec\n\
             ExecStart={command} start --attach {id}\n\
             ExecStop={command} stop --time {grace} {id}\n\
             SuccessExitStatus=143\n\
             Restart={policy}\n\
             TimeoutStopSec={timeout}\n\
             \n\
             [Install]\n\
             WantedBy={}\n",
            brig.mounts(),
            brig.target(),
        ))
    }
}

/// How a unit calls this brig.
struct Brig {
    program: PathBuf,
    root: PathBuf,
    run_root: PathBuf,
    /// Whether the roots have to be said.
    says_roots: bool,
    of_user: bool,
}

impl Brig {
    fn of(engine: &Engine, globals: &Globals) -> Result<Self> {
        let program = std::env::current_exe().map_err(failed("find", "/proc/self/exe"))?;
        let roots = engine.roots();
        Ok(Self {
            program,
            root: roots.root.clone(),
            run_root: roots.run_root.clone(),
            says_roots: globals.root.is_some() || globals.run_root.is_some(),
            of_user: !engine.is_root(),
        })
    }

    fn command(&self) -> String {
        let quoted = |path: &PathBuf| quote(&path.display().to_string());
        let program = quoted(&self.program);
        if self.says_roots {
            return format!("{program} --root {} --run-root {}", quoted(&self.root), quoted(&self.run_root));
        }
        program
    }

    fn mounts(&self) -> String {
        quote(&self.root.display().to_string())
    }

    fn target(&self) -> &'static str {
        if self.of_user { "default.target" } else { "multi-user.target" }
    }

    fn boot_unit(&self) -> String {
        let command = self.command();
        format!(
            "[Unit]\n\
             Description=brig containers with a restart policy\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             RequiresMountsFor={}\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart={command} system start\n\
             \n\
             [Install]\n\
             WantedBy={}\n",
            self.mounts(),
            self.target(),
        )
    }
}

/// systemd's quoting (systemd.syntax(7)): also of what it would take for a specifier or a variable.
fn quote(text: &str) -> String {
    let escaped = text.replace('%', "%%").replace('$', "$$");
    if escaped.chars().any(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '\\')) {
        return format!("\"{}\"", escaped.replace('\\', "\\\\").replace('"', "\\\""));
    }
    escaped
}

fn failed(action: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> Error {
    let path = Some(PathBuf::from(path));
    move |source| Error::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_systemd() {
        for (text, quoted) in [
            ("/usr/bin/brig", "/usr/bin/brig"),
            ("/a b/c", "\"/a b/c\""),
            ("/100%/$x", "/100%%/$$x"),
            ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }
}
