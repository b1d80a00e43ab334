//! Blocking work of async callers (invariant 13: off the async threads).

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use brig_runtime::client::Supervisor;

use crate::error::{Error, Result};

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Cancelled)?
}

/// Runs `work`, which waits for a supervisor, on a thread that may block. The thread stops waiting when the future is
/// dropped.
pub(crate) async fn cancellable<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Cancel) -> Result<T> + Send + 'static,
{
    let cancel = Cancel::default();
    let _on_drop = CancelOnDrop(cancel.clone());
    blocking(move || work(&cancel)).await
}

/// Ends a wait for a supervisor from another thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
enum Waiting {
    #[default]
    NotYet,
    On(UnixStream),
    Cancelled,
}

impl Cancel {
    /// Says which connection is about to be waited for.
    pub(crate) fn watch(&self, supervisor: &Supervisor) -> Result<()> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*waiting, Waiting::Cancelled) {
            return Err(Error::Cancelled);
        }
        let stream = supervisor.stream().try_clone().map_err(|source| Error::Io {
            action: "use the connection to the supervisor",
            path: None,
            source,
        })?;
        *waiting = Waiting::On(stream);
        Ok(())
    }

    fn cancel(&self) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Waiting::On(stream) = std::mem::replace(&mut *waiting, Waiting::Cancelled) {
            // One that is closed already needs no shutdown.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// A wait for a supervisor that never answers; tells when its thread has stopped waiting.
    async fn wait_for_ever(supervisor: UnixStream, stopped: mpsc::Sender<bool>) -> Result<()> {
        cancellable(move |cancel| {
            let mut supervisor = Supervisor::from_birth(supervisor);
            let watched = cancel.watch(&supervisor);
            let failed = watched.is_err() || supervisor.wait().is_err();
            stopped.send(failed).unwrap();
            Ok(())
        })
        .await
    }

    #[test]
    fn a_dropped_wait_frees_its_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for delay in [Duration::ZERO, Duration::from_millis(100)] {
            let (ours, _silent) = UnixStream::pair().unwrap();
            let (stopped, stop) = mpsc::channel();
            runtime.block_on(async {
                let waited = tokio::time::timeout(delay, wait_for_ever(ours, stopped)).await;
                assert!(waited.is_err());
            });
            assert!(stop.recv_timeout(Duration::from_secs(10)).unwrap());
        }
    }
}
