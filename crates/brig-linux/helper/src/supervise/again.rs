//! Starting the payload again after its end, as the restart policy says.
//!
//! Between two payloads the supervisor goes on as before, without a session of the payload: it answers, waits out the
//! backoff, and gives up when somebody stops the container meanwhile. Mounts and cgroups are made anew for each payload,
//! from the same plan.

use std::time::Instant;

use brig_runtime::exit::{CODE_ENGINE, ExitReason, ExitStatus};
use brig_runtime::plan::{Plan, RootFs};
use brig_runtime::protocol::StepError;
use brig_runtime::record::ProcessId;
use brig_runtime::remove::remove_tree;
use brig_runtime::restart::Backoff;

use super::birth::step;
use super::ending::Ended;
use super::server::{MAIN, Server, Timers};
use super::session::{Pipes, Session};
use super::sys;
use crate::enter::{self, Payload};

/// What is known about restarts.
#[derive(Debug)]
pub(super) struct Again {
    backoff: Backoff,
    /// How often the payload was started again since somebody started the container.
    pub(super) count: u32,
    /// When the present payload was started, or the last one.
    pub(super) started: Instant,
    /// The container is to end: whatever the policy says, the payload isn't started again.
    pub(super) over: bool,
    /// It was a user who ended it.
    pub(super) by_user: bool,
    /// Who starts the container again when it has ended.
    pub(super) successor: Option<ProcessId>,
}

impl Default for Again {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            count: 0,
            started: Instant::now(),
            over: false,
            by_user: false,
            successor: None,
        }
    }
}

/// Makes the payload, and the supervisor's ends of its streams.
pub(super) fn make_payload(plan: &Plan) -> Result<(Payload, Pipes), StepError> {
    let pipes = match plan.supervisor.tty {
        Some(_) => Pipes::none(),
        None => Pipes::new(plan.supervisor.stdin_open),
    };
    let (pipes, io) = pipes.map_err(|error| step("make pipes", None, &error))?;
    Ok((enter::start(plan, io)?, pipes))
}

impl Server {
    /// The container is to end.
    pub(super) fn end_for_good(&mut self, by_user: bool) {
        self.again.over = true;
        self.again.by_user |= by_user;
    }

    /// Whether the policy starts the payload again that has ended so; then that is set up.
    pub(super) fn will_come_again(&mut self, status: &ExitStatus) -> bool {
        let again = &mut self.again;
        if again.over || !self.plan.supervisor.restart.again(status, again.count) {
            return false;
        }
        let wait = again.backoff.next(again.started.elapsed());
        self.timers = Timers {
            restart: Instant::now().checked_add(wait),
            accept: self.timers.accept,
            moves: self.timers.moves,
            ..Timers::default()
        };
        true
    }

    /// Starts the payload again. One that can't be started has ended, with the error as its status.
    pub(super) fn revive(&mut self) -> Option<Ended> {
        self.again.count += 1;
        self.again.started = Instant::now();
        let made = forget_volatile(&self.plan).and_then(|()| make_payload(&self.plan));
        match made.and_then(|(payload, pipes)| self.take_over(payload, pipes)) {
            Ok(session) => {
                self.sessions.insert(0, session);
                self.timers.timeout = self.timeout_from_now();
                self.watch_health();
                None
            }
            Err(error) => {
                self.clean_up();
                let status = ExitStatus::exited(if error.code == 0 { CODE_ENGINE } else { error.code });
                let status = status.clone().because(ExitReason::StartFailed, status.code);
                self.over_or_again(status.with_message(error.to_string()))
            }
        }
    }

    fn take_over(&mut self, payload: Payload, pipes: Pipes) -> Result<Session, StepError> {
        let process = ProcessId::of(payload.pid);
        let session = Session::new(MAIN, payload, pipes)
            .map_err(|error| step("take over the payload's streams", None, &error))?;
        match process {
            Ok(process) => self.journal.running_again(process, self.again.count),
            Err(error) => {
                sys::kill_and_reap(std::os::fd::AsFd::as_fd(&session.payload.pidfd));
                return Err(step("find the payload in /proc", None, &error));
            }
        }
        self.journal.started();
        Ok(session)
    }
}

/// A volatile overlay isn't mounted a second time: its marker would say that a crash may have lost what was written. It
/// was unmounted in order, by this process.
fn forget_volatile(plan: &Plan) -> Result<(), StepError> {
    let RootFs::Overlay { work: Some(work), options, .. } = &plan.payload.root else { return Ok(()) };
    if !options.iter().any(|option| option == "volatile") {
        return Ok(());
    }
    let marker = work.join("work/incompat");
    remove_tree(&marker, &[]).map_err(|error| step("remove", Some(&marker), &error))
}
