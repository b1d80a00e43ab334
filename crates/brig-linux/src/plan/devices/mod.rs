//! Device files, and what keeps others away.

mod program;
mod rules;
mod wall;

use std::path::PathBuf;

use brig_runtime::plan::DevicePlan;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

pub(super) use self::program::program;
pub(super) use self::rules::Rules;
pub(crate) use self::wall::legacy;
pub(super) use self::wall::{Barrier, barrier};
use super::{Context, PlanError, text};

/// The devices of every container: specification, config-linux.md, "Default Devices". The console and ptmx come with
/// the terminal and as a link.
const DEFAULT: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const DEFAULT_MODE: u32 = 0o666;
/// The specification's links in `/dev` (runtime-linux.md, "Dev symbolic links"), and ptmx, which is the container's own.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

pub(super) fn links() -> Vec<(String, String)> {
    LINKS.iter().map(|(path, to)| ((*path).to_owned(), (*to).to_owned())).collect()
}

/// The default devices, and the spec's.
pub(super) fn devices(context: &Context<'_>) -> Result<Vec<DevicePlan>, PlanError> {
    let asked = context.linux.devices().as_deref().unwrap_or_default();
    let mut devices = asked.iter().map(device).collect::<Result<Vec<_>, _>>()?;
    for (name, major, minor) in DEFAULT {
        let path = format!("/dev/{name}");
        if !devices.iter().any(|device| device.path == path) {
            let mode = libc::S_IFCHR | DEFAULT_MODE;
            let host = PathBuf::from(&path);
            devices.push(DevicePlan { path, host, mode, major, minor, uid: 0, gid: 0 });
        }
    }
    Ok(devices)
}

fn device(device: &LinuxDevice) -> Result<DevicePlan, PlanError> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => {
            let value = text(device.path())?;
            return Err(PlanError::Invalid { field: "linux.devices", value, reason: "has no type" });
        }
    };
    let number = |value: i64| {
        let invalid = PlanError::Invalid {
            field: "linux.devices",
            value: value.to_string(),
            reason: "is no device number",
        };
        u32::try_from(value).map_err(|_| invalid)
    };
    Ok(DevicePlan {
        path: text(device.path())?,
        host: device.path().clone(),
        mode: kind | device.file_mode().unwrap_or(DEFAULT_MODE) & 0o7777,
        major: number(device.major())?,
        minor: number(device.minor())?,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}
