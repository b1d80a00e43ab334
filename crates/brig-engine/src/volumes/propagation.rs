//! Who hears of mounts that are made below a bind mount: what can be had of it.

use std::fs;
use std::path::{Path, PathBuf};

use brig_oci::Kind;
use brig_runtime::record::MountRecord;

use crate::error::{Error, Result};

/// Refuses what a start would fail of, or what nobody would notice.
pub(crate) fn check(kind: Kind, mounts: &[MountRecord], rootless: bool) -> Result<()> {
    for mount in mounts {
        let Some(word) = mount.propagation.as_deref() else { continue };
        if let Some(reason) = reason(kind, word, &mount.source, rootless)? {
            return Err(Error::Unsupported { what: format!("bind propagation `{word}`"), reason });
        }
    }
    Ok(())
}

fn reason(kind: Kind, word: &str, source: &Path, rootless: bool) -> Result<Option<String>> {
    Ok(match (kind, word) {
        (_, "private" | "rprivate") => None,
        (Kind::Wasm, _) => Some("a wasm container sees what is mounted when it starts".to_owned()),
        (Kind::Linux, "shared" | "rshared") if rootless => {
            Some("the host hears of no mounts in an ordinary user's containers".to_owned())
        }
        (Kind::Linux, "shared" | "rshared") => {
            let path = Path::new("/proc/self/mountinfo");
            let mounts = fs::read_to_string(path).map_err(Error::io("read the mounts", path))?;
            // A source that isn't there yet is made on the mount that it names.
            let source = fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
            unshared(&mounts, &source).map(|mount| {
                let (source, mount) = (source.display(), mount.display());
                format!(
                    "`{source}` is on the mount `{mount}`, which isn't shared: mount --make-shared {mount}"
                )
            })
        }
        _ => None,
    })
}

/// The mount that a path is on, if it isn't shared (`proc(5)`, `/proc/[pid]/mountinfo`).
fn unshared(mounts: &str, path: &Path) -> Option<PathBuf> {
    let mut found: Option<(PathBuf, bool)> = None;
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let Some(place) = fields.get(4).map(|place| unescaped(place)) else { continue };
        // The one that was mounted last is on top.
        let nearer = found.as_ref().is_none_or(|(best, _)| place.starts_with(best));
        if path.starts_with(&place) && nearer {
            let shared = fields.iter().skip(6).take_while(|field| **field != "-");
            let shared = shared.into_iter().any(|field| field.starts_with("shared:"));
            found = Some((place, shared));
        }
    }
    found.filter(|(_, shared)| !shared).map(|(place, _)| place)
}

/// The kernel writes spaces, tabs, line ends and backslashes as octal numbers.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
21 20 0:5 / /srv rw shared:2 master:1 - tmpfs none rw
22 20 0:6 / /srv/a\\040b rw master:7 - tmpfs none rw
23 20 0:7 / /mnt rw - tmpfs none rw
24 23 0:8 / /mnt rw shared:9 - tmpfs none rw
25 20 0:9 / /over rw shared:9 - tmpfs shared:1 rw
26 25 0:9 / /over rw - tmpfs shared:1 rw
";

    #[test]
    fn the_mount_of_a_path_is_the_nearest_and_the_last() {
        for (path, mount) in [
            ("/etc", None),
            ("/srv", None),
            ("/srvx", None),
            ("/srv/a b/c", Some("/srv/a b")),
            ("/mnt/x", None),
            ("/over", Some("/over")),
        ] {
            assert_eq!(unshared(MOUNTS, Path::new(path)).as_deref(), mount.map(Path::new), "{path}");
        }
    }

    #[test]
    fn what_nobody_would_hear_of_is_refused() {
        let said = |kind, word, rootless| reason(kind, word, Path::new("/proc"), rootless).unwrap();
        assert_eq!(said(Kind::Linux, "rprivate", true), None);
        assert_eq!(said(Kind::Linux, "rslave", true), None);
        assert!(said(Kind::Linux, "rshared", true).unwrap().contains("ordinary user"));
        assert!(said(Kind::Wasm, "rslave", false).unwrap().contains("wasm"));
        assert_eq!(said(Kind::Wasm, "private", false), None);
    }
}
