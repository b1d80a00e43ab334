//! brig's helper: the small program that supervises one container and makes its payload.
//!
//! It is started from a sealed copy of itself by whoever starts a container, in a program with threads or without: all
//! that must happen between `fork` and `exec`, and all that must outlive the caller, happens here, in one thread.
//! Descriptor 0 is the plan, descriptor 1 the first connection; the rest is `docs/supervisor.md`.

mod enter;
mod supervise;

use std::process::ExitCode;

fn main() -> ExitCode {
    supervise::run()
}
