//! Specs to plans, on hosts that are made up.

use std::path::Path;
use std::sync::OnceLock;

use brig_runtime::plan::{MountKind, PayloadPlan, RootFs};
use oci_spec::runtime::{Mount, Spec};
use serde_json::json;

use super::{HostOptions, PlanError, plan_linux};
use crate::default_spec::{ContainerOptions, default_spec};
use crate::host::{CgroupMode, Cgroups, Host};
use crate::seccomp::KernelVersion;

fn host(rootless: bool) -> Host {
    let cgroups = Cgroups {
        mode: CgroupMode::Hybrid,
        unified: Some("/nowhere/unified".into()).filter(|_| !rootless),
        unified_mount: Some("/nowhere/unified".into()),
        legacy_writable: false,
    };
    let uid = if rootless { 1000 } else { 0 };
    let kernel = KernelVersion { major: 6, minor: 1 };
    let security = [OnceLock::from(false), OnceLock::from(false)];
    Host { uid, gid: uid, rootless, kernel, cgroups, namespaces: OnceLock::from(true), security }
}

fn spec(host: &Host) -> Spec {
    default_spec(&ContainerOptions { args: vec!["true".into()], ..ContainerOptions::default() }, host)
}

fn plan(spec: &Spec, host: &Host) -> Result<PayloadPlan, PlanError> {
    let root = RootFs::Overlay { lowers: vec!["/l".into()], upper: None, work: None, options: vec![] };
    plan_linux(spec, &root, &HostOptions::new(host, "id"))
}

/// The default spec with a value put in.
fn changed(host: &Host, pointer: &str, value: serde_json::Value) -> Spec {
    let mut json = serde_json::to_value(spec(host)).unwrap();
    let (above, name) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(above).unwrap()[name] = value;
    serde_json::from_value(json).unwrap()
}

#[test]
fn what_can_t_be_given_is_an_error_that_names_it() {
    let host = host(false);
    for (pointer, value, named) in [
        ("/hooks", json!({"poststop": [{"path": "/bin/true"}]}), "hooks"),
        ("/linux/intelRdt", json!({"closID": "x"}), "/sys/fs/resctrl"),
        ("/linux/mountLabel", json!("system_u:x"), "linux.mountLabel"),
        ("/linux/cgroupsPath", json!("system:brig:x"), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath"),
        ("/linux/rootfsPropagation", json!("rnothing"), "linux.rootfsPropagation"),
        ("/linux/namespaces", json!([{"type": "pid"}]), "linux.namespaces"),
        ("/linux/namespaces", json!([{"type": "mount", "path": "/proc/1/ns/mnt"}]), "mounts"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}]), "two are of type"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user", "path": "/nowhere"}]), "/nowhere"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "time"}]), "linux.namespaces"),
        ("/linux/sysctl", json!({"kernel.panic": "1"}), "kernel.panic"),
        ("/linux/resources/blockIO", json!({"weight": 9}), "linux.resources.blockIO"),
        ("/linux/resources/blockIO", json!({"leafWeight": 10}), "linux.resources.blockIO"),
        ("/linux/resources/hugepageLimits", json!([{"pageSize": "x", "limit": 1}]), "pageSize"),
        ("/linux/netDevices", json!({"eth0": {"name": "a/b"}}), "a/b"),
        ("/linux/seccomp", notifying("read", json!({})), "listenerPath"),
        ("/linux/seccomp", notifying("write", json!({"listenerPath": "/s"})), "write"),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "listenerMetadata",
        ),
        ("/linux/timeOffsets", json!({"boottime": {"secs": 1}}), "linux.timeOffsets"),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "x"}), "linux.memoryPolicy.nodes"),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8}), "process.ioPriority"),
        ("/process/scheduler", json!({"policy": "SCHED_ISO"}), "process.scheduler"),
        ("/linux/resources/memory", json!({"limit": 100, "swap": 10}), "memory.swap"),
        ("/linux/resources/devices", json!([{"allow": false, "type": "p"}]), "linux.resources.devices"),
        ("/process/apparmorProfile", json!("docker-default"), "docker-default"),
        ("/process/selinuxLabel", json!("system_u:x"), "system_u:x"),
        ("/process/cwd", json!("relative"), "process.cwd"),
        ("/process/user", json!({"uid": u32::MAX, "gid": 0}), "process.user"),
        ("/process/user", json!({"uid": 1, "gid": 1, "additionalGids": [u32::MAX]}), "process.user"),
        ("/process/capabilities", json!({"inheritable": ["CAP_KILL"]}), "bounding"),
        ("/process/args", json!([]), "process.args"),
        ("/mounts", json!([{"destination": "relative", "type": "tmpfs"}]), "mounts[].destination"),
        ("/mounts", json!([{"destination": "/m", "type": "proc", "options": ["tmpcopyup"]}]), "tmpcopyup"),
        (
            "/mounts",
            json!([{"destination": "/m", "type": "tmpfs", "options": ["X-mount.idmap=x"]}]),
            "X-mount",
        ),
        ("/mounts", json!([{"destination": "/m", "source": "/s", "options": ["bind", "size=1"]}]), "size"),
    ] {
        let error = plan(&changed(&host, pointer, value), &host).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(named), "{pointer}: {text}");
    }
}

/// A policy that asks somebody about a call.
fn notifying(call: &str, more: serde_json::Value) -> serde_json::Value {
    let mut policy = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": [call], "action": "SCMP_ACT_NOTIFY"}],
    });
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    policy
}

#[test]
fn a_listener_is_told_of_the_container() {
    let host = host(false);
    let policy = notifying("mkdir", json!({"listenerPath": "sock", "listenerMetadata": "words"}));
    let mut spec = changed(&host, "/linux/seccomp", policy);
    spec.set_annotations(Some([("a".to_owned(), "b".to_owned())].into()));
    let root = RootFs::Empty;
    let bundle = Path::new("/bundle");
    let options = HostOptions { bundle: Some(bundle), ..HostOptions::new(&host, "id") };
    let made = plan_linux(&spec, &root, &options).unwrap();
    let listener = made.process.listener.unwrap();
    assert_eq!((listener.path.as_path(), listener.id.as_str()), (Path::new("/bundle/sock"), "id"));
    assert_eq!((listener.metadata.as_deref(), listener.bundle.as_path()), (Some("words"), bundle));
    assert_eq!(listener.annotations, [("a".to_owned(), "b".to_owned())]);
}

#[test]
fn devices_of_the_host_s_network_need_another_network_and_root() {
    let host = host(false);
    let spec = changed(&host, "/linux/netDevices", json!({"v1": {"name": "eth0"}, "a": {}}));
    let made = plan(&spec, &host).unwrap().net_devices;
    assert_eq!(made, [("a", "a"), ("v1", "eth0")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let mut shared = serde_json::to_value(&spec).unwrap();
    shared["linux"]["namespaces"] = json!([{"type": "mount"}]);
    assert!(plan(&serde_json::from_value(shared).unwrap(), &host).is_err());
    let rootless = self::host(true);
    assert!(plan(&changed(&rootless, "/linux/netDevices", json!({"a": {}})), &rootless).is_err());
}

#[test]
fn limits_need_their_controllers() {
    let host = host(true);
    let spec = changed(&host, "/linux/resources/pids", json!({"limit": 5}));
    let error = plan(&spec, &host).unwrap_err();
    assert!(matches!(&error, PlanError::Limit { limit, .. } if limit == "pids"), "{error}");
    // No limit at all isn't one.
    assert!(plan(&changed(&host, "/linux/resources/pids", json!({"limit": -1})), &host).is_ok());
}

#[test]
fn ordinary_users_have_a_user_namespace_with_one_user() {
    let host = host(true);
    let made = plan(&spec(&host), &host).unwrap();
    let maps = made.user_namespace.unwrap();
    assert_eq!((maps.uids[0].container, maps.uids[0].host, maps.uids[0].count), (0, 1000, 1));
    assert!(matches!(made.root, RootFs::Overlay { options, .. } if options == ["userxattr"]));
    let bare = changed(&host, "/linux/namespaces", json!([{"type": "mount"}]));
    assert!(matches!(plan(&bare, &host), Err(PlanError::NeedsUserNamespace)));
    let mapped = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mut foreign = changed(&host, "/linux/uidMappings", mapped);
    foreign.process_mut().as_mut().unwrap().user_mut().set_uid(7);
    assert!(matches!(plan(&foreign, &host), Err(PlanError::Unmapped { what: "user", id: 7 })));
}

#[test]
fn the_host_s_namespaces_are_bound_where_they_can_t_be_mounted() {
    let host = host(true);
    let namespaces = json!([{"type": "mount"}, {"type": "user"}]);
    let made = plan(&changed(&host, "/linux/namespaces", namespaces), &host);
    let made = made.unwrap();
    for (target, source) in [("/proc", "/proc"), ("/sys", "/sys"), ("/dev/mqueue", "/dev/mqueue")] {
        let mount = made.mounts.iter().find(|mount| mount.target == target).unwrap();
        let bound = matches!(&mount.what, MountKind::Bind { source: from, recursive: true } if from == Path::new(source));
        assert!(bound, "{mount:?}");
    }
    assert!(!made.loopback);
}

#[test]
fn options_become_bits() {
    let host = host(false);
    let mut mount = Mount::default();
    let options =
        ["rbind", "ro", "nosuid", "dev", "noatime", "rslave", "rnoexec"].map(str::to_owned).to_vec();
    mount.set_destination("/m".into()).set_source(Some("/s".into())).set_options(Some(options));
    let mut spec = spec(&host);
    spec.set_mounts(Some(vec![mount]));
    let made = plan(&spec, &host).unwrap().mounts.remove(0);
    assert_eq!((made.set, made.clear), (libc::MOUNT_ATTR_NOEXEC, 0));
    assert_eq!(made.set_top, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOATIME);
    assert_eq!(made.clear_top, libc::MOUNT_ATTR__ATIME | libc::MOUNT_ATTR_NODEV);
    assert_eq!(u64::from(made.propagation), libc::MS_SLAVE | libc::MS_REC);
    assert!(made.recursive);
}

#[test]
fn a_shared_bind_mount_of_docker_s_shares_the_root() {
    use crate::default_spec::Bind;
    let host = host(false);
    for (propagation, root) in [(None, 0), (Some("rslave"), 0), (Some("rshared"), libc::MS_SHARED)] {
        let bind = Bind {
            source: "/s".into(),
            target: "/t".into(),
            propagation: propagation.map(str::to_owned),
            ..Bind::default()
        };
        let options = ContainerOptions { args: vec!["true".into()], binds: vec![bind], ..Default::default() };
        let made = plan(&default_spec(&options, &host), &host).unwrap();
        assert_eq!(u64::from(made.propagation), root, "{propagation:?}");
        // What the host has made read-only stays so.
        let mount = made.mounts.iter().find(|mount| mount.target == "/t").unwrap();
        assert_eq!((mount.clear, mount.clear_top), (0, 0));
    }
}

#[test]
fn devices_are_dead_unless_everything_is_allowed() {
    let host = host(false);
    let wall = |rules: serde_json::Value| {
        let made = plan(&changed(&host, "/linux/resources/devices", rules), &host).unwrap();
        made.seals.iter().any(|(path, bits)| path == "/" && bits & libc::MOUNT_ATTR_NODEV != 0)
    };
    let deny = json!({"allow": false, "access": "rwm"});
    let one = json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"});
    assert!(wall(json!([])));
    assert!(wall(json!([deny, one])));
    assert!(!wall(json!([deny, {"allow": true, "access": "rwm"}])));
    assert!(!wall(json!([deny, {"allow": true, "type": "b", "major": 8, "access": "rwm"}])));
}

#[test]
fn a_cgroup_has_the_rules_that_mounts_can_t_have() {
    let host = host(false);
    let ruled = |spec: &Spec| {
        let made = plan(spec, &host).unwrap();
        let walled = made.seals.iter().any(|(path, bits)| path == "/" && bits & libc::MOUNT_ATTR_NODEV != 0);
        (walled, made.cgroup.devices.is_some())
    };
    assert_eq!(ruled(&spec(&host)), (true, false));
    let dockers = changed(&host, "/process/capabilities/bounding", json!(["CAP_MKNOD", "CAP_SYS_CHROOT"]));
    assert_eq!(ruled(&dockers), (true, false));
    for (pointer, value) in [
        ("/process/capabilities/bounding", json!(["CAP_SYS_ADMIN"])),
        ("/process/capabilities", json!({"permitted": ["CAP_DAC_READ_SEARCH"]})),
        ("/linux/namespaces", json!([{"type": "mount"}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "pid", "path": "/proc/1/ns/pid"}])),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/mounts", json!([{"destination": "/m", "type": "tmpfs", "options": ["dev"]}])),
        ("/mounts", json!([{"destination": "/m", "source": "/m", "options": ["rbind", "rslave"]}])),
        ("/mounts", json!([{"destination": "/dev", "source": "/dev", "options": ["rbind"]}])),
    ] {
        assert_eq!(ruled(&changed(&host, pointer, value.clone())), (true, true), "{pointer}: {value}");
    }
    // Not in a user namespace, whose root can change none of it.
    let mut user = changed(&host, "/process/capabilities/bounding", json!(["CAP_SYS_ADMIN"]));
    let mut json = serde_json::to_value(&user).unwrap();
    json["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "user"}]);
    json["process"]["user"] = json!({"uid": 0, "gid": 0});
    user = serde_json::from_value(json).unwrap();
    assert_eq!(ruled(&user), (true, false));
}

#[test]
fn security_modules_are_asked_for_where_there_are_some() {
    let with = |pointer: &str, value: serde_json::Value| {
        let host = Host { security: [OnceLock::from(true), OnceLock::from(true)], ..host(false) };
        plan(&changed(&host, pointer, value), &host)
    };
    assert_eq!(with("/process/apparmorProfile", json!("unconfined")).unwrap().process.apparmor, None);
    assert_eq!(with("/process/apparmorProfile", json!("p")).unwrap().process.apparmor.as_deref(), Some("p"));
    assert!(with("/process/apparmorProfile", json!("p\nq")).is_err());
    assert_eq!(
        with("/process/selinuxLabel", json!("a:b:c")).unwrap().process.selinux.as_deref(),
        Some("a:b:c")
    );
    let made = with("/linux/mountLabel", json!("u:r:t:c1,c2")).unwrap();
    assert!(matches!(&made.root, RootFs::Overlay { options, .. } if options == &["context=u:r:t:c1,c2"]));
    let context = ("context".to_owned(), Some("u:r:t:c1,c2".to_owned()));
    for mount in &made.mounts {
        if let MountKind::New { fs_type, options } = &mount.what {
            let labelled = !["proc", "sysfs", "cgroup", "cgroup2"].contains(&fs_type.as_str())
                && !mount.target.starts_with("/sys/fs/cgroup");
            assert_eq!(options.contains(&context), labelled, "{mount:?}");
        }
    }
}
