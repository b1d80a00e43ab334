//! WebAssembly containers: wasmtime narrowed to what brig needs of it. This is the only crate that names wasmtime.
//!
//! ```text
//! blob ─ form ─▶ module | component, command | http | library, WASI version       [`form`]
//!      ─ compile, once per engine key, in a child with limits ─▶ compiled file    [`request::CompileRequest`]
//! compiled file + grants ─▶ runner, one process a container ─▶ exit report        [`request::RunRequest`]
//! ```
//!
//! Without the feature `engine` this crate has no wasmtime: the command line links it so, knows forms, writes requests
//! and carries the runner, a static program of its own, inside. With `engine` it is the engine: of the runner, and of
//! programs that load plugins into their own process.

pub mod compiled;
pub mod form;
pub mod request;
pub mod runner;

mod child;

#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
pub mod plugin;

pub use child::{COMPILE_MEMORY, COMPILE_TIMEOUT, CompileError, compile_in_child};
pub use form::{Encoding, Form, FormError, NotRunnable, Role, Wasi};
pub use request::{CompileReport, CompileRequest, Invoke, Preopen, RunRequest};

#[cfg(feature = "engine")]
pub use engine::{
    compile::{compile, compile_plugin},
    ending::Ending,
    run::run,
    stop::Stop,
    walls::{WallError, no_more_programs},
};
