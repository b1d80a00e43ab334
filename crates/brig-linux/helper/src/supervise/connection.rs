//! One client: what it has asked for, what came from it and what is on its way to it.
//!
//! Both directions are bounded. What came and can't be used yet (standard input for a payload that doesn't read)
//! stays in the socket. What the client doesn't read waits here, and the policy for a client that doesn't read at all
//! is [`Server`](super::server::Server)'s.

use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;

use brig_runtime::protocol::{CHANNEL_CONTROL, Decoder, Response, frame_header};

/// What a connection is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing: it sends requests.
    Free,
    /// A session's output, and maybe its input.
    To {
        /// The session.
        session: u32,
        /// Whether frames on channel 1 are for it.
        stdin: bool,
    },
}

/// One client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) decoder: Decoder,
    pub(super) bound: Bound,
    /// How many `wait` and `stop` requests are to be answered at the payload's end.
    pub(super) waits: u32,
    /// Whether this is the creator's, from birth on. It is told of the end also without having asked: the payload may
    /// have ended before it could.
    pub(super) first: bool,
    /// Whether the payload is slowed down for it rather than that it loses its connection.
    pub(super) patient: bool,
    /// It sends nothing more.
    pub(super) half_closed: bool,
    /// It is to be dropped.
    pub(super) gone: bool,
    queue: Vec<u8>,
    sent: usize,
    /// When it last read something, or had nothing to read.
    progress: Instant,
}

impl Connection {
    /// A client that has asked for nothing yet.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            decoder: Decoder::default(),
            bound: Bound::Free,
            waits: 0,
            first: false,
            patient: false,
            half_closed: false,
            gone: false,
            queue: Vec::new(),
            sent: 0,
            progress: Instant::now(),
        })
    }

    /// How many bytes wait for the client to read.
    pub(super) fn queued(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// What it may be behind before the process's output waits for it, in bytes. Little for those who wait for each
    /// other anyhow; enough for a terminal that is slow for a moment.
    fn high_water(&self) -> usize {
        if self.patient { 64 * 1024 } else { 256 * 1024 }
    }

    /// Whether it has so much to read that more has to wait.
    pub(super) fn is_behind(&self) -> bool {
        self.queued() > self.high_water()
    }

    /// When its time is over to read something while it holds others up.
    pub(super) fn stalls_at(&self, patience: Duration) -> Option<Instant> {
        if self.patient || !self.is_behind() { None } else { self.progress.checked_add(patience) }
    }

    /// Memory that this client makes the supervisor hold.
    pub(super) fn held(&self) -> usize {
        self.queued() + self.decoder.buffered()
    }

    /// Whether it is bound to `session`.
    pub(super) fn is_bound_to(&self, session: u32) -> bool {
        matches!(self.bound, Bound::To { session: bound, .. } if bound == session)
    }

    /// How many times it is to be told of the payload's end.
    pub(super) fn ends(&self) -> u32 {
        let asked = self.waits + u32::from(self.bound != Bound::Free);
        asked.max(u32::from(self.first))
    }

    /// It was told of the payload's end, and has nothing to do with the next one.
    pub(super) fn was_told(&mut self) {
        self.bound = Bound::Free;
        self.waits = 0;
        self.first = false;
    }

    /// Whether it waits for something that this supervisor will send.
    pub(super) fn expects(&self) -> bool {
        self.bound != Bound::Free || self.waits > 0 || self.queued() > 0
    }

    /// Sends a frame: at once as far as the socket takes it, the rest later.
    pub(super) fn send(&mut self, channel: u8, payload: &[u8]) {
        let Ok(header) = frame_header(channel, payload.len()) else {
            // Nothing here makes larger frames; a stream with a hole would be worse than none.
            self.gone = true;
            return;
        };
        let sent = if self.queued() == 0 { self.try_send(&header, payload) } else { 0 };
        // What has been sent goes now and then, also for a client that never catches up.
        if self.sent > self.queued() {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        let header_sent = sent.min(header.len());
        self.queue.extend_from_slice(&header[header_sent..]);
        self.queue.extend_from_slice(&payload[sent - header_sent..]);
    }

    fn try_send(&mut self, header: &[u8], payload: &[u8]) -> usize {
        let result = self.stream.write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]);
        self.written(result)
    }

    /// Answers.
    pub(super) fn respond(&mut self, response: &Response) {
        self.say(response);
    }

    /// Sends a message.
    pub(super) fn say(&mut self, message: &impl Serialize) {
        match serde_json::to_vec(message) {
            Ok(json) => self.send(CHANNEL_CONTROL, &json),
            // These types always have a JSON form; without an answer the client must not wait.
            Err(_) => self.gone = true,
        }
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        while self.queued() > 0 && !self.gone {
            let result = self.stream.write(&self.queue[self.sent..]);
            match self.written(result) {
                0 => return,
                count => self.sent += count,
            }
        }
        // An idle client holds no memory.
        self.queue = Vec::new();
        self.sent = 0;
    }

    fn written(&mut self, result: io::Result<usize>) -> usize {
        match result {
            Ok(count) => {
                self.progress = Instant::now();
                count
            }
            Err(error) if is_momentary(&error) => 0,
            Err(_) => {
                // EPIPE, ECONNRESET: the client has left. That is its right, and nobody is to be told.
                self.gone = true;
                0
            }
        }
    }

    /// Reads what came into the decoder, once.
    pub(super) fn receive(&mut self, scratch: &mut [u8]) {
        match self.stream.read(scratch) {
            Ok(0) => self.half_closed = true,
            Ok(count) => self.decoder.push(&scratch[..count]),
            Err(error) if is_momentary(&error) => {}
            Err(_) => self.gone = true,
        }
    }
}

/// Whether the same call may succeed later.
pub(super) fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
