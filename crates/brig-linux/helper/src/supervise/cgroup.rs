//! Out of the creator's cgroups, whose end and whose limits aren't the container's.
//!
//! All supervisors share one cgroup a hierarchy: a process can't remove the one that it is in, and nothing has to be
//! removed of one that stays, empty, as the directory of the containers' cgroups does.
//!
//! Moving a living process makes the kernel wait until no processor is in the middle of a fork or an exit, 5 ms where
//! nobody else has moved lately. No start and no short container pays for that: a foreground container's supervisor,
//! whose creator is there and waits, moves when it has lived for a while; a detached one's, whose creator may log out
//! now, moves as soon as the container runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server::Server;

/// How long a supervisor stays with a creator that waits for it.
const SETTLED: Duration = Duration::from_secs(1);

/// When to move, if there is somewhere to move to.
pub(super) fn moving_time(dirs: &[PathBuf], attached: bool) -> Option<Instant> {
    let patience = if attached { SETTLED } else { Duration::ZERO };
    if dirs.is_empty() { None } else { Instant::now().checked_add(patience) }
}

impl Server {
    /// Moves this process, and no other. What can't be entered is a warning: nobody asked for it by a flag.
    pub(super) fn leave_creators_cgroups(&mut self) {
        for dir in &self.plan.supervisor.cgroups {
            if let Err(error) = enter(dir) {
                let dir = dir.display();
                self.journal.warn(format!("the supervisor can't enter the cgroup `{dir}`: {error}"));
            }
        }
    }
}

/// On v1 by its one thread, which the kernel moves without waiting when it moves itself.
fn enter(dir: &Path) -> io::Result<()> {
    let open = |file| OpenOptions::new().write(true).open(dir.join(file));
    let either = || match open("tasks") {
        // v2 has no such file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => open("cgroup.procs"),
        opened => opened,
    };
    let mut file = match either() {
        // The first one since this machine was started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            either()?
        }
        opened => opened?,
    };
    file.write_all(b"0")
}
