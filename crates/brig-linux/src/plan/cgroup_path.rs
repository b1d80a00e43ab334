//! `linux.cgroupsPath`: a path, or a name in systemd's words.

use std::path::{Component, Path, PathBuf};

use super::{PlanError, text};

const FIELD: &str = "linux.cgroupsPath";
const SLICE: &str = ".slice";
/// Where systemd puts what says nothing.
const DEFAULT_SLICE: &str = "system.slice";

/// The path below the directory in which cgroups can be made.
///
/// `slice:prefix:name` is the scope `prefix-name.scope` in a slice, which is where systemd would make the cgroup. Here it
/// is made without asking systemd for a unit. Where no systemd manages the cgroups nothing else would be different. Where
/// one does (there is a `/run/systemd/system`), it knows of no such unit: `systemctl` doesn't show it, `systemd-cgls`
/// shows its processes in the slice, and limits of the slice hold for it; but systemd takes all cgroups for its own that
/// it hasn't delegated, and may switch controllers off in the slice that no unit of its own needs there, which takes
/// the container's limits away. A path below a delegated unit (`Delegate=yes`) is safe from that.
pub(super) fn below_root(path: &Path) -> Result<PathBuf, PlanError> {
    let name = text(path)?;
    let parts: Vec<&str> = name.split(':').collect();
    if let [slice, prefix, name] = parts[..] {
        return scope(slice, prefix, name);
    }
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    let below = path.strip_prefix("/").unwrap_or(path);
    if inside && !below.as_os_str().is_empty() {
        Ok(below.to_owned())
    } else {
        Err(PlanError::Invalid { field: FIELD, value: name, reason: "isn't a path below the root" })
    }
}

fn scope(slice: &str, prefix: &str, name: &str) -> Result<PathBuf, PlanError> {
    let invalid =
        |value: &str, reason| Err(PlanError::Invalid { field: FIELD, value: value.to_owned(), reason });
    if name.is_empty() || [prefix, name].iter().any(|part| part.contains('/')) {
        return invalid(&format!("{slice}:{prefix}:{name}"), "has no name of a unit behind its last colon");
    }
    let slice = if slice.is_empty() { DEFAULT_SLICE } else { slice };
    let Some(mut path) = expand(slice) else {
        return invalid(slice, "isn't the name of a slice, such as `user-1000.slice`");
    };
    path.push(match (name.ends_with(SLICE), prefix) {
        // A slice for the container itself.
        (true, _) => name.to_owned(),
        (false, "") => format!("{name}.scope"),
        (false, _) => format!("{prefix}-{name}.scope"),
    });
    Ok(path)
}

/// `a-b.slice` is in `a.slice`, and `-.slice` is the root.
fn expand(slice: &str) -> Option<PathBuf> {
    let name = slice.strip_suffix(SLICE)?;
    if name == "-" {
        return Some(PathBuf::new());
    }
    let parts: Vec<&str> = name.split('-').collect();
    if name.contains('/') || parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    Some((1..=parts.len()).map(|count| parts[..count].join("-") + SLICE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(path: &str) -> Option<String> {
        Some(below_root(Path::new(path)).ok()?.to_str()?.to_owned())
    }

    #[test]
    fn paths_are_below_the_root() {
        assert_eq!(below("/a/b").as_deref(), Some("a/b"));
        assert_eq!(below("a/b").as_deref(), Some("a/b"));
        assert_eq!(below("/a/b:c").as_deref(), Some("a/b:c"));
        for path in ["/", "..", "/a/../b", "./a/../.."] {
            assert_eq!(below(path), None, "{path}");
        }
    }

    #[test]
    fn slices_are_directories_in_each_other() {
        for (path, place) in [
            ("system.slice:docker:1", "system.slice/docker-1.scope"),
            (":docker:1", "system.slice/docker-1.scope"),
            ("-.slice:libpod:x", "libpod-x.scope"),
            ("a-b-c.slice:p:n", "a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            ("machine.slice::n", "machine.slice/n.scope"),
            ("machine.slice:p:own.slice", "machine.slice/own.slice"),
        ] {
            assert_eq!(below(path).as_deref(), Some(place), "{path}");
        }
    }

    #[test]
    fn what_is_no_slice_is_refused() {
        for path in [
            "system:p:n",
            ".slice:p:n",
            "--.slice:p:n",
            "-a.slice:p:n",
            "a-.slice:p:n",
            "a--b.slice:p:n",
            "a/b.slice:p:n",
            "../a.slice:p:n",
            "a.slice:p:../../n",
            "a.slice:../p:n",
            "a.slice:p:",
            "::",
        ] {
            assert_eq!(below(path), None, "{path}");
        }
    }
}
