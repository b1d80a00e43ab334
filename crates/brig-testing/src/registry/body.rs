//! A response body that can break.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// The most that is sent at once.
const CHUNK: usize = 64 * 1024;

/// What happens after the bytes that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// The end.
    #[default]
    Clean,
    /// The connection is closed in the middle.
    Abort,
    /// Nothing, for ever.
    Hang,
    /// Zeros, for ever.
    Zeros,
}

/// Sends `data`, perhaps slowly, and then ends in one of several ways.
#[derive(Debug)]
pub(super) struct FaultyBody {
    data: Bytes,
    end: End,
    bytes_per_second: Option<usize>,
    pause: Option<Pin<Box<Sleep>>>,
    flushed: bool,
}

impl FaultyBody {
    pub(super) fn new(data: Bytes, end: End, bytes_per_second: Option<usize>) -> Self {
        Self { data, end, bytes_per_second, pause: None, flushed: false }
    }

    /// How much to send now: ten portions a second when the speed is limited.
    fn portion(&self) -> usize {
        let limit = self.bytes_per_second.map_or(CHUNK, |speed| (speed / 10).clamp(1, CHUNK));
        limit.min(self.data.len())
    }

    /// Waits a little, so that what came before an error leaves the server's buffer.
    fn flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.flushed = true;
        let mut pause = Box::pin(tokio::time::sleep(Duration::from_millis(20)));
        if pause.as_mut().poll(context).is_pending() {
            self.pause = Some(pause);
            return Poll::Pending;
        }
        self.poll_frame(context)
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if self.data.is_empty() {
            return match self.end {
                End::Clean => Poll::Ready(None),
                End::Abort if self.flushed => Poll::Ready(Some(Err(io::Error::other("cut off by a fault")))),
                End::Abort => self.flush(context),
                // Nobody wakes this up: the client's own time limit has to end it.
                End::Hang => Poll::Pending,
                End::Zeros => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; CHUNK]))))),
            };
        }
        let size = self.portion();
        let chunk = self.data.split_to(size);
        if self.bytes_per_second.is_some() && !self.data.is_empty() {
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(100))));
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.end == End::Clean
    }

    fn size_hint(&self) -> SizeHint {
        match self.end {
            End::Clean => SizeHint::with_exact(self.data.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
