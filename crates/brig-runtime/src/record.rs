//! A container on disk: what it is (`spec.json`, replaced only by `rename` and `update`) and how it is (`state.json`).
//! Both are replaced by rename.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::health::{Health, HealthCheck};
use crate::limits::Limits;
use crate::log_config::LogConfig;
use crate::restart::RestartPolicy;
use crate::state::State;
use crate::time::Timestamp;
use crate::tuning::Tuning;

/// The version of both formats. A reader refuses a greater one.
pub const RECORD_VERSION: u32 = 1;

/// Why a record can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The file system refused.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// Read or write.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file isn't a record.
    #[error("`{}` is damaged", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A newer brig wrote it.
    #[error("`{}` has format version {found}, and this brig reads up to {RECORD_VERSION}: use the brig that wrote it", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// What a container is: image, program and options as they were when it was created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// 64 hexadecimal characters.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `linux` or `wasm`.
    pub kind: String,
    /// Why it is of that kind.
    pub kind_reason: String,
    /// Where it comes from.
    pub image: ImageRecord,
    /// When it was created.
    pub created_at: Timestamp,
    /// The program and its arguments.
    pub args: Vec<String>,
    /// The environment, `NAME=value`.
    pub env: Vec<String>,
    /// The working directory.
    pub cwd: String,
    /// The user as asked for: `user[:group]`, names or numbers.
    pub user: String,
    /// The host name.
    pub hostname: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input stays open.
    pub stdin_open: bool,
    /// Whether the root file system is read-only.
    pub read_only: bool,
    /// Whether it goes when it ends.
    pub auto_remove: bool,
    /// `none` or `host`.
    pub network: String,
    /// `process` or `shared`; wasm.
    pub isolation: String,
    /// Volumes, and directories and files of the host, in the container.
    pub mounts: Vec<MountRecord>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Limits.
    pub limits: Limits,
    /// Where its output is kept.
    #[serde(default, skip_serializing_if = "LogConfig::is_default")]
    pub log: LogConfig,
    /// What it is given beside its limits.
    #[serde(default, skip_serializing_if = "Tuning::is_nothing")]
    pub tuning: Tuning,
    /// The signal that asks it to stop.
    pub stop_signal: i32,
    /// How many seconds it has then until it is killed; 10 where nothing was said, [`u64::MAX`] for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<u64>,
    /// Whether its supervisor starts it again.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How it is found out whether it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// Whether an init of brig's own is its first process.
    #[serde(default)]
    pub init: bool,
    /// `--security-opt`, as given.
    pub security_opt: Vec<String>,
    /// The layers of its root file system, lowest first, as the store names them.
    pub layers: Vec<String>,
    /// The OCI runtime `Spec` of a Linux container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux: Option<serde_json::Value>,
    /// What a wasm container runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<WasmRecord>,
}

/// The image that a container was created from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The canonical reference, or the path of a file that was run without an image.
    pub reference: String,
    /// The digest of the manifest; empty for a bare file.
    pub manifest: String,
    /// The image id: the digest of the config, or of the module for a bare file.
    pub id: String,
    /// The platform.
    pub platform: String,
}

/// A volume, or a directory or file of the host, in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRecord {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub target: String,
    /// Whether it can't be written.
    pub read_only: bool,
    /// The volume's name, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// Whether the volume was made for the container without a name, and goes with it where that is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// The options as given: `ro`, `z`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// How mounts below it are passed on, where that isn't `rprivate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// The image whose files it shows, if it is one's. The source is the directory of the container that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounted_image: Option<MountedImage>,
    /// What of the volume or image is seen: a path in it, which leads nowhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// What of the mounts below it there is.
    #[serde(default, skip_serializing_if = "MountsBelow::is_default")]
    pub below: MountsBelow,
}

/// What is mounted below a directory of the host that a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountsBelow {
    /// Seen, and read-only where it is.
    #[default]
    Same,
    /// Not seen.
    Hidden,
    /// Seen, and never made read-only.
    Writable,
}

impl MountsBelow {
    fn is_default(&self) -> bool {
        *self == Self::Same
    }
}

/// An image whose files are mounted in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedImage {
    /// Which.
    pub image: ImageRecord,
    /// Its layers, lowest first, as the store names them.
    pub layers: Vec<String>,
}

/// The wasm that a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmRecord {
    /// The key that its compiled code is kept under.
    pub module: String,
    /// The form: `module command wasip1`, `component command wasip2`, …
    pub form: String,
    /// The file that holds the bytes: a blob, a file of an unpacked layer, or the bare file.
    pub source: PathBuf,
}

/// A process, named so that a reused pid isn't taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The pid in the host's namespace.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: clock ticks since boot.
    pub start_time: u64,
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The container.
    pub id: String,
    /// `linux` or `wasm`.
    pub kind: String,
    /// Its state when this was written. A reader holds it against the supervisor's lock and the boot id.
    pub state: State,
    /// The boot in which this was written: `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The process that is about to start it, of one that goes with that process while it was never started: what `run
    /// --rm` makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<ProcessId>,
    /// The supervisor, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<ProcessId>,
    /// The payload, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<ProcessId>,
    /// The cgroup directories that were made for it, for whoever has to clean up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<PathBuf>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
    /// How often its supervisor has started it again since somebody started it.
    #[serde(default)]
    pub restart_count: u32,
    /// Whether it ended since somebody stopped it.
    #[serde(default)]
    pub stopped_by_user: bool,
    /// Whether it ended since its supervisor, or the machine, was killed.
    #[serde(default)]
    pub lost: bool,
    /// Whether it works, where that is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was started last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

impl ContainerSpec {
    /// Its image, and those that are mounted in it.
    pub fn images(&self) -> impl Iterator<Item = &ImageRecord> {
        let mounted = self.mounts.iter().filter_map(|mount| mount.mounted_image.as_ref());
        std::iter::once(&self.image).chain(mounted.map(|mounted| &mounted.image))
    }

    /// Reads `spec.json`.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_versioned(path)
    }

    /// Reads `spec.json` for a list: without [`ContainerSpec::linux`], in a fraction of the time.
    pub fn read_for_list(path: &Path) -> Result<Self, RecordError> {
        let bytes = read(path)?;
        match without_linux(&bytes).map(|short| parse_versioned(path, &short)) {
            Some(Ok(spec)) => Ok(spec),
            _ => parse_versioned(path, &bytes).map(|spec| Self { linux: None, ..spec }),
        }
    }

    /// Writes `spec.json`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        write_atomically(path, self)
    }
}

impl StateRecord {
    /// A record of a container that has neither run nor been started.
    pub fn new(id: &str, kind: &str, state: State, created_at: Timestamp) -> Self {
        Self {
            version: RECORD_VERSION,
            id: id.to_owned(),
            kind: kind.to_owned(),
            state,
            boot_id: String::new(),
            creator: None,
            supervisor: None,
            payload: None,
            cgroups: Vec::new(),
            exit: None,
            restart_count: 0,
            stopped_by_user: false,
            lost: false,
            health: None,
            created_at,
            started_at: None,
            finished_at: None,
        }
    }

    /// Of this boot.
    pub fn of_this_boot(self) -> io::Result<Self> {
        Ok(Self { boot_id: boot_id()?, ..self })
    }

    /// Reads `state.json`.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_versioned(path)
    }

    /// Writes `state.json`, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        write_atomically(path, self)
    }
}

/// The id of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(crate::process::read_small("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

fn read_versioned<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, RecordError> {
    parse_versioned(path, &read(path)?)
}

fn read(path: &Path) -> Result<Vec<u8>, RecordError> {
    fs::read(path).map_err(|source| RecordError::Io { action: "read", path: path.into(), source })
}

fn parse_versioned<T: for<'de> Deserialize<'de>>(path: &Path, bytes: &[u8]) -> Result<T, RecordError> {
    // The version is the first field, so that this reads next to nothing.
    let Some(found) = version(bytes) else {
        let json = |source| RecordError::Json { path: path.into(), source };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(json)?;
        return known(path, version).and_then(|()| serde_json::from_slice(bytes).map_err(json));
    };
    known(path, found)?;
    serde_json::from_slice(bytes).map_err(|source| RecordError::Json { path: path.into(), source })
}

fn known(path: &Path, found: u32) -> Result<(), RecordError> {
    if found > RECORD_VERSION { Err(RecordError::Version { path: path.into(), found }) } else { Ok(()) }
}

/// The version of a record as brig writes them.
fn version(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(br#"{"version":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

/// A spec as brig writes it, without the OCI runtime spec in it, which is nine tenths of it; `None` where it is written in
/// another way. A quote within a string is escaped, so that what is looked for is a field, and no earlier one has it.
fn without_linux(bytes: &[u8]) -> Option<Vec<u8>> {
    const FIELD: &[u8] = br#","linux":{"#;
    let end = bytes.windows(FIELD.len()).position(|window| window == FIELD)?;
    Some([&bytes[..end], b"}"].concat())
}

/// Writes beside the target and renames: a reader sees the old or the new record, never half of one. It isn't synced:
/// after a power cut the boot id tells that the state is an old one.
fn write_atomically<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let io = |source| RecordError::Io { action: "write", path: path.into(), source };
    let bytes =
        serde_json::to_vec(value).map_err(|source| RecordError::Json { path: path.into(), source })?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::File::create(&temporary)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; a left-over temporary file is swept with the container.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let dir = std::env::temp_dir().join(format!("brig-record-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("state.json");
        fs::write(&path, r#"{"version":99}"#).unwrap();
        let error = StateRecord::read(&path).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 99, .. }), "{error}");
        fs::write(&path, r#"{"new":[],"version":99}"#).unwrap();
        let error = StateRecord::read(&path).unwrap_err();
        assert!(matches!(error, RecordError::Version { found: 99, .. }), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_list_reads_all_but_the_runtime_spec() {
        for (text, short) in [
            (r#"{"version":1,"a":"x","linux":{"linux":{}}}"#, Some(r#"{"version":1,"a":"x"}"#)),
            (r#"{"a":",\"linux\":{","linux":{}}"#, Some(r#"{"a":",\"linux\":{"}"#)),
            (r#"{"a":1}"#, None),
        ] {
            assert_eq!(without_linux(text.as_bytes()).as_deref(), short.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn records_of_a_brig_before_restarts_and_limits_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let (spec, state) = (dir.path().join("spec.json"), dir.path().join("state.json"));
        let text = r#"{"version":1,"id":"a","name":"old","kind":"linux","kind_reason":"","image":{"reference":"r",
            "manifest":"m","id":"i","platform":"linux/amd64"},"created_at":"2026-01-01T00:00:00Z","args":["x"],"env":[],
            "cwd":"/","user":"","hostname":"h","tty":false,"stdin_open":false,"read_only":false,"auto_remove":false,
            "network":"none","isolation":"namespaces","mounts":[{"source":"/s","target":"/t","read_only":true}],
            "labels":{},"limits":{"memory":1},"stop_signal":15,"security_opt":[],"layers":[]}"#;
        fs::write(&spec, text).unwrap();
        let read = ContainerSpec::read(&spec).unwrap();
        assert_eq!(
            (read.restart, read.health, read.stop_timeout, read.init),
            (RestartPolicy::No, None, None, false)
        );
        assert_eq!((read.limits.memory, read.mounts.len()), (Some(1), 1));
        let text = r#"{"version":1,"id":"a","kind":"linux","state":"running","boot_id":"b",
            "payload":{"pid":1,"start_time":2},"created_at":"2026-01-01T00:00:00Z"}"#;
        fs::write(&state, text).unwrap();
        let read = StateRecord::read(&state).unwrap();
        assert_eq!(
            (read.restart_count, read.stopped_by_user, read.lost, read.health),
            (0, false, false, None)
        );
    }
}
