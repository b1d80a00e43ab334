//! brig-wasm
#[cfg(feature = "engine")]
pub use wasmtime as _;
#[cfg(feature = "engine")]
pub use wasmtime_wasi as _;
