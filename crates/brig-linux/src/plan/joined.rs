//! Namespaces that exist: what is mapped in them, and what can't be asked for in them.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use brig_runtime::plan::{IdMap, IdMaps, PayloadPlan, RootFs};
use oci_spec::runtime::{Linux, LinuxIdMapping, Spec};

use super::PlanError;
use super::namespaces::{Namespaces, USER, id_map};
use crate::sys;

/// More ranges than the kernel maps in one namespace (`UID_GID_MAP_MAX_EXTENTS`).
const MAX_MAP: u64 = 64 * 1024;

/// Finds out what is mapped in the user namespace that a spec wants to be entered. One's own is there already, and
/// can't be entered.
pub(super) fn enter_user_namespace(linux: &Linux, namespaces: &mut Namespaces) -> Result<(), PlanError> {
    let Some(place) = namespaces.joined.iter().position(|(kind, _)| *kind == USER) else { return Ok(()) };
    let path = &namespaces.joined[place].1;
    let maps = maps_of(path).map_err(|error| {
        PlanError::unsupported("linux.namespaces", format!("can't look into `{}`: {error}", path.display()))
    })?;
    let asked = [linux.uid_mappings(), linux.gid_mappings()];
    let Some(maps) = maps else {
        namespaces.joined.remove(place);
        return check_maps(asked, &IdMaps { uids: Vec::new(), gids: Vec::new() });
    };
    check_maps(asked, &maps)?;
    namespaces.user = Some(maps);
    Ok(())
}

/// Maps are for new namespaces; containerd says those of the one that is entered all the same.
fn check_maps(asked: [&Option<Vec<LinuxIdMapping>>; 2], maps: &IdMaps) -> Result<(), PlanError> {
    for (asked, there) in asked.into_iter().zip([&maps.uids, &maps.gids]) {
        let mut asked: Vec<IdMap> = asked.iter().flatten().map(id_map).collect();
        let mut there = there.clone();
        for map in [&mut asked, &mut there] {
            map.sort_by_key(|map| map.container);
        }
        if !asked.is_empty() && asked != there {
            let reason = "the user namespace that is to be entered maps others";
            return Err(PlanError::unsupported("linux.uidMappings", reason));
        }
    }
    Ok(())
}

fn maps_of(path: &Path) -> io::Result<Option<IdMaps>> {
    let file = File::open(path)?;
    let identity = |stat: &fs::Metadata| (stat.dev(), stat.ino());
    if identity(&file.metadata()?) == identity(&fs::metadata("/proc/self/ns/user")?) {
        return Ok(None);
    }
    sys::in_user_namespace(file.as_fd(), |pid| {
        let [uids, gids] = ["uid_map", "gid_map"].map(|name| read_map(&format!("/proc/{pid}/{name}")));
        Ok(Some(IdMaps { uids: uids?, gids: gids? }))
    })
}

fn read_map(path: &str) -> io::Result<Vec<IdMap>> {
    let text = io::read_to_string(io::Read::take(File::open(path)?, MAX_MAP))?;
    parse_map(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

fn parse_map(text: &str) -> Option<Vec<IdMap>> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(IdMap { container: next()?, host: next()?, count: next()? })
    };
    text.lines().map(line).collect()
}

/// In a mount namespace that exists nothing is mounted: it is others', too.
pub(super) fn check_mounts(spec: &Spec, linux: &Linux, rootfs: &RootFs) -> Result<(), PlanError> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let asked = [
        ("mounts", spec.mounts().as_ref().is_some_and(|mounts| !mounts.is_empty())),
        ("linux.maskedPaths", some(linux.masked_paths())),
        ("linux.readonlyPaths", some(linux.readonly_paths())),
        ("linux.devices", linux.devices().as_ref().is_some_and(|devices| !devices.is_empty())),
        ("linux.rootfsPropagation", linux.rootfs_propagation().is_some()),
        ("root.readonly", spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)),
        ("root.path", !matches!(rootfs, RootFs::Path { .. })),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((field, _)) => Err(PlanError::unsupported(
            field,
            "nothing is mounted in a mount namespace that exists; leave it out",
        )),
        None => Ok(()),
    }
}

/// What every other container gets.
pub(super) fn leave_mounts_alone(plan: PayloadPlan) -> PayloadPlan {
    PayloadPlan { seals: Vec::new(), devices: Vec::new(), links: Vec::new(), ..plan }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let text = "         0     100000      65536\n     65536          0          1\n";
        let maps = parse_map(text).unwrap();
        assert_eq!(maps[0], IdMap { container: 0, host: 100_000, count: 65536 });
        assert_eq!(maps[1], IdMap { container: 65536, host: 0, count: 1 });
        for text in ["0 1", "0 1 x", "0 1 -1"] {
            assert_eq!(parse_map(text), None, "{text}");
        }
    }

    #[test]
    fn one_s_own_user_namespace_is_none_to_enter() {
        assert_eq!(maps_of(Path::new("/proc/self/ns/user")).unwrap(), None);
        // No user namespace.
        assert!(maps_of(Path::new("/proc/self/ns/uts")).is_err());
        assert!(maps_of(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn maps_that_are_said_too_must_be_the_same() {
        let maps = |host| IdMaps {
            uids: vec![IdMap { container: 0, host, count: 10 }],
            gids: vec![IdMap { container: 0, host, count: 10 }],
        };
        let json = serde_json::json!([{ "containerID": 0, "hostID": 5, "size": 10 }]);
        let asked: Option<Vec<LinuxIdMapping>> = Some(serde_json::from_value(json).unwrap());
        assert!(check_maps([&asked, &asked], &maps(5)).is_ok());
        assert!(check_maps([&None, &asked], &maps(6)).is_err());
        assert!(check_maps([&None, &None], &maps(6)).is_ok());
    }
}
