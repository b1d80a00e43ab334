//! wasmtime, narrowed. Only this module and its children name it.

pub(crate) mod compile;
pub(crate) mod config;
pub(crate) mod ending;
pub(crate) mod host;
mod invoke;
pub(crate) mod limiter;
pub(crate) mod linker;
pub(crate) mod load;
pub(crate) mod run;
pub(crate) mod stdio;
pub(crate) mod stop;
mod sys;
mod waits;
pub(crate) mod walls;
