//! What can go wrong with a plugin.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a plugin couldn't be loaded, made or called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// There is no engine on this machine.
    #[error("the wasm engine can't be made: {message}")]
    Engine {
        /// What wasmtime says.
        message: String,
    },
    /// It isn't WebAssembly, or not valid.
    #[error("not a plugin: {message}")]
    Invalid {
        /// What is wrong.
        message: String,
    },
    /// The child didn't compile it.
    #[error("the plugin can't be compiled")]
    Compile {
        /// Why.
        #[source]
        source: crate::CompileError,
    },
    /// It is WebAssembly, but no component of a world that is served.
    #[error("not a plugin: it is a {form}, and plugins are components for WASI p2 or none")]
    NotPlugin {
        /// What it is.
        form: String,
    },
    /// It imports something that isn't served.
    #[error("the plugin can't be linked: {message}")]
    Import {
        /// Which import, and what is wrong with it.
        message: String,
    },
    /// A directory that was granted can't be opened.
    #[error("the directory `{}` can't be granted to the plugin: {message}", path.display())]
    Grant {
        /// On the host.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// It has no such function.
    #[error("the plugin exports no function `{function}`")]
    NoFunction {
        /// What was called.
        function: String,
    },
    /// The function is of another type.
    #[error("`{function}` was called with the wrong types: {message}")]
    Types {
        /// What was called.
        function: String,
        /// What doesn't fit.
        message: String,
    },
    /// Its time passed.
    #[error("`{function}` took longer than {} ms", limit.as_millis())]
    Timeout {
        /// What was called; empty while the instance was made.
        function: String,
        /// The time that it had.
        limit: Duration,
    },
    /// It wanted more memory than it may have.
    #[error("`{function}`: {message}")]
    Memory {
        /// What was called; empty while the instance was made.
        function: String,
        /// How much it wanted.
        message: String,
    },
    /// It trapped.
    #[error("`{function}` trapped: {message}")]
    Trap {
        /// What was called; empty while the instance was made.
        function: String,
        /// The trap.
        message: String,
        /// Where, if that is known: one frame a line.
        backtrace: Option<String>,
    },
    /// It asked to end the process.
    #[error("`{function}` exited with code {code}")]
    Exited {
        /// What was called; empty while the instance was made.
        function: String,
        /// Its code.
        code: i32,
    },
    /// An earlier call trapped, or was dropped in the middle.
    #[error("the instance can't be used any more: an earlier call ended in the middle; make a new one")]
    Poisoned,
    /// The future is polled outside of a tokio runtime.
    #[error("plugins can be called in a tokio runtime only")]
    NoRuntime {
        /// What tokio says.
        #[source]
        source: tokio::runtime::TryCurrentError,
    },
}

impl PluginError {
    pub(crate) fn engine(error: wasmtime::Error) -> Self {
        Self::Engine { message: format!("{error:#}") }
    }
}

impl From<PluginError> for io::Error {
    fn from(error: PluginError) -> Self {
        Self::other(error)
    }
}
