//! Containers by name, id or the beginning of an id; and what is true of them now.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use brig_runtime::{ContainerPaths, ContainerSpec, Event, State, StateRecord};

use brig_runtime::liveness::{LivenessError, claim_abandoned};
use brig_runtime::lock::ChangeLock;
use brig_runtime::record::{ProcessId, RecordError};
use brig_runtime::remove::remove_tree;

use super::remove::has_no_record;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// How many threads look at containers at once.
const MAX_THREADS: usize = 8;
/// How many containers a thread is started for: fewer are looked at in the time that its start takes.
const SHARE: usize = 100;

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// What it is.
    pub spec: ContainerSpec,
    /// How it is: the record, held against the supervisor's lock and the boot id.
    pub state: StateRecord,
}

impl ContainerInfo {
    /// The first twelve characters of the id.
    pub fn short_id(&self) -> &str {
        self.spec.id.get(..12).unwrap_or(&self.spec.id)
    }

    pub(crate) fn wrong_state(&self, action: &'static str) -> Error {
        Error::WrongState { name: self.spec.name.clone(), state: self.state.state.docker(), action }
    }
}

impl Engine {
    /// The id that a name, an id or the beginning of one stands for.
    pub fn find(&self, name: &str) -> Result<String> {
        let not_found = || self.no_container(name);
        // A path separator would leave the directory.
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(not_found());
        }
        // A name may outlive its container, after a kill, until somebody takes it.
        if let Some(id) = self.name_holder(name)?
            && self.roots().container(&id).dir().exists()
        {
            return Ok(id);
        }
        if !name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(not_found());
        }
        let mut found: Vec<String> =
            self.container_ids()?.into_iter().filter(|id| id.starts_with(name)).collect();
        match found.len() {
            0 => Err(not_found()),
            1 => found.pop().ok_or_else(not_found),
            _ => {
                let candidates = found.iter().map(|id| id.chars().take(12).collect()).collect();
                Err(Error::Ambiguous { prefix: name.into(), candidates })
            }
        }
    }

    pub(crate) fn no_container(&self, name: &str) -> Error {
        Error::ContainerNotFound { name: name.into(), root: Some(self.roots().root.clone()) }
    }

    /// Who has a name.
    pub(crate) fn name_holder(&self, name: &str) -> Result<Option<String>> {
        let path = self.roots().names().join(name);
        match fs::read_to_string(&path) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// All ids, in no order.
    pub(crate) fn container_ids(&self) -> Result<Vec<String>> {
        names_in(&self.roots().containers())
    }

    /// Removes the run directories of containers that are gone: of a removal that was killed before its last step, or of a
    /// start that came too late.
    fn sweep_run_dirs(&self, run_dirs: Vec<String>, ids: &[String]) -> Result<()> {
        let ids: HashSet<&String> = ids.iter().collect();
        for id in run_dirs.iter().filter(|id| !ids.contains(id)) {
            let paths = self.roots().container(id);
            let Ok(_lock) = ChangeLock::take(&paths.lock(), Duration::ZERO) else { continue };
            if !paths.dir().exists() {
                remove_tree(paths.run_dir(), &[]).map_err(Error::io("remove", paths.run_dir()))?;
            }
        }
        Ok(())
    }

    /// One container as it is now. A record whose supervisor or boot is gone is mended on the way.
    pub fn container(&self, name: &str) -> Result<ContainerInfo> {
        self.reap();
        let id = self.find(name)?;
        self.container_by_id(&id)
    }

    pub(crate) fn container_by_id(&self, id: &str) -> Result<ContainerInfo> {
        let spec = ContainerSpec::read(&self.roots().container(id).spec())?;
        self.as_it_is(spec, id)
    }

    /// A container of a list: without the OCI runtime spec.
    fn listed(&self, id: &str) -> Result<ContainerInfo> {
        let spec = ContainerSpec::read_for_list(&self.roots().container(id).spec())?;
        self.as_it_is(spec, id)
    }

    fn as_it_is(&self, spec: ContainerSpec, id: &str) -> Result<ContainerInfo> {
        let paths = self.roots().container(id);
        let observed = brig_runtime::liveness::sweep(&paths)?;
        if observed.lost {
            self.record_event(
                &Event::container("die", id).with("name", &spec.name).with("reason", "supervisor_lost"),
            )?;
        }
        let state = observed.record;
        // What the supervisor would have done, had it lived: a container of `--rm` that has ended goes.
        let comes_again = state.creator.is_some_and(ProcessId::exists);
        if spec.auto_remove && state.state == State::Stopped && !comes_again && !is_alive(&paths)? {
            self.remove_files(&paths, id, false)?;
            return Err(self.no_container(&spec.name));
        }
        // So does one that `run` had made and can't start any more.
        if let Some(lock) = claim_abandoned(&paths, &state)? {
            self.remove_locked(&paths, id, Some(lock))?;
            return Err(self.no_container(&spec.name));
        }
        Ok(ContainerInfo { spec, state })
    }

    /// All containers, newest first, without their OCI runtime specs ([`ContainerSpec::linux`]). One whose creation was
    /// cut off is shown as far as it got.
    pub fn containers(&self) -> Result<Vec<ContainerInfo>> {
        self.reap();
        // Before the others: what is made meanwhile isn't taken for a left-over.
        let run_dirs = names_in(&self.roots().run_containers())?;
        let mut all = Vec::new();
        let ids = self.container_ids()?;
        self.sweep_run_dirs(run_dirs, &ids)?;
        // Files are looked at by as many threads as there are processors, where it pays to start them.
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let share = ids.len().div_ceil(threads).max(SHARE);
        if ids.len() <= share {
            all = self.list(&ids)?;
        } else {
            std::thread::scope(|scope| {
                let shares: Vec<_> =
                    ids.chunks(share).map(|ids| scope.spawn(move || self.list(ids))).collect();
                for share in shares {
                    all.extend(share.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
                }
                Ok::<_, Error>(())
            })?;
        }
        all.sort_by_key(|info| std::cmp::Reverse(info.spec.created_at));
        Ok(all)
    }

    fn list(&self, ids: &[String]) -> Result<Vec<ContainerInfo>> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            match self.listed(id) {
                Ok(info) => all.push(info),
                Err(Error::ContainerNotFound { .. }) => {}
                Err(error) => all.extend(self.half_made(id, error)?),
            }
        }
        Ok(all)
    }

    /// A directory without a complete record: `ps -a` shows it, `rm -f` removes it (invariant 5). So does a record that a
    /// power cut has damaged, as dead: one container must not hide all others. One that is gone by now was just removed.
    fn half_made(&self, id: &str, error: Error) -> Result<Option<ContainerInfo>> {
        let paths: ContainerPaths = self.roots().container(id);
        if !paths.dir().exists() {
            return Ok(None);
        }
        let state = match &error {
            error if has_no_record(error) => State::Creating,
            Error::Record(RecordError::Json { .. })
            | Error::Liveness(LivenessError::Record { source: RecordError::Json { .. } }) => State::Dead,
            _ => return Err(error),
        };
        let created = fs::metadata(paths.dir())
            .and_then(|meta| meta.modified())
            .map_err(Error::io("read", paths.dir()))?;
        Ok(Some(ContainerInfo::half_made(id, created.into(), state)))
    }
}

/// The names in a directory, in no order; none where it is missing.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", path))?;
        names.extend(entry.file_name().into_string().ok());
    }
    Ok(names)
}

fn is_alive(paths: &ContainerPaths) -> Result<bool> {
    brig_runtime::lock::is_held(&paths.lock()).map_err(Error::io("use the lock", paths.lock()))
}

impl ContainerInfo {
    fn half_made(id: &str, created_at: brig_runtime::Timestamp, state: State) -> Self {
        let record = StateRecord::new(id, "", state, created_at);
        let spec = ContainerSpec {
            version: brig_runtime::record::RECORD_VERSION,
            id: id.into(),
            name: String::new(),
            kind: String::new(),
            kind_reason: String::new(),
            image: brig_runtime::record::ImageRecord::default(),
            created_at,
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            user: String::new(),
            hostname: String::new(),
            tty: false,
            stdin_open: false,
            read_only: false,
            auto_remove: false,
            network: String::new(),
            isolation: String::new(),
            mounts: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            limits: brig_runtime::Limits::default(),
            log: brig_runtime::LogConfig::default(),
            tuning: brig_runtime::Tuning::default(),
            stop_signal: libc::SIGTERM,
            stop_timeout: None,
            restart: brig_runtime::RestartPolicy::No,
            health: None,
            init: false,
            security_opt: Vec::new(),
            layers: Vec::new(),
            linux: None,
            wasm: None,
        };
        Self { spec, state: record }
    }
}
