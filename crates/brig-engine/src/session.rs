//! A process in a container, as an async host sees it.

use brig_runtime::ExitStatus;
use brig_runtime::client::{AttachEnd, AttachIo, Supervisor};

use crate::containers::client_error;
use crate::error::{Error, Result};
use crate::threads::{self, Cancel};

/// A process that was started in a container.
#[derive(Debug)]
pub struct Session {
    name: String,
    supervisor: Supervisor,
}

/// How a process ended, and what it printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed on standard output.
    pub stdout: Vec<u8>,
    /// What it printed on standard error.
    pub stderr: Vec<u8>,
}

impl Session {
    pub(crate) fn new(name: String, supervisor: Supervisor) -> Self {
        Self { name, supervisor }
    }

    /// Waits for its end, and collects its output. Dropping the future closes the
    /// session: the process loses its standard input, and what it prints is no longer kept.
    pub async fn output(self) -> Result<SessionOutput> {
        threads::cancellable(move |cancel| self.collect(cancel)).await
    }

    fn collect(mut self, cancel: &Cancel) -> Result<SessionOutput> {
        cancel.watch(&self.supervisor)?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let io =
            AttachIo { stdin: None, stdout: &mut stdout, stderr: &mut stderr, detach_keys: &[], wake: None };
        match self.supervisor.pump(io).map_err(client_error(&self.name))? {
            AttachEnd::Exited(status) => Ok(SessionOutput { status, stdout, stderr }),
            // Nothing here detaches.
            AttachEnd::Detached => Err(Error::Cancelled),
        }
    }
}
