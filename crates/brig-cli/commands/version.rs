//! `version`.

use std::process::ExitCode;

use brig_engine::{Platform, Result};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::args::ShortFormat;
use crate::format::Format;
use crate::output;

/// Print versions
#[derive(Args, Debug)]
pub(crate) struct Version {
    #[command(flatten)]
    pub(crate) short_format: ShortFormat,
}

impl Version {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        if Format::document(context.globals.format.as_ref(), &document())? {
            return Ok(ExitCode::SUCCESS);
        }
        output::print(&format!(
            "brig {}\n  platform:          {}\n  OCI runtime spec:  {}\n  wasmtime:          {}\n",
            env!("CARGO_PKG_VERSION"),
            Platform::host(),
            brig_engine::OCI_RUNTIME_VERSION,
            brig_engine::WASMTIME_VERSION,
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// brig's own fields, and docker's client and server, which are one program here.
fn document() -> Value {
    let (version, os, arch) =
        (env!("CARGO_PKG_VERSION"), std::env::consts::OS, Platform::host().architecture);
    let component = |name: &str, version: &str| json!({ "Name": name, "Version": version });
    json!({
        "Version": version,
        "Os": os,
        "Arch": arch,
        "Runtimes": ["linux", "wasm"],
        "OciRuntimeSpec": brig_engine::OCI_RUNTIME_VERSION,
        "Wasmtime": brig_engine::WASMTIME_VERSION,
        "Client": { "Version": version, "Os": os, "Arch": arch, "Context": "default" },
        "Server": {
            "Platform": { "Name": "brig" },
            "Version": version,
            "Os": os,
            "Arch": arch,
            "KernelVersion": kernel(),
            "Components": [
                component("brig", version),
                component("OCI runtime spec", brig_engine::OCI_RUNTIME_VERSION),
                component("wasmtime", brig_engine::WASMTIME_VERSION),
            ],
        },
    })
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
