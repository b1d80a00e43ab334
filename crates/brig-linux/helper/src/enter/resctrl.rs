//! The container's group in the resctrl file system: made and filled before its process, entered by it, removed after it.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;

use brig_runtime::plan::ResctrlPlan;
use rustix::io::Errno;

use super::failure::{Failure, On};

/// Makes the group as the specification has it, and opens the lists of processes that the payload goes into.
pub(super) fn make(plan: Option<&ResctrlPlan>) -> Result<Vec<OwnedFd>, Failure> {
    let Some(plan) = plan else { return Ok(Vec::new()) };
    let path = plan.path();
    let made = plan.group.as_os_str().is_empty() || path.is_dir();
    if !made && !plan.own && plan.schemata.is_empty() && plan.last.is_empty() {
        // A group that somebody else was to make.
        return Err(Errno::NOENT).on(path);
    }
    if !made {
        fs::create_dir(&path).on(&path)?;
    }
    if made && !plan.own {
        compare(plan)?;
    } else {
        write(plan, &plan.schemata)?;
    }
    write(plan, &plan.last)?;
    if let Some(path) = plan.monitor_path() {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.on(&path)?,
        }
    }
    open(Some(plan))
}

/// The lists of processes of a group that exists.
pub(super) fn open(plan: Option<&ResctrlPlan>) -> Result<Vec<OwnedFd>, Failure> {
    let Some(plan) = plan else { return Ok(Vec::new()) };
    let directories = [plan.path()].into_iter().chain(plan.monitor_path());
    directories
        .map(|directory| {
            let path = directory.join("tasks");
            File::options().write(true).open(&path).on(&path).map(OwnedFd::from)
        })
        .collect()
}

/// Removes what is the container's alone.
pub(super) fn remove(plan: Option<&ResctrlPlan>) -> Result<(), Failure> {
    plan.map_or(Ok(()), ResctrlPlan::remove).or_else(|(path, error)| Err(error).on(path))
}

/// The kernel takes whole lines, and none of a resource twice in one write.
fn write(plan: &ResctrlPlan, lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    let path = plan.path().join("schemata");
    let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut file = File::options().write(true).open(&path).on(&path)?;
    file.write_all(text.as_bytes()).on(&path)
}

/// A group that somebody else has made has to be what the spec says.
fn compare(plan: &ResctrlPlan) -> Result<(), Failure> {
    if plan.schemata.is_empty() {
        return Ok(());
    }
    let path = plan.path().join("schemata");
    let text = fs::read_to_string(&path).on(&path)?;
    let there: Vec<_> = text.lines().filter_map(resource).collect();
    let same = |line: &String| resource(line).is_some_and(|asked| there.contains(&asked));
    if plan.schemata.iter().all(same) { Ok(()) } else { Err(Errno::EXIST).on(path) }
}

/// A line: the resource, and for each of its places a number, without what the kernel fills up with.
fn resource(line: &str) -> Option<(&str, Vec<(&str, String)>)> {
    let (name, places) = line.trim().split_once(':')?;
    let mut places: Vec<_> = places
        .split(';')
        .filter_map(|place| place.split_once('='))
        .map(|(place, value)| (place.trim(), value.trim().trim_start_matches('0').to_ascii_lowercase()))
        .collect();
    places.sort_unstable();
    Some((name.trim(), places))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn plan(root: &tempfile::TempDir, group: &str) -> ResctrlPlan {
        ResctrlPlan { root: root.path().to_owned(), group: group.into(), ..ResctrlPlan::default() }
    }

    /// A group as the kernel would make it.
    fn group(root: &tempfile::TempDir, name: &str) -> PathBuf {
        let path = root.path().join(name);
        fs::create_dir_all(path.join("mon_groups/id")).unwrap();
        for file in ["tasks", "mon_groups/id/tasks"] {
            fs::write(path.join(file), "").unwrap();
        }
        fs::write(path.join("schemata"), "    L3:0=00ff;1=000F\n    MB:0= 20;1=100\n").unwrap();
        path
    }

    #[test]
    fn a_group_of_somebody_else_s_is_compared_and_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = group(&root, "gold");
        let with = |schemata: &[&str]| ResctrlPlan {
            schemata: schemata.iter().map(|line| (*line).to_owned()).collect(),
            ..plan(&root, "gold")
        };
        assert_eq!(make(Some(&with(&["L3:1=f;0=ff", "MB:0=20;1=100"]))).unwrap().len(), 1);
        assert_eq!(make(Some(&with(&[]))).unwrap().len(), 1);
        for other in ["L3:0=ff", "L3:0=ff;1=1f", "L2:0=ff"] {
            assert_eq!(
                make(Some(&with(&[other]))).unwrap_err().errno,
                Errno::EXIST.raw_os_error(),
                "{other}"
            );
        }
        let monitored = ResctrlPlan { monitor: Some("id".into()), ..with(&[]) };
        assert_eq!(make(Some(&monitored)).unwrap().len(), 2);
        fs::remove_file(path.join("mon_groups/id/tasks")).unwrap();
        remove(Some(&monitored)).unwrap();
        remove(Some(&monitored)).unwrap();
        assert!(path.is_dir() && !path.join("mon_groups/id").exists());
    }

    #[test]
    fn a_group_without_a_schema_is_there_already() {
        let root = tempfile::tempdir().unwrap();
        let failure = make(Some(&plan(&root, "gold"))).unwrap_err();
        assert_eq!(failure.errno, Errno::NOENT.raw_os_error());
        assert!(!root.path().join("gold").exists());
    }

    #[test]
    fn an_own_group_is_made_written_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let own = ResctrlPlan { own: true, ..plan(&root, "id") };
        // The kernel would put the files there.
        make(Some(&own)).unwrap_err();
        assert!(root.path().join("id").is_dir());
        remove(Some(&own)).unwrap();
        assert!(!root.path().join("id").exists());
        let path = group(&root, "id");
        let schemata = vec!["L3:0=1".to_owned(), "MB:0=5".to_owned()];
        make(Some(&ResctrlPlan { schemata, ..own })).unwrap();
        assert!(fs::read_to_string(path.join("schemata")).unwrap().starts_with("L3:0=1\nMB:0=5\n"));
    }
}
