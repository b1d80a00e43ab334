//! Calling one exported function instead of running the program: `exec` in a wasm container.

use std::io::Write;

use wasmtime::component::{Func, Instance as ComponentInstance, Type, Val as ComponentVal};
use wasmtime::{Instance, Store, Val, ValType};

use super::ending::Failure;
use super::host::Host;
use super::run::guest;
use crate::request::Invoke;

/// The function with which a library of WASI prepares itself.
const INITIALIZE: &str = "_initialize";

/// Calls a module's function, and prints what it returns, one value a line.
pub(super) async fn module(
    store: &mut Store<Host>,
    instance: &Instance,
    invoke: &Invoke,
) -> Result<u8, Failure> {
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, INITIALIZE) {
        initialize.call_async(&mut *store, ()).await.map_err(|source| guest(store, source))?;
    }
    let function = instance
        .get_func(&mut *store, &invoke.export)
        .ok_or_else(|| Failure::NoExport { export: invoke.export.clone() })?;
    let kind = function.ty(&*store);
    let args = arguments(invoke, kind.params().collect())?;
    let mut results: Vec<Val> = kind.results().map(|_| Val::I32(0)).collect();
    match function.call_async(&mut *store, &args, &mut results).await {
        Ok(()) => print(results.iter().map(word)),
        Err(source) => Err(guest(store, source)),
    }
}

/// Calls a component's function, with arguments in the notation of WAVE, and prints what it returns in the same.
pub(super) async fn component(
    store: &mut Store<Host>,
    instance: &ComponentInstance,
    invoke: &Invoke,
) -> Result<u8, Failure> {
    let function = exported(store, instance, &invoke.export)
        .ok_or_else(|| Failure::NoExport { export: invoke.export.clone() })?;
    let kind = function.ty(&*store);
    let args = component_arguments(invoke, &kind.params().collect::<Vec<_>>())?;
    let mut results = vec![ComponentVal::Bool(false); kind.results().len()];
    match function.call_async(&mut *store, &args, &mut results).await {
        Ok(()) => answer(results.first()),
        Err(source) => Err(guest(store, source)),
    }
}

/// A function of the component, or `interface#function`.
fn exported(store: &mut Store<Host>, instance: &ComponentInstance, export: &str) -> Option<Func> {
    let Some((interface, function)) = export.split_once('#') else {
        return instance.get_func(store, export);
    };
    let (_, interface) = instance.get_export(&mut *store, None, interface)?;
    let (_, function) = instance.get_export(&mut *store, Some(&interface), function)?;
    instance.get_func(store, function)
}

/// A result is what a command would end with: its value goes to the one stream or the other, and into the exit code.
fn answer(value: Option<&ComponentVal>) -> Result<u8, Failure> {
    match value {
        Some(ComponentVal::Result(Ok(value))) => print(value.as_deref().map(component_word)),
        Some(ComponentVal::Result(Err(value))) => {
            print_to(std::io::stderr(), value.as_deref().map(component_word))?;
            Ok(1)
        }
        value => print(value.map(component_word)),
    }
}

fn component_arguments(invoke: &Invoke, kinds: &[(&str, Type)]) -> Result<Vec<ComponentVal>, Failure> {
    check_count(invoke, kinds.len())?;
    let value = |((name, kind), text): (&(&str, Type), &String)| {
        component_argument(kind, text).map_err(|problem| {
            let problem = format!("`{text}` isn't what it takes as `{name}`: {problem}");
            Failure::Arguments { export: invoke.export.clone(), problem }
        })
    };
    kinds.iter().zip(&invoke.args).map(value).collect()
}

/// A string needs no quotes of its own: whoever calls has a shell's already.
fn component_argument(kind: &Type, text: &str) -> wasmtime::Result<ComponentVal> {
    match kind {
        Type::String if !text.starts_with('"') => Ok(ComponentVal::String(text.into())),
        kind => ComponentVal::from_wave(kind, text),
    }
}

fn check_count(invoke: &Invoke, count: usize) -> Result<(), Failure> {
    if count == invoke.args.len() {
        return Ok(());
    }
    let problem = format!("it takes {count} arguments, not {}", invoke.args.len());
    Err(Failure::Arguments { export: invoke.export.clone(), problem })
}

fn arguments(invoke: &Invoke, kinds: Vec<ValType>) -> Result<Vec<Val>, Failure> {
    let failed = |problem| Failure::Arguments { export: invoke.export.clone(), problem };
    check_count(invoke, kinds.len())?;
    let value = |(kind, text): (&ValType, &String)| {
        argument(kind, text).ok_or_else(|| failed(format!("`{text}` isn't of the type {kind}")))
    };
    kinds.iter().zip(&invoke.args).map(value).collect()
}

/// Numbers, with a sign or without.
fn argument(kind: &ValType, text: &str) -> Option<Val> {
    match kind {
        ValType::I32 => {
            let unsigned = || text.parse::<u32>().ok().map(u32::cast_signed);
            text.parse().ok().or_else(unsigned).map(Val::I32)
        }
        ValType::I64 => {
            let unsigned = || text.parse::<u64>().ok().map(u64::cast_signed);
            text.parse().ok().or_else(unsigned).map(Val::I64)
        }
        ValType::F32 => text.parse::<f32>().ok().map(Val::from),
        ValType::F64 => text.parse::<f64>().ok().map(Val::from),
        ValType::V128 | ValType::Ref(_) => None,
    }
}

fn word(value: &Val) -> String {
    match value {
        Val::I32(number) => number.to_string(),
        Val::I64(number) => number.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        Val::V128(bits) => bits.as_u128().to_string(),
        _ => "a reference".into(),
    }
}

/// A string is printed as it is.
fn component_word(value: &ComponentVal) -> String {
    match value {
        ComponentVal::String(text) => text.clone(),
        // What has no notation (a resource) is told by its kind.
        value => value.to_wave().unwrap_or_else(|_| format!("{value:?}")),
    }
}

fn print(words: impl IntoIterator<Item = String>) -> Result<u8, Failure> {
    print_to(std::io::stdout(), words)?;
    Ok(0)
}

fn print_to(mut out: impl Write, words: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let text: String = words.into_iter().map(|word| word + "\n").collect();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Failure::Stdio { source })
}
