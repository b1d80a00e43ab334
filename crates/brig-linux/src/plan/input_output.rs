//! Limits of block devices, huge pages, the network's classes and RDMA devices.

use oci_spec::runtime::{LinuxBlockIo, LinuxHugepageLimit, LinuxNetwork, LinuxRdma, LinuxThrottleDevice};

use super::PlanError;
use super::resources::Wanted;
use crate::host::{CgroupMode, Cgroups};

const FIELD: &str = "linux.resources.blockIO";
/// The name of the controller of block devices on v1 and on v2.
const BLKIO: (&str, &str) = ("blkio", "io");

pub(crate) fn block_io(limits: &LinuxBlockIo, cgroups: &Cgroups) -> Result<Vec<Wanted>, PlanError> {
    let leaf = limits.leaf_weight().is_some_and(|weight| weight != 0)
        || limits
            .weight_device()
            .iter()
            .flatten()
            .any(|device| device.leaf_weight().is_some_and(|leaf| leaf != 0));
    if leaf {
        return Err(PlanError::unsupported(format!("{FIELD}.leafWeight"), "no kernel of today has it"));
    }
    let mut wanted = Vec::new();
    if let Some(weight) = limits.weight().filter(|weight| *weight != 0) {
        wanted.push(weight_wish(cgroups, None, weight)?);
    }
    for device in limits.weight_device().iter().flatten() {
        if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
            wanted.push(weight_wish(cgroups, Some((device.major(), device.minor())), weight)?);
        }
    }
    for (devices, name, v1, key) in [
        (limits.throttle_read_bps_device(), "read rate", "blkio.throttle.read_bps_device", "rbps"),
        (limits.throttle_write_bps_device(), "write rate", "blkio.throttle.write_bps_device", "wbps"),
        (limits.throttle_read_iops_device(), "read rate", "blkio.throttle.read_iops_device", "riops"),
        (limits.throttle_write_iops_device(), "write rate", "blkio.throttle.write_iops_device", "wiops"),
    ] {
        wanted.extend(devices.iter().flatten().map(|device| throttle(cgroups, device, name, v1, key)));
    }
    Ok(wanted)
}

fn controller(cgroups: &Cgroups) -> &'static str {
    if cgroups.mode == CgroupMode::V2 { BLKIO.1 } else { BLKIO.0 }
}

fn throttle(
    cgroups: &Cgroups,
    device: &LinuxThrottleDevice,
    name: &'static str,
    v1: &'static str,
    key: &str,
) -> Wanted {
    let (major, minor, rate) = (device.major(), device.minor(), device.rate());
    // 0 lifts a limit; v2 has a word for that.
    let limit = if rate == 0 { "max".to_owned() } else { rate.to_string() };
    Wanted {
        controller: controller(cgroups),
        name,
        v1: Some((v1.into(), format!("{major}:{minor} {rate}"))),
        v2: Some(("io.max".into(), format!("{major}:{minor} {key}={limit}"))),
    }
}

/// v1's 10 to 1000. The scheduler BFQ takes them as they are, on v2 as well; the file of others on v2 goes from 1 to
/// 10000.
fn weight_wish(cgroups: &Cgroups, device: Option<(i64, i64)>, weight: u16) -> Result<Wanted, PlanError> {
    if !(10..=1000).contains(&weight) {
        let value = weight.to_string();
        return Err(PlanError::Invalid {
            field: "linux.resources.blockIO.weight",
            value,
            reason: "isn't 10 to 1000",
        });
    }
    let of = |weight: u64| match device {
        Some((major, minor)) => format!("{major}:{minor} {weight}"),
        None => weight.to_string(),
    };
    let plain = u64::from(weight);
    let bfq = has_bfq(cgroups);
    let v1 = match (bfq, device.is_some()) {
        (true, false) => "blkio.bfq.weight",
        (true, true) => "blkio.bfq.weight_device",
        (false, false) => "blkio.weight",
        (false, true) => "blkio.weight_device",
    };
    let v2 =
        if bfq { ("io.bfq.weight", of(plain)) } else { ("io.weight", of(1 + (plain - 10) * 9999 / 990)) };
    Ok(Wanted {
        controller: controller(cgroups),
        name: "block I/O weight",
        v1: Some((v1.into(), of(plain))),
        v2: Some((v2.0.into(), v2.1)),
    })
}

fn has_bfq(cgroups: &Cgroups) -> bool {
    match cgroups.mode {
        CgroupMode::V2 => super::resources::has_below(cgroups, "io.bfq.weight"),
        _ => cgroups.legacy(BLKIO.0).is_some_and(|dir| dir.join("blkio.bfq.io_serviced").exists()),
    }
}

/// A page's size is part of a file's name.
pub(crate) fn huge_pages(limit: &LinuxHugepageLimit) -> Result<Wanted, PlanError> {
    let size = limit.page_size();
    let digits = size.trim_end_matches(|char: char| char.is_ascii_uppercase());
    let unit = &size[digits.len()..];
    let known = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !known || !["KB", "MB", "GB"].contains(&unit) {
        return Err(PlanError::Invalid {
            field: "linux.resources.hugepageLimits[].pageSize",
            value: size.clone(),
            reason: "isn't a size such as `2MB`",
        });
    }
    let bytes = limit.limit().to_string();
    Ok(Wanted {
        controller: "hugetlb",
        name: "huge pages",
        v1: Some((format!("hugetlb.{size}.limit_in_bytes").into(), bytes.clone())),
        v2: Some((format!("hugetlb.{size}.max").into(), bytes)),
    })
}

/// Classes and priorities, which v2 leaves to eBPF.
pub(super) fn network(network: &LinuxNetwork) -> Vec<Wanted> {
    let one = |controller, name, file: &'static str, value| Wanted {
        controller,
        name,
        v1: Some((file.into(), value)),
        v2: None,
    };
    let class = network.class_id().filter(|class| *class != 0);
    let class = class.map(|class| one("net_cls", "network class", "net_cls.classid", class.to_string()));
    let priorities = network.priorities().iter().flatten().map(|priority| {
        let value = format!("{} {}", priority.name(), priority.priority());
        one("net_prio", "network priority", "net_prio.ifpriomap", value)
    });
    class.into_iter().chain(priorities).collect()
}

pub(super) fn rdma(device: &str, limit: &LinuxRdma) -> Wanted {
    let part =
        |key: &str, value: Option<u32>| value.map(|value| format!(" {key}={value}")).unwrap_or_default();
    let limits = part("hca_handle", limit.hca_handles()) + &part("hca_object", limit.hca_objects());
    Wanted::same("rdma", "RDMA", "rdma.max", format!("{device}{limits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(size: &str) -> Result<Wanted, PlanError> {
        huge_pages(&serde_json::from_value(serde_json::json!({ "pageSize": size, "limit": 4096 })).unwrap())
    }

    #[test]
    fn sizes_of_pages_are_names_of_files() {
        let wanted = pages("2MB").unwrap();
        assert_eq!(wanted.v1.unwrap(), ("hugetlb.2MB.limit_in_bytes".into(), "4096".to_owned()));
        assert_eq!(wanted.v2.unwrap(), ("hugetlb.2MB.max".into(), "4096".to_owned()));
        for size in ["", "MB", "2", "2mb", "../2MB", "2MB/..", "2MBMB", "-2MB"] {
            assert!(pages(size).is_err(), "{size}");
        }
    }

    #[test]
    fn v2_has_no_classes() {
        let json = serde_json::json!({ "classID": 7, "priorities": [{ "name": "eth0", "priority": 3 }] });
        let wanted = network(&serde_json::from_value(json).unwrap());
        let files: Vec<_> = wanted.into_iter().map(|one| (one.v1.unwrap(), one.v2)).collect();
        assert_eq!(files[0], (("net_cls.classid".into(), "7".to_owned()), None));
        assert_eq!(files[1], (("net_prio.ifpriomap".into(), "eth0 3".to_owned()), None));
    }

    #[test]
    fn rdma_devices_have_two_limits() {
        let json = serde_json::json!({ "hcaHandles": 3 });
        let wanted = rdma("mlx5_1", &serde_json::from_value(json).unwrap());
        assert_eq!(wanted.v2.unwrap().1, "mlx5_1 hca_handle=3");
    }
}
