//! The supervisor: the small process that owns one container. `docs/supervisor.md` tells its life and its protocol.

mod again;
mod birth;
mod cgroup;
mod connection;
mod ending;
mod health;
mod journal;
mod log;
mod requests;
mod server;
mod session;
mod sys;
mod volumes;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use brig_runtime::plan::{LogPlan, Plan, SupervisorPlan};
use brig_runtime::protocol::{Birth, StepError, write_message};
use brig_runtime::record::{ProcessId, RecordError};

use again::Again;
use birth::step;
use cgroup::Moves;
use connection::{Bound, Connection};
use health::Watch;
use journal::Journal;
use log::Log;
use server::{MAIN, Server, Timers};
use session::{Pipes, Session};

use crate::enter::{self, Payload};

/// Becomes the supervisor of the container whose plan is on descriptor 0, with its creator on descriptor 1. Returns the
/// exit status.
pub(crate) fn run() -> libc::c_int {
    sys::keep_heap_small();
    let Ok(mut first) = birth::first_connection() else { return libc::EXIT_FAILURE };
    match born(&first) {
        Ok(mut server) => {
            drop(first);
            let ended = server.serve();
            server.finish(&ended);
            libc::EXIT_SUCCESS
        }
        Err(error) => {
            // The creator may be gone: then there is nobody to tell.
            let _ = write_message(&mut first, &Birth::Failed(error));
            libc::EXIT_FAILURE
        }
    }
}

/// From the plan to a payload that runs, and to the first message about it.
fn born(first: &UnixStream) -> Result<Server, StepError> {
    let plan = birth::read_plan().map_err(|error| step("read the plan of the container", None, &error))?;
    let signals = birth::detach(first).map_err(|error| step("leave the caller's session", None, &error))?;
    let lock = birth::lock(&plan.supervisor)?;
    let log = open_log(&plan.supervisor)?;
    let events = &plan.supervisor.events;
    let journal = Journal::open(&plan.supervisor).map_err(|error| step("open", Some(events), &error))?;
    let listener = birth::bind(&plan.supervisor)?;
    let server = Start { plan, journal, log, lock, listener, signals };
    server.start(first)
}

fn open_log(plan: &SupervisorPlan) -> Result<Option<Log>, StepError> {
    let path = plan.dir.join("log");
    let path = match plan.log {
        Some(LogPlan::Journald { .. }) => None,
        _ => Some(path.as_path()),
    };
    Log::open(plan).map_err(|error| step("open the log", path, &error))
}

/// A supervisor that has everything but a payload.
struct Start {
    plan: Plan,
    journal: Journal,
    log: Option<Log>,
    lock: brig_runtime::lock::SupervisorLock,
    listener: std::os::unix::net::UnixListener,
    signals: OwnedFd,
}

impl Start {
    fn start(mut self, first: &UnixStream) -> Result<Server, StepError> {
        let payload = again::make_payload(&self.plan);
        match payload.and_then(|(payload, pipes)| self.commit(payload, pipes, first)) {
            Ok((session, connection)) => Ok(self.into_server(session, connection)),
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    /// The payload runs: writes that down, then tells the creator. A payload that can't be written down is killed.
    fn commit(
        &mut self,
        payload: Payload,
        pipes: Pipes,
        first: &UnixStream,
    ) -> Result<(Session, Connection), StepError> {
        let pidfd = payload.pidfd.try_clone();
        let committed = self.write_down(payload, pipes, first);
        if let (Err(_), Ok(pidfd)) = (&committed, pidfd) {
            sys::kill_and_reap(pidfd.as_fd());
        }
        committed
    }

    fn write_down(
        &mut self,
        payload: Payload,
        pipes: Pipes,
        first: &UnixStream,
    ) -> Result<(Session, Connection), StepError> {
        let failed = |name| move |error: io::Error| step(name, None, &error);
        let process = ProcessId::of(payload.pid).map_err(failed("find the payload in /proc"))?;
        let session =
            Session::new(MAIN, payload, pipes).map_err(failed("take over the payload's streams"))?;
        self.journal
            .running(process, enter::cgroup_directories(&self.plan))
            .map_err(|error| record_error(&self.plan, &error))?;
        let stream = first.try_clone().map_err(failed("take over the first connection"))?;
        let mut connection = Connection::new(stream).map_err(failed("take over the first connection"))?;
        connection.say(&Birth::Running { payload: process });
        self.journal.started();
        Ok((session, connection))
    }

    fn into_server(self, session: Session, mut first: Connection) -> Server {
        let plan = &self.plan.supervisor;
        first.first = true;
        if plan.attach {
            first.bound = Bound::To { session: MAIN, stdin: plan.stdin_open };
            first.patient = true;
        }
        let moves = Moves::plan(&plan.cgroups, plan.attach);
        let mut server = Server {
            plan: self.plan,
            journal: self.journal,
            log: self.log,
            lock: self.lock,
            listener: self.listener,
            signals: self.signals,
            owner: sys::effective_uid(),
            sessions: vec![session],
            connections: vec![first],
            timers: Timers { moves, ..Timers::default() },
            again: Again::default(),
            watch: Watch::default(),
            last_session: MAIN,
            scratch: server::scratch(),
        };
        server.timers.timeout = server.timeout_from_now();
        server.watch_health();
        server
    }

    /// Removes what a failed start has made. The first error is the one to tell: what can't be removed is found by the
    /// next start, or by `rm`.
    fn undo(&mut self) {
        let _ = enter::cleanup(&self.plan);
        let _ = std::fs::remove_file(self.plan.supervisor.run_dir.join("sock"));
    }
}

fn record_error(plan: &Plan, error: &RecordError) -> StepError {
    let source = match error {
        RecordError::Io { source, .. } => source.raw_os_error(),
        _ => None,
    };
    let source = io::Error::from_raw_os_error(source.unwrap_or(libc::EIO));
    step("write", Some(&plan.supervisor.dir.join("state.json")), &source)
}
