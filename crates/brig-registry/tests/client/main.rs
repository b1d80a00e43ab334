//! The client against a registry that misbehaves on demand, and against a real one.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, helpers included")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod auth;
mod blob;
mod debian;
mod fake;
mod manifest;
mod push;
