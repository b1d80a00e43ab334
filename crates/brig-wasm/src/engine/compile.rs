//! From a binary, or text, to compiled code in a file. Runs in a process with limits and
//! without rights: the binary may be hostile.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::process::{Resource, Rlimit, setrlimit};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::config::{Purpose, engine};
use super::linker;
use super::walls::{self, WallError};
use crate::form::{self, Encoding, Form};
use crate::request::{CompileFailure, CompileReport, CompileRequest};

/// Compiles for a container of its own, as the request says, under its limits and behind walls, which this process keeps
/// for the rest of its life. Before there are other threads: the walls are around those that come later.
pub fn compile(request: &CompileRequest) -> CompileReport {
    report(compile_file(request, Purpose::CompileForProcess))
}

/// The same for [`crate::plugin::PluginEngine::load_isolated`].
pub fn compile_plugin(request: &CompileRequest) -> CompileReport {
    report(compile_file(request, Purpose::CompileForPlugin))
}

fn report(result: Result<(Form, u64), Refusal>) -> CompileReport {
    match result {
        Ok((form, size)) => CompileReport::Compiled { form, size },
        Err((failure, message)) => CompileReport::Refused { failure, message },
    }
}

type Refusal = (CompileFailure, String);

fn compile_file(request: &CompileRequest, purpose: Purpose) -> Result<(Form, u64), Refusal> {
    limit(Resource::As, request.memory, 0)?;
    // At the first limit comes SIGXCPU, which says why; at the second SIGKILL, which others send as well.
    limit(Resource::Cpu, request.cpu_seconds, 1)?;
    // A core file of a compiler that was stopped helps nobody.
    limit(Resource::Core, Some(0), 0)?;
    let source = read(&request.source)?;
    let mut output = create(&request.output)?;
    // Everything is at hand, and nothing of it has been looked at.
    walls::around_compiler().map_err(unwalled)?;
    let binary = binary(&source)?;
    let form = Form::detect(&binary).map_err(invalid)?;
    if request.runnable_only {
        form.check_runnable().map_err(|error| (CompileFailure::NotRunnable, error.to_string()))?;
    }
    let engine = engine(purpose, &request.identity).map_err(|error| invalid(format!("{error:#}")))?;
    let compiled = translate(&engine, &binary, &form, request.runnable_only)?;
    output.write_all(&compiled).map_err(unwritten(&request.output))?;
    // The length of a vector fits.
    Ok((form, u64::try_from(compiled.len()).unwrap_or(u64::MAX)))
}

fn limit(resource: Resource, value: Option<u64>, more: u64) -> Result<(), Refusal> {
    let Some(value) = value else { return Ok(()) };
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value.saturating_add(more)) })
        .map_err(|error| (CompileFailure::Io, format!("the compiler can't be limited: {error}")))
}

fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    let failed =
        |error: io::Error| (CompileFailure::Io, format!("`{}` can't be read: {error}", path.display()));
    let mut bytes = Vec::new();
    let bound = u64::try_from(form::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(failed)?.take(bound).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Text becomes a binary; a binary stays.
fn binary(source: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    if form::is_text(source) { wat::parse_bytes(source).map_err(invalid) } else { Ok(source.into()) }
}

fn translate(engine: &Engine, binary: &[u8], form: &Form, link: bool) -> Result<Vec<u8>, Refusal> {
    let unlinked = |error: wasmtime::Error| (CompileFailure::NotRunnable, format!("{error:#}"));
    let uncompiled = |error: wasmtime::Error| invalid(format!("{error:#}"));
    match form.encoding {
        Encoding::Module => {
            let module = Module::from_binary(engine, binary).map_err(uncompiled)?;
            if link {
                linker::module(engine, &module, form.wasi, never).map_err(unlinked)?;
            }
            module.serialize().map_err(uncompiled)
        }
        Encoding::Component => {
            let component = Component::from_binary(engine, binary).map_err(uncompiled)?;
            if link {
                linker::component(engine, &component, form.wasi, never).map_err(unlinked)?;
            }
            component.serialize().map_err(uncompiled)
        }
    }
}

fn create(path: &Path) -> Result<File, Refusal> {
    File::create(path).map_err(unwritten(path))
}

fn unwritten(path: &Path) -> impl Fn(io::Error) -> Refusal {
    move |error| (CompileFailure::Io, format!("`{}` can't be written: {error}", path.display()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwalled(error: WallError) -> Refusal {
    (CompileFailure::Io, format!("the compiler {error}: {}", error.source))
}

fn invalid(error: impl ToString) -> Refusal {
    (CompileFailure::Invalid, error.to_string())
}

/// Nothing runs in this process.
#[expect(clippy::exit, reason = "it is linked to look whether it can be, and never called")]
fn never(code: u8) -> ! {
    std::process::exit(code.into())
}
