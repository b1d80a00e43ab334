//! Verbs on the whole: `inspect` and `fsck`.

use std::path::PathBuf;
use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{
    BlockRateKind, BlockWeight, ContainerInfo, Error, FsckReport, Health, HealthCheck, MountRecord, Platform,
    Result, Ulimit, Wanted,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::inspect;
use crate::args::ShortFormat;
use crate::format::{self, Format};
use crate::{error, output, table};

/// Show everything about containers, images or volumes
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Of an index, the image of this platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Also the sizes of containers: SizeRw and SizeRootFs
    #[arg(short, long)]
    size: bool,
    /// Look among these only
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    of: Option<Type>,
    #[command(flatten)]
    pub(crate) short_format: ShortFormat,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// What `--type` names.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Type {
    /// Containers.
    Container,
    /// Images.
    Image,
    /// Volumes.
    Volume,
}

/// What `inspect` looks among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Containers first, then images, then volumes.
    Either,
    /// Containers.
    Containers,
    /// Images.
    Images,
    /// Volumes.
    Volumes,
}

impl Inspect {
    pub(crate) fn execute(self, context: &Context, of: Of) -> Result<ExitCode> {
        let of = match (of, self.of) {
            (Of::Either, Some(Type::Container)) => Of::Containers,
            (Of::Either, Some(Type::Image)) => Of::Images,
            (Of::Either, Some(Type::Volume)) => Of::Volumes,
            (of, _) => of,
        };
        let engine = context.engine()?;
        let (mut documents, mut code) = (Vec::new(), ExitCode::SUCCESS);
        for name in &self.names {
            match self.document(&engine, name, of) {
                Ok(document) => documents.push(document),
                Err(failure) => code = error::report(&failure, context.globals.error_format()),
            }
        }
        print_documents(context, &documents)?;
        Ok(code)
    }

    fn document(&self, engine: &Engine, name: &str, of: Of) -> Result<Value> {
        if of == Of::Volumes {
            return engine.volume(name).map(|volume| super::volume::document(&volume));
        }
        if of != Of::Images {
            match engine.container(name) {
                Ok(container) => return self.of_container(engine, &container),
                Err(Error::ContainerNotFound { .. }) if of == Of::Either => {}
                Err(error) => return Err(error),
            }
        }
        let wanted = Wanted { platform: self.platform.clone(), kind: None };
        let details = match engine.inspect_image(name, &wanted) {
            Err(Error::ImageNotFound { name, root }) if of == Of::Either => {
                return of_volume(engine, name, root);
            }
            details => details?,
        };
        let document = serde_json::to_value(details).map_err(|source| Error::Io {
            action: "show",
            path: Some(name.into()),
            source: source.into(),
        })?;
        Ok(inspect::image(document))
    }

    fn of_container(&self, engine: &Engine, container: &ContainerInfo) -> Result<Value> {
        let mut document = inspect::container(container_document(engine, container), container);
        if self.size {
            let size = engine.container_size(container)?;
            document["SizeRw"] = size.writable.into();
            document["SizeRootFs"] = size.total().into();
        }
        Ok(document)
    }
}

fn of_volume(engine: &Engine, name: String, root: Option<PathBuf>) -> Result<Value> {
    match engine.volume(&name) {
        Ok(volume) => Ok(super::volume::document(&volume)),
        Err(Error::VolumeNotFound { .. }) => Err(Error::NoSuchObject { name, root }),
        Err(error) => Err(error),
    }
}

/// An array for people, and for programs on one line; by a template, a line for each.
pub(super) fn print_documents(context: &Context, documents: &[Value]) -> Result<()> {
    match &context.globals.format {
        None | Some(Format::Table) => output::json(&documents),
        Some(Format::Json) => output::json_line(&documents),
        Some(Format::Columns(_)) => Err(format::no_table()),
        // docker's answer to nothing found is an empty line.
        Some(Format::Template(_)) if documents.is_empty() => output::line(""),
        Some(Format::Template(given)) => {
            documents.iter().try_for_each(|document| output::line(&given.of_document(document)?))
        }
    }
}

/// docker's structure where it has the field; brig's own fields beside them.
fn container_document(engine: &Engine, container: &ContainerInfo) -> Value {
    let (spec, state) = (&container.spec, &container.state);
    let exit = state.exit.as_ref();
    json!({
        "Id": spec.id,
        "Name": format!("/{}", spec.name),
        "Created": spec.created_at,
        "Kind": spec.kind,
        "KindReason": spec.kind_reason,
        "Path": spec.args.first(),
        "Args": spec.args.get(1..).unwrap_or_default(),
        "Image": spec.image.id,
        "State": {
            "Status": state.state.docker(),
            "Running": state.state.is_active(),
            "Paused": state.state == brig_engine::State::Paused,
            "Restarting": state.state == brig_engine::State::Restarting,
            "Dead": state.state == brig_engine::State::Dead,
            "OOMKilled": exit.is_some_and(|exit| exit.reason == brig_engine::ExitReason::Memory),
            "Pid": state.payload.map_or(0, |payload| payload.pid),
            "SupervisorPid": state.supervisor.map_or(0, |supervisor| supervisor.pid),
            "ExitCode": exit.map_or(0, |exit| exit.code),
            "Signal": exit.and_then(|exit| exit.signal),
            "Reason": exit.map(|exit| exit.reason),
            "Error": exit.and_then(|exit| exit.message.clone()).unwrap_or_default(),
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
            "Health": state.health.as_ref().map(health_document),
        },
        "RestartCount": state.restart_count,
        "LogPath": engine.log_path(container).unwrap_or_default(),
        "ImageManifest": spec.image.manifest,
        "Platform": spec.image.platform,
        "Isolation": spec.isolation,
        "Config": {
            "Hostname": spec.hostname,
            "User": spec.user,
            "Env": spec.env,
            "Cmd": spec.args,
            "Image": spec.image.reference,
            "WorkingDir": spec.cwd,
            "Domainname": spec.tuning.domainname.as_deref().unwrap_or_default(),
            "Labels": spec.labels,
            "Tty": spec.tty,
            "OpenStdin": spec.stdin_open,
            "StopSignal": spec.stop_signal,
            "StopTimeout": spec.stop_timeout.map(|seconds| i64::try_from(seconds).unwrap_or(-1)),
            "Healthcheck": spec.health.as_ref().map(healthcheck_document),
            "Volumes": anonymous_volumes(&spec.mounts),
        },
        "HostConfig": host_config(container),
        "Mounts": spec.mounts.iter().map(mount_document).collect::<Vec<_>>(),
        "Layers": spec.layers,
        "Wasm": spec.wasm,
        "Spec": spec.linux,
    })
}

/// docker's set of paths; null without any.
fn anonymous_volumes(mounts: &[MountRecord]) -> Value {
    let anonymous = mounts.iter().filter(|mount| mount.anonymous);
    let paths: serde_json::Map<_, _> = anonymous.map(|mount| (mount.target.clone(), json!({}))).collect();
    if paths.is_empty() { Value::Null } else { paths.into() }
}

/// docker's fields: a directory of the host has neither name nor driver.
fn mount_document(mount: &MountRecord) -> Value {
    let mut document = json!({
        "Type": match (&mount.volume, &mount.mounted_image) {
            (Some(_), _) => "volume",
            (None, Some(_)) => "image",
            (None, None) => "bind",
        },
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": !mount.read_only,
        "Propagation": "",
    });
    match (&mount.volume, &mount.mounted_image) {
        (Some(name), _) => {
            document["Name"] = name.as_str().into();
            document["Driver"] = "local".into();
        }
        (None, Some(mounted)) => document["Name"] = brig_engine::familiar(&mounted.image.reference).into(),
        (None, None) => document["Propagation"] = mount.propagation.as_deref().unwrap_or("rprivate").into(),
    }
    document
}

fn health_document(health: &Health) -> Value {
    json!({
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": health.log.iter().map(|result| json!({
            "Start": result.start,
            "End": result.end,
            "ExitCode": result.exit_code,
            "Output": result.output,
        })).collect::<Vec<_>>(),
    })
}

/// docker's times are nanoseconds.
fn healthcheck_document(check: &HealthCheck) -> Value {
    let nanos = |millis: u64| millis.saturating_mul(1_000_000);
    json!({
        "Test": check.test,
        "Interval": nanos(check.interval_ms),
        "Timeout": nanos(check.timeout_ms),
        "StartPeriod": nanos(check.start_period_ms),
        "StartInterval": nanos(check.start_interval_ms),
        "Retries": check.retries,
    })
}

/// docker's `HostConfig`; a limit that isn't there is zero, as docker shows it.
fn host_config(container: &ContainerInfo) -> Value {
    let (spec, limits, tuning) = (&container.spec, &container.spec.limits, &container.spec.tuning);
    let ulimit = |limit: &Ulimit| json!({ "Name": limit.name, "Soft": limit.soft, "Hard": limit.hard });
    let weight = |one: &BlockWeight| json!({ "Path": one.device.path, "Weight": one.weight });
    let rates = |kind| -> Vec<Value> {
        let rates = limits.block_io.rates.iter().filter(|one| one.kind == kind);
        rates.map(|one| json!({ "Path": one.device.path, "Rate": one.rate })).collect()
    };
    json!({
        "AutoRemove": spec.auto_remove,
        "RestartPolicy": {
            "Name": spec.restart.name(),
            "MaximumRetryCount": spec.restart.maximum(),
        },
        "Init": spec.init,
        "NetworkMode": spec.network,
        "ReadonlyRootfs": spec.read_only,
        "Memory": limits.memory.unwrap_or(0),
        "MemorySwap": limits.memory_swap.unwrap_or(0),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.as_deref().unwrap_or_default(),
        "BlkioWeight": limits.block_io.weight.unwrap_or(0),
        "BlkioWeightDevice": limits.block_io.weights.iter().map(weight).collect::<Vec<_>>(),
        "BlkioDeviceReadBps": rates(BlockRateKind::ReadBytes),
        "BlkioDeviceWriteBps": rates(BlockRateKind::WriteBytes),
        "BlkioDeviceReadIOps": rates(BlockRateKind::ReadOperations),
        "BlkioDeviceWriteIOps": rates(BlockRateKind::WriteOperations),
        "PidsLimit": limits.pids,
        "TimeoutMs": limits.timeout_ms,
        "OomScoreAdj": tuning.oom_score_adj.unwrap_or(0),
        "OomKillDisable": false,
        "Ulimits": tuning.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
        "ShmSize": tuning.shm_size.or((spec.kind == "linux").then_some(64 << 20)),
        "Tmpfs": tuning.tmpfs,
        "CapAdd": tuning.cap_add,
        "CapDrop": tuning.cap_drop,
        "GroupAdd": tuning.group_add,
        "Annotations": tuning.annotations,
        "SecurityOpt": spec.security_opt,
        "LogConfig": { "Type": spec.log.driver, "Config": spec.log.options },
    })
}

/// Check the store, and mend it
#[derive(Args, Debug)]
pub(crate) struct Fsck {
    /// Remove what is damaged; what must be pulled again is said
    #[arg(long)]
    repair: bool,
}

impl Fsck {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let report = context.engine()?.fsck(self.repair)?;
        if !Format::document(context.globals.format.as_ref(), &fsck_document(&report))? {
            output::print(&fsck_text(&report))?;
        }
        let whole = report.problems.is_empty() || report.repaired;
        Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn fsck_document(report: &FsckReport) -> Value {
    json!({
        "Problems": report.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "Repaired": report.repaired,
        "PullAgain": report.pull_again.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "Leftovers": report.leftovers,
        "Blobs": report.blobs,
        "BlobBytes": report.blob_bytes,
        "Layers": report.layers,
        "References": report.refs,
    })
}

fn fsck_text(report: &FsckReport) -> String {
    let size = table::size(report.blob_bytes);
    let mut text = format!(
        "checked {} blobs ({size}), {} layers, {} references\n",
        report.blobs, report.layers, report.refs
    );
    for problem in &report.problems {
        text.push_str(&format!("{}: {problem}\n", if report.repaired { "removed" } else { "damaged" }));
    }
    for reference in &report.pull_again {
        text.push_str(&format!("  fix: brig pull {reference}\n"));
    }
    match (report.problems.is_empty(), report.repaired) {
        (true, _) => text.push_str("the store is whole\n"),
        (false, true) => {}
        (false, false) => text.push_str("  fix: brig fsck --repair\n"),
    }
    if !report.leftovers.is_empty() {
        text.push_str(&format!(
            "{} left-overs of interrupted operations, which do no harm\n",
            report.leftovers.len()
        ));
    }
    text
}
