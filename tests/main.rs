//! brig's integration tests: one program, so that it is linked once.
//!
//! `cli` drives the real binary; `workspace` checks the repository itself. A file that no `mod` line names would be
//! forgotten in silence, so a test looks for such files.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod cli;
mod workspace;
