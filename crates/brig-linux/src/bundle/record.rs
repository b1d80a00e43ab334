//! What is kept of a container, and the lock under which it is changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use brig_runtime::Timestamp;
use brig_runtime::plan::{CgroupPlan, PayloadPlan, ResctrlPlan};
use brig_runtime::record::ProcessId;
use oci_spec::runtime::Spec;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BundleError, Runtime, Status};
use crate::capabilities::capability;

/// The largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;
/// The version of the records.
const RECORD_VERSION: u32 = 1;
const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const CREATED: &str = "created";
const START: &str = "start";

/// What is kept of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) version: u32,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: Timestamp,
    /// Who created it.
    pub(super) owner: u32,
    pub(super) oci_version: String,
    pub(super) annotations: BTreeMap<String, String>,
    /// Its first process, once it is there.
    pub(super) init: Option<ProcessId>,
    pub(super) cgroups: CgroupPlan,
    #[serde(default)]
    pub(super) resctrl: Option<ResctrlPlan>,
}

/// A container.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) dir: PathBuf,
    pub(super) record: Record,
    /// Held while it is changed.
    _lock: Option<File>,
}

impl Runtime {
    /// Makes the directory of a container, and takes its lock.
    pub(super) fn add(&self, id: &str, config: &[u8], record: Record) -> Result<Entry, BundleError> {
        let dir = self.directory(id)?;
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(BundleError::Exists { id: id.to_owned() });
            }
            made => made.map_err(BundleError::io("make", &dir))?,
        }
        let lock = lock(&dir)?;
        let entry = Entry { id: id.to_owned(), dir, record, _lock: lock };
        let path = entry.dir.join(CONFIG);
        let written = fs::write(&path, config).map_err(BundleError::io("write", &path));
        match written.and_then(|()| entry.write()) {
            Ok(()) => Ok(entry),
            Err(error) => {
                // The first error is the one to tell.
                let _ = entry.forget();
                Err(error)
            }
        }
    }

    /// A container as it is.
    pub(super) fn find(&self, id: &str) -> Result<Entry, BundleError> {
        let dir = self.directory(id)?;
        self.read(id, dir, None)
    }

    /// A container that nobody else changes meanwhile.
    pub(super) fn hold(&self, id: &str) -> Result<Entry, BundleError> {
        let dir = self.directory(id)?;
        let lock = match lock(&dir) {
            Err(BundleError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(BundleError::NotFound { id: id.to_owned() });
            }
            lock => lock?,
        };
        self.read(id, dir, lock)
    }

    fn read(&self, id: &str, dir: PathBuf, lock: Option<File>) -> Result<Entry, BundleError> {
        let path = dir.join(RECORD);
        let bytes = match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BundleError::NotFound { id: id.to_owned() });
            }
            read => read.map_err(BundleError::io("read", &path))?,
        };
        let record = serde_json::from_slice(&bytes).map_err(|source| BundleError::Document {
            what: "record of a container",
            path,
            source,
        })?;
        Ok(Entry { id: id.to_owned(), dir, record, _lock: lock })
    }
}

impl Record {
    pub(super) fn new(spec: &Spec, bundle: &Path, rootfs: &Path, payload: &PayloadPlan) -> Self {
        Self {
            version: RECORD_VERSION,
            bundle: bundle.to_owned(),
            rootfs: rootfs.to_owned(),
            created: Timestamp::now(),
            owner: rustix::process::geteuid().as_raw(),
            oci_version: spec.version().clone(),
            annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            init: None,
            cgroups: payload.cgroup.clone(),
            resctrl: payload.resctrl.clone(),
        }
    }
}

impl Entry {
    /// Writes the record down, whole.
    pub(super) fn write(&self) -> Result<(), BundleError> {
        let path = self.dir.join(RECORD);
        let json = serde_json::to_vec(&self.record).map_err(io::Error::from);
        let written = json.and_then(|json| write_whole(&path, &json));
        written.map_err(BundleError::io("write", &path))
    }

    /// Removes what is kept of it, its record last.
    pub(super) fn forget(&self) -> Result<(), BundleError> {
        for name in [START, CREATED, CONFIG, RECORD] {
            let path = self.dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.map_err(BundleError::io("remove", &path))?,
            }
        }
        match fs::remove_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // What somebody killed has left half-written.
            Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => fs::remove_dir_all(&self.dir),
            removed => removed,
        }
        .map_err(BundleError::io("remove", &self.dir))
    }

    /// The spec that it was created from.
    pub(super) fn spec(&self) -> Result<Spec, BundleError> {
        read_spec(&self.dir.join(CONFIG)).map(|read| read.document)
    }

    /// Where its first process waits to be started.
    pub(super) fn start_socket(&self) -> PathBuf {
        self.dir.join(START)
    }

    /// The file that its first process has locked until then.
    pub(super) fn created_lock(&self) -> PathBuf {
        self.dir.join(CREATED)
    }

    /// How it is, now.
    pub(super) fn status(&self) -> Result<Status, BundleError> {
        let Some(init) = self.record.init else { return Ok(Status::Creating) };
        if !is_alive(init) {
            return Ok(Status::Stopped);
        }
        let frozen = brig_runtime::cgroup::is_frozen(&self.record.cgroups);
        if frozen.map_err(|source| BundleError::Cgroup { what: "look at", source })? {
            return Ok(Status::Paused);
        }
        match self.is_locked()? {
            true => Ok(Status::Created),
            // Its locks go before it has ended.
            false if Look::at(init).is_none_or(|look| look.ending) => Ok(Status::Stopped),
            false => Ok(Status::Running),
        }
    }

    fn is_locked(&self) -> Result<bool, BundleError> {
        let path = self.created_lock();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(BundleError::io("open", &path))?,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(BundleError::io("look at the lock of", &path)(errno.into())),
        }
    }
}

/// Whether a process is there and hasn't ended. One that has ended and isn't waited for yet has.
pub(super) fn is_alive(process: ProcessId) -> bool {
    process.exists() && Look::at(process).is_some_and(|look| !look.ended)
}

/// What `/proc/<pid>/stat` says of a process (`proc_pid_stat(5)`). It is about the first thread, which may have ended
/// while others go on; then it counts them.
struct Look {
    /// It has ended.
    ended: bool,
    /// It was killed, or has called exit.
    ending: bool,
}

impl Look {
    fn at(process: ProcessId) -> Option<Self> {
        /// `PF_EXITING` of `linux/sched.h`.
        const EXITING: u64 = 0x4;
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).ok()?;
        // The first of these is field 3.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let alone = number(20)? <= 1;
        Some(Self {
            ended: alone && ["Z", "X", "x"].contains(fields.first()?),
            ending: alone && number(9)? & EXITING != 0,
        })
    }
}

/// A document of a bundle's, the bytes that it is from, and the capabilities in it that nobody knows.
#[derive(Debug)]
pub(super) struct Document<T> {
    pub(super) document: T,
    pub(super) bytes: Vec<u8>,
    pub(super) unknown: Vec<String>,
}

/// A spec.
pub(super) fn read_spec(path: &Path) -> Result<Document<Spec>, BundleError> {
    read_document("runtime spec", path, "/process/capabilities")
}

/// A document with sets of capabilities at a place in it. Names that this runtime doesn't know are left out, since no
/// container can have what they stand for, and the specification has a container start all the same (`process`,
/// capabilities).
pub(super) fn read_document<T: DeserializeOwned>(
    what: &'static str,
    path: &Path,
    sets: &str,
) -> Result<Document<T>, BundleError> {
    let bytes = read_bounded(path).map_err(BundleError::io("read", path))?;
    let wrong = |source| BundleError::Document { what, path: path.to_owned(), source };
    let error = match serde_json::from_slice(&bytes) {
        Ok(document) => return Ok(Document { document, bytes, unknown: Vec::new() }),
        Err(error) => error,
    };
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else { return Err(wrong(error)) };
    let sets = value.pointer_mut(sets).and_then(Value::as_object_mut);
    let mut unknown = Vec::new();
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()).filter_map(Value::as_array_mut) {
        let strange = |name: &&Value| name.as_str().is_some_and(|name| capability(name).is_none());
        unknown.extend(set.iter().filter(strange).filter_map(Value::as_str).map(str::to_owned));
        set.retain(|name| !strange(&name));
    }
    unknown.sort();
    unknown.dedup();
    match serde_json::from_value(value) {
        Ok(document) => Ok(Document { document, bytes, unknown }),
        // The first error is the one to tell: it says where.
        Err(_) => Err(wrong(error)),
    }
}

/// A file that isn't too large.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_DOCUMENT) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Replaces a file: who reads it sees the old one or the new one.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Nobody but its user looks into it.
pub(super) fn make_root(root: &Path) -> Result<(), BundleError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
    made.map_err(BundleError::io("make", root))
}

fn lock(dir: &Path) -> Result<Option<File>, BundleError> {
    let file = File::open(dir).map_err(BundleError::io("open", dir))?;
    let locked = rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive));
    locked.map_err(|errno| BundleError::io("lock", dir)(errno.into()))?;
    Ok(Some(file))
}
