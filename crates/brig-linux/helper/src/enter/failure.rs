//! What a step says when it fails: little, for its name is in the table and its place in the program tells the rest.

use std::io;
use std::path::Path;

use brig_runtime::hooks::HookError;
use brig_runtime::protocol::StepError;
use rustix::io::Errno;

/// The exit code for what isn't the program's own fault ([`brig_runtime::exit::CODE_ENGINE`]).
const ENGINE: u8 = brig_runtime::exit::CODE_ENGINE;

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The path or name it concerned.
    pub(crate) subject: Option<String>,
    /// The error number.
    pub(crate) errno: i32,
    /// What `run` exits with.
    pub(crate) code: u8,
}

impl Failure {
    pub(crate) fn new(errno: Errno) -> Self {
        Self { subject: None, errno: errno.raw_os_error(), code: ENGINE }
    }

    /// The data for the error, under the step's name.
    pub(crate) fn named(self, step: &str) -> StepError {
        StepError { step: step.into(), subject: self.subject, errno: self.errno, code: self.code }
    }
}

impl From<HookError> for Failure {
    fn from(error: HookError) -> Self {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self { subject: Some(format!("{error}{cause}")), errno: 0, code: ENGINE }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::new(errno)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Only errors that std makes up itself have no number: unexpected ends and refused arguments.
        Self { subject: None, errno: error.raw_os_error().unwrap_or(libc::EINVAL), code: ENGINE }
    }
}

/// Says what an error was about.
pub(crate) trait On<T> {
    /// About a path or a name.
    fn on(self, subject: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> On<T> for Result<T, E> {
    fn on(self, subject: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| {
            let failure = error.into();
            let subject = failure.subject.unwrap_or_else(|| subject.as_ref().display().to_string());
            Failure { subject: Some(subject), ..failure }
        })
    }
}

/// Gives an error the name of its step.
pub(crate) trait Step<T> {
    /// As a verb phrase: `make the cgroup`.
    fn step(self, name: &str) -> Result<T, StepError>;
}

impl<T, E: Into<Failure>> Step<T> for Result<T, E> {
    fn step(self, name: &str) -> Result<T, StepError> {
        self.map_err(|error| error.into().named(name))
    }
}
