//! Standard streams of a one-shot process: descriptors, without buffers and without helper threads.
//!
//! wasmtime-wasi's own stdin reads in a thread, which costs a start and two switches a read, and its stdout is Rust's
//! line buffer, which writes twice where once is enough. Here the guest's thread reads and writes itself: there is
//! nothing else that it could keep waiting, unless there are sockets.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::stop::{Stop, Waited};

/// The most that is read or written at once, in bytes.
const CHUNK: usize = 64 << 10;

/// Standard input.
#[derive(Clone, Debug)]
pub(crate) struct Stdin {
    shared: Arc<Shared>,
    /// When the guest is asked to stop, its input ends.
    stop: Stop,
    /// Whether a read may hold the thread: not when sockets are served on it.
    may_block: bool,
}

#[derive(Debug)]
struct Shared {
    file: File,
    /// Whether a thread waits for input already.
    watched: AtomicBool,
    readable: Notify,
}

/// Standard output or error.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    file: Arc<File>,
}

impl Stdin {
    /// This process's.
    pub(crate) fn inherit(may_block: bool, stop: &Stop) -> io::Result<Self> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let shared = Shared { file, watched: AtomicBool::new(false), readable: Notify::new() };
        Ok(Self { shared: Arc::new(shared), stop: stop.clone(), may_block })
    }

    /// Waits in this thread.
    fn read_now(&self, size: usize) -> StreamResult<Bytes> {
        let mut buffer = vec![0; size.min(CHUNK)];
        loop {
            if self.stop.wait_for(&self.shared.file) == Waited::Cancelled {
                return Err(StreamError::Closed);
            }
            match (&self.shared.file).read(&mut buffer) {
                Ok(0) => return Err(StreamError::Closed),
                Ok(count) => {
                    buffer.truncate(count);
                    return Ok(buffer.into());
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Shared {
    /// One thread at most waits in `poll`, however often a guest asks and gives up.
    fn watch(self: &Arc<Self>) {
        if self.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(self);
        if std::thread::Builder::new().spawn(move || shared.wait()).is_err() {
            // There may be a limit of one: then nothing else happens while the guest waits.
            self.wait();
        }
    }

    fn wait(&self) {
        is_ready(&self.file, PollFlags::IN, None);
        self.watched.store(false, Ordering::Release);
        self.readable.notify_waiters();
    }
}

impl IsTerminal for Stdin {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.shared.file)
    }
}

impl StdinStream for Stdin {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl AsyncRead for Stdin {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = (&self.shared.file).read(buffer.initialize_unfilled())?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Stdin {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let now = self.stop.asked() || is_ready(&self.shared.file, PollFlags::IN, Some(&NOW));
        if size == 0 || !now {
            return Ok(Bytes::new());
        }
        self.read_now(size)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        if !self.may_block {
            self.ready().await;
        }
        self.read_now(size)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stdin {
    async fn ready(&mut self) {
        loop {
            let mut notified = pin!(self.shared.readable.notified());
            // Registered before the look, so that a notification in between isn't missed.
            notified.as_mut().enable();
            if is_ready(&self.shared.file, PollFlags::IN, Some(&NOW)) {
                return;
            }
            self.shared.watch();
            let mut cancelled = pin!(self.stop.cancelled());
            let stopped = poll_fn(|context| match notified.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(false),
                Poll::Pending => cancelled.as_mut().poll(context).map(|()| true),
            });
            if stopped.await {
                return self.stop.tell();
            }
        }
    }
}

impl Output {
    /// This process's standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)) })
    }

    /// This process's standard error.
    pub(crate) fn stderr() -> io::Result<Self> {
        Ok(Self { file: Arc::new(File::from(io::stderr().as_fd().try_clone_to_owned()?)) })
    }

    fn write_now(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&*self.file).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_transient(&error) => {
                    is_ready(&self.file, PollFlags::OUT, None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&*self.file)
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write_now(bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.write_now(&bytes).map_err(failed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A hang-up and an error are ready too: the next read or write says what it is.
fn is_ready(file: &File, flags: PollFlags, timeout: Option<&Timespec>) -> bool {
    let mut fds = [PollFd::new(file, flags)];
    loop {
        match poll(&mut fds, timeout) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// Whether it is worth another try, once the file is ready. Somebody else may have made the descriptor non-blocking:
/// that is a property of the open file, which is shared.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

/// A reader that went away is the end of the stream, as the guest's libc expects it.
fn failed(error: io::Error) -> StreamError {
    match error.kind() {
        ErrorKind::BrokenPipe => StreamError::Closed,
        _ => StreamError::LastOperationFailed(error.into()),
    }
}
