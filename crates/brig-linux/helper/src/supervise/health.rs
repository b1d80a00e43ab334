//! Looking at the payload's health: a program that is run in the container now and then.
//!
//! One look at a time; the next one is due a while after the last has ended. A look that takes too long is killed and has
//! failed. While the container is frozen nobody looks.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use brig_runtime::exit::ExitStatus;
use brig_runtime::health::{Health, HealthResult, MAX_OUTPUT};
use brig_runtime::{State, Timestamp};

use super::server::Server;
use super::session::{Pipes, Session};
use super::sys;
use crate::enter;

/// What is known about looks at the payload's health.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the next look is due.
    next: Option<Instant>,
    look: Option<Look>,
}

/// A look that has begun.
#[derive(Debug)]
struct Look {
    session: u32,
    start: Timestamp,
    deadline: Option<Instant>,
    output: Vec<u8>,
}

impl Watch {
    /// When something is to be done.
    pub(super) fn timer(&self) -> Option<Instant> {
        match &self.look {
            Some(look) => look.deadline,
            None => self.next,
        }
    }

    /// Keeps output if it is that of the look.
    pub(super) fn hear(&mut self, session: u32, data: &[u8]) {
        if let Some(look) = self.look.as_mut().filter(|look| look.session == session) {
            let room = MAX_OUTPUT - look.output.len();
            look.output.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
}

impl Server {
    /// Begins anew, with a payload that was started just now.
    pub(super) fn watch_health(&mut self) {
        self.watch = Watch::default();
        if self.plan.supervisor.health.is_some() {
            self.journal.set_health(Health::default());
            self.plan_look();
        }
    }

    fn plan_look(&mut self) {
        let Some(plan) = &self.plan.supervisor.health else { return };
        let wait = plan.check.wait(self.journal.health(), self.again.started.elapsed());
        self.watch.next = Instant::now().checked_add(wait);
    }

    /// Begins a look that is due, or ends one that takes too long.
    pub(super) fn look_after_health(&mut self) {
        if self.watch.timer().is_none_or(|at| at > Instant::now()) || self.journal.state() != State::Running {
            return;
        }
        match &self.watch.look {
            Some(look) => {
                let session = look.session;
                if let Some(session) = self.session(session) {
                    // ESRCH: it has ended in this moment.
                    let _ = sys::signal_process(session.payload.pidfd.as_fd(), libc::SIGKILL);
                }
                let output = self.health_timeout().map(|time| {
                    format!("Health check exceeded timeout ({})", brig_runtime::time::in_words(time))
                });
                self.end_look(-1, output);
            }
            None => self.begin_look(),
        }
    }

    fn health_timeout(&self) -> Option<Duration> {
        let plan = self.plan.supervisor.health.as_ref()?;
        Some(Duration::from_millis(plan.check.timeout_ms))
    }

    fn begin_look(&mut self) {
        let Some(timeout) = self.health_timeout() else { return };
        let id = self.next_session();
        self.watch.look = Some(Look {
            session: id,
            start: Timestamp::now(),
            deadline: Instant::now().checked_add(timeout),
            output: Vec::new(),
        });
        match self.start_look(id) {
            Ok(session) => self.sessions.push(session),
            Err(why) => self.end_look(-1, Some(why)),
        }
    }

    fn start_look(&self, id: u32) -> Result<Session, String> {
        let (Some(plan), Some(main)) = (&self.plan.supervisor.health, self.main()) else {
            return Err("the payload has ended".into());
        };
        let (pipes, io) = Pipes::new(false).map_err(|error| format!("can't make pipes: {error}"))?;
        let payload = enter::exec(&self.plan, &main.payload, &plan.request, io);
        let payload = payload.map_err(|error| error.to_string())?;
        let mut session = Session::new(id, payload, pipes).map_err(|error| error.to_string())?;
        session.is_look = true;
        Ok(session)
    }

    /// A look has ended; one that was given up is nothing any more.
    pub(super) fn end_of_look(&mut self, session: u32, status: &ExitStatus) {
        if self.watch.look.as_ref().is_some_and(|look| look.session == session) {
            self.end_look(status.code.into(), None);
        }
    }

    /// The payload has ended: whatever the look would say is about the past.
    pub(super) fn forget_look(&mut self) {
        self.watch = Watch::default();
    }

    fn end_look(&mut self, exit_code: i32, why: Option<String>) {
        let (Some(look), Some(plan)) = (self.watch.look.take(), &self.plan.supervisor.health) else { return };
        let output = why.unwrap_or_else(|| String::from_utf8_lossy(&look.output).into_owned());
        let result = HealthResult { start: look.start, end: Timestamp::now(), exit_code, output };
        let mut health = self.journal.health().clone();
        let changed = health.take(&plan.check, result, self.again.started.elapsed());
        let event = format!("health_status: {}", health.status.as_str());
        self.journal.set_health(health);
        if changed {
            self.journal.event(&event, &[]);
        }
        self.plan_look();
    }
}
