//! One run of one compiled module or component, in a process of its own.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Store};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::config::{Purpose, engine};
use super::ending::{Ending, Failure};
use super::host::Host;
use super::linker::{self, Exit};
use super::load::{Code, code};
use super::stop::Stop;
use crate::request::RunRequest;

/// How long writes of the guest that are under way when it ends may still take.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// Runs it to its end, on this process's standard streams. For a process that ends after it: the store is not taken
/// down, and the kernel frees its memory at once. `stop` brings the guest the request to stop; its `exit` is called
/// with the guest's code when it ends in the middle of something.
pub fn run(request: &RunRequest, stop: &Stop) -> Ending {
    match execute(request, stop) {
        Ok(code) => Ending::exited(code),
        Err(failure) => Ending::from_failure(&request.name, &failure),
    }
}

fn execute(request: &RunRequest, stop: &Stop) -> Result<u8, Failure> {
    let engine = engine(Purpose::RunOnce, &request.identity).map_err(|source| Failure::Engine { source })?;
    let code = code(&engine, &request.module, request.encoding).map_err(|source| Failure::Load { source })?;
    let mut store = Store::new(&engine, Host::new(request, stop.clone())?);
    store.limiter(|host| &mut host.limiter);
    let runtime = runtime(request.network).map_err(|source| Failure::Runtime { source })?;
    let exit = stop.exit();
    let ended = runtime.block_on(stop.guard(async {
        match code {
            Code::Module(module) => run_module(&engine, &mut store, &module, request, exit).await,
            Code::Component(component) => run_component(&engine, &mut store, &component, request, exit).await,
        }
    }));
    runtime.shutdown_timeout(LAST_WRITES);
    // The process ends; unmapping everything first would only take time.
    std::mem::forget(store);
    ended
}

/// The thread's own, with timers and, only when there is a network, with epoll: wasmtime-wasi's synchronous interface
/// would start one with threads, 0.13 ms.
fn runtime(network: bool) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_time();
    if network {
        builder.enable_io();
    }
    builder.build()
}

async fn run_module(
    engine: &Engine,
    store: &mut Store<Host>,
    module: &Module,
    request: &RunRequest,
    exit: Exit,
) -> Result<u8, Failure> {
    let pre =
        linker::module(engine, module, request.wasi, exit).map_err(|source| Failure::Link { source })?;
    let instance = match pre.instantiate_async(&mut *store).await {
        Ok(instance) => instance,
        Err(source) => return Err(guest(store, source)),
    };
    if let Some(invoke) = &request.invoke {
        return super::invoke::module(store, &instance, invoke).await;
    }
    let start = instance
        .get_typed_func::<(), ()>(&mut *store, "_start")
        .map_err(|source| Failure::Link { source })?;
    match start.call_async(&mut *store, ()).await {
        Ok(()) => Ok(0),
        Err(source) => Err(guest(store, source)),
    }
}

async fn run_component(
    engine: &Engine,
    store: &mut Store<Host>,
    component: &Component,
    request: &RunRequest,
    exit: Exit,
) -> Result<u8, Failure> {
    let pre = linker::component(engine, component, request.wasi, exit)
        .map_err(|source| Failure::Link { source })?;
    if let Some(invoke) = &request.invoke {
        return match pre.instantiate_async(&mut *store).await {
            Ok(instance) => super::invoke::component(store, &instance, invoke).await,
            Err(source) => Err(guest(store, source)),
        };
    }
    let pre = CommandPre::new(pre).map_err(|source| Failure::Link { source })?;
    let command = match pre.instantiate_async(&mut *store).await {
        Ok(command) => command,
        Err(source) => return Err(guest(store, source)),
    };
    match command.wasi_cli_run().call_run(&mut *store).await {
        Ok(result) => Ok(u8::from(result.is_err())),
        Err(source) => Err(guest(store, source)),
    }
}

pub(super) fn guest(store: &Store<Host>, source: wasmtime::Error) -> Failure {
    Failure::Guest { source, refused: store.data().limiter.refused() }
}
