//! The first moments of a supervisor, in their order.
//!
//! Until [`Birth::Running`](brig_runtime::protocol::Birth) is sent everything is undone on failure: the payload is
//! killed, its cgroups and the socket are removed, and the record is as it was before. A supervisor that is killed in
//! between leaves no process (the payload has a death signal) and a stale socket at most, which the next start
//! replaces.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use brig_runtime::StateRecord;
use brig_runtime::lock::SupervisorLock;
use brig_runtime::plan::{Plan, SupervisorPlan};
use brig_runtime::protocol::{STEP_RUNNING, StepError};

use super::sys;

/// The largest plan that is read, in bytes.
const MAX_PLAN: u64 = 256 * 1024 * 1024;
/// How long a new supervisor waits for one that ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// A step that failed, as data.
pub(super) fn step(name: &str, subject: Option<&Path>, error: &io::Error) -> StepError {
    StepError {
        step: name.to_owned(),
        subject: subject.map(|path| path.display().to_string()),
        // Errors without a number are about data: a plan that can't be read.
        errno: error.raw_os_error().unwrap_or(libc::EINVAL),
        code: 0,
    }
}

/// Descriptor 0: all of it, wherever its position is.
pub(super) fn read_plan() -> io::Result<Plan> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let length = file.metadata()?.len();
    if length > MAX_PLAN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    Plan::decode(&bytes)
}

/// Leaves the caller: keeps the first connection and nothing else, no descriptor, no session, no signal.
pub(super) fn detach(first: &UnixStream) -> io::Result<std::os::fd::OwnedFd> {
    debug_assert!(std::os::fd::AsRawFd::as_raw_fd(first) > 2);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    sys::replace_standard_descriptors(null.as_fd())?;
    sys::new_session()?;
    sys::divert_signals()
}

/// Descriptor 1, moved to where it stays, as the only one left but 0 to 2.
pub(super) fn first_connection() -> io::Result<UnixStream> {
    sys::close_from(3)?;
    Ok(UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Makes the run directory and takes the lock in it.
pub(super) fn lock(plan: &SupervisorPlan) -> Result<SupervisorLock, StepError> {
    let path = plan.run_dir.join("lock");
    // While the record doesn't say that the container runs, whoever holds the lock is about to let it go (a supervisor
    // that cleans up, the half-made payload of one that was killed in these steps) or to say so.
    let ending =
        || !StateRecord::read(&plan.dir.join("state.json")).is_ok_and(|record| record.state.is_active());
    let mut taken = SupervisorLock::take(&path, PATIENCE, ending);
    if matches!(&taken, Err(error) if error.kind() == io::ErrorKind::NotFound) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&plan.run_dir)
            .map_err(|error| step("make the directory", Some(&plan.run_dir), &error))?;
        taken = SupervisorLock::take(&path, PATIENCE, ending);
    }
    taken.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => step(STEP_RUNNING, None, &io::Error::from_raw_os_error(libc::EBUSY)),
        _ => step("lock", Some(&path), &error),
    })
}

/// Binds the socket, relative to its directory since `sun_path` has 108 bytes. Whatever lies there is a dead
/// supervisor's: the lock is ours.
pub(super) fn bind(plan: &SupervisorPlan) -> Result<UnixListener, StepError> {
    let bound = || -> io::Result<UnixListener> {
        std::env::set_current_dir(&plan.run_dir)?;
        let listener = UnixListener::bind("sock").or_else(|_| {
            fs::remove_file("sock")?;
            UnixListener::bind("sock")
        })?;
        // Nobody else comes into the directory; this is the second wall.
        fs::set_permissions("sock", Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        std::env::set_current_dir("/")?;
        Ok(listener)
    };
    bound().map_err(|error| step("bind the socket in", Some(&plan.run_dir), &error))
}
