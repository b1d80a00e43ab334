//! How a guest learns that it is asked to stop.
//!
//! WASI has no signals. What a guest has is waits, and those end early: a sleep returns before its time, and standard
//! input ends. A guest that heeds that has the grace of whoever asked. One that doesn't is not kept:
//!
//! - where it waits for something that can't be cancelled (a socket), and nothing was cancelled before, it ends at once;
//! - where it goes to sleep once more, it hasn't understood, and ends at once;
//! - while it computes nothing is done to it: its next wait is cancelled, or the grace runs out and the process is killed.

use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::Notify;

use super::linker::Exit;

/// The exit code of a guest that is ended because it was asked to stop: 128 and the number of SIGTERM.
pub(crate) const CODE_STOPPED: u8 = 143;

/// The request to stop, and what became of it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Set by the signal's handler.
    asked: Arc<AtomicBool>,
    /// Readable from then on, and never read.
    signal: OwnedFd,
    /// Whether a wait was cancelled.
    told: AtomicBool,
    /// Whether the wait that is under way is for one thing only.
    alone: AtomicBool,
    /// Whether a thread waits for the signal.
    watched: AtomicBool,
    waiters: Notify,
    exit: Exit,
}

/// How a wait in this thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// What it was for is there, or the time is over.
    Ready,
    /// It was cancelled.
    Cancelled,
}

impl Stop {
    /// `asked` is set when the guest is asked to stop, and `signal` can then be read; `exit` ends the process.
    pub fn new(asked: Arc<AtomicBool>, signal: OwnedFd, exit: fn(u8) -> !) -> Self {
        let shared = Shared {
            asked,
            signal,
            told: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            waiters: Notify::new(),
            exit,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What ends the process.
    pub(crate) fn exit(&self) -> Exit {
        self.shared.exit
    }

    pub(crate) fn asked(&self) -> bool {
        self.shared.asked.load(Ordering::Acquire)
    }

    fn told(&self) -> bool {
        self.shared.told.load(Ordering::Acquire)
    }

    /// A wait has been cancelled: the guest can know now.
    pub(crate) fn tell(&self) {
        self.shared.told.store(true, Ordering::Release);
    }

    /// Sleeps in this thread.
    pub(crate) fn sleep(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        self.end_a_second_sleep();
        // 292 years are as good as for ever.
        let timeout = Timespec::try_from(time).ok();
        let mut fds = [PollFd::new(&self.shared.signal, PollFlags::IN)];
        // A signal that interrupts it, the one that asks among them, shortens a sleep: the rest is slept after it.
        let start = std::time::Instant::now();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => {}
            Err(rustix::io::Errno::INTR) if !self.asked() => self.sleep(time.saturating_sub(start.elapsed())),
            Ok(_) | Err(_) => self.tell(),
        }
    }

    /// Waits in this thread until `file` can be read.
    pub(crate) fn wait_for(&self, file: &impl std::os::fd::AsFd) -> Waited {
        loop {
            let mut fds = [PollFd::new(file, PollFlags::IN), PollFd::new(&self.shared.signal, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                // What the problem is, the read will say.
                Err(_) => return Waited::Ready,
                Ok(_) if self.asked() => {
                    self.tell();
                    return Waited::Cancelled;
                }
                Ok(_) => return Waited::Ready,
            }
        }
    }

    /// Completes when the guest is asked to stop.
    pub(crate) async fn cancelled(&self) {
        let mut notified = pin!(self.shared.waiters.notified());
        poll_fn(|context| {
            // The look comes first and last: the thread that notifies may be slower than the flag.
            if self.asked() || notified.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            self.watch();
            if self.asked() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits till `time` has passed, or the guest is asked to stop.
    pub(crate) async fn sleep_until(&self, time: Option<tokio::time::Instant>) {
        let mut sleep = pin!(async {
            match time {
                Some(time) => tokio::time::sleep_until(time).await,
                None => std::future::pending().await,
            }
        });
        if self.told() {
            let over = time.is_some_and(|time| time <= tokio::time::Instant::now());
            if !over && self.shared.alone.load(Ordering::Acquire) {
                self.end_a_second_sleep();
            }
            return sleep.await;
        }
        let mut cancelled = pin!(self.cancelled());
        poll_fn(|context| {
            if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let asked = cancelled.as_mut().poll(context);
            if asked.is_ready() {
                self.tell();
            }
            asked
        })
        .await;
    }

    /// A wait for one thing, such as a sleep.
    pub(crate) async fn alone<T>(&self, wait: impl Future<Output = T>) -> T {
        self.shared.alone.store(true, Ordering::Release);
        let done = wait.await;
        self.shared.alone.store(false, Ordering::Release);
        done
    }

    /// Runs the guest. When it is asked to stop in a wait that nothing cancels, the process ends.
    pub(crate) async fn guard<T>(&self, guest: impl Future<Output = T>) -> T {
        let mut guest = pin!(guest);
        let mut cancelled = pin!(self.cancelled());
        poll_fn(|context| {
            let done = guest.as_mut().poll(context);
            if done.is_ready() || self.told() || cancelled.as_mut().poll(context).is_pending() {
                return done;
            }
            // Its waits may have been looked at just before the request came.
            let done = guest.as_mut().poll(context);
            if done.is_pending() && !self.told() {
                (self.shared.exit)(CODE_STOPPED)
            }
            done
        })
        .await
    }

    fn end_a_second_sleep(&self) {
        if self.told() {
            (self.shared.exit)(CODE_STOPPED)
        }
    }

    /// One thread waits for the signal, from the first wait on that isn't in the guest's own thread.
    fn watch(&self) {
        if self.shared.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let watch = move || {
            let mut fds = [PollFd::new(&shared.signal, PollFlags::IN)];
            while poll(&mut fds, None) == Err(rustix::io::Errno::INTR) {}
            shared.waiters.notify_waiters();
        };
        // Without a thread the guest is told at its next wait, or not before its grace is over.
        let _ = std::thread::Builder::new().spawn(watch);
    }
}
