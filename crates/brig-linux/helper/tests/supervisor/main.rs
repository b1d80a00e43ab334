//! The real helper, driven as the library drives it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics with the place, and says what it skips"
)]

mod again;
mod container;
mod crash;
mod ends;
mod engine;
mod health;
mod hostile;
mod init;
mod ordinary;
mod output;
mod requests;
mod terminal;
