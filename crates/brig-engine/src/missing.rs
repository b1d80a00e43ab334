//! What helps somebody whose container or image wasn't found: names that are nearly the same, and whether another user's
//! store has it. Looked up when the hint is asked for, not when the error is made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use brig_oci::{Digest, Reference};

use crate::blocking::{EngineOptions, roots};
use crate::peek::Peek;
use crate::users;

/// root's store.
const ROOTS_STORE: &str = "/var/lib/brig";
/// The most that is read of `/etc/passwd`, in bytes.
const MAX_PASSWD: u64 = 1024 * 1024;
/// The most names that are compared.
const MAX_COMPARED: usize = 1000;
/// The longest name that is compared, in letters.
const MAX_LENGTH: usize = 128;
/// The most names that are told.
const MAX_TOLD: usize = 3;

/// A store that this user doesn't work on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    root: PathBuf,
    /// Whose it is.
    owner: String,
    /// How to work on it.
    way: &'static str,
}

/// What can be known of another store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Has,
    HasNot,
    /// It is there, or may be, and can't be read.
    Unknown,
}

/// Of a container.
pub(crate) fn container(name: &str, root: Option<&Path>) -> String {
    container_beside(name, root, other(root).as_ref())
}

/// Of an image.
pub(crate) fn image(name: &str, root: Option<&Path>) -> String {
    image_beside(name, root, other(root).as_ref())
}

/// Of either.
pub(crate) fn object(name: &str, root: Option<&Path>) -> String {
    let other = other(root);
    let elsewhere = |look: fn(&Path, &str) -> Look, what| found_elsewhere(other.as_ref(), name, look, what);
    let all = "brig ps -a and brig images list what there is";
    let near = nearest(name, container_names(root).into_iter().chain(image_names(root)));
    elsewhere(look_for_container, "a container")
        .or_else(|| elsewhere(look_for_image, "an image"))
        .or_else(|| Some(format!("{} {all}", near?)))
        .unwrap_or_else(|| all.into())
}

fn container_beside(name: &str, root: Option<&Path>, other: Option<&Other>) -> String {
    if let Some(found) = found_elsewhere(other, name, look_for_container, "a container") {
        return found;
    }
    let all = "brig ps -a lists all containers";
    if let Some(near) = nearest(name, container_names(root).into_iter()) {
        return format!("{near} {all}");
    }
    match other {
        Some(other) if look_for_container(&other.root, name) == Look::Unknown => {
            format!("{all}; {} sees another store", other.way)
        }
        _ => all.into(),
    }
}

fn image_beside(name: &str, root: Option<&Path>, other: Option<&Other>) -> String {
    let pull = format!("brig pull {name}");
    if let Some(found) = found_elsewhere(other, name, look_for_image, "an image") {
        return format!("{found}; or {pull}");
    }
    match nearest(name, image_names(root).into_iter()) {
        Some(near) => format!("{near} Or {pull}"),
        None => pull,
    }
}

fn found_elsewhere(
    other: Option<&Other>,
    name: &str,
    look: fn(&Path, &str) -> Look,
    what: &str,
) -> Option<String> {
    let other = other.filter(|other| look(&other.root, name) == Look::Has)?;
    Some(format!("{} has such {what}, in another store: {}", other.owner, other.way))
}

/// The store that the same person would see with `sudo`, or without: none where this one was chosen.
fn other(root: Option<&Path>) -> Option<Other> {
    let own = roots(&EngineOptions::default()).ok()?.root;
    if root? != own {
        return None;
    }
    match rustix::process::geteuid().is_root() {
        false => Some(Other { root: ROOTS_STORE.into(), owner: "root".into(), way: "sudo brig" }),
        true => of_sudos_caller(&std::env::var("SUDO_UID").ok()?),
    }
}

/// The default store of the user who called sudo.
fn of_sudos_caller(uid: &str) -> Option<Other> {
    let uid: u32 = uid.parse().ok().filter(|uid| *uid != 0)?;
    let passwd = read_bounded(Path::new("/etc/passwd")).ok()?;
    let home = users::resolve(&uid.to_string(), &passwd, b"").ok()?.home;
    let owner = std::env::var("SUDO_USER").unwrap_or_else(|_| format!("user {uid}"));
    Some(Other { root: Path::new(&home).join(".local/share/brig"), owner, way: "brig without sudo" })
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_PASSWD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// By the files' names alone: what is in another user's files isn't read.
fn look_for_container(root: &Path, name: &str) -> Look {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Look::HasNot;
    }
    match look_at(&root.join("names").join(name)) {
        Look::HasNot if name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) => {
            look_for_id(root, name)
        }
        found => found,
    }
}

fn look_for_id(root: &Path, prefix: &str) -> Look {
    let entries = match fs::read_dir(root.join("containers")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::HasNot,
        Err(_) => return Look::Unknown,
    };
    let mut names = entries.flatten().take(MAX_COMPARED).map(|entry| entry.file_name());
    match names.any(|name| name.to_str().is_some_and(|name| name.starts_with(prefix))) {
        true => Look::Has,
        false => Look::HasNot,
    }
}

fn look_for_image(root: &Path, name: &str) -> Look {
    match name.parse::<Reference>() {
        Ok(reference) => look_at(&root.join("refs").join(Digest::sha256(reference.canonical()).hex())),
        Err(_) => Look::HasNot,
    }
}

fn look_at(path: &Path) -> Look {
    match fs::symlink_metadata(path) {
        Ok(_) => Look::Has,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Look::HasNot,
        Err(_) => Look::Unknown,
    }
}

fn container_names(root: Option<&Path>) -> Vec<String> {
    root.map(|root| Peek::at(root).container_names()).unwrap_or_default()
}

fn image_names(root: Option<&Path>) -> Vec<String> {
    let all = root.map(|root| Peek::at(root).images()).unwrap_or_default();
    all.into_iter().map(|name| name.strip_suffix(":latest").map(str::to_owned).unwrap_or(name)).collect()
}

/// ``did you mean `web`?``
fn nearest(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let mut near: Vec<(usize, String)> =
        names.take(MAX_COMPARED).filter_map(|have| Some((distance(name, &have)?, have))).collect();
    near.sort();
    near.truncate(MAX_TOLD);
    let near: Vec<_> = near.into_iter().map(|(_, name)| format!("`{name}`")).collect();
    match near.as_slice() {
        [] => None,
        [one] => Some(format!("did you mean {one}?")),
        [first @ .., last] => Some(format!("did you mean {} or {last}?", first.join(", "))),
    }
}

/// How many letters are left out, put in, changed or swapped; none where that is too much for a slip. Something begun
/// is a slip, too, and so is an image without its tag.
fn distance(typed: &str, have: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (typed.chars().collect(), have.chars().collect());
    if a.len() < 2 || a.len() > MAX_LENGTH || b.len() > MAX_LENGTH || a == b {
        return None;
    }
    if b.starts_with(&a) {
        return Some(1);
    }
    let found = swaps_and_changes(&a, &b);
    (found <= a.len().div_ceil(4)).then_some(found)
}

/// The distance of restricted Damerau and Levenshtein.
fn swaps_and_changes(a: &[char], b: &[char]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        (before, above) = (above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> std::vec::IntoIter<String> {
        all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        for (typed, have, expected) in [
            ("wbe", "web", Some(1)),
            ("webb", "web", Some(1)),
            ("web", "wob", Some(1)),
            ("databse", "database", Some(1)),
            ("data", "database", Some(1)),
            ("busybox", "busybox:1.36", Some(1)),
            ("web", "db", None),
            ("web", "web", None),
            ("nobody", "one", None),
            ("w", "web", None),
            ("kitten", "sitting", None),
        ] {
            assert_eq!(distance(typed, have), expected, "{typed} {have}");
        }
        assert_eq!(distance(&"x".repeat(5000), "web"), None);
    }

    #[test]
    fn the_nearest_are_told() {
        assert_eq!(nearest("wbe", names(&["db", "web"])).as_deref(), Some("did you mean `web`?"));
        let many = nearest("web", names(&["web4", "web3", "web2", "web1"]));
        assert_eq!(many.as_deref(), Some("did you mean `web1`, `web2` or `web3`?"));
        assert_eq!(nearest("web", names(&["db"])), None);
    }

    /// A root that has the container `web` and the image `app:1`.
    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (place, name) in [("names", "web"), ("containers", "0123456789ab")] {
            fs::create_dir(dir.path().join(place)).unwrap();
            fs::write(dir.path().join(place).join(name), "").unwrap();
        }
        let reference: Reference = "app:1".parse().unwrap();
        fs::create_dir(dir.path().join("refs")).unwrap();
        fs::write(dir.path().join("refs").join(Digest::sha256(reference.canonical()).hex()), "").unwrap();
        dir
    }

    fn roots_store(root: &Path) -> Other {
        Other { root: root.into(), owner: "root".into(), way: "sudo brig" }
    }

    #[test]
    fn another_store_is_named_when_it_has_what_was_asked_for() {
        let (own, dir) = (tempfile::tempdir().unwrap(), root());
        let other = roots_store(dir.path());
        let hint = |name| container_beside(name, Some(own.path()), Some(&other));
        for name in ["web", "0123"] {
            assert_eq!(hint(name), "root has such a container, in another store: sudo brig", "{name}");
        }
        for name in ["db", "4567", "", "../names/web", "..", "a/b"] {
            assert_eq!(hint(name), "brig ps -a lists all containers", "{name}");
        }
        let hint = |name| image_beside(name, Some(own.path()), Some(&other));
        assert_eq!(hint("app:1"), "root has such an image, in another store: sudo brig; or brig pull app:1");
        assert_eq!(hint("app:2"), "brig pull app:2");
        assert_eq!(hint("NO"), "brig pull NO");
    }

    #[test]
    fn another_store_is_hinted_at_when_it_cannot_be_read_and_not_when_there_is_none() {
        let dir = root();
        let none = roots_store(&dir.path().join("none"));
        assert_eq!(container_beside("web", None, Some(&none)), "brig ps -a lists all containers");
        // Not even root can look below a file.
        fs::remove_dir_all(dir.path().join("names")).unwrap();
        fs::write(dir.path().join("names"), "").unwrap();
        let unreadable = roots_store(dir.path());
        let hint = container_beside("web", None, Some(&unreadable));
        assert_eq!(hint, "brig ps -a lists all containers; sudo brig sees another store");
    }

    #[test]
    fn ones_own_names_are_suggested() {
        let dir = root();
        let hint = container_beside("wbe", Some(dir.path()), None);
        assert_eq!(hint, "did you mean `web`? brig ps -a lists all containers");
    }

    #[test]
    fn a_chosen_root_has_no_other() {
        assert_eq!(other(Some(Path::new("/nowhere/at/all"))), None);
        assert_eq!(other(None), None);
        assert_eq!(of_sudos_caller("0"), None);
        assert_eq!(of_sudos_caller("x"), None);
    }
}
