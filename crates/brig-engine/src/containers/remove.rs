//! Removal, which works on whatever a crash left behind, too.

use std::fs;
use std::io;
use std::time::Duration;

use brig_runtime::liveness::{LivenessError, retire};
use brig_runtime::lock::ChangeLock;
use brig_runtime::record::RecordError;
use brig_runtime::remove::remove_tree;
use brig_runtime::{ContainerPaths, ContainerSpec, Event, State};

use super::life::ended_meanwhile;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// What tells about a container goes last: until then `ps -a` shows it, and a removal that was cut off can be finished.
const LAST: [&str; 2] = ["state.json", "spec.json"];
/// How long a supervisor may take to clean up after its payload.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Removes a container; with force, kills it first, and also removes one whose record is damaged or half made.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        self.remove_with(name, force, false)
    }

    /// The same, and with `volumes` also removes its volumes that nobody named and no other container uses.
    pub fn remove_with(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let id = self.find(name)?;
        let paths = self.roots().container(&id);
        match self.container_by_id(&id) {
            Ok(container) if container.state.state.is_active() => {
                if !force {
                    return Err(container.wrong_state("remove"));
                }
                self.kill_and_wait(&id)?;
            }
            Ok(_) => {}
            // `ps -a` shows it, so it can be removed.
            Err(_) if force => {}
            Err(error) => return Err(error),
        }
        let mounts = ContainerSpec::read(&paths.spec()).map(|spec| spec.mounts).unwrap_or_default();
        self.remove_files(&paths, &id, force)?;
        if volumes { self.remove_anonymous(&mounts) } else { Ok(()) }
    }

    fn kill_and_wait(&self, id: &str) -> Result<()> {
        let killed = match self.kill(id, libc::SIGKILL) {
            Err(error) if ended_meanwhile(&error) => Ok(()),
            killed => killed,
        };
        match killed.and_then(|()| self.wait(id).map(|_| ())) {
            // It ended by itself meanwhile, or it was an `--rm` one and is gone or going.
            Err(Error::WrongState { .. } | Error::ContainerNotFound { .. }) => Ok(()),
            Err(error) if has_no_record(&error) => Ok(()),
            result => result,
        }
    }

    /// Removes everything of a container that has ended; waits for a supervisor that is still cleaning up, and cleans
    /// up in the place of one that was killed.
    pub(crate) fn remove_files(&self, paths: &ContainerPaths, id: &str, force: bool) -> Result<()> {
        let lock = match retire(paths, PATIENCE) {
            Ok(lock) => Some(lock),
            // A damaged record names no cgroups.
            Err(LivenessError::Record { .. }) if force => None,
            Err(error) => return Err(error.into()),
        };
        self.remove_locked(paths, id, lock)
    }

    /// Removes everything of a container that nobody can start while the lock is held. The run directory goes last, and
    /// the lock with it: a supervisor that waits for the lock finds it removed, and makes nothing anew.
    pub(super) fn remove_locked(
        &self,
        paths: &ContainerPaths,
        id: &str,
        _lock: Option<ChangeLock>,
    ) -> Result<()> {
        // Its supervisor is gone by now.
        self.reap();
        let spec = ContainerSpec::read(&paths.spec()).ok();
        self.mark_dead(paths)?;
        let name = spec.as_ref().map(|spec| spec.name.as_str()).unwrap_or_default();
        if !name.is_empty() && self.name_holder(name)?.as_deref() == Some(id) {
            let path = self.roots().names().join(name);
            fs::remove_file(&path).or_else(missing_is_fine).map_err(Error::io("remove", path))?;
        }
        remove_tree(paths.dir(), &LAST).map_err(Error::io("remove", paths.dir()))?;
        remove_tree(paths.run_dir(), &[]).map_err(Error::io("remove", paths.run_dir()))?;
        let image = spec.as_ref().map(|spec| spec.image.reference.clone()).unwrap_or_default();
        self.record_event(&Event::container("destroy", id).with("image", image).with("name", name))?;
        // docker's rule: what goes by itself takes its volumes along that nobody named.
        match spec.filter(|spec| spec.auto_remove) {
            Some(spec) => self.remove_anonymous(&spec.mounts),
            None => Ok(()),
        }
    }

    fn mark_dead(&self, paths: &ContainerPaths) -> Result<()> {
        // Without a readable state there is nothing to mark.
        if let Ok(mut state) = brig_runtime::StateRecord::read(&paths.state()) {
            state.state = State::Dead;
            state.write(&paths.state())?;
        }
        Ok(())
    }
}

/// Whether it failed since a record isn't there: the container isn't whole yet, or not any more.
pub(super) fn has_no_record(error: &Error) -> bool {
    match error {
        Error::Record(source) | Error::Liveness(LivenessError::Record { source }) => {
            matches!(source, RecordError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
        }
        _ => false,
    }
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
