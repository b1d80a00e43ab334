//! How a guest ended, in words and codes.

use std::fmt::Write as _;
use std::io;

use brig_runtime::exit::{self, ExitReason, ExitReport};
use wasmtime::{Trap, WasmBacktrace};

use super::limiter::Refused;

/// The end of a run: what the supervisor is told, and what people read on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// For the record.
    pub report: ExitReport,
    /// For standard error; whole lines.
    pub text: Option<String>,
}

/// Why a guest didn't come to its own end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No engine.
    #[error("the wasm engine can't be made: {source:#}")]
    Engine { source: wasmtime::Error },
    /// The runtime of its host functions can't be made.
    #[error("the wasm engine's event loop can't be made: {source}")]
    Runtime { source: io::Error },
    /// The compiled file.
    #[error("the compiled code is incomplete or of another engine, and has to be compiled anew: {source:#}")]
    Load { source: wasmtime::Error },
    /// Imports, or what the module says about itself.
    #[error("the module can't be linked: {source:#}")]
    Link { source: wasmtime::Error },
    /// A standard stream.
    #[error("a standard stream can't be opened: {source}")]
    Stdio { source: io::Error },
    /// A directory.
    #[error("the directory for `{guest}` can't be opened: {source:#}")]
    Preopen { guest: String, source: wasmtime::Error },
    /// The function that was to be called.
    #[error("it has no function `{export}` to call")]
    NoExport { export: String },
    /// The arguments of the function that was to be called.
    #[error("`{export}` can't be called so: {problem}")]
    Arguments { export: String, problem: String },
    /// The guest ran, or began to.
    #[error("{source:#}")]
    Guest { source: wasmtime::Error, refused: Option<Refused> },
}

impl Ending {
    /// By itself, with its own code.
    pub fn exited(code: u8) -> Self {
        Self { report: ExitReport { reason: ExitReason::Exited, code, message: None }, text: None }
    }

    /// Its time passed.
    pub fn timeout(millis: u64) -> Self {
        let message = format!("it ran longer than its timeout of {millis} ms");
        Self::new("", ExitReason::Timeout, exit::CODE_TIMEOUT, message, None)
    }

    /// It was never started.
    pub fn start_failed(message: impl Into<String>) -> Self {
        Self::new("", ExitReason::StartFailed, exit::CODE_ENGINE, message.into(), None)
    }

    pub(crate) fn from_failure(name: &str, failure: &Failure) -> Self {
        let code = match failure {
            Failure::Guest { source, refused } => return from_guest(name, source, *refused),
            Failure::NoExport { .. } => exit::CODE_NOT_FOUND,
            Failure::Link { .. } => exit::CODE_NOT_RUNNABLE,
            _ => exit::CODE_ENGINE,
        };
        Self::new(name, ExitReason::StartFailed, code, failure.to_string(), None)
    }

    fn new(name: &str, reason: ExitReason, code: u8, message: String, trace: Option<String>) -> Self {
        let message = printable(&message);
        let mut text = String::from("brig: ");
        if !name.is_empty() {
            // Writing to a string can't fail.
            let _ = write!(text, "{}: ", printable(name));
        }
        text.push_str(&message);
        text.push('\n');
        if let Some(trace) = trace {
            text.push_str(&printable(&trace));
            text.push('\n');
        }
        Self { report: ExitReport { reason, code, message: Some(message) }, text: Some(text) }
    }
}

fn from_guest(name: &str, error: &wasmtime::Error, refused: Option<Refused>) -> Ending {
    let trap = error.downcast_ref::<Trap>();
    let trace = error.downcast_ref::<WasmBacktrace>().filter(|trace| !trace.frames().is_empty());
    let trace = trace.map(ToString::to_string);
    if let Some(message) = memory_message(trap, refused) {
        return Ending::new(name, ExitReason::Memory, exit::CODE_MEMORY, message, trace);
    }
    // A trap says in its innermost error what it is; what stands around it is the backtrace, which comes below.
    let cause = match trap {
        Some(trap) => format!("wasm trap: {trap}"),
        None => format!("wasm trap: {:#}", error.root_cause()),
    };
    let message = trap_message(cause);
    Ending::new(name, ExitReason::Trap, exit::CODE_TRAP, message, trace)
}

/// wasmtime's own text begins with the same words for some traps.
fn trap_message(cause: String) -> String {
    match cause.strip_prefix("wasm trap: wasm trap: ") {
        Some(rest) => format!("wasm trap: {rest}"),
        None => cause,
    }
}

/// Whether a guest ended because it couldn't grow its memory: with an abort (`unreachable`), with a null pointer that
/// it used, or, when it couldn't even be instantiated, with no trap.
pub(crate) fn memory_message(trap: Option<&Trap>, refused: Option<Refused>) -> Option<String> {
    let fits = matches!(trap, None | Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds));
    refused.filter(|_| fits).map(|refused| refused.to_string())
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.limit {
            Some(limit) => {
                write!(f, "out of memory: it wanted {} bytes, and its limit is {limit}", self.wanted)
            }
            None => write!(f, "out of memory: the system refused a growth to {} bytes", self.wanted),
        }
    }
}

/// Names come from the binary: no escape sequences reach a terminal through them.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\n' { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_is_134_and_says_what_it_was() {
        let ending = from_guest("a.wasm", &Trap::IntegerDivisionByZero.into(), None);
        assert_eq!((ending.report.reason, ending.report.code), (ExitReason::Trap, 134));
        assert_eq!(ending.text.unwrap(), "brig: a.wasm: wasm trap: integer divide by zero\n");
    }

    #[test]
    fn an_abort_after_a_refused_growth_is_137_but_another_trap_is_not() {
        let refused = Some(Refused { wanted: 100, limit: Some(50) });
        let ending = from_guest("x", &Trap::UnreachableCodeReached.into(), refused);
        assert_eq!((ending.report.reason, ending.report.code), (ExitReason::Memory, 137));
        let ending = from_guest("x", &Trap::IntegerDivisionByZero.into(), refused);
        assert_eq!(ending.report.code, 134);
    }

    #[test]
    fn nothing_of_a_binary_steers_the_terminal() {
        let ending = Ending::new("a\x1b[2J", ExitReason::Trap, 134, "b\rc".into(), Some("f\x07\ng".into()));
        assert_eq!(ending.text.unwrap(), "brig: a\u{fffd}[2J: b\u{fffd}c\nf\u{fffd}\ng\n");
    }
}
