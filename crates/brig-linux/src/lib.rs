//! brig-linux

pub mod seccomp;
