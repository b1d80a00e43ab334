//! The clock of a plugin engine: it moves wasmtime's epoch on while somebody computes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

/// How often a plugin that computes yields and looks at its deadline: a hundredth of a call's usual limit, and rare
/// enough that nobody notices it.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// A thread that ticks while there are calls.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    calls: AtomicUsize,
    stop: AtomicBool,
}

/// A call under way.
pub(crate) struct Ticking<'a> {
    shared: &'a Shared,
}

impl Ticker {
    pub(crate) fn start(engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared { calls: AtomicUsize::new(0), stop: AtomicBool::new(false) });
        let ticking = Arc::clone(&shared);
        let thread = thread::Builder::new().name("brig-plugin-clock".into()).spawn(move || {
            while !ticking.stop.load(Ordering::Acquire) {
                if ticking.calls.load(Ordering::Acquire) == 0 {
                    // Unparked by the first call; a wake-up too many does no harm.
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ticks as long as the result lives.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        if self.shared.calls.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
        Ticking { shared: &self.shared }
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.shared.calls.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // It can't panic, and there would be nothing to do about it here.
            let _ = thread.join();
        }
    }
}
