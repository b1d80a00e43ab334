//! The loop of a living supervisor: one thread, one `poll`, and everything that happens is one turn of it.
//!
//! # Clients that are slow
//! Output goes to the log first and then to every client that is attached. While one of them has more than
//! its share of bytes to read, the process's output isn't read, so that it waits in its pipe, as it would
//! for a slow reader in a shell's pipeline: whoever reads loses nothing. A client that doesn't read at all for
//! [`STALL`] while others wait for it loses its connection (and finds all in the log), unless it is *patient*: the
//! creator of a foreground container, and the client of an exec, may hold up what they started for as long as they
//! live. So memory is bounded, and only the one who started a process can stop it by not reading.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use brig_runtime::State;
use brig_runtime::lock::SupervisorLock;
use brig_runtime::plan::Plan;
use brig_runtime::protocol::{CHANNEL_STDERR, CHANNEL_STDOUT, ProtocolError, Response};

use super::again::Again;
use super::cgroup::Moves;
use super::connection::{Bound, Connection};
use super::ending::Ended;
use super::health::Watch;
use super::journal::Journal;
use super::log::{Log, Stream};
use super::session::Session;
use super::sys;

/// How long a client that isn't patient may hold up a process without reading anything.
const STALL: Duration = Duration::from_secs(5);
/// What all connections together may make the supervisor hold, in bytes; the greatest loses its connection.
const MAX_HELD: usize = 8 * 1024 * 1024;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 512;
/// What is read at once, in bytes: a whole pipe.
const SCRATCH: usize = 64 * 1024;
/// How long accepting rests when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a supervisor rests that can't even wait.
const POLL_PAUSE: Duration = Duration::from_millis(10);

/// The session of the payload itself.
pub(super) const MAIN: u32 = 0;

/// Everything that a supervisor holds.
pub(super) struct Server {
    pub(super) plan: Plan,
    pub(super) journal: Journal,
    pub(super) log: Option<Log>,
    pub(super) lock: SupervisorLock,
    pub(super) listener: UnixListener,
    pub(super) signals: OwnedFd,
    pub(super) owner: u32,
    /// The payload first, while there is one, then execs.
    pub(super) sessions: Vec<Session>,
    pub(super) connections: Vec<Connection>,
    pub(super) timers: Timers,
    pub(super) again: Again,
    pub(super) watch: Watch,
    /// The last number given to a session.
    pub(super) last_session: u32,
    pub(super) scratch: Vec<u8>,
}

/// What is to happen at a time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// The payload's time is over.
    pub(super) timeout: Option<Instant>,
    /// The grace of a stop is over.
    pub(super) kill: Option<Instant>,
    /// Start the payload again.
    pub(super) restart: Option<Instant>,
    /// Accept again.
    pub(super) accept: Option<Instant>,
    /// Leave the creator's cgroups.
    pub(super) moves: Moves,
    /// The time is over: SIGKILL was sent for it.
    pub(super) timed_out: bool,
    /// SIGKILL was sent, for whatever reason.
    pub(super) killed: bool,
}

/// What a descriptor in the poll set is. Indices hold for one turn: things are only appended during it.
#[derive(Clone, Copy, Debug)]
enum Token {
    Signals,
    Listener,
    Connection(usize),
    Input(usize),
    Output(usize, Stream),
    Report(usize),
    Log,
    End(usize),
}

/// The buffer for everything that is read.
pub(super) fn scratch() -> Vec<u8> {
    vec![0; SCRATCH]
}

impl Server {
    /// Serves until the payload has ended for good. Says how.
    pub(super) fn serve(&mut self) -> Ended {
        loop {
            let (mut fds, tokens) = self.interests();
            if sys::poll(&mut fds, self.next_timer()).is_err() {
                // The kernel has no memory. The payload would die with its supervisor: better to be late.
                std::thread::sleep(POLL_PAUSE);
            }
            let ready = fds.iter().zip(&tokens).filter(|(fd, _)| fd.revents != 0);
            let mut ended = VecDeque::new();
            for (fd, token) in ready {
                match *token {
                    Token::End(session) => ended.push_back(session),
                    token => self.handle(token, fd.revents),
                }
            }
            if ended.front() == Some(&0) && self.main().is_some() {
                if let Some(ended) = self.end_payload() {
                    return ended;
                }
                continue;
            }
            ended.into_iter().rev().for_each(|session| self.end_exec(session));
            if let Some(ended) = self.expire_timers() {
                return ended;
            }
            self.take_leftover_frames();
            self.enforce_bounds();
        }
    }

    /// What to wait for now.
    fn interests(&self) -> (Vec<libc::pollfd>, Vec<Token>) {
        let mut fds = Vec::with_capacity(8 + self.connections.len());
        let mut tokens = Vec::with_capacity(fds.capacity());
        let mut add = |fd: &dyn AsRawFd, events: i16, token: Token| {
            fds.push(sys::interest(fd.as_raw_fd(), events));
            tokens.push(token);
        };
        add(&self.signals, libc::POLLIN, Token::Signals);
        if self.timers.accept.is_none() {
            add(&self.listener, libc::POLLIN, Token::Listener);
        }
        if let Some((fd, events)) = self.log.as_ref().and_then(Log::interest) {
            add(fd, events, Token::Log);
        }
        for (index, connection) in self.connections.iter().enumerate() {
            let reads = if self.accepts_frames(connection) { libc::POLLIN } else { 0 };
            let writes = if connection.queued() > 0 { libc::POLLOUT } else { 0 };
            add(&connection.stream, reads | writes, Token::Connection(index));
        }
        for (index, session) in self.sessions.iter().enumerate() {
            if let Some(input) = session.input_to_poll() {
                add(input, libc::POLLOUT, Token::Input(index));
            }
            if !self.is_held_up(session.id) {
                for stream in [Stream::Out, Stream::Err] {
                    if let Some(file) = session.output(stream) {
                        add(file, libc::POLLIN, Token::Output(index, stream));
                    }
                }
            }
            if let Some(report) = &session.report {
                add(report, libc::POLLIN, Token::Report(index));
            }
            add(&session.payload.pidfd, libc::POLLIN, Token::End(index));
        }
        (fds, tokens)
    }

    fn handle(&mut self, token: Token, events: i16) {
        match token {
            Token::Signals => self.own_signal(),
            Token::Listener => self.accept(),
            Token::Connection(index) => self.connection_ready(index, events),
            Token::Input(index) => self.sessions[index].push_input(),
            Token::Output(index, stream) => drop(self.pump(index, stream)),
            Token::Report(index) => drop(self.sessions[index].read_report(&mut self.scratch)),
            Token::Log => self.log_ready(),
            Token::End(_) => {}
        }
    }

    fn log_ready(&mut self) {
        if let Some(Err(error)) = self.log.as_mut().map(Log::ready) {
            self.journal.warn(error.to_string());
        }
    }

    /// Whether a client of this session has enough to read.
    fn is_held_up(&self, session: u32) -> bool {
        self.connections.iter().any(|connection| connection.is_bound_to(session) && connection.is_behind())
    }

    /// Moves output once from a session to its clients, and of the payload to the log; says how many bytes.
    pub(super) fn pump(&mut self, index: usize, stream: Stream) -> usize {
        let session = &mut self.sessions[index];
        let count = session.read_output(stream, &mut self.scratch);
        if count == 0 {
            return 0;
        }
        let data = &self.scratch[..count];
        self.watch.hear(session.id, data);
        if let Some(log) = self.log.as_mut().filter(|_| session.id == MAIN)
            && let Err(error) = log.write(stream, data)
        {
            self.journal.warn(error.to_string());
        }
        let channel = if stream == Stream::Out { CHANNEL_STDOUT } else { CHANNEL_STDERR };
        for connection in self.connections.iter_mut().filter(|c| c.is_bound_to(session.id)) {
            connection.send(channel, data);
        }
        count
    }

    /// SIGTERM is a request to stop; other signals mean somebody else.
    fn own_signal(&mut self) {
        while let Some(signal) = sys::next_signal(self.signals.as_fd()) {
            if signal == libc::SIGTERM {
                self.end_for_good(false);
                let plan = &self.plan.supervisor;
                let (signal, grace) = (plan.stop_signal, Duration::from_millis(plan.stop_grace_ms));
                self.begin_stop(signal, grace);
            }
        }
    }

    /// Sends the signal, and SIGKILL when the grace is over. The shortest grace of several counts.
    pub(super) fn begin_stop(&mut self, signal: i32, grace: Duration) {
        if self.main().is_none() {
            return;
        }
        let deadline = Instant::now().checked_add(grace);
        self.timers.kill = match (self.timers.kill, deadline) {
            (Some(earlier), Some(deadline)) => Some(earlier.min(deadline)),
            (earlier, deadline) => earlier.or(deadline),
        };
        if let Err(error) = self.signal_payload(signal) {
            self.journal.warn(format!("can't send signal {signal}: {error}"));
        }
        // A frozen process doesn't even die.
        self.thaw();
    }

    /// Sends a signal to the payload.
    pub(super) fn signal_payload(&mut self, signal: i32) -> io::Result<()> {
        let Some(main) = self.main() else { return Err(io::Error::from_raw_os_error(libc::ESRCH)) };
        sys::signal_process(main.payload.pidfd.as_fd(), signal)?;
        self.journal.event("kill", &[("signal", &signal.to_string())]);
        if signal == libc::SIGKILL {
            self.timers.killed = true;
            self.thaw();
        }
        Ok(())
    }

    fn thaw(&mut self) {
        if self.journal.state() == State::Paused {
            match self.resume_all() {
                Ok(()) => self.journal.change(State::Running),
                Err(error) => self.journal.warn(error.to_string()),
            }
        }
    }

    pub(super) fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    // No descriptors or memory: somebody else's or a client's doing, and it passes.
                    self.timers.accept = Instant::now().checked_add(ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: UnixStream) {
        let uid = sys::peer_uid(&stream);
        // A stream that can't be made non-blocking is closed, and its client sees that.
        let Ok(mut connection) = Connection::new(stream) else { return };
        let refusal = match uid {
            Ok(uid) if uid != self.owner && uid != 0 => {
                Some(ProtocolError::new("denied", "the container belongs to another user"))
            }
            Err(error) => Some(ProtocolError::new("denied", format!("can't tell who you are: {error}"))),
            Ok(_) if self.connections.len() >= MAX_CONNECTIONS => {
                Some(ProtocolError::new("busy", "too many clients talk to this container"))
            }
            Ok(_) => None,
        };
        match refusal {
            Some(refusal) => connection.respond(&Response::Error(refusal)),
            None => self.connections.push(connection),
        }
    }

    fn connection_ready(&mut self, index: usize, events: i16) {
        let connection = &mut self.connections[index];
        if events & (libc::POLLERR | libc::POLLNVAL) != 0 {
            connection.gone = true;
            return;
        }
        if events & libc::POLLOUT != 0 {
            connection.flush();
        }
        if events & libc::POLLIN != 0 {
            connection.receive(&mut self.scratch);
            self.take_frames(index);
        } else if events & libc::POLLHUP != 0 {
            self.connections[index].gone = true;
        }
    }

    /// Frames that had to wait for room.
    fn take_leftover_frames(&mut self) {
        for index in 0..self.connections.len() {
            if self.connections[index].decoder.buffered() > 0 {
                self.take_frames(index);
            }
        }
    }

    /// Cuts off who holds too much, and forgets who is gone.
    fn enforce_bounds(&mut self) {
        let now = Instant::now();
        for connection in &mut self.connections {
            connection.gone |= connection.stalls_at(STALL).is_some_and(|at| at <= now);
            connection.gone |= connection.half_closed && !connection.expects();
        }
        let mut held: usize = self.connections.iter().map(Connection::held).sum();
        while held > MAX_HELD {
            let others = self.connections.iter_mut().filter(|c| !c.first && !c.gone);
            let Some(greatest) = others.max_by_key(|c| c.held()) else { break };
            greatest.gone = true;
            held -= greatest.held();
        }
        self.end_input_of_the_gone();
        self.connections.retain(|connection| !connection.gone);
    }

    /// Nobody else can feed an exec. The payload's input stays open for whoever attaches next.
    fn end_input_of_the_gone(&mut self) {
        for connection in self.connections.iter().filter(|c| c.gone || c.half_closed) {
            if let Bound::To { session, stdin: true } = connection.bound
                && session != MAIN
                && (connection.gone || connection.decoder.buffered() == 0)
                && let Some(session) = self.sessions.iter_mut().find(|s| s.id == session)
            {
                session.end_input();
            }
        }
    }

    /// Milliseconds until the next timer, for `poll`.
    fn next_timer(&self) -> i32 {
        let Timers { timeout, kill, restart, accept, moves, .. } = self.timers;
        let health = self.watch.timer().filter(|_| self.journal.state() == State::Running);
        let stalls = self.connections.iter().filter_map(|connection| connection.stalls_at(STALL));
        let timers =
            [timeout, kill, restart, accept, moves.legacy, moves.unified, health].into_iter().flatten();
        let Some(next) = timers.chain(stalls).min() else { return -1 };
        let rest = next.saturating_duration_since(Instant::now());
        // Rounded up: a timer that isn't due yet would be waited for in a busy loop.
        i32::try_from(rest.as_millis().saturating_add(1)).unwrap_or(i32::MAX)
    }

    /// Does what is due. Says how the container has ended, if that is the end.
    fn expire_timers(&mut self) -> Option<Ended> {
        let now = Instant::now();
        let due = |timer: &mut Option<Instant>| timer.take_if(|at| *at <= now).is_some();
        due(&mut self.timers.accept);
        let over = due(&mut self.timers.timeout);
        self.timers.timed_out |= over;
        if (due(&mut self.timers.kill) || over)
            && let Err(error) = self.signal_payload(libc::SIGKILL)
        {
            self.journal.warn(format!("can't kill the payload: {error}"));
        }
        if due(&mut self.timers.moves.legacy) {
            self.leave_creators_cgroups(true);
        }
        if due(&mut self.timers.moves.unified) {
            self.leave_creators_cgroups(false);
        }
        self.look_after_health();
        // First: who was stopped between two payloads doesn't get another one.
        if let Some(ended) = self.gives_up() {
            return Some(ended);
        }
        if due(&mut self.timers.restart) { self.revive() } else { None }
    }

    /// When a payload's time is over that is started now.
    pub(super) fn timeout_from_now(&self) -> Option<Instant> {
        let time = self.plan.supervisor.timeout_ms?;
        Instant::now().checked_add(Duration::from_millis(time))
    }

    /// The payload, while there is one.
    pub(super) fn main(&self) -> Option<&Session> {
        self.sessions.first().filter(|session| session.id == MAIN)
    }

    /// A number that no session has had.
    pub(super) fn next_session(&mut self) -> u32 {
        self.last_session += 1;
        self.last_session
    }

    /// The session with this number, if it hasn't ended.
    pub(super) fn session(&self, id: u32) -> Option<&Session> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Whether this client's frames can be used now. Answers come in order, so a client that waits is not heard until
    /// it is answered; input waits in the socket while its process doesn't read.
    fn accepts_frames(&self, connection: &Connection) -> bool {
        if connection.half_closed {
            return false;
        }
        self.can_use_frames(connection)
    }

    /// As [`Self::accepts_frames`], for frames that were received before the client closed its side.
    pub(super) fn can_use_frames(&self, connection: &Connection) -> bool {
        if connection.gone {
            return false;
        }
        match connection.bound {
            Bound::To { session, stdin: true } => self.session(session).is_none_or(Session::takes_input),
            Bound::To { .. } => true,
            Bound::Free => connection.waits == 0,
        }
    }
}
