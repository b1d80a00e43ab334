//! Pull and push for callers without a runtime: one of their own, for as long as the transfer takes.

use brig_oci::Descriptor;
use tokio::runtime::Builder;

use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::images::{PullOptions, PushOptions, ResolvedImage};

impl Engine {
    /// Pulls an image, and waits for it. Not for a thread of an async runtime.
    pub fn pull_now(&self, name: &str, options: &PullOptions) -> Result<ResolvedImage> {
        wait_for(self.pull(&name.parse()?, options))
    }

    /// Pushes an image, and waits for it. Not for a thread of an async runtime.
    pub fn push_now(&self, name: &str, options: &PushOptions) -> Result<Descriptor> {
        wait_for(self.push(&name.parse()?, options))
    }
}

/// One thread for the network; writing and unpacking are on blocking threads anyway. One of those may wait for another
/// process's lock when the transfer has failed, and nobody waits for it then.
fn wait_for<T>(transfer: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|source| Error::Io {
        action: "start the async runtime",
        path: None,
        source,
    })?;
    let done = runtime.block_on(transfer);
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_failed_transfer_doesnt_wait_for_a_thread_that_waits() {
        let (release, wait) = mpsc::channel::<()>();
        let began = Instant::now();
        let failed = wait_for(async {
            tokio::task::spawn_blocking(move || wait.recv_timeout(Duration::from_secs(20)));
            Err::<(), _>(Error::Cancelled)
        });
        assert!(matches!(failed, Err(Error::Cancelled)));
        assert!(began.elapsed() < Duration::from_secs(10));
        drop(release);
    }
}
