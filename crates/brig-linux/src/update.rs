//! Other limits for a container that runs: its cgroups' files, all of them or none.
//!
//! No cgroup is made: its processes would have to be moved, while they make others. So a limit of a controller of v1 in
//! which the container has no cgroup waits for its next start; on v2 the controller is switched on for the one cgroup.

mod resources;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use brig_runtime::Limits;
use brig_runtime::plan::{CgroupDir, CgroupPlan};
use oci_spec::runtime::{Linux, Spec};

pub use self::resources::plan_resources_update;
use crate::default_spec::resources;
use crate::host::{Cgroups, Host};
use crate::plan::{PlanError, cgroup_plan, wanted};

/// What takes a limit away: those that `update` can.
const NO_LIMIT: [(&str, &str); 3] =
    [("pids.max", "max"), ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000")];

/// Why a running container's limits can't be changed. Nothing was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The kernel refused.
    #[error("can't write `{value}` to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it was to say.
        value: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that says what is now can't be read.
    #[error("can't read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts limits into a spec that [`default_spec`](crate::default_spec()) made.
pub fn set_limits(spec: &mut Spec, limits: &Limits) {
    let mut linux: Linux = spec.linux().clone().unwrap_or_default();
    linux.set_resources(Some(resources(limits)));
    spec.set_linux(Some(linux));
}

/// Files of cgroups, and what they are to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupUpdate {
    writes: Vec<(PathBuf, String)>,
    /// Controllers of v2 to switch on first, from the top down.
    switches: Vec<(PathBuf, String)>,
}

/// What changes for a container of this id, from the limits that it has to others. With `cgroups` it runs, in these
/// directories; without, only whether this host can give the limits is looked at.
///
/// # Errors
/// [`PlanError`]: a limit that this host can't give, or that the container has no cgroup for.
pub fn plan_update(
    old: &Limits,
    new: &Limits,
    host: &Host,
    id: &str,
    cgroups: Option<&[PathBuf]>,
) -> Result<CgroupUpdate, PlanError> {
    let now = directories(new, &host.cgroups, id)?;
    let Some(cgroups) = cgroups else { return Ok(CgroupUpdate::default()) };
    let before = directories(old, &host.cgroups, id)?;
    let mut update = CgroupUpdate::default();
    for (dir, file, value) in changed(&before, &now) {
        let path = dir.path().join(&file);
        if !cgroups.contains(&dir.path()) || !(path.exists() || dir.controller.is_empty()) {
            return Err(no_cgroup(&file));
        }
        update.switch_on(&host.cgroups, &path);
        update.writes.push((path, value));
    }
    Ok(update)
}

fn directories(limits: &Limits, cgroups: &Cgroups, id: &str) -> Result<Vec<CgroupDir>, PlanError> {
    let wanted = wanted(&resources(limits), cgroups)?;
    let CgroupPlan { unified, legacy, .. } = cgroup_plan(cgroups, &Path::new("brig").join(id), &wanted)?;
    Ok(unified.into_iter().chain(legacy).collect())
}

fn no_cgroup(file: &str) -> PlanError {
    let controller = file.split_once('.').map_or(file, |(controller, _)| controller).to_owned();
    let reason = format!(
        "the container runs without a cgroup of the controller `{controller}`, since it was started without such a limit; stop it, update it and start it"
    );
    PlanError::Limit { limit: controller, reason }
}

/// The settings that aren't what they were, and those that are gone.
fn changed<'a>(before: &'a [CgroupDir], now: &'a [CgroupDir]) -> Vec<(&'a CgroupDir, String, String)> {
    let all = |dirs: &'a [CgroupDir]| {
        dirs.iter().flat_map(|dir| dir.settings.iter().map(move |(file, value)| (dir, file, value)))
    };
    let new = all(now)
        .filter(|(dir, file, value)| {
            !all(before).any(|old| (old.0.path(), old.1, old.2) == (dir.path(), file, value))
        })
        .map(|(dir, file, value)| (dir, file.clone(), value.clone()));
    let gone = all(before).filter(|(dir, file, _)| {
        !all(now).any(|(other, name, _)| other.path() == dir.path() && name == *file)
    });
    let gone = gone.filter_map(|(dir, file, _)| {
        let (_, none) = NO_LIMIT.iter().find(|(name, _)| name == file)?;
        Some((dir, file.clone(), (*none).to_owned()))
    });
    new.chain(gone).collect()
}

impl CgroupUpdate {
    /// The files of the container's cgroups that it writes, and what.
    pub fn settings(&self) -> &[(PathBuf, String)] {
        &self.writes
    }

    /// Switches the controller of a file on where the file isn't there yet: in the directories above its cgroup, from
    /// where this process may. On v1 no file comes by that.
    fn switch_on(&mut self, cgroups: &Cgroups, path: &Path) {
        let (Some(root), Some(dir), Some(file)) = (&cgroups.unified, path.parent(), path.file_name()) else {
            return;
        };
        let file = file.to_string_lossy();
        let controller = file.split_once('.').map_or("", |(controller, _)| controller);
        if path.exists() || !dir.starts_with(root) || controller == "cgroup" {
            return;
        }
        let mut above: Vec<&Path> = dir.ancestors().skip(1).take_while(|dir| dir.starts_with(root)).collect();
        above.reverse();
        for dir in above {
            let switch = (dir.join("cgroup.subtree_control"), format!("+{controller}"));
            if !self.switches.contains(&switch) {
                self.switches.push(switch);
            }
        }
    }

    /// Writes all of it. What is given back undoes it, but for controllers that were switched on.
    ///
    /// # Errors
    /// [`UpdateError`]; then everything is as it was.
    pub fn apply(&self) -> Result<Self, UpdateError> {
        for (path, value) in &self.switches {
            fs::write(path, value).map_err(failed(path, value))?;
        }
        let before = self.read()?;
        match write_all(&self.writes) {
            Ok(()) => Ok(before),
            Err(error) => {
                before.undo();
                Err(error)
            }
        }
    }

    /// Writes all of it, where there is nobody to tell about a failure but of what made it necessary.
    pub fn undo(&self) {
        let _ = write_all(&self.writes);
    }

    /// What the files say now, to be written in the opposite order.
    fn read(&self) -> Result<Self, UpdateError> {
        let one = |(path, new): &(PathBuf, String)| match fs::read_to_string(path) {
            Ok(text) => Ok((path.clone(), old_value(path, &text, new))),
            Err(source) => Err(UpdateError::Read { path: path.clone(), source }),
        };
        let writes = self.writes.iter().rev().map(one).collect::<Result<_, _>>()?;
        Ok(Self { writes, switches: Vec::new() })
    }
}

/// What to write to a file to have again what it says. Files with a line for each device take one line at a time, and say
/// nothing about a device that has no limit.
fn old_value(path: &Path, text: &str, new: &str) -> String {
    let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let keyed = |key: &&str| key.contains(':') || ["rdma.max", "net_prio.ifpriomap"].contains(&file.as_ref());
    let Some(key) = new.split(' ').next().filter(keyed) else {
        // The weight of most devices is the first line of those of all.
        return text.lines().find(|line| line.starts_with("default ")).unwrap_or(text).trim().to_owned();
    };
    if let Some(line) = text.lines().find(|line| line.split(' ').next() == Some(key)) {
        return line.trim().to_owned();
    }
    let none = if file.contains("throttle") {
        "0".to_owned()
    } else if file == "io.max" {
        let limits = new.split(' ').skip(1).filter_map(|limit| limit.split_once('='));
        limits.map(|(name, _)| format!("{name}=max")).collect::<Vec<_>>().join(" ")
    } else {
        "default".to_owned()
    };
    format!("{key} {none}")
}

fn failed<'a>(path: &'a Path, value: &'a str) -> impl FnOnce(io::Error) -> UpdateError + 'a {
    move |source| UpdateError::Write { path: path.to_owned(), value: value.to_owned(), source }
}

/// The kernel judges each by the others: memory may not exceed memory and swap, nor a quota its period's share. What is
/// refused at first may be right when the rest is written.
fn write_all(writes: &[(PathBuf, String)]) -> Result<(), UpdateError> {
    let refused: Vec<_> = writes.iter().filter(|(path, value)| fs::write(path, value).is_err()).collect();
    for (path, value) in refused {
        fs::write(path, value).map_err(failed(path, value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(controller: &str, settings: &[(&str, &str)]) -> CgroupDir {
        CgroupDir {
            parent: "/cgroup".into(),
            name: controller.into(),
            controller: controller.into(),
            settings: settings.iter().map(|(file, value)| ((*file).into(), (*value).into())).collect(),
        }
    }

    fn changes(writes: &[(&Path, &str)]) -> CgroupUpdate {
        let writes = writes.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned()));
        CgroupUpdate { writes: writes.collect(), switches: Vec::new() }
    }

    fn lines(before: &[CgroupDir], now: &[CgroupDir]) -> Vec<String> {
        changed(before, now).into_iter().map(|(_, file, value)| format!("{file} {value}")).collect()
    }

    #[test]
    fn only_what_changes_is_written() {
        let memory = |limit| dir("memory", &[("memory.limit_in_bytes", limit)]);
        let pids = dir("pids", &[("pids.max", "5")]);
        let cpu = dir("cpu", &[("cpu.cfs_period_us", "1000"), ("cpu.cfs_quota_us", "500")]);
        assert_eq!(lines(&[memory("1")], &[memory("1")]), Vec::<String>::new());
        assert_eq!(
            lines(&[memory("1"), pids.clone()], &[memory("2"), pids.clone()]),
            ["memory.limit_in_bytes 2"]
        );
        assert_eq!(lines(&[memory("1")], &[memory("1"), pids.clone()]), ["pids.max 5"]);
        assert_eq!(lines(&[memory("1"), pids], &[memory("1")]), ["pids.max max"]);
        let period = dir("cpu", &[("cpu.cfs_period_us", "1000")]);
        assert_eq!(lines(&[cpu], &[period]), ["cpu.cfs_quota_us -1"]);
    }

    #[test]
    fn all_or_none_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::write(&one, "1\n").unwrap();
        fs::write(&two, "2\n").unwrap();
        let update = changes(&[(&one, "11"), (&two, "22")]);
        let undo = update.apply().unwrap();
        assert_eq!(
            (fs::read_to_string(&one).unwrap(), fs::read_to_string(&two).unwrap()),
            ("11".into(), "22".into())
        );
        undo.undo();
        assert_eq!(
            (fs::read_to_string(&one).unwrap(), fs::read_to_string(&two).unwrap()),
            ("1".into(), "2".into())
        );
        let missing = dir.path().join("not/there");
        let update = changes(&[(&one, "11"), (&missing, "x")]);
        assert!(matches!(update.apply(), Err(UpdateError::Read { .. })));
        // A file that can be read and not written: the kernel's own.
        let refusing = PathBuf::from("/proc/self/status");
        let update = changes(&[(&one, "11"), (&refusing, "x")]);
        assert!(matches!(update.apply(), Err(UpdateError::Write { .. })));
        assert_eq!(fs::read_to_string(&one).unwrap(), "1");
    }
    #[test]
    fn lines_of_devices_are_undone_one_by_one() {
        let old = |file: &str, text: &str, new: &str| old_value(&Path::new("/cgroup").join(file), text, new);
        assert_eq!(old("io.weight", "default 100\n8:0 50\n", "200"), "default 100");
        assert_eq!(old("io.weight", "default 100\n8:0 50\n", "8:0 60"), "8:0 50");
        assert_eq!(old("io.weight", "default 100\n8:0 50\n", "8:16 60"), "8:16 default");
        assert_eq!(old("io.max", "", "8:0 rbps=5 wiops=6"), "8:0 rbps=max wiops=max");
        assert_eq!(old("io.max", "8:0 rbps=1 wbps=max\n", "8:0 rbps=5"), "8:0 rbps=1 wbps=max");
        assert_eq!(old("blkio.throttle.read_bps_device", "8:16 5\n", "8:0 7"), "8:0 0");
        assert_eq!(old("cpu.max", "max 100000\n", "5000 10000"), "max 100000");
        assert_eq!(old("net_prio.ifpriomap", "lo 0\neth0 2\n", "eth0 3"), "eth0 2");
    }

    #[test]
    fn controllers_are_switched_on_from_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::probe();
        host.cgroups.unified = Some(dir.path().to_owned());
        let mut update = CgroupUpdate::default();
        update.switch_on(&host.cgroups, &dir.path().join("a/b/io.max"));
        update.switch_on(&host.cgroups, &dir.path().join("a/b/io.weight"));
        update.switch_on(&host.cgroups, &dir.path().join("a/b/cgroup.freeze"));
        update.switch_on(&host.cgroups, Path::new("/elsewhere/io.max"));
        let written = |path: &str| (dir.path().join(path).join("cgroup.subtree_control"), "+io".to_owned());
        assert_eq!(update.switches, [written(""), written("a")]);
    }
}
