//! What clients ask for, one method a request.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use brig_runtime::protocol::{
    CHANNEL_CONTROL, CHANNEL_STDIN, ExecRequest, PROTOCOL_VERSION, ProtocolError, Request, Response,
    StepError,
};
use brig_runtime::record::ProcessId;
use brig_runtime::{ContainerSpec, State};

use super::birth::step;
use super::connection::{Bound, Connection};
use super::server::{MAIN, Server};
use super::session::{Pipes, Session};
use super::sys;
use crate::enter;

/// Processes that `exec` may run at a time.
const MAX_EXECS: usize = 256;
/// The greatest number of a signal.
const MAX_SIGNAL: i32 = 64;

/// An answer: what to say, or nothing yet.
type Answer = Result<Option<Response>, ProtocolError>;

fn done() -> Answer {
    Ok(Some(Response::Ok))
}

fn refuse(code: &str, message: impl Into<String>) -> Answer {
    Err(ProtocolError::new(code, message))
}

impl Server {
    /// Takes the frames that this client has sent, as many as can be used now.
    pub(super) fn take_frames(&mut self, index: usize) {
        while self.can_use_frames(&self.connections[index]) {
            let connection = &mut self.connections[index];
            match connection.decoder.next_frame() {
                Ok(None) => return,
                Ok(Some((CHANNEL_CONTROL, json))) => {
                    let request = serde_json::from_slice::<Request>(json);
                    self.take_request(index, request);
                }
                Ok(Some((CHANNEL_STDIN, data))) => {
                    if let Bound::To { session, stdin: true } = connection.bound
                        && let Some(session) = self.sessions.iter_mut().find(|s| s.id == session)
                    {
                        if data.is_empty() { session.end_input() } else { session.feed(data) }
                    }
                }
                // Not this protocol: nothing that follows can be trusted.
                Ok(Some(_)) | Err(_) => connection.gone = true,
            }
        }
    }

    fn take_request(&mut self, index: usize, request: Result<Request, serde_json::Error>) {
        let answer = match request {
            Ok(request) => self.carry_out(index, request),
            Err(error) => refuse("invalid", format!("the request isn't understood: {error}")),
        };
        let connection = &mut self.connections[index];
        match answer {
            Ok(Some(response)) => connection.respond(&response),
            Ok(None) => {}
            Err(error) => connection.respond(&Response::Error(error)),
        }
    }

    fn carry_out(&mut self, index: usize, request: Request) -> Answer {
        match request {
            Request::Status => self.status(),
            Request::Wait => self.wait(index),
            Request::Signal { signal } => self.signal(signal),
            Request::Stop { signal, grace_ms, successor } => self.stop(index, signal, grace_ms, successor),
            Request::Attach { stdin } => self.attach(index, stdin),
            Request::Resize { rows, cols } => self.resize(index, rows, cols),
            Request::Exec(request) => self.exec(index, &request),
            Request::Pause => self.pause(),
            Request::Resume => self.resume(),
            Request::Reload { settings } => self.reload(settings),
            _ => refuse("unsupported", "this container's supervisor is older than the request"),
        }
    }

    fn status(&mut self) -> Answer {
        Ok(Some(Response::Status {
            protocol: PROTOCOL_VERSION,
            state: self.journal.state(),
            payload: self.journal.payload(),
            warnings: self.journal.warnings().to_vec(),
        }))
    }

    fn wait(&mut self, index: usize) -> Answer {
        self.connections[index].waits += 1;
        Ok(None)
    }

    fn signal(&mut self, signal: i32) -> Answer {
        check_signal(signal)?;
        // As in docker: who kills a container, or sends it what asks it to stop, doesn't want it back.
        if [libc::SIGKILL, self.plan.supervisor.stop_signal].contains(&signal) {
            self.end_for_good(true);
            if self.main().is_none() {
                return done();
            }
        }
        match self.signal_payload(signal) {
            Ok(()) => done(),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                refuse("not_running", "the payload has ended")
            }
            Err(error) => refuse("failed", format!("can't send signal {signal}: {error}")),
        }
    }

    fn stop(&mut self, index: usize, signal: i32, grace_ms: u64, successor: Option<ProcessId>) -> Answer {
        check_signal(signal)?;
        self.end_for_good(true);
        self.again.successor = successor;
        self.begin_stop(signal, Duration::from_millis(grace_ms));
        self.wait(index)
    }

    fn attach(&mut self, index: usize, stdin: bool) -> Answer {
        self.bind_to(index, MAIN, stdin && self.plan.supervisor.stdin_open)?;
        self.journal.event("attach", &[]);
        done()
    }

    fn bind_to(&mut self, index: usize, session: u32, stdin: bool) -> Result<(), ProtocolError> {
        let connection = &mut self.connections[index];
        if connection.bound != Bound::Free {
            return Err(ProtocolError::new("invalid", "this connection is attached already"));
        }
        connection.bound = Bound::To { session, stdin };
        Ok(())
    }

    fn resize(&mut self, index: usize, rows: u16, cols: u16) -> Answer {
        let session = match self.connections[index].bound {
            Bound::To { session, .. } => session,
            Bound::Free => MAIN,
        };
        let Some(pty) = self.session(session).and_then(|session| session.payload.pty.as_ref()) else {
            return refuse("invalid", "the process has no terminal");
        };
        match sys::set_window_size(pty.as_fd(), rows, cols) {
            Ok(()) => done(),
            Err(error) => refuse("failed", format!("can't set the size of the terminal: {error}")),
        }
    }

    fn exec(&mut self, index: usize, request: &ExecRequest) -> Answer {
        self.may_exec(&self.connections[index])?;
        let listened = !request.detach && !request.tty;
        let failed =
            |error: std::io::Error| ProtocolError::new("failed", format!("can't make pipes: {error}"));
        let (pipes, io) = if listened { Pipes::new(request.stdin) } else { Pipes::none() }.map_err(failed)?;
        let id = self.next_session();
        let name = id.to_string();
        let command = request.args.join(" ");
        self.journal.event("exec_create", &[("execID", &name), ("command", &command)]);
        let main = self.main().ok_or_else(restarting)?;
        let payload = enter::exec(&self.plan, &main.payload, request, io).map_err(exec_error)?;
        self.journal.event("exec_start", &[("execID", &name), ("command", &command)]);
        let pid = payload.pid;
        self.sessions.push(Session::new(id, payload, pipes).map_err(failed)?);
        if !request.detach {
            self.bind_to(index, id, request.stdin)?;
            self.connections[index].patient = true;
        }
        Ok(Some(Response::Started { pid }))
    }

    fn may_exec(&self, connection: &Connection) -> Result<(), ProtocolError> {
        let refused = |code, message: &str| Err(ProtocolError::new(code, message));
        if self.journal.state() == State::Paused {
            return refused("paused", "the container is paused: unpause it first");
        }
        if self.main().is_none() {
            return Err(restarting());
        }
        if self.sessions.len() > MAX_EXECS {
            return refused("busy", "too many processes were brought into this container");
        }
        if connection.bound != Bound::Free {
            return refused("invalid", "this connection is attached already");
        }
        Ok(())
    }

    fn pause(&mut self) -> Answer {
        if self.journal.state() == State::Paused {
            return refuse("paused", "the container is paused already");
        }
        if self.main().is_none() {
            return Err(restarting());
        }
        self.freeze(self.pause_all(), State::Paused, "pause")
    }

    fn resume(&mut self) -> Answer {
        if self.journal.state() != State::Paused {
            return refuse("invalid", "the container isn't paused");
        }
        self.freeze(self.resume_all(), State::Running, "unpause")
    }

    fn reload(&mut self, settings: Vec<(PathBuf, String)>) -> Answer {
        let path = self.plan.supervisor.dir.join("spec.json");
        let spec =
            ContainerSpec::read(&path).map_err(|error| ProtocolError::new("failed", error.to_string()))?;
        let plan = &mut self.plan.supervisor;
        plan.restart = spec.restart;
        plan.name_file.set_file_name(&spec.name);
        self.journal.rename(&spec.name);
        for (path, value) in settings {
            self.plan.payload.cgroup.set(&path, value);
        }
        done()
    }

    fn freeze(&mut self, changed: Result<(), StepError>, state: State, event: &str) -> Answer {
        changed.map_err(freeze_error)?;
        self.journal.change(state);
        self.journal.event(event, &[]);
        done()
    }

    fn pause_all(&self) -> Result<(), StepError> {
        enter::pause(&self.plan).or_else(|error| self.signal_engines(libc::SIGSTOP, error))
    }

    /// Lets a frozen container go on.
    pub(super) fn resume_all(&self) -> Result<(), StepError> {
        enter::resume(&self.plan).or_else(|error| self.signal_engines(libc::SIGCONT, error))
    }

    /// Without a cgroup: an engine process stands still at a signal, too. It is alone, and can't do anything about it.
    fn signal_engines(&self, signal: i32, error: StepError) -> Result<(), StepError> {
        if error.errno != libc::EOPNOTSUPP || self.plan.supervisor.kind != "wasm" {
            return Err(error);
        }
        for session in &self.sessions {
            sys::signal_process(session.payload.pidfd.as_fd(), signal)
                .map_err(|error| step("send a signal to the engine", None, &error))?;
        }
        Ok(())
    }
}

fn freeze_error(error: StepError) -> ProtocolError {
    if error.errno == libc::EOPNOTSUPP {
        let why = "a container is frozen by its cgroup, and this user has none; start it in a delegated one, as by \
                   `systemd-run --user --scope -p Delegate=yes`";
        return ProtocolError::new("unsupported", why);
    }
    ProtocolError::new("failed", error.to_string())
}

fn restarting() -> ProtocolError {
    ProtocolError::new("not_running", "the container is restarting: wait until it runs")
}

fn check_signal(signal: i32) -> Result<(), ProtocolError> {
    if (1..=MAX_SIGNAL).contains(&signal) {
        return Ok(());
    }
    Err(ProtocolError::new("invalid", format!("there is no signal {signal}")))
}

fn exec_error(error: StepError) -> ProtocolError {
    let code = match error.code {
        brig_runtime::exit::CODE_NOT_FOUND => "not_found",
        brig_runtime::exit::CODE_NOT_RUNNABLE => "not_runnable",
        _ => "failed",
    };
    ProtocolError::new(code, error.to_string())
}
