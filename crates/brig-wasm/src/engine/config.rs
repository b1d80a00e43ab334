//! The configuration that compiles and the one that runs: the same, by construction.
//!
//! A compiled file loads only into an engine with the same tunables (reservation, guard, epochs, fuel, features, …), so
//! there is one function for both, and what they may differ in is an argument.

use wasmtime::{Config, Engine, ModuleVersionStrategy, WasmBacktraceDetails};

/// What an engine is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One instance in its own process, ended from outside. The compiler isn't even initialised.
    RunOnce,
    /// Compile for [`Purpose::RunOnce`].
    CompileForProcess,
    /// Compile for the engine of [`plugins`].
    CompileForPlugin,
}

/// What compiled plugins are bound to beside wasmtime's own settings.
pub(crate) const PLUGIN_IDENTITY: &str = concat!("plugin/", env!("CARGO_PKG_VERSION"));

/// The engine of the runner. `identity` is written into compiled files and compared when they are loaded.
pub(crate) fn engine(purpose: Purpose, identity: &str) -> wasmtime::Result<Engine> {
    let mut config = tunables();
    if purpose == Purpose::CompileForPlugin {
        return Engine::new(plugins(&mut config)?);
    }
    config.module_version(ModuleVersionStrategy::Custom(identity.to_owned()))?;
    if purpose == Purpose::RunOnce {
        config.enable_compiler(false);
        super::load::trust_identity(&mut config);
    }
    Engine::new(&config)
}

/// Plugins share a process, so they are interrupted by epochs.
pub(crate) fn plugins(config: &mut Config) -> wasmtime::Result<&mut Config> {
    config.epoch_interruption(true);
    config.module_version(ModuleVersionStrategy::Custom(PLUGIN_IDENTITY.to_owned()))
}

/// What compiled code depends on, for all engines of this crate.
///
/// - No epochs (but for plugins) and no fuel: a process of its own is ended from outside by a timer and a signal, and the tightest loops
///   then run up to 2.5 times as fast.
/// - A reservation of 4 GiB and a guard of 32 MiB (the defaults, on 64 bits): bounds checks disappear.
/// - No native unwind tables: nobody unwinds through wasm here, and registering them costs at every load. Backtraces
///   come from frame pointers.
/// - DWARF is kept in the compiled file for backtraces with lines. It is mapped, and read only after a trap.
/// - Shared memories stay impossible, as is wasmtime's default: no limiter is asked about them.
pub(crate) fn tunables() -> Config {
    let mut config = Config::new();
    config
        .native_unwind_info(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .concurrency_support(false)
        .shared_memory(false);
    config
}
