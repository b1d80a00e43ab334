//! Content on its way to a registry: read again from any offset, counted, watched.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, ReadBuf, Take};

/// Content that can be read more than once: a push that breaks begins again.
pub trait BlobSource: Send + Sync {
    /// What reads it.
    type Reader: AsyncRead + Send + 'static;

    /// Opens it at `offset`, in bytes. Called once for each attempt.
    fn open(&self, offset: u64) -> impl Future<Output = io::Result<Self::Reader>> + Send;
}

impl BlobSource for Bytes {
    type Reader = io::Cursor<Self>;

    async fn open(&self, offset: u64) -> io::Result<Self::Reader> {
        let mut cursor = io::Cursor::new(self.clone());
        cursor.set_position(offset);
        Ok(cursor)
    }
}

/// A file.
impl BlobSource for PathBuf {
    type Reader = tokio::fs::File;

    async fn open(&self, offset: u64) -> io::Result<Self::Reader> {
        let mut file = tokio::fs::File::open(self).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(file)
    }
}

/// How far an upload is, for the one who watches it.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Instant,
    left: u64,
    failed: Option<io::Error>,
}

impl Progress {
    fn new(length: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { last: Instant::now(), left: length, failed: None }) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long nothing has been taken, and whether all has been.
    pub(crate) fn idle(&self) -> (Duration, bool) {
        self.change(|state| (state.last.elapsed(), state.left == 0))
    }

    /// Why the content couldn't be read, if that is what broke the upload.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.change(|state| state.failed.take())
    }
}

/// Reads exactly the announced number of bytes.
pub(crate) struct Metered<R> {
    inner: Pin<Box<Take<R>>>,
    progress: Arc<Progress>,
}

impl<R: AsyncRead> Metered<R> {
    pub(crate) fn new(inner: R, length: u64) -> (Self, Arc<Progress>) {
        let progress = Progress::new(length);
        (Self { inner: Box::pin(inner.take(length)), progress: Arc::clone(&progress) }, progress)
    }

    fn failed(&self, error: io::Error) -> io::Error {
        // HTTP clients wrap what a body says; the original is kept for the message.
        let copy = io::Error::new(error.kind(), error.to_string());
        self.progress.change(|state| state.failed = Some(error));
        copy
    }
}

impl<R: AsyncRead> AsyncRead for Metered<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.progress.change(|state| state.left);
        let before = buffer.filled().len();
        let read = ready!(self.inner.as_mut().poll_read(cx, buffer));
        let taken = (buffer.filled().len() - before) as u64;
        if let Err(error) = read {
            return Poll::Ready(Err(self.failed(error)));
        }
        if taken == 0 && left > 0 {
            let text = format!("the content ends {left} bytes before its descriptor's size");
            return Poll::Ready(Err(self.failed(io::Error::new(io::ErrorKind::UnexpectedEof, text))));
        }
        self.progress.change(|state| {
            state.left -= taken;
            state.last = Instant::now();
        });
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &'static [u8], length: u64) -> (io::Result<Vec<u8>>, Arc<Progress>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut metered, progress) = Metered::new(io::Cursor::new(content), length);
        let mut all = Vec::new();
        let read = runtime.block_on(metered.read_to_end(&mut all));
        (read.map(|_| all), progress)
    }

    #[test]
    fn exactly_the_announced_bytes_are_read() {
        let (all, progress) = read(b"hello", 5);
        assert_eq!(all.unwrap(), b"hello");
        assert!(progress.idle().1);
        let (all, _) = read(b"hello and more", 5);
        assert_eq!(all.unwrap(), b"hello");
    }

    #[test]
    fn content_that_ends_early_is_an_error_that_is_kept() {
        let (all, progress) = read(b"hell", 5);
        assert!(all.is_err());
        assert!(!progress.idle().1);
        assert!(progress.failure().unwrap().to_string().contains("1 bytes before"));
    }
}
