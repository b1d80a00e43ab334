//! What stands for the wasm driver in an engine that was built without it: a clear error for each request of it.

use brig_runtime::paths::ContainerPaths;
use brig_runtime::plan::PayloadPlan;
use brig_runtime::protocol::ExecRequest;
use brig_runtime::record::{ContainerSpec, WasmRecord};

use crate::blocking::Engine;
use crate::containers::{ContainerInfo, CreateOptions, ExecOptions, Source};
use crate::error::{Error, Result};
use crate::images::ResolvedImage;

fn no_wasm(name: &str) -> Error {
    let reason = "this program was built with brig's engine without its feature `wasm`".into();
    Error::Unsupported { what: format!("wasm, which `{name}` is,"), reason }
}

/// There is none.
#[derive(Clone, Debug)]
pub(crate) enum Module {}

impl Engine {
    pub(crate) fn artifact_module(&self, resolved: &ResolvedImage) -> Result<Option<Module>> {
        Err(no_wasm(&resolved.name))
    }

    pub(crate) fn container_module(&self, spec: &ContainerSpec, _: &Source) -> Result<WasmRecord> {
        Err(no_wasm(&spec.image.reference))
    }

    pub(crate) fn wasm_payload(&self, container: &ContainerInfo, _: &ContainerPaths) -> Result<PayloadPlan> {
        Err(no_wasm(&container.spec.name))
    }

    pub(crate) fn wasm_exec_request(
        &self,
        container: &ContainerInfo,
        _: &ExecOptions,
    ) -> Result<ExecRequest> {
        Err(no_wasm(&container.spec.name))
    }

    /// Whether what was given for an image is the path of a wasm file.
    pub fn is_wasm_file(&self, image: &str) -> bool {
        is_file(image)
    }

    pub(crate) fn bare_source(&self, options: &CreateOptions) -> Result<Source> {
        Err(no_wasm(&options.image))
    }
}

/// Whether what was given for an image is the path of a file.
pub(crate) fn is_file(image: &str) -> bool {
    image.starts_with(['/', '.'])
}

impl Module {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        match *self {}
    }
}
