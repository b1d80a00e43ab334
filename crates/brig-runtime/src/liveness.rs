//! Whether a container is what its record says, and mending the record of one that isn't.
//!
//! A supervisor writes `running` when its payload runs and `stopped` when it has ended, and holds its lock all the
//! while. When it is killed, or the machine goes down, the record says `running` and nobody holds the lock: the
//! container is *lost*. Its payload died with the supervisor (death signal), but how it ended is unknown, and processes
//! of the payload may be left where there was no pid namespace, as may its cgroups. [`observe`] tells, [`sweep`] mends.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::{kill_all, remove};
use crate::exit::{ExitReason, ExitStatus};
use crate::lock::{ChangeLock, is_held};
use crate::paths::ContainerPaths;
use crate::record::{RecordError, StateRecord, boot_id};
use crate::state::State;
use crate::time::Timestamp;

/// What `inspect` shows as the code of a payload whose end nobody saw: containerd's value.
pub const CODE_UNKNOWN: u8 = 255;

/// How often a record is read that changes while it is looked at.
const ATTEMPTS: usize = 16;

/// Why it can't be told how a container is, or why it can't be mended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LivenessError {
    /// The record can't be read or written.
    #[error("can't use the container's record")]
    Record {
        /// Why.
        #[source]
        source: RecordError,
    },
    /// The supervisor's lock can't be looked at.
    #[error("can't use the lock `{}`", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A cgroup of the container can't be emptied or removed.
    #[error("can't remove the cgroup `{}`", path.display())]
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It changes all the time.
    #[error("the container `{id}` starts and stops faster than it can be looked at")]
    Restless {
        /// The container.
        id: String,
    },
}

impl From<RecordError> for LivenessError {
    fn from(source: RecordError) -> Self {
        Self::Record { source }
    }
}

/// A container as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Its record. Of a lost container: what its record will say, or says since [`sweep`].
    pub record: StateRecord,
    /// Whether the record on disk was one of a lost container.
    pub lost: bool,
}

/// Reads how a container is. Changes nothing.
pub fn observe(paths: &ContainerPaths) -> Result<Observed, LivenessError> {
    let mut record = StateRecord::read(&paths.state())?;
    for _ in 0..ATTEMPTS {
        if !record.state.is_active() || held(paths)? {
            return Ok(Observed { record, lost: false });
        }
        // A supervisor writes the end before it lets the lock go: only a record that still says `running` after the
        // lock was seen free is one that nobody looks after.
        let again = StateRecord::read(&paths.state())?;
        if again == record {
            return Ok(Observed { record: lost(record), lost: true });
        }
        record = again;
    }
    Err(LivenessError::Restless { id: record.id })
}

/// Mends the record of a lost container: kills what is left of its payload, removes its cgroups and the socket, and
/// writes `stopped`, with the reason `supervisor_lost`. A container that isn't lost is left alone.
///
/// Says `lost` only to the one caller who has mended it, for the event `die`.
pub fn sweep(paths: &ContainerPaths) -> Result<Observed, LivenessError> {
    let observed = observe(paths)?;
    if !observed.lost {
        return Ok(observed);
    }
    let _change = match change_lock(paths, Duration::ZERO) {
        Ok(lock) => lock,
        // A supervisor lives after all, a new one; or somebody else is about to mend it, and tells.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return observe(paths).map(|observed| Observed { lost: false, ..observed });
        }
        Err(source) => return Err(LivenessError::Lock { path: paths.lock(), source }),
    };
    let record = StateRecord::read(&paths.state())?;
    if !record.state.is_active() {
        return Ok(Observed { record, lost: false });
    }
    if in_this_boot(&record) {
        end_leftovers(&record)?;
    }
    let mut record = lost(record);
    record.cgroups.clear();
    record.write(&paths.state())?;
    // Gone with the run directory after a boot. Else the next start replaces it.
    let _ = fs::remove_file(paths.socket());
    Ok(Observed { record, lost: true })
}

/// Makes sure that nothing of a stopped container is left but its files, before these are removed: waits for its
/// supervisor if that is still cleaning up, at most `patience`, and removes the cgroups that the record names. Nobody
/// can start the container while the lock is held that this returns.
///
/// # Errors
/// [`LivenessError::Lock`] with `WouldBlock` when the container runs.
pub fn retire(paths: &ContainerPaths, patience: Duration) -> Result<ChangeLock, LivenessError> {
    let lock =
        change_lock(paths, patience).map_err(|source| LivenessError::Lock { path: paths.lock(), source })?;
    match StateRecord::read(&paths.state()) {
        Ok(record) if in_this_boot(&record) => end_leftovers(&record)?,
        Ok(_) => {}
        // A half-made container has none, and has had no supervisor.
        Err(RecordError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(source.into()),
    }
    Ok(lock)
}

/// Claims a container that its creator was to start at once, and that nobody will start any more: the creator is gone.
/// Nobody can start it while the lock is held that this returns. `None` for any other container.
pub fn claim_abandoned(
    paths: &ContainerPaths,
    record: &StateRecord,
) -> Result<Option<ChangeLock>, LivenessError> {
    if !is_abandoned(record) {
        return Ok(None);
    }
    let lock = match change_lock(paths, Duration::ZERO) {
        Ok(lock) => lock,
        // The creator was killed just after it had made a supervisor, and that one goes on.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
        Err(source) => return Err(LivenessError::Lock { path: paths.lock(), source }),
    };
    // It may have come and gone before the lock was taken.
    Ok(is_abandoned(&StateRecord::read(&paths.state())?).then_some(lock))
}

fn is_abandoned(record: &StateRecord) -> bool {
    let waits_for = record.creator.filter(|_| record.state == State::Created);
    waits_for.is_some_and(|creator| !in_this_boot(record) || !creator.exists())
}

fn held(paths: &ContainerPaths) -> Result<bool, LivenessError> {
    is_held(&paths.lock()).map_err(|source| LivenessError::Lock { path: paths.lock(), source })
}

/// The run directory is gone after a boot.
fn change_lock(paths: &ContainerPaths, patience: Duration) -> io::Result<ChangeLock> {
    DirBuilder::new().recursive(true).mode(0o700).create(paths.run_dir())?;
    ChangeLock::take(&paths.lock(), patience)
}

fn in_this_boot(record: &StateRecord) -> bool {
    // Where the id can't be read, the record counts as one of this boot: killing checks the start time anyway.
    boot_id().map_or(true, |now| now == record.boot_id)
}

fn end_leftovers(record: &StateRecord) -> Result<(), LivenessError> {
    if let Some(payload) = record.payload.filter(|payload| payload.exists()) {
        // ESRCH: it has ended in this moment.
        let _ = kill(Pid::from_raw(payload.pid), Signal::SIGKILL);
    }
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| LivenessError::Cgroup { path, source }
    };
    for path in &record.cgroups {
        kill_all(path).map_err(failed(path))?;
    }
    for path in &record.cgroups {
        remove(path).map_err(failed(path))?;
    }
    Ok(())
}

/// What a lost container's record says.
fn lost(record: StateRecord) -> StateRecord {
    let why = if in_this_boot(&record) {
        "its supervisor was killed"
    } else {
        "the machine was started anew while it ran"
    };
    let record = StateRecord { supervisor: None, payload: None, ..record };
    if record.state == State::Restarting {
        // It was between two payloads: how the last one ended is known.
        return StateRecord { state: State::Stopped, lost: true, ..record };
    }
    let exit = ExitStatus::exited(CODE_UNKNOWN)
        .because(ExitReason::SupervisorLost, CODE_UNKNOWN)
        .with_message(format!("{why}; how the program ended is unknown"));
    StateRecord {
        state: State::Stopped,
        lost: true,
        exit: Some(exit),
        finished_at: Some(Timestamp::now()),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::lock::SupervisorLock;
    use crate::paths::Roots;
    use crate::record::ProcessId;

    fn container(dir: &tempfile::TempDir, state: State) -> (ContainerPaths, StateRecord) {
        let paths = Roots::new(dir.path(), None).container("abc");
        fs::create_dir_all(paths.dir()).unwrap();
        fs::create_dir_all(paths.run_dir()).unwrap();
        let record = StateRecord {
            started_at: Some(Timestamp::now()),
            ..StateRecord::new("abc", "linux", state, Timestamp::now()).of_this_boot().unwrap()
        };
        record.write(&paths.state()).unwrap();
        (paths, record)
    }

    #[test]
    fn a_held_lock_makes_the_record_true() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, record) = container(&dir, State::Running);
        let lock = SupervisorLock::take(&paths.lock(), Duration::ZERO, || false).unwrap();
        assert_eq!(observe(&paths).unwrap(), Observed { record: record.clone(), lost: false });
        assert!(!sweep(&paths).unwrap().lost);
        assert_eq!(StateRecord::read(&paths.state()).unwrap(), record);
        drop(lock);
        assert!(observe(&paths).unwrap().lost);
    }

    #[test]
    fn what_never_ran_is_never_lost() {
        let dir = tempfile::tempdir().unwrap();
        for state in [State::Creating, State::Created, State::Stopped, State::Dead] {
            let (paths, record) = container(&dir, state);
            assert_eq!(sweep(&paths).unwrap(), Observed { record, lost: false });
        }
    }

    #[test]
    fn what_was_to_be_started_at_once_is_abandoned_with_its_creator() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, record) = container(&dir, State::Created);
        let abandoned = |creator, state| {
            let record = StateRecord { creator, state, ..record.clone() };
            record.write(&paths.state()).unwrap();
            claim_abandoned(&paths, &record).unwrap().is_some()
        };
        let own = ProcessId::own().unwrap();
        let gone = ProcessId { start_time: own.start_time + 1, ..own };
        assert!(!abandoned(None, State::Created));
        assert!(!abandoned(Some(own), State::Created));
        assert!(abandoned(Some(gone), State::Created));
        assert!(!abandoned(Some(gone), State::Stopped));
        let lock = SupervisorLock::take(&paths.lock(), Duration::ZERO, || false).unwrap();
        assert!(!abandoned(Some(gone), State::Created));
        drop(lock);
    }

    #[test]
    fn between_two_payloads_the_last_ones_status_stays_known() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, record) = container(&dir, State::Restarting);
        let record = StateRecord { exit: Some(ExitStatus::exited(3)), ..record };
        record.write(&paths.state()).unwrap();
        let swept = sweep(&paths).unwrap();
        assert!(swept.lost);
        assert_eq!((swept.record.state, swept.record.exit), (State::Stopped, record.exit));
    }

    #[test]
    fn a_lost_container_is_mended_once() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, _) = container(&dir, State::Paused);
        let swept = sweep(&paths).unwrap();
        assert!(swept.lost);
        let exit = swept.record.exit.clone().unwrap();
        assert_eq!((exit.code, exit.reason), (CODE_UNKNOWN, ExitReason::SupervisorLost));
        assert_eq!(StateRecord::read(&paths.state()).unwrap(), swept.record);
        assert!(!sweep(&paths).unwrap().lost);
    }

    #[test]
    fn after_a_boot_the_run_directory_is_missing_and_nothing_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, mut record) = container(&dir, State::Running);
        fs::remove_dir_all(paths.run_dir()).unwrap();
        record.boot_id = "another".into();
        record.payload = Some(ProcessId::own().unwrap());
        record.write(&paths.state()).unwrap();
        let swept = sweep(&paths).unwrap();
        assert!(swept.lost);
        assert!(swept.record.exit.unwrap().message.unwrap().contains("started anew"));
    }

    #[test]
    fn what_is_left_of_the_payload_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, mut record) = container(&dir, State::Running);
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        record.payload = Some(ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap());
        record.write(&paths.state()).unwrap();
        sweep(&paths).unwrap();
        assert!(!child.wait().unwrap().success());
    }

    #[test]
    fn a_container_retires_once_its_supervisor_has_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, _) = container(&dir, State::Stopped);
        let lock = SupervisorLock::take(&paths.lock(), Duration::ZERO, || false).unwrap();
        let Err(LivenessError::Lock { source, .. }) = retire(&paths, Duration::ZERO) else {
            panic!("retired")
        };
        assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(lock);
        });
        let retired = retire(&paths, Duration::from_secs(10)).unwrap();
        ending.join().unwrap();
        drop(retired);
        fs::remove_file(paths.state()).unwrap();
        retire(&paths, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_reused_pid_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (paths, mut record) = container(&dir, State::Running);
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let other = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        record.payload = Some(ProcessId { start_time: other.start_time - 1, ..other });
        record.write(&paths.state()).unwrap();
        sweep(&paths).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
