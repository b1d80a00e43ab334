//! Plugins: typed calls into components that aren't trusted, in this process.
//!
//! A [`PluginEngine`] compiles and holds what plugins share; a [`Plugin`] is a compiled component; an [`Instance`] is
//! one with memory of its own, and remembers between calls. A plugin has nothing but what [`Grants`] say, no file, no
//! variable, no socket, and its clocks are coarse. Every call has a time and a memory limit ([`CallLimits`]), and a
//! plugin that breaks one is an error of that call; the program goes on.
//!
//! ```no_run
//! # async fn example(bytes: &[u8]) -> Result<(), brig_wasm::plugin::PluginError> {
//! use brig_wasm::plugin::{CallLimits, PluginEngine};
//!
//! let engine = PluginEngine::new()?;
//! let plugin = engine.load(bytes)?;
//! let sum: u32 = plugin.call("add", (2_u32, 3_u32), &CallLimits::default()).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The wall is wasmtime's alone: no process, no seccomp. Futures have to be polled in a tokio runtime with its timers
//! on. They yield every few milliseconds while the plugin computes, and may be dropped at any time; what is dropped in
//! the middle of a call is an instance that can't be used any more.

mod error;
mod instance;
mod ticker;
mod value;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

pub use error::PluginError;
pub use instance::{CallLimits, Grants, Instance};
pub use value::{FromValue, Params, ToValue, Value};

use crate::child::{COMPILE_MEMORY, COMPILE_TIMEOUT, compile_as};
use crate::engine::config;
use crate::engine::load::{self, Code};
use crate::form::{Encoding, Form, Wasi};
use crate::request::{COMPILE_PLUGIN_ARGUMENT, CompileRequest, REQUEST_VERSION};
use instance::PluginHost;
use ticker::Ticker;

/// Compiles plugins and holds what they share. Clones share it too.
#[derive(Clone)]
pub struct PluginEngine {
    engine: Engine,
    linker: Arc<Linker<PluginHost>>,
    ticker: Arc<Ticker>,
}

/// How an engine allocates instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocation {
    /// Each for itself: no more memory than there are instances, tens of microseconds for one.
    #[default]
    OnDemand,
    /// From a pool with so many places: microseconds, but 4 GiB of address space each, and an instance too many is an
    /// error.
    Pool {
        /// How many instances there are at most at one time.
        instances: u32,
    },
}

/// A compiled component, ready to be instantiated. Clones share the code.
#[derive(Clone)]
pub struct Plugin {
    engine: PluginEngine,
    pre: InstancePre<PluginHost>,
}

impl PluginEngine {
    /// One that allocates on demand.
    pub fn new() -> Result<Self, PluginError> {
        Self::with_allocation(Allocation::OnDemand)
    }

    /// One that allocates in this way. It owns a thread, which sleeps while no call is under way.
    pub fn with_allocation(allocation: Allocation) -> Result<Self, PluginError> {
        let mut config = config::tunables();
        config::plugins(&mut config).map_err(PluginError::engine)?;
        if let Allocation::Pool { instances } = allocation {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
        }
        let engine = Engine::new(&config).map_err(PluginError::engine)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(PluginError::engine)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| PluginError::engine(error.into()))?;
        Ok(Self { engine, linker: Arc::new(linker), ticker: Arc::new(ticker) })
    }

    /// Compiles a component, binary or text. Takes from a millisecond to seconds, on this thread and on as many others
    /// as there are processors. Without limits on what that takes: for bytes from somebody who may cost so much; for
    /// others there is [`PluginEngine::load_isolated`].
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, PluginError> {
        let binary = if crate::form::is_text(bytes) {
            wat::parse_bytes(bytes).map_err(|error| PluginError::Invalid { message: error.to_string() })?
        } else {
            bytes.into()
        };
        let form =
            Form::detect(&binary).map_err(|error| PluginError::Invalid { message: error.to_string() })?;
        if form.encoding != Encoding::Component || form.wasi == Wasi::P3 {
            return Err(PluginError::NotPlugin { form: form.to_string() });
        }
        let invalid = |error: wasmtime::Error| PluginError::Invalid { message: format!("{error:#}") };
        self.link(&Component::from_binary(&self.engine, &binary).map_err(invalid)?)
    }

    /// The same, but the component, a file, is compiled in a child with limits: time, processor time and memory. The
    /// child is `runner` (see [`crate::runner::install`]); it writes into `scratch`, an existing directory to which
    /// nobody else can write, and nothing stays there. Blocks.
    pub fn load_isolated(&self, runner: &Path, scratch: &Path, source: &Path) -> Result<Plugin, PluginError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let output = scratch.join(format!("plugin-{}-{count}", std::process::id()));
        let request = CompileRequest {
            version: REQUEST_VERSION,
            source: source.into(),
            output: output.clone(),
            identity: config::PLUGIN_IDENTITY.into(),
            memory: Some(COMPILE_MEMORY),
            // Twice, for two processors.
            cpu_seconds: Some(2 * COMPILE_TIMEOUT.as_secs()),
            runnable_only: false,
        };
        let loaded = compile_as(COMPILE_PLUGIN_ARGUMENT, runner, &request, COMPILE_TIMEOUT)
            .map_err(|source| PluginError::Compile { source })
            .and_then(|(form, _)| self.load_compiled(&output, &form));
        // It is mapped, or it was never written.
        let _ = std::fs::remove_file(&output);
        loaded
    }

    fn load_compiled(&self, path: &Path, form: &Form) -> Result<Plugin, PluginError> {
        match load::code(&self.engine, path, form.encoding).map_err(PluginError::engine)? {
            Code::Component(component) if form.wasi != Wasi::P3 => self.link(&component),
            _ => Err(PluginError::NotPlugin { form: form.to_string() }),
        }
    }

    fn link(&self, component: &Component) -> Result<Plugin, PluginError> {
        let pre = self
            .linker
            .instantiate_pre(component)
            .map_err(|error| PluginError::Import { message: format!("{error:#}") })?;
        Ok(Plugin { engine: self.clone(), pre })
    }
}

/// Without keep-resident memory and the page map scan every end of an instance is an `madvise`, and two threads do less
/// than one. Up to the sizes here an end is a `memset` of what was written.
fn pool(instances: u32) -> PoolingAllocationConfig {
    /// Enough for the linear memory that a small plugin touches, in bytes.
    const MEMORY_KEPT: usize = 1 << 20;
    /// For tables and stacks, in bytes.
    const KEPT: usize = 64 << 10;
    /// How many core instances, memories and tables a component consists of at most, on average.
    const PARTS: u32 = 4;
    let mut pool = PoolingAllocationConfig::new();
    let parts = instances.saturating_mul(PARTS);
    pool.total_component_instances(instances)
        .total_core_instances(parts)
        .total_memories(parts)
        .total_tables(parts)
        .total_stacks(instances)
        .linear_memory_keep_resident(MEMORY_KEPT)
        .table_keep_resident(KEPT)
        .async_stack_keep_resident(KEPT)
        .pagemap_scan(Enabled::Auto);
    pool
}

impl Plugin {
    /// The names of the functions that it exports; those of an interface as `interface#function`.
    pub fn functions(&self) -> Vec<String> {
        use wasmtime::component::types::ComponentItem;
        let engine = &self.engine.engine;
        let component = self.pre.component().component_type();
        let mut names = Vec::new();
        for (name, item) in component.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => names.push(name.to_owned()),
                ComponentItem::ComponentInstance(interface) => names.extend(
                    interface
                        .exports(engine)
                        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                        .map(|(function, _)| format!("{name}#{function}")),
                ),
                _ => {}
            }
        }
        names
    }

    /// A new instance, with memory of its own. The limits hold for making it (a component may run code then) and, as
    /// far as memory is meant, for its whole life.
    pub async fn instantiate(&self, grants: &Grants, limits: &CallLimits) -> Result<Instance, PluginError> {
        Instance::new(&self.engine.engine, &self.engine.ticker, &self.pre, grants, limits).await
    }

    /// Calls an exported function of a new instance that has nothing, and forgets the instance.
    pub async fn call<R: FromValue>(
        &self,
        function: &str,
        params: impl Params,
        limits: &CallLimits,
    ) -> Result<R, PluginError> {
        let mut instance = self.instantiate(&Grants::default(), limits).await?;
        instance.call(function, params, limits).await
    }
}

impl fmt::Debug for PluginEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginEngine").finish_non_exhaustive()
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("functions", &self.functions()).finish_non_exhaustive()
    }
}
