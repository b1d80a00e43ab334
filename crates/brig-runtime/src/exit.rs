//! How a payload ended, and the exit codes that say so (`docs/exit-codes.md`).

use serde::{Deserialize, Serialize};

/// An engine or usage error: the payload was never started.
pub const CODE_ENGINE: u8 = 125;
/// The program was found but can't be run.
pub const CODE_NOT_RUNNABLE: u8 = 126;
/// The program wasn't found.
pub const CODE_NOT_FOUND: u8 = 127;
/// The time or the fuel ran out.
pub const CODE_TIMEOUT: u8 = 124;
/// A wasm trap: 128 + SIGABRT, as the wasmtime CLI answers.
pub const CODE_TRAP: u8 = 134;
/// The memory ran out: 128 + SIGKILL, as the kernel's OOM killer leaves it.
pub const CODE_MEMORY: u8 = 137;

/// Why a payload ended. New reasons may come: a reader takes one that it doesn't know as [`ExitReason::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExitReason {
    /// It exited by itself, with its own code.
    Exited,
    /// A signal ended it.
    Signal,
    /// A wasm trap.
    Trap,
    /// It ran into its memory limit (the kernel's OOM killer, or the wasm limiter).
    Memory,
    /// Its `--timeout` passed.
    Timeout,
    /// Its fuel ran out.
    Fuel,
    /// It was never started: see the message.
    StartFailed,
    /// Its supervisor was gone; how the payload itself ended is unknown.
    SupervisorLost,
    /// A reason of a newer brig.
    #[serde(other)]
    Unknown,
}

/// How a payload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// What `run` exits with: the payload's own code, 128 + n for a signal, or one of this module's codes.
    pub code: u8,
    /// The signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why.
    pub reason: ExitReason,
    /// More, for people: the trap, the step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ExitStatus {
    /// The payload exited with `code`.
    pub fn exited(code: u8) -> Self {
        Self { code, signal: None, reason: ExitReason::Exited, message: None }
    }

    /// A signal ended the payload.
    pub fn signaled(signal: i32) -> Self {
        let code = u8::try_from(128 + signal).unwrap_or(255);
        Self { code, signal: Some(signal), reason: ExitReason::Signal, message: None }
    }

    /// Reads a status as `waitpid` gives it.
    pub fn from_wait(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            return Self::signaled(libc::WTERMSIG(status));
        }
        // WEXITSTATUS is eight bits wide.
        Self::exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(255))
    }

    /// With another code and reason: what a limit or an engine says about the end.
    #[must_use]
    pub fn because(self, reason: ExitReason, code: u8) -> Self {
        Self { reason, code, ..self }
    }

    /// With a message.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), ..self }
    }

    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// What an engine process (the wasm runner) says about its end: one JSON object, written to the descriptor that
/// [`crate::plan::REPORT_FD`] names, before it exits. The supervisor takes it over into the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    /// Why.
    pub reason: ExitReason,
    /// The code.
    pub code: u8,
    /// More, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_become_codes() {
        assert_eq!(ExitStatus::from_wait(0x0300), ExitStatus::exited(3));
        let killed = ExitStatus::from_wait(libc::SIGKILL);
        assert_eq!((killed.code, killed.signal), (137, Some(9)));
    }

    #[test]
    fn a_reason_of_a_newer_brig_is_read() {
        let status: ExitStatus = serde_json::from_str(r#"{"code":1,"reason":"quota"}"#).unwrap();
        assert_eq!(status.reason, ExitReason::Unknown);
    }
}
