//! Out of the creator's cgroups, whose end and whose limits aren't the container's.
//!
//! All supervisors share one cgroup a hierarchy: a process can't remove the one that it is in, and nothing has to be
//! removed of one that stays, empty, as the directory of the containers' cgroups does.
//!
//! On v1 it moves as soon as the container runs. On v2 moving a living process makes the kernel wait until no processor
//! is in the middle of a fork or an exit, 5 ms where nobody else has moved lately. No start and no short container pays
//! for that: a foreground container's supervisor, whose creator is there and waits, moves when it has lived for a while;
//! a detached one's, whose creator may log out now, as soon as the container runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::server::Server;

/// How long a supervisor stays with a creator that waits for it.
const SETTLED: Duration = Duration::from_secs(1);

/// When to move, if there is somewhere to move to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moves {
    /// In the hierarchies of v1.
    pub(super) legacy: Option<Instant>,
    /// In that of v2.
    pub(super) unified: Option<Instant>,
}

impl Moves {
    /// Those of a supervisor whose payload has just been started.
    pub(super) fn plan(dirs: &[PathBuf], attached: bool) -> Self {
        let now = Instant::now();
        let settled = if attached { now + SETTLED } else { now };
        let legacy = dirs.iter().any(|dir| is_legacy(dir)).then_some(now);
        let unified = dirs.iter().any(|dir| !is_legacy(dir)).then_some(settled);
        Self { legacy, unified }
    }
}

/// Whether a cgroup is in a hierarchy of v1. Before the first one is made, what is above it says so.
fn is_legacy(dir: &Path) -> bool {
    let there = dir.ancestors().find(|dir| dir.exists());
    there.is_some_and(|dir| dir.join("tasks").exists())
}

impl Server {
    /// Moves this process, and no other, in the hierarchies of v1 or in that of v2. What can't be entered is a warning:
    /// nobody asked for it by a flag.
    pub(super) fn leave_creators_cgroups(&mut self, legacy: bool) {
        for dir in self.plan.supervisor.cgroups.iter().filter(|dir| is_legacy(dir) == legacy) {
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
