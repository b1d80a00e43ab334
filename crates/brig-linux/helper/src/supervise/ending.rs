//! The end of a process: of an exec, which goes on, and of the payload, which is the end of everything.
//!
//! The order at the payload's end: its output is drained, the record is written, the container is cleaned up (and
//! removed, with `--rm`), then whoever waits is told, then the lock is released. So nobody who was told finds an older
//! state, and a start that comes at once waits for the lock.

use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};
use std::{fs, io};

use brig_runtime::exit::{CODE_MEMORY, CODE_TIMEOUT, ExitReason, ExitStatus};
use brig_runtime::plan::SupervisorPlan;
use brig_runtime::protocol::{ProtocolError, Request, Response};
use brig_runtime::remove::remove_tree;
use brig_runtime::{ContainerSpec, State};

use super::connection::{Bound, Connection};
use super::log::Stream;
use super::server::Server;
use super::sys;
use crate::{enter, init};

/// How long output is waited for that descendants of the payload may still write. With a pid namespace they are dead
/// before it is, and its pipes are closed.
const DRAIN: Duration = Duration::from_millis(100);
/// What a pipe can hold at most, in bytes: the kernel's `pipe-max-size`, unless root has raised it.
const MAX_PIPE: usize = 1024 * 1024;
/// How long a client that isn't patient may take to read what it was sent before the end.
const LINGER: Duration = Duration::from_secs(10);

/// How long a log may take to compress what it has rotated away, and to send what waits.
const LOG: Duration = Duration::from_secs(2);

/// How a container ended.
#[derive(Clone, Debug)]
pub(super) struct Ended(ExitStatus);

impl Server {
    /// An exec has ended: tells its client.
    pub(super) fn end_exec(&mut self, index: usize) {
        let Ok(Some(wait)) = sys::reap(self.sessions[index].payload.pidfd.as_fd()) else { return };
        self.drain_once(index);
        while self.sessions[index].read_report(&mut self.scratch) {}
        let session = self.sessions.remove(index);
        let status = session.explain(ExitStatus::from_wait(wait));
        if session.is_look {
            self.end_of_look(session.id, &status);
            return;
        }
        self.journal.event(
            "exec_die",
            &[("execID", &session.id.to_string()), ("exitCode", &status.code.to_string())],
        );
        for connection in self.connections.iter_mut().filter(|c| c.is_bound_to(session.id)) {
            connection.bound = Bound::Free;
            connection.respond(&Response::Exited { status: status.clone() });
        }
    }

    /// Reads the output that is there: no more than a pipe can hold, since descendants may go on writing.
    fn drain_once(&mut self, index: usize) {
        for stream in [Stream::Out, Stream::Err] {
            let mut left = MAX_PIPE;
            while left > 0 {
                match self.pump(index, stream) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
        }
    }

    /// The payload has ended. Says how if that is the end of the container, and nothing if its policy starts it again.
    pub(super) fn end_payload(&mut self) -> Option<Ended> {
        let reaped = self.main().map(|main| sys::reap(main.payload.pidfd.as_fd()));
        // Its pidfd says that it has ended, so that there is a status, unless somebody else has taken it.
        let wait = reaped.and_then(Result::ok).flatten().unwrap_or(libc::SIGKILL);
        self.drain();
        let status = self.exit_status(wait);
        // One that goes on says nothing about a payload that has ended.
        self.forget_look();
        self.end_execs();
        self.over_or_again(status)
    }

    /// What follows an end: another payload, or nothing.
    pub(super) fn over_or_again(&mut self, status: ExitStatus) -> Option<Ended> {
        let again = self.will_come_again(&status);
        if again {
            self.journal.restarting(status.clone());
        } else {
            self.journal.stopped(status.clone(), self.again.by_user, self.again.successor);
        }
        self.journal.ended(&status);
        if !again {
            return Some(Ended(status));
        }
        self.answer_everybody(&status);
        self.clean_up();
        self.let_mounts_go();
        None
    }

    /// Between two payloads: whether somebody has stopped the container.
    pub(super) fn gives_up(&mut self) -> Option<Ended> {
        if self.main().is_some() || !self.again.over {
            return None;
        }
        let status = self.journal.exit().unwrap_or_else(|| ExitStatus::signaled(libc::SIGKILL));
        self.journal.stopped(status.clone(), self.again.by_user, self.again.successor);
        Some(Ended(status))
    }

    /// The container has ended: everything in order. The supervisor has nothing to do afterwards.
    pub(super) fn finish(mut self, Ended(status): &Ended) {
        self.hear_the_last();
        let removed = self.plan.supervisor.auto_remove && self.again.successor.is_none();
        if removed {
            self.close_log(true);
            self.clean_up();
            self.remove();
        }
        self.answer_everybody(status);
        if !removed {
            self.clean_up();
            self.let_mounts_go();
            self.close_log(false);
        }
        let Self { lock, listener, connections, .. } = self;
        // Who has come too late sees it, and reads the record.
        drop((lock, listener));
        linger(connections);
    }

    /// Before the lock is released: the next supervisor rotates the same files.
    fn close_log(&mut self, removed: bool) {
        if let Some(Err(error)) = self.log.as_mut().map(|log| log.close(removed, LOG)) {
            self.journal.warn(error.to_string());
        }
    }

    /// Unmounts, which may sync a file system, before the same may be mounted again.
    fn let_mounts_go(&mut self) {
        self.sessions.drain(..).for_each(|session| drop(session.payload.mounts));
    }

    /// Reads until the pipes are closed, or for a short time when somebody holds them open.
    fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN;
        loop {
            self.drain_once(0);
            while self.sessions[0].read_report(&mut self.scratch) {}
            let rest = deadline.saturating_duration_since(Instant::now());
            let Some(session) = self.main() else { break };
            let open = [Stream::Out, Stream::Err].into_iter().filter_map(|stream| session.output(stream));
            let mut fds: Vec<_> = open.map(|file| sys::interest(file.as_raw_fd(), libc::POLLIN)).collect();
            if fds.is_empty() || rest.is_zero() {
                break;
            }
            if sys::poll(&mut fds, i32::try_from(rest.as_millis()).unwrap_or(0) + 1).is_err() {
                break;
            }
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish()
        {
            self.journal.warn(error.to_string());
        }
    }

    /// What the end means: a timeout of ours explains it first, then the OOM killer, then what an engine process
    /// reports, then the wait status.
    fn exit_status(&mut self, wait: i32) -> ExitStatus {
        let status = ExitStatus::from_wait(wait);
        // An init passes the signal that ended its program on as a code.
        let of_init = self.plan.payload.process.args.first().is_some_and(|name| name == init::NAME);
        let was_killed = status.signal == Some(libc::SIGKILL) || of_init && status.code == CODE_MEMORY;
        if self.timers.timed_out && was_killed {
            return status.because(ExitReason::Timeout, CODE_TIMEOUT);
        }
        let oom = enter::oom_killed(&self.plan).unwrap_or_else(|error| {
            self.journal.warn(error.to_string());
            false
        });
        if oom {
            self.journal.event("oom", &[]);
        }
        if oom && was_killed && !self.timers.killed {
            return status.because(ExitReason::Memory, CODE_MEMORY);
        }
        match self.main() {
            Some(main) => main.explain(status),
            None => status,
        }
    }

    /// Ends what `exec` brought in; with a pid namespace the kernel has done so.
    fn end_execs(&mut self) {
        for index in (1..self.sessions.len()).rev() {
            let pidfd = self.sessions[index].payload.pidfd.as_fd();
            // ESRCH: it has ended already.
            let _ = sys::signal_process(pidfd, libc::SIGKILL);
            let mut fds = [sys::interest(pidfd.as_raw_fd(), libc::POLLIN)];
            // On an error it isn't waited for; its end is the cgroup's.
            let _ = sys::poll(&mut fds, i32::try_from(DRAIN.as_millis()).unwrap_or_default());
            self.end_exec(index);
        }
    }

    /// No new clients; those who have connected already are heard once more.
    fn hear_the_last(&mut self) {
        // Gone already when somebody removed the run directory; then nobody can connect either.
        let _ = fs::remove_file(self.plan.supervisor.run_dir.join("sock"));
        self.accept();
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            connection.receive(&mut self.scratch);
            self.take_last_frames(index);
        }
    }

    /// Requests that came too late for anything but an answer.
    fn take_last_frames(&mut self, index: usize) {
        while let Ok(Some((channel, json))) = self.connections[index].decoder.next_frame() {
            if channel != brig_runtime::protocol::CHANNEL_CONTROL {
                continue;
            }
            let request = serde_json::from_slice::<Request>(json);
            let connection = &mut self.connections[index];
            match request {
                Ok(Request::Wait | Request::Stop { .. }) => connection.waits += 1,
                _ => connection.respond(&Response::Error(ProtocolError::new(
                    "not_running",
                    "the container has stopped",
                ))),
            }
        }
    }

    fn answer_everybody(&mut self, status: &ExitStatus) {
        for connection in &mut self.connections {
            for _ in 0..connection.ends() {
                connection.respond(&Response::Exited { status: status.clone() });
            }
            connection.was_told();
        }
    }

    /// Kills what is left in the cgroups and removes them. What can't be removed is named in the record, and `rm` or
    /// the next sweep takes it.
    pub(super) fn clean_up(&mut self) {
        if let Err(error) = enter::cleanup(&self.plan) {
            self.journal.warn(error.to_string());
        }
    }

    /// Removes the container (`--rm`). What can't be removed stays as a dead container, which `rm -f` tries again.
    fn remove(&mut self) {
        let plan = &self.plan.supervisor;
        // While the directory is there: nobody takes the name for one of a container that is gone.
        let removed = remove_name(plan)
            .and_then(|()| remove_tree(&plan.dir, &["spec.json", "state.json"]))
            .and_then(|()| remove_tree(&plan.run_dir, &[]));
        match removed {
            Ok(()) => {
                self.journal.event("destroy", &[]);
                self.remove_volumes();
            }
            Err(error) => {
                self.journal.warn(format!("the container can't be removed: {error}"));
                self.journal.change(State::Dead);
            }
        }
    }
}

/// Removes the name that the container has by its record, if it is still its own.
fn remove_name(plan: &SupervisorPlan) -> io::Result<()> {
    let name = match ContainerSpec::read(&plan.dir.join("spec.json")) {
        Ok(spec) => plan.name_file.with_file_name(spec.name),
        Err(_) => plan.name_file.clone(),
    };
    match fs::read_to_string(&name) {
        Ok(id) if id == plan.id => fs::remove_file(&name),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Sends what clients haven't read yet. The foreground client may take its time, it holds up nothing but this process:
/// `brig run … | less` loses nothing.
fn linger(mut connections: Vec<Connection>) {
    let deadline = Instant::now() + LINGER;
    loop {
        let over = Instant::now() >= deadline;
        connections.iter_mut().for_each(Connection::flush);
        connections.retain(|c| !c.gone && c.queued() > 0 && (c.patient || !over));
        if connections.is_empty() {
            return;
        }
        let mut fds: Vec<_> =
            connections.iter().map(|c| sys::interest(c.stream.as_raw_fd(), libc::POLLOUT)).collect();
        let rest = deadline.saturating_duration_since(Instant::now());
        let timeout = if over { -1 } else { i32::try_from(rest.as_millis()).unwrap_or(0) + 1 };
        if sys::poll(&mut fds, timeout).is_err() {
            return;
        }
    }
}
