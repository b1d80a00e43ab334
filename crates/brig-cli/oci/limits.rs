//! The limits of `update`, as `linux.resources`.

use std::io::{self, Read};
use std::path::Path;

use brig_engine::bundle::{BundleError, LinuxResources, parse_resources};
use serde_json::{Map, Value, json};

use super::args::Update;

/// As much of a document as anybody needs, in bytes.
const MAX_DOCUMENT: u64 = 1024 * 1024;

/// What is to be changed.
pub(super) fn resources(update: &Update) -> Result<LinuxResources, BundleError> {
    match &update.resources {
        Some(path) => {
            let json = read(path);
            let failed = |source| BundleError::Io { what: "read", path: path.clone(), source };
            parse_resources(path, &json.map_err(failed)?)
        }
        None => parse_resources(Path::new("the flags"), flags(update).to_string().as_bytes()),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_DOCUMENT).read_to_end(&mut json)?;
    } else {
        std::fs::File::open(path)?.take(MAX_DOCUMENT).read_to_end(&mut json)?;
    }
    Ok(json)
}

/// What wasn't given isn't there.
fn flags(update: &Update) -> Value {
    let memory = json!({
        "limit": update.memory, "reservation": update.memory_reservation, "swap": update.memory_swap,
    });
    let cpu = json!({
        "shares": update.cpu_share, "quota": update.cpu_quota, "period": update.cpu_period,
        "burst": update.cpu_burst, "realtimeRuntime": update.cpu_rt_runtime,
        "realtimePeriod": update.cpu_rt_period, "idle": update.cpu_idle,
        "cpus": update.cpuset_cpus, "mems": update.cpuset_mems,
    });
    given(json!({
        "memory": given(memory), "cpu": given(cpu),
        "pids": given(json!({ "limit": update.pids_limit })),
        "blockIO": given(json!({ "weight": update.blkio_weight })),
    }))
}

fn given(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let fields: Map<String, Value> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    if fields.is_empty() { Value::Null } else { Value::Object(fields) }
}
