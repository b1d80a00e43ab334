//! After a boot: what should run, runs again.

use brig_runtime::record::boot_id;
use brig_runtime::{RestartPolicy, State, StateRecord};

use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Starts the containers that should run by their restart policies and don't: after a boot, and those whose
    /// supervisor was killed. Says of each how that went.
    pub fn start_after_boot(&self) -> Result<Vec<(ContainerInfo, Result<()>)>> {
        let boot =
            boot_id().map_err(|source| Error::Io { action: "read the boot id", path: None, source })?;
        let mut containers = self.containers()?;
        containers.retain(|container| should_run(container.spec.restart, &container.state, &boot));
        // In the order in which they were made: what others need tends to be older.
        containers.reverse();
        let start = |container: ContainerInfo| {
            let started = match self.start(&container, None) {
                // Somebody else did it in this moment.
                Err(Error::WrongState { state: "running", .. }) => Ok(()),
                started => started.map(drop),
            };
            (container, started)
        };
        Ok(containers.into_iter().map(start).collect())
    }
}

fn should_run(policy: RestartPolicy, state: &StateRecord, boot: &str) -> bool {
    if state.state != State::Stopped {
        return false;
    }
    let exit = state.exit.as_ref();
    if state.lost || state.boot_id != boot {
        return policy.at_boot(exit, state.stopped_by_user);
    }
    // In this boot these end only with their supervisor, or when a user wants it.
    matches!(policy, RestartPolicy::Always | RestartPolicy::UnlessStopped) && !state.stopped_by_user
}

#[cfg(test)]
mod tests {
    use brig_runtime::{ExitStatus, Timestamp};

    use super::*;

    fn state(boot: &str, by_user: bool, exit: ExitStatus) -> StateRecord {
        StateRecord {
            boot_id: boot.into(),
            stopped_by_user: by_user,
            lost: exit.code == 255,
            exit: Some(exit),
            ..StateRecord::new("a", "linux", State::Stopped, Timestamp::now())
        }
    }

    #[test]
    fn who_comes_back() {
        let (ok, failed) = (ExitStatus::exited(0), ExitStatus::exited(1));
        let lost = ExitStatus::exited(255);
        for (policy, boot, by_user, exit, runs) in [
            ("always", "old", true, &ok, true),
            ("always", "now", true, &ok, false),
            ("always", "now", false, &ok, true),
            ("unless-stopped", "old", true, &ok, false),
            ("unless-stopped", "old", false, &lost, true),
            ("on-failure", "old", false, &lost, true),
            ("on-failure", "now", false, &lost, true),
            ("on-failure", "now", false, &failed, false),
            ("on-failure", "old", false, &ok, false),
            ("no", "old", false, &lost, false),
        ] {
            let state = state(boot, by_user, exit.clone());
            assert_eq!(should_run(policy.parse().unwrap(), &state, "now"), runs, "{policy} {state:?}");
        }
        let created = StateRecord { state: State::Created, ..state("old", false, ok) };
        assert!(!should_run(RestartPolicy::Always, &created, "now"));
    }
}
