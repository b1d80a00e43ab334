//! Which host functions a guest finds.

use wasmtime::component::{Component, InstancePre as ComponentPre, Linker as ComponentLinker};
use wasmtime::{Engine, InstancePre, Linker, Module};
use wasmtime_wasi::{p0, p1, p2};

use super::host::Host;
use super::waits;
use crate::form::Wasi;

/// How the guest's own end reaches the process: it never returns. An error through the engine would collect a
/// backtrace first, 0.7 ms when the guest has debug information.
pub(crate) type Exit = fn(u8) -> !;

/// Links a module against the WASI that it was written for. An import that isn't served is an error with its name.
pub(crate) fn module(
    engine: &Engine,
    module: &Module,
    wasi: Wasi,
    exit: Exit,
) -> wasmtime::Result<InstancePre<Host>> {
    let mut linker = Linker::new(engine);
    linker.allow_shadowing(true);
    match wasi {
        Wasi::P0 => {
            p0::add_to_linker_async(&mut linker, |host: &mut Host| &mut host.wasi)?;
            module_exit(&mut linker, "wasi_unstable", exit)?;
            waits::poll_p0(&mut linker)?;
        }
        Wasi::P1 => {
            p1::add_to_linker_async(&mut linker, |host: &mut Host| &mut host.wasi)?;
            module_exit(&mut linker, "wasi_snapshot_preview1", exit)?;
            waits::poll_p1(&mut linker)?;
        }
        Wasi::None | Wasi::P2 | Wasi::P3 => {}
    }
    linker.instantiate_pre(module)
}

/// wasmtime-wasi makes a trap of exit codes from 126 up; programs use them, and a shell would see them.
fn module_exit(linker: &mut Linker<Host>, module: &str, exit: Exit) -> wasmtime::Result<()> {
    linker.func_wrap(module, "proc_exit", move |code: i32| -> () {
        // The low eight bits, as `exit` of every system hands them on.
        let [low, ..] = code.to_le_bytes();
        exit(low)
    })?;
    Ok(())
}

/// Links a component against the world `wasi:cli/imports`.
pub(crate) fn component(
    engine: &Engine,
    component: &Component,
    wasi: Wasi,
    exit: Exit,
) -> wasmtime::Result<ComponentPre<Host>> {
    let mut linker = ComponentLinker::<Host>::new(engine);
    if wasi == Wasi::P2 {
        linker.allow_shadowing(true);
        p2::add_to_linker_async(&mut linker)?;
        component_exit(&mut linker, exit)?;
        waits::component(&mut linker)?;
    }
    linker.instantiate_pre(component)
}

/// The version is wasmtime-wasi's own, so that this is the same interface and not a second one.
fn component_exit(linker: &mut ComponentLinker<Host>, exit: Exit) -> wasmtime::Result<()> {
    let mut interface = linker.instance("wasi:cli/exit@0.2.12")?;
    interface.func_wrap("exit", move |_, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
        exit(u8::from(status.is_err()))
    })?;
    interface.func_wrap("exit-with-code", move |_, (code,): (u8,)| -> wasmtime::Result<()> { exit(code) })
}
