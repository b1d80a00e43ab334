//! The foreground: this terminal as the standard streams of a process in a container, until one of them is done.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::client::{AttachEnd, AttachIo, ClientError, Supervisor, Wake, WakeAction};
use brig_engine::protocol::Request;
use brig_engine::{AttachOptions, ContainerInfo, Error, ExecOptions, ExitStatus, Result};
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::{output, terminal};

/// The signals that a foreground container gets in brig's place.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// How the foreground behaves, for the verbs that have one.
#[derive(Args, Clone, Debug)]
pub(crate) struct Foreground {
    /// Keys that leave the container running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = parse_keys)]
    detach_keys: DetachKeys,
    /// Pass signals on to the program
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
}

/// Keys that leave the container running.
#[derive(Args, Clone, Debug)]
pub(crate) struct Keys {
    /// Keys that leave the program running, such as ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = parse_keys)]
    detach_keys: DetachKeys,
}

/// The bytes that these keys send.
#[derive(Clone, Debug)]
pub(crate) struct DetachKeys(Vec<u8>);

impl From<Keys> for Foreground {
    fn from(keys: Keys) -> Self {
        Self { detach_keys: keys.detach_keys, sig_proxy: true }
    }
}

/// docker's notation: characters, and `ctrl-` with a letter or one of `@ [ \\ ] ^ _`, with commas between.
fn parse_keys(text: &str) -> std::result::Result<DetachKeys, String> {
    let key = |key: &str| match key.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', byte @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => {
            Some(byte.to_ascii_uppercase() & 0x1f)
        }
        _ => None,
    };
    let keys = text.split(',').map(key).collect::<Option<Vec<u8>>>();
    keys.filter(|keys| !keys.is_empty())
        .map(DetachKeys)
        .ok_or_else(|| "give characters or ctrl-LETTER, with commas between".into())
}

/// Starts a created or stopped container in the foreground, with input if it takes any and is to have it.
pub(crate) fn start(
    engine: &Engine,
    container: &ContainerInfo,
    stdin: bool,
    foreground: &Foreground,
) -> Result<ExitCode> {
    // Before the start: a signal between the start and the handlers would kill brig, not the payload.
    let signals = Signals::listen()?;
    let stdin = stdin && container.spec.stdin_open;
    // Before the start, too: nothing has been started when it fails.
    let raw = raw(container.spec.tty && stdin)?;
    let options = AttachOptions { stdin, size: terminal::size().filter(|_| container.spec.tty) };
    let supervisor = engine.start(container, Some(&options))?;
    let target = Target::main(container, stdin, foreground);
    pump(engine, supervisor, &target, signals, raw)
}

/// Attaches to a running container.
pub(crate) fn attach(engine: &Engine, name: &str, stdin: bool, foreground: &Foreground) -> Result<ExitCode> {
    let signals = Signals::listen()?;
    let container = engine.container(name)?;
    let stdin = stdin && container.spec.stdin_open;
    let mut supervisor = engine.attach(&container, stdin)?;
    if let (true, Some((rows, cols))) = (container.spec.tty, terminal::size()) {
        supervisor.resize(rows, cols).map_err(failed(&container.spec.name))?;
    }
    let target = Target::main(&container, stdin, foreground);
    let raw = raw(target.tty && stdin)?;
    pump(engine, supervisor, &target, signals, raw)
}

/// Runs another process in a running container.
pub(crate) fn exec(engine: &Engine, name: &str, mut options: ExecOptions, keys: &Keys) -> Result<ExitCode> {
    let signals = Signals::listen()?;
    options.size = terminal::size().filter(|_| options.tty);
    let (tty, stdin, detach) = (options.tty, options.interactive, options.detach);
    let raw = raw(tty && stdin && !detach)?;
    let supervisor = engine.exec(name, &options)?;
    if detach {
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target { name, tty, stdin, forward: false, keys: &keys.detach_keys.0 };
    pump(engine, supervisor, &target, signals, raw)
}

/// The terminal as the process in the container expects it, where it is one.
fn raw(wanted: bool) -> Result<Option<terminal::Raw>> {
    if wanted { terminal::Raw::enter().map_err(terminal_failed) } else { Ok(None) }
}

struct Target<'a> {
    name: &'a str,
    tty: bool,
    stdin: bool,
    /// Whether signals go to the container. One that is meant for a process of `exec` must not end the container: it
    /// ends brig, as it ends docker.
    forward: bool,
    /// What detaches, as bytes of a terminal.
    keys: &'a [u8],
}

impl<'a> Target<'a> {
    /// The payload itself.
    fn main(container: &'a ContainerInfo, stdin: bool, foreground: &'a Foreground) -> Self {
        Self {
            name: &container.spec.name,
            tty: container.spec.tty,
            stdin,
            forward: foreground.sig_proxy,
            keys: &foreground.detach_keys.0,
        }
    }
}

fn pump(
    engine: &Engine,
    mut supervisor: Supervisor,
    target: &Target<'_>,
    mut signals: Signals,
    raw: Option<terminal::Raw>,
) -> Result<ExitCode> {
    let stdin = io::stdin();
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let wake_fd = signals.descriptor()?;
    let mut woken = || signals.take(engine, target);
    let end = supervisor.pump(AttachIo {
        stdin: target.stdin.then(|| stdin.as_fd()),
        stdout: &mut out,
        stderr: &mut err,
        detach_keys: if raw.is_some() { target.keys } else { &[] },
        wake: Some(Wake { fd: wake_fd.as_fd(), woken: &mut woken }),
    });
    drop(raw);
    match end {
        Ok(AttachEnd::Exited(status)) => Ok(ExitCode::from(status.code)),
        Ok(AttachEnd::Detached) => {
            output::note("");
            Ok(signals.ended_by.map_or(ExitCode::SUCCESS, |signal| ExitStatus::signaled(signal).code.into()))
        }
        // The supervisor was killed, or the connection broke: the record tells the truth.
        Err(ClientError::Lost { source }) => match engine.container(target.name) {
            Ok(now) if !now.state.state.is_active() => {
                let code = now.state.exit.map_or(brig_engine::exit::CODE_ENGINE, |exit| exit.code);
                Ok(ExitCode::from(code))
            }
            _ => Err(failed(target.name)(ClientError::Lost { source })),
        },
        Err(error) => Err(failed(target.name)(error)),
    }
}

/// Signals to brig, collected until the loop takes them.
struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    /// The signal that ends brig.
    ended_by: Option<i32>,
}

impl Signals {
    fn listen() -> Result<Self> {
        let (read, write) = UnixStream::pair().map_err(terminal_failed)?;
        let signals = FORWARDED.into_iter().chain([SIGWINCH]);
        let delivery =
            SignalDelivery::with_pipe(read, write, SignalOnly, signals).map_err(terminal_failed)?;
        Ok(Self { delivery, ended_by: None })
    }

    /// What the loop waits on.
    fn descriptor(&self) -> Result<OwnedFd> {
        self.delivery.get_read().as_fd().try_clone_to_owned().map_err(terminal_failed)
    }

    /// Sends what came on to the container.
    fn take(&mut self, engine: &Engine, target: &Target<'_>) -> WakeAction {
        let mut action = WakeAction::Nothing;
        for signal in self.delivery.pending() {
            if signal == SIGWINCH {
                if let Some((rows, cols)) = terminal::size().filter(|_| target.tty) {
                    action = WakeAction::Send(Request::Resize { rows, cols });
                }
            } else if !target.forward {
                self.ended_by = Some(signal);
                action = WakeAction::Detach;
            } else {
                // A container that has just ended can't be signalled; its status is on the way.
                let _ = engine.kill(target.name, signal);
            }
        }
        action
    }
}

fn terminal_failed(source: io::Error) -> Error {
    Error::Io { action: "use the terminal", path: None, source }
}

fn failed(name: &str) -> impl FnOnce(ClientError) -> Error {
    let name = name.to_owned();
    move |source| Error::Client { name, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_dockers_notation() {
        let bytes = |text| parse_keys(text).map(|keys| keys.0);
        assert_eq!(bytes("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(bytes("a,b"), Ok(vec![b'a', b'b']));
        assert_eq!(bytes("ctrl-@,ctrl-[,ctrl-_"), Ok(vec![0, 27, 31]));
        for text in ["", "ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-aa"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
