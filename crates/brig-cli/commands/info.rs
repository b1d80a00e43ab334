//! Verbs on the whole: `info`, `system df`, `system start`.

use std::process::ExitCode;

use brig_engine::{Result, State, Usage, Verdict};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use crate::args::ShortFormat;
use crate::format::Format;
use crate::list::{Fields, List};
use crate::table::{self, Table};
use crate::{error, output};

/// Say what there is: containers, images, roots, and what this host can do
#[derive(Args, Debug)]
pub(crate) struct Info {
    #[command(flatten)]
    pub(crate) short_format: ShortFormat,
}

impl Info {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let containers = engine.containers()?;
        let count = |wanted: &[State]| containers.iter().filter(|c| wanted.contains(&c.state.state)).count();
        let checks = brig_engine::doctor();
        let limited: Vec<_> = checks.iter().filter(|check| check.verdict != Verdict::Ok).collect();
        let document = json!({
            "ServerVersion": env!("CARGO_PKG_VERSION"),
            "Name": host_file("/proc/sys/kernel/hostname"),
            "KernelVersion": host_file("/proc/sys/kernel/osrelease"),
            "OSType": std::env::consts::OS,
            "Architecture": std::env::consts::ARCH,
            "NCPU": std::thread::available_parallelism().map_or(1, usize::from),
            "MemTotal": brig_engine::machine_memory(),
            "Containers": containers.len(),
            "ContainersRunning": count(&[State::Running, State::Restarting]),
            "ContainersPaused": count(&[State::Paused]),
            "ContainersStopped": count(&[State::Creating, State::Created, State::Stopped, State::Dead]),
            "Images": engine.images()?.len(),
            "Driver": "overlay",
            "LoggingDriver": "json-file",
            "DockerRootDir": engine.roots().root,
            "RunRoot": engine.roots().run_root,
            "Rootless": !engine.is_root(),
            "Runtimes": ["linux", "wasm"],
            "OciRuntimeSpec": brig_engine::OCI_RUNTIME_VERSION,
            "Wasmtime": brig_engine::WASMTIME_VERSION,
            "Warnings": limited.iter().map(|check| format!("{}: {}", check.name, check.detail)).collect::<Vec<_>>(),
        });
        if !Format::document(context.globals.format.as_ref(), &document)? {
            output::print(&info_text(&document))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// docker's words where it has the line.
fn info_text(document: &Value) -> String {
    let show = |key: &str| match &document[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let memory = table::binary_size(document["MemTotal"].as_u64().unwrap_or(0));
    let mut text = format!(
        "Containers: {}\n Running: {}\n Paused: {}\n Stopped: {}\nImages: {}\nServer Version: {}\n\
         Storage Driver: {}\nLogging Driver: {}\nRuntimes: linux wasm\nOCI Runtime Spec: {}\nWasmtime: {}\n\
         Kernel Version: {}\nOSType: {}\nArchitecture: {}\nCPUs: {}\nTotal Memory: {memory}\nName: {}\n\
         Root Dir: {}\nRun Dir: {}\nRootless: {}\n",
        show("Containers"),
        show("ContainersRunning"),
        show("ContainersPaused"),
        show("ContainersStopped"),
        show("Images"),
        show("ServerVersion"),
        show("Driver"),
        show("LoggingDriver"),
        show("OciRuntimeSpec"),
        show("Wasmtime"),
        show("KernelVersion"),
        show("OSType"),
        show("Architecture"),
        show("NCPU"),
        show("Name"),
        show("DockerRootDir"),
        show("RunRoot"),
        show("Rootless"),
    );
    for warning in document["Warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("WARNING: {warning}\n"));
    }
    text
}

fn host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// docker's fields of `system df`.
const USAGE: Fields = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// Show what takes space on disk
#[derive(Args, Debug)]
pub(crate) struct Df {
    /// Show each container and volume, too
    #[arg(short, long)]
    verbose: bool,
}

impl Df {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let usage = context.engine()?.disk_usage()?;
        let kinds = [
            ("Images", &usage.images),
            ("Containers", &usage.containers),
            ("Local Volumes", &usage.volumes),
            ("Compiled Code", &usage.compiled),
        ];
        let mut overview = List::new(USAGE, &["Type", "TotalCount", "Active", "Size", "Reclaimable"]);
        for (name, usage) in kinds {
            let [kind, total, active, size, reclaimable] = cells(name, usage);
            overview.row(json!({
                "Type": kind, "TotalCount": total, "Active": active, "Size": size, "Reclaimable": reclaimable,
            }));
        }
        overview.print(context, None)?;
        if self.verbose && context.globals.is_for_people() {
            let mut table = Table::new(&["CONTAINER ID", "IMAGE", "SIZE", "STATUS", "NAMES"]);
            for (container, size) in &usage.per_container {
                table.row(vec![
                    container.short_id().to_owned(),
                    brig_engine::familiar(&container.spec.image.reference),
                    table::size(*size),
                    super::container::status(container),
                    container.spec.name.clone(),
                ]);
            }
            output::print(&format!("\n{}", table.render()))?;
            let mut table = Table::new(&["VOLUME NAME", "LINKS", "SIZE"]);
            for (volume, size) in &usage.per_volume {
                table.row(vec![volume.name.clone(), volume.users.len().to_string(), table::size(*size)]);
            }
            output::print(&format!("\n{}", table.render()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn cells(name: &str, usage: &Usage) -> [String; 5] {
    let share = (usage.reclaimable * 100).checked_div(usage.size).unwrap_or(0);
    let reclaimable = table::size(usage.reclaimable);
    let reclaimable = if usage.size > 0 { format!("{reclaimable} ({share}%)") } else { reclaimable };
    [name.to_owned(), usage.total.to_string(), usage.active.to_string(), table::size(usage.size), reclaimable]
}

/// Start the containers that should run by their restart policies: after a boot
#[derive(Args, Debug)]
#[command(
    after_help = "At each boot: brig generate systemd > /etc/systemd/system/brig.service; systemctl enable brig"
)]
pub(crate) struct Start {}

impl Start {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let mut code = ExitCode::SUCCESS;
        for (container, started) in context.engine()?.start_after_boot()? {
            match started {
                Ok(()) => output::line(&container.spec.name)?,
                Err(failure) => code = error::report(&failure, context.globals.error_format()),
            }
        }
        Ok(code)
    }
}
