//! A plugin with memory of its own, and calls into it.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::{Func, Instance as WasmInstance, InstancePre, Val};
use wasmtime::{Engine, Store, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::{FsPerms, I32Exit, ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::error::PluginError;
use super::ticker::Ticker;
use super::value::{FromValue, Params};
use crate::engine::host::{CoarseMonotonic, CoarseWall};
use crate::engine::limiter::Limiter;

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// Wall-clock time, also while it waits.
    pub timeout: Duration,
    /// All linear memories and tables of its instance together, in bytes.
    pub memory: u64,
}

impl Default for CallLimits {
    /// One second and 64 MiB.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(1), memory: 64 << 20 }
    }
}

/// What an instance may see. By default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// Directories: on the host, for the plugin, and whether it may change nothing in them.
    pub directories: Vec<(PathBuf, String, bool)>,
    /// Whether its standard output and error are the program's; otherwise what it writes there is dropped.
    pub output: bool,
}

/// An instance of a plugin.
pub struct Instance {
    store: Store<PluginHost>,
    instance: WasmInstance,
    ticker: Arc<Ticker>,
    poisoned: bool,
}

/// The state of a store.
pub(crate) struct PluginHost {
    wasi: WasiCtx,
    table: ResourceTable,
    limiter: Limiter,
    deadline: Instant,
}

impl WasiView for PluginHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Instance {
    pub(super) async fn new(
        engine: &Engine,
        ticker: &Arc<Ticker>,
        pre: &InstancePre<PluginHost>,
        grants: &Grants,
        limits: &CallLimits,
    ) -> Result<Self, PluginError> {
        let mut store = Store::new(engine, PluginHost::new(grants, limits)?);
        store.limiter(|host| &mut host.limiter);
        store.epoch_deadline_callback(|store| {
            let late = Instant::now() >= store.data().deadline;
            Ok(if late { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        // Strings and lists that the host copies out of it count against nobody else.
        store.set_hostcall_fuel(usize::try_from(limits.memory).unwrap_or(usize::MAX));
        store.set_epoch_deadline(1);
        let made = {
            let _ticking = ticker.tick();
            within(limits.timeout, pre.instantiate_async(&mut store)).await?
        };
        let instance = ended("", limits, &store, made)?;
        Ok(Self { store, instance, ticker: Arc::clone(ticker), poisoned: false })
    }

    /// Calls an exported function, `name` or `interface#name`. After an error other than [`PluginError::NoFunction`]
    /// and [`PluginError::Types`] the instance can't be used any more: it was stopped in the middle of something.
    pub async fn call<R: FromValue>(
        &mut self,
        function: &str,
        params: impl Params,
        limits: &CallLimits,
    ) -> Result<R, PluginError> {
        if self.poisoned {
            return Err(PluginError::Poisoned);
        }
        let types = |message| PluginError::Types { function: function.into(), message };
        let callee = self.function(function)?;
        let params: Vec<Val> = params.into_values().into_iter().map(Val::from).collect();
        let mut results = self.check(&callee, &params).map_err(types)?;
        // Until it came back: a future that is dropped leaves the instance in the middle.
        self.poisoned = true;
        self.run(function, &callee, &params, &mut results, limits).await?;
        self.poisoned = false;
        let result = results.pop().map(super::Value::try_from).transpose().map_err(types)?;
        R::from_value(result).map_err(types)
    }

    async fn run(
        &mut self,
        function: &str,
        callee: &Func,
        params: &[Val],
        results: &mut [Val],
        limits: &CallLimits,
    ) -> Result<(), PluginError> {
        let host = self.store.data_mut();
        host.deadline = deadline(limits);
        host.limiter.set_limit(limits.memory);
        self.store.set_epoch_deadline(1);
        let called = {
            let _ticking = self.ticker.tick();
            within(limits.timeout, callee.call_async(&mut self.store, params, results)).await?
        };
        ended(function, limits, &self.store, called)
    }

    fn function(&mut self, name: &str) -> Result<Func, PluginError> {
        let missing = || PluginError::NoFunction { function: name.into() };
        let (interface, name) = match name.split_once('#') {
            Some((interface, name)) => (Some(interface), name),
            None => (None, name),
        };
        let interface = match interface {
            Some(interface) => {
                Some(self.instance.get_export_index(&mut self.store, None, interface).ok_or_else(missing)?)
            }
            None => None,
        };
        let index =
            self.instance.get_export_index(&mut self.store, interface.as_ref(), name).ok_or_else(missing)?;
        self.instance.get_func(&mut self.store, index).ok_or_else(missing)
    }

    /// The types of values are checked by wasmtime; their number, which it takes for granted, here. Returns room for
    /// the results.
    fn check(&self, callee: &Func, params: &[Val]) -> Result<Vec<Val>, String> {
        let ty = callee.ty(&self.store);
        if ty.params().len() != params.len() {
            return Err(format!("it takes {} arguments and was given {}", ty.params().len(), params.len()));
        }
        for (value, (name, ty)) in params.iter().zip(ty.params()) {
            super::value::fits(value, &ty).map_err(|message| format!("argument `{name}`: {message}"))?;
        }
        Ok(vec![Val::Bool(false); ty.results().len()])
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("poisoned", &self.poisoned).finish_non_exhaustive()
    }
}

impl PluginHost {
    fn new(grants: &Grants, limits: &CallLimits) -> Result<Self, PluginError> {
        let mut builder = WasiCtx::builder();
        builder.envs(&grants.env).allow_tcp(false).allow_udp(false);
        builder.monotonic_clock(CoarseMonotonic::new()).wall_clock(CoarseWall);
        if grants.output {
            builder.inherit_stdout().inherit_stderr();
        }
        for (host, guest, read_only) in &grants.directories {
            let perms = if *read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            builder
                .preopened_dir(host, guest, perms)
                .map_err(|error| PluginError::Grant { path: host.clone(), message: format!("{error:#}") })?;
        }
        Ok(Self {
            wasi: builder.build(),
            table: ResourceTable::new(),
            limiter: Limiter::new(Some(limits.memory)),
            deadline: deadline(limits),
        })
    }
}

fn deadline(limits: &CallLimits) -> Instant {
    let now = Instant::now();
    // A limit past the end of time is none: a year.
    now.checked_add(limits.timeout).unwrap_or(now + Duration::from_secs(31_536_000))
}

/// `None` is a timeout. The epoch ends a plugin that computes; this ends one that waits in a host function.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = wasmtime::Result<T>>,
) -> Result<Option<wasmtime::Result<T>>, PluginError> {
    tokio::runtime::Handle::try_current().map_err(|source| PluginError::NoRuntime { source })?;
    Ok(tokio::time::timeout(timeout, call).await.ok())
}

fn ended<T>(
    function: &str,
    limits: &CallLimits,
    store: &Store<PluginHost>,
    result: Option<wasmtime::Result<T>>,
) -> Result<T, PluginError> {
    let function = || function.to_owned();
    let timeout = || PluginError::Timeout { function: function(), limit: limits.timeout };
    let error = match result {
        Some(Ok(value)) => return Ok(value),
        Some(Err(error)) => error,
        None => return Err(timeout()),
    };
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Err(PluginError::Exited { function: function(), code: *code });
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Err(timeout());
    }
    if let Some(message) = crate::engine::ending::memory_message(trap, store.data().limiter.refused()) {
        return Err(PluginError::Memory { function: function(), message });
    }
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let message = match trap {
        Some(trap) => trap.to_string(),
        None => format!("{:#}", error.root_cause()),
    };
    Err(PluginError::Trap { function: function(), message, backtrace })
}
