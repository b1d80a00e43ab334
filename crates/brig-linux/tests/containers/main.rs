//! Real containers, from a spec to an exit status, through the embedded helper and its supervisor.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics with the place, and says what it skips"
)]

mod defaults;
mod devices;
mod engine;
mod exec;
mod hostile;
mod limits;
mod mounts;
mod namespaces;
mod network;
mod notify;
mod ordinary;
mod process;
mod support;
mod unified;
mod update;
