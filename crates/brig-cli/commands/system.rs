//! Verbs on the whole: `inspect`, `events`, `fsck`, `version`.

use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{
    ContainerInfo, Error, Event, FsckReport, Health, HealthCheck, Platform, Result, Timestamp, Ulimit, Wanted,
};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::values::moment;
use crate::{error, output, table};

/// Show everything about containers or images
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Of an index, the image of this platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// What `inspect` looks among.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Containers first, then images.
    Either,
    /// Containers.
    Containers,
    /// Images.
    Images,
}

impl Inspect {
    pub(crate) fn execute(self, context: &Context, of: Of) -> Result<ExitCode> {
        let engine = context.engine()?;
        let (mut documents, mut code) = (Vec::new(), ExitCode::SUCCESS);
        for name in &self.names {
            match self.document(&engine, name, of) {
                Ok(document) => documents.push(document),
                Err(failure) => code = error::report(&failure, context.globals.error_format()),
            }
        }
        output::json(&documents)?;
        Ok(code)
    }

    fn document(&self, engine: &Engine, name: &str, of: Of) -> Result<Value> {
        if of != Of::Images {
            match engine.container(name) {
                Ok(container) => return Ok(container_document(engine, &container)),
                Err(Error::ContainerNotFound { .. }) if of == Of::Either => {}
                Err(error) => return Err(error),
            }
        }
        let wanted = Wanted { platform: self.platform.clone(), kind: None };
        let details = match engine.inspect_image(name, &wanted) {
            Err(Error::ImageNotFound { name }) if of == Of::Either => {
                return Err(Error::NoSuchObject { name });
            }
            details => details?,
        };
        serde_json::to_value(details).map_err(|source| Error::Io {
            action: "show",
            path: Some(name.into()),
            source: source.into(),
        })
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
        },
        "HostConfig": host_config(container),
        "Mounts": spec.mounts.iter().map(|mount| json!({
            "Type": "bind",
            "Source": mount.source,
            "Destination": mount.target,
            "RW": !mount.read_only,
        })).collect::<Vec<_>>(),
        "Layers": spec.layers,
        "Wasm": spec.wasm,
        "Spec": spec.linux,
    })
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

/// Print what happened, and what happens
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Only what came since a time (RFC 3339, or seconds since 1970) or within a duration (10m)
    #[arg(long)]
    since: Option<String>,
    /// Stop at a time (RFC 3339, or seconds since 1970), or at what came a duration ago (10m; now)
    #[arg(long)]
    until: Option<String>,
}

impl Events {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let since = self.since.as_deref().map(moment).transpose()?;
        let until = match self.until.as_deref() {
            Some("now") => Some(Timestamp::now()),
            until => until.map(moment).transpose()?,
        };
        for event in engine.events(since, until)? {
            print_event(context, &event?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// docker's line: `time type action id (key=value, …)`.
fn print_event(context: &Context, event: &Event) -> Result<()> {
    if context.globals.json() {
        return output::json_line(event);
    }
    let attributes: Vec<_> = event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    output::line(&format!("{} {} {} {}{attributes}", event.time, event.kind, event.action, event.id))
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
        if context.globals.json() {
            output::json(&fsck_document(&report))?;
        } else {
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

/// Print versions
#[derive(Args, Debug)]
pub(crate) struct Version {}

impl Version {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let versions = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": std::env::consts::OS,
            "Arch": Platform::host().architecture,
            "Runtimes": ["linux", "wasm"],
            "OciRuntimeSpec": brig_engine::OCI_RUNTIME_VERSION,
            "Wasmtime": brig_engine::WASMTIME_VERSION,
        });
        if context.globals.json() {
            output::json(&versions)?;
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
