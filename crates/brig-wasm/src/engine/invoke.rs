//! Calling one exported function instead of running the program: `exec` in a wasm container.

use std::io::Write;

use wasmtime::component::{Instance as ComponentInstance, Val as ComponentVal};
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

/// Calls a component's function. Without arguments: their notation isn't understood here.
pub(super) async fn component(
    store: &mut Store<Host>,
    instance: &ComponentInstance,
    invoke: &Invoke,
) -> Result<u8, Failure> {
    let function = instance
        .get_func(&mut *store, &invoke.export)
        .ok_or_else(|| Failure::NoExport { export: invoke.export.clone() })?;
    let kind = function.ty(&*store);
    if kind.params().len() > 0 || !invoke.args.is_empty() {
        let problem = "functions of components are called without arguments".into();
        return Err(Failure::Arguments { export: invoke.export.clone(), problem });
    }
    let mut results = vec![ComponentVal::Bool(false); kind.results().len()];
    match function.call_async(&mut *store, &[], &mut results).await {
        Ok(()) => {
            // What a command would exit with.
            let failed = matches!(results.first(), Some(ComponentVal::Result(Err(_))));
            print(results.iter().filter_map(component_word))?;
            Ok(u8::from(failed))
        }
        Err(source) => Err(guest(store, source)),
    }
}

fn arguments(invoke: &Invoke, kinds: Vec<ValType>) -> Result<Vec<Val>, Failure> {
    let failed = |problem| Failure::Arguments { export: invoke.export.clone(), problem };
    if kinds.len() != invoke.args.len() {
        return Err(failed(format!("it takes {} arguments, not {}", kinds.len(), invoke.args.len())));
    }
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

/// The result of a command has a code and no word.
fn component_word(value: &ComponentVal) -> Option<String> {
    match value {
        ComponentVal::Result(_) => None,
        ComponentVal::Bool(value) => Some(value.to_string()),
        ComponentVal::S8(value) => Some(value.to_string()),
        ComponentVal::U8(value) => Some(value.to_string()),
        ComponentVal::S16(value) => Some(value.to_string()),
        ComponentVal::U16(value) => Some(value.to_string()),
        ComponentVal::S32(value) => Some(value.to_string()),
        ComponentVal::U32(value) => Some(value.to_string()),
        ComponentVal::S64(value) => Some(value.to_string()),
        ComponentVal::U64(value) => Some(value.to_string()),
        ComponentVal::Float32(value) => Some(value.to_string()),
        ComponentVal::Float64(value) => Some(value.to_string()),
        ComponentVal::Char(value) => Some(value.to_string()),
        ComponentVal::String(value) => Some(value.clone()),
        other => Some(format!("{other:?}")),
    }
}

fn print(words: impl Iterator<Item = String>) -> Result<u8, Failure> {
    let text: String = words.map(|word| word + "\n").collect();
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Failure::Stdio { source })?;
    Ok(0)
}
