//! Bind mounts and what becomes of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use brig_linux::Bind;
use brig_runtime::plan::RootFs;
use oci_spec::runtime::Mount;

use super::support::{Machine, host, in_own_namespaces, machine, script_options};

#[test]
fn directories_and_files_of_the_host_come_in() {
    let Some(machine) = machine() else { return };
    let shared = machine.directory("shared");
    fs::write(shared.join("file"), "hello\n").unwrap();
    let mut options = script_options(
        "cat /data/new/file /etc/one; echo back > /data/new/back; touch /etc/one 2>/dev/null || echo ro
         mknod /data/new/dev c 1 3; echo x > /data/new/dev || echo dead",
    );
    options.binds = vec![
        Bind { source: shared.clone(), target: "/data/new".into(), read_only: false, ..Bind::default() },
        Bind { source: shared.join("file"), target: "/etc/one".into(), read_only: true, ..Bind::default() },
    ];
    let outcome = machine.run(&options);
    assert_eq!(outcome.stdout, "hello\nhello\nro\ndead\n", "{outcome:?}");
    assert_eq!(fs::read_to_string(shared.join("back")).unwrap(), "back\n");
}

#[test]
fn the_target_of_a_link_in_the_image_is_in_the_image() {
    let Some(machine) = machine() else { return };
    let file = machine.dir.path().join("resolv");
    fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
    symlink("../run/resolver/stub.conf", machine.lower().join("etc/resolv.conf")).unwrap();
    let mut options = script_options("cat /etc/resolv.conf /run/resolver/stub.conf");
    options.binds =
        vec![Bind { source: file, target: "/etc/resolv.conf".into(), read_only: true, ..Bind::default() }];
    let outcome = machine.run(&options);
    assert_eq!(outcome.stdout, "nameserver 127.0.0.1\nnameserver 127.0.0.1\n", "{outcome:?}");
}

#[test]
fn options_become_attributes() {
    let Some(machine) = machine() else { return };
    let mut spec = machine.spec(&script_options(
        "while read a b c d target options rest; do
             case $target in /cache|/scratch) echo $target $options;; esac
         done < /proc/self/mountinfo",
    ));
    let mut mounts = spec.mounts().clone().unwrap();
    let mut add = |target: &str, typ: &str, source: &str, options: &[&str]| {
        let mut mount = Mount::default();
        mount.set_destination(target.into()).set_typ(Some(typ.into())).set_source(Some(source.into()));
        mount.set_options(Some(options.iter().map(|&option| option.into()).collect()));
        mounts.push(mount);
    };
    let shared = machine.directory("shared");
    // In a user namespace the host's choice of access times stands.
    let atime = if machine.host.rootless { "relatime" } else { "noatime" };
    add("/cache", "none", shared.to_str().unwrap(), &["bind", "ro", "noexec", "nosuid", atime]);
    add("/scratch", "tmpfs", "tmpfs", &["size=1m", "mode=700", "nosuid"]);
    spec.set_mounts(Some(mounts));
    let outcome = machine.run_spec(&spec);
    assert_eq!(
        outcome.stdout,
        format!("/cache ro,nosuid,nodev,noexec,{atime}\n/scratch rw,nosuid,nodev,relatime\n"),
        "{outcome:?}"
    );
}

#[test]
fn a_path_can_be_the_root() {
    let Some(machine) = machine() else { return };
    let spec = machine.spec(&script_options("touch /made; ls /"));
    let root = brig_linux::RootFs::Path { path: machine.lower() };
    let options = brig_linux::HostOptions::new(&machine.host, "path-root");
    let outcome = machine.start(brig_linux::plan_linux(&spec, &root, &options).unwrap()).unwrap().outcome();
    assert_eq!(outcome.status.code, 0, "{outcome:?}");
    assert!(machine.lower().join("made").exists());
}

#[test]
fn nothing_is_left_mounted() {
    let Some(machine) = machine() else { return };
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    assert_eq!(machine.sh("true").status.code, 0);
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!after.contains(machine.dir.path().to_str().unwrap()), "{after}");
    assert!(after.lines().count() <= before + 1);
}

/// The spec's JSON, with a bind mount of `source` on `/tmp` and what else it says of it.
fn with_mount(spec: &oci_spec::runtime::Spec, source: &Path, extra: serde_json::Value) -> serde_json::Value {
    let mut json = serde_json::to_value(spec).unwrap();
    let mut mount = serde_json::json!({ "destination": "/tmp", "type": "bind", "source": source });
    mount.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json["mounts"].as_array_mut().unwrap().push(mount);
    json
}

#[test]
fn a_mount_has_ids_of_its_own() {
    let Some(machine) = machine() else { return };
    let source = machine.directory("mapped");
    fs::write(source.join("old"), "").unwrap();
    let spec =
        machine.spec(&script_options("stat -c '%u %g' /tmp/old; echo > /tmp/new; stat -c %u /tmp/new"));
    let ids = |host| serde_json::json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
    let json =
        with_mount(&spec, &source, serde_json::json!({ "uidMappings": ids(1000), "gidMappings": ids(2000) }));
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    // Root isn't mapped there, so that it can make nothing.
    assert_eq!(outcome.stdout, "1000 2000\n", "{outcome:?}");
    assert!(!source.join("new").exists());
}

#[test]
fn a_mount_has_the_ids_of_the_container_s_user_namespace() {
    use std::os::unix::fs::{MetadataExt, chown, lchown};
    const FIRST: u32 = 100_000;
    let Some(machine) = machine() else { return };
    let source = machine.directory("mapped");
    fs::write(source.join("old"), "").unwrap();
    let spec =
        machine.spec(&script_options("stat -c '%u %g' /tmp/old; echo > /tmp/new; stat -c %u /tmp/new"));
    let mut json = with_mount(&spec, &source, serde_json::json!({ "options": ["idmap"] }));
    let ids = serde_json::json!([{ "containerID": 0, "hostID": FIRST, "size": 65536 }]);
    json["linux"]["namespaces"].as_array_mut().unwrap().push(serde_json::json!({ "type": "user" }));
    (json["linux"]["uidMappings"], json["linux"]["gidMappings"]) = (ids.clone(), ids);
    json["process"]["oomScoreAdj"] = 300.into();
    let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
    // Its root file system isn't mapped: it belongs to the container's root.
    let RootFs::Overlay { upper: Some(upper), work: Some(work), lowers, .. } = &plan.root else { panic!() };
    for path in [upper, work, &lowers[0], &lowers[0].join("bin"), &lowers[0].join("bin/busybox")] {
        chown(path, Some(FIRST), Some(FIRST)).unwrap();
    }
    lchown(lowers[0].join("bin/sh"), Some(FIRST), Some(FIRST)).unwrap();
    let running = machine.start(plan).unwrap();
    let outcome = running.outcome();
    assert_eq!(outcome.stdout, "0 0\n0\n", "{outcome:?}");
    assert_eq!(fs::metadata(source.join("new")).unwrap().uid(), 0);
}

#[test]
fn ids_of_a_mount_that_mean_nothing_are_refused() {
    let Some(machine) = machine() else { return };
    let source = machine.directory("mapped");
    let spec = machine.spec(&script_options("true"));
    let ids = serde_json::json!([{ "containerID": 0, "hostID": 1, "size": 1 }]);
    for (extra, says) in [
        (serde_json::json!({ "options": ["idmap"] }), "user namespace"),
        (serde_json::json!({ "uidMappings": ids }), "users and groups"),
        (serde_json::json!({ "type": "tmpfs", "uidMappings": ids, "gidMappings": ids }), "bind mounts only"),
    ] {
        let error =
            machine.plan(&serde_json::from_value(with_mount(&spec, &source, extra)).unwrap()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// A spec with these mounts: where, type, source, options.
fn spec_with(machine: &Machine, script: &str, mounts: &[(&str, &str, &str, &[&str])]) -> serde_json::Value {
    let mut json = serde_json::to_value(machine.spec(&script_options(script))).unwrap();
    for (target, typ, source, options) in mounts {
        json["mounts"].as_array_mut().unwrap().push(serde_json::json!({
            "destination": target, "type": typ, "source": source, "options": options,
        }));
    }
    json
}

#[test]
fn a_tmpfs_can_begin_with_what_the_image_has() {
    use std::os::unix::fs::PermissionsExt;
    let Some(machine) = machine() else { return };
    let secret = machine.dir.path().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    let image = machine.lower().join("var/lib/thing");
    fs::create_dir_all(image.join("below")).unwrap();
    fs::write(image.join("below/file"), "of the image\n").unwrap();
    fs::set_permissions(&image, fs::Permissions::from_mode(0o750)).unwrap();
    symlink(&secret, image.join("link")).unwrap();
    // A link on the way stays in the image.
    symlink("/var/lib", machine.lower().join("way")).unwrap();
    let script = "cd /var/lib/thing; cat below/file; stat -c %a .; readlink link; cat link 2>/dev/null; \
                  echo more > more 2>/dev/null || echo read-only; stat -f -c %T .";
    let spec = |size, more| {
        let options: &[&str] = &["tmpcopyup", size, more];
        spec_with(&machine, script, &[("/way/thing", "tmpfs", "tmpfs", options)])
    };
    let outcome = machine.run_spec(&serde_json::from_value(spec("size=1m", "ro")).unwrap());
    let expected = format!("of the image\n750\n{}\nread-only\ntmpfs\n", secret.display());
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
    let outcome = machine.run_spec(&serde_json::from_value(spec("mode=711", "rw")).unwrap());
    assert!(outcome.stdout.contains("\n711\n"), "{outcome:?}");
    assert!(!outcome.stdout.contains("read-only"), "{outcome:?}");
    fs::write(image.join("large"), vec![1; 2 << 20]).unwrap();
    let failure = machine.failure(&serde_json::from_value(spec("size=1m", "rw")).unwrap());
    assert_eq!(failure.errno, 28, "{failure:?}");
}

/// A directory of the host that is a shared mount, in a mount namespace of this test's own.
fn shared_tree(machine: &Machine) -> String {
    let tree = machine.directory("tree").to_str().unwrap().to_owned();
    for name in ["host", "container"] {
        fs::create_dir(Path::new(&tree).join(name)).unwrap();
    }
    host(&["mount", "--bind", &tree, &tree]);
    host(&["mount", "--make-shared", &tree]);
    tree
}

fn is_mounted(path: &str) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {path} "))
}

#[test]
fn shared_mounts_are_heard_of_as_far_as_the_root_s_propagation_says() {
    let name = "mounts::shared_mounts_are_heard_of_as_far_as_the_root_s_propagation_says";
    if !in_own_namespaces(name, &["-m", "--propagation", "private"]) {
        return;
    }
    let Some(machine) = machine() else { return };
    let tree = shared_tree(&machine);
    let script = "echo up; read x; ls /data/host; mount -t tmpfs none /data/container && echo mounted; \
                  touch /data/container/made; echo done; read x";
    // What the container mounts is seen by the host only where its whole root is shared.
    for (root, option, heard, told) in [
        (None, "rprivate", false, false),
        (None, "rslave", true, false),
        (None, "rshared", true, false),
        (Some("rslave"), "rshared", true, false),
        (Some("unbindable"), "shared", true, false),
        (Some("shared"), "rshared", true, true),
        (Some("rshared"), "shared", true, true),
    ] {
        let mut json = spec_with(&machine, script, &[("/data", "bind", &tree, &["rbind", option])]);
        if let Some(root) = root {
            json["linux"]["rootfsPropagation"] = root.into();
        }
        for set in ["bounding", "effective", "permitted"] {
            json["process"]["capabilities"][set].as_array_mut().unwrap().push("CAP_SYS_ADMIN".into());
        }
        json["linux"]["seccomp"] = serde_json::Value::Null;
        let plan = machine.plan(&serde_json::from_value(json).unwrap()).unwrap();
        let mut running = machine.start_with(plan, |supervisor| supervisor.stdin_open = true).unwrap();
        assert_eq!(running.line(), "up");
        let inside = format!("{tree}/host");
        host(&["mount", "-t", "tmpfs", "none", &inside]);
        fs::write(format!("{inside}/file"), "").unwrap();
        running.type_in("\n");
        let expected: &[&str] = if heard { &["file", "mounted"] } else { &["mounted"] };
        assert_eq!(running.lines_until("done"), expected, "{root:?} {option}");
        let container = format!("{tree}/container");
        assert_eq!(is_mounted(&container), told, "{root:?} {option}");
        running.type_in("\n");
        assert_eq!(running.outcome().status.code, 0);
        if told {
            host(&["umount", &container]);
        }
        assert!(!is_mounted(&container), "{root:?} {option}");
        host(&["umount", &inside]);
    }
    host(&["umount", &tree]);
}

#[test]
fn attributes_reach_the_mounts_below_when_they_say_so() {
    let name = "mounts::attributes_reach_the_mounts_below_when_they_say_so";
    if !in_own_namespaces(name, &["-m", "--propagation", "private"]) {
        return;
    }
    let Some(machine) = machine() else { return };
    let tree = shared_tree(&machine);
    host(&["mount", "-t", "tmpfs", "none", &format!("{tree}/host")]);
    let script = "while read a b c d target options rest; do
                      case $target in /data*) echo $target $options;; esac
                  done < /proc/self/mountinfo";
    for (options, expected) in [
        (&["rbind", "ro", "noexec"][..], "/data ro,nodev,noexec,relatime\n/data/host rw,nodev,relatime\n"),
        (&["rbind", "rro"], "/data ro,nodev,relatime\n/data/host ro,nodev,relatime\n"),
        (
            &["rbind", "rnosuid", "rnosymfollow", "nosuid"],
            "/data rw,nosuid,nodev,relatime,nosymfollow\n/data/host rw,nosuid,nodev,relatime,nosymfollow\n",
        ),
        (&["bind", "rro"], "/data ro,nodev,relatime\n"),
        (&["bind", "sync", "iversion", "silent", "unbindable"], "/data rw,nodev,relatime\n"),
    ] {
        let json = spec_with(&machine, script, &[("/data", "bind", &tree, options)]);
        let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
        let seen = outcome.stdout.replace(",noatime", ",relatime");
        assert_eq!(seen, expected, "{options:?} {outcome:?}");
    }
}

#[test]
fn a_mount_can_be_changed_by_a_later_one() {
    let Some(machine) = machine() else { return };
    let script = "grep ' /some ' /proc/self/mountinfo; df -k /some | tail -n 1";
    let json = spec_with(
        &machine,
        script,
        &[
            ("/some", "tmpfs", "tmpfs", &["size=1m"]),
            ("/some", "tmpfs", "tmpfs", &["remount", "noexec", "ro", "size=2m"]),
        ],
    );
    let outcome = machine.run_spec(&serde_json::from_value(json).unwrap());
    assert!(outcome.stdout.contains("/some ro,nodev,noexec,relatime"), "{outcome:?}");
    assert!(outcome.stdout.contains("size=2048k"), "{outcome:?}");
}

#[test]
fn links_at_the_ends_of_a_mount_can_be_meant_themselves() {
    let Some(machine) = machine() else { return };
    let shared = machine.directory("shared");
    fs::write(shared.join("file"), "of the host\n").unwrap();
    symlink("file", shared.join("link")).unwrap();
    fs::write(machine.lower().join("etc/end"), "of the image\n").unwrap();
    symlink("/etc/end", machine.lower().join("etc/way")).unwrap();
    symlink("file", machine.lower().join("etc/same")).unwrap();
    let link = shared.join("link");
    let run = |target: &str, options: &[&str], script: &str| {
        let json = spec_with(&machine, script, &[(target, "bind", link.to_str().unwrap(), options)]);
        machine.run_spec(&serde_json::from_value(json).unwrap()).stdout
    };
    // Both are followed where nothing is said.
    assert_eq!(run("/etc/way", &["bind"], "cat /etc/way /etc/end"), "of the host\nof the host\n");
    let look = "readlink /etc/way || cat /etc/way; cat /etc/end";
    assert_eq!(run("/etc/way", &["bind", "dest-nofollow"], look), "of the host\nof the image\n");
    let both = ["bind", "src-nofollow", "dest-nofollow"];
    assert_eq!(run("/etc/way", &both, look), "file\nof the image\n");
    for target in ["/etc/new/link", "/etc/same"] {
        let look = format!("readlink {target}; grep -c {target} /proc/mounts");
        assert_eq!(run(target, &["bind", "copy-symlink"], &look), "file\n0\n");
    }
    let json = spec_with(
        &machine,
        "true",
        &[("/etc/way", "bind", link.to_str().unwrap(), &["bind", "copy-symlink"])],
    );
    assert_eq!(machine.failure(&serde_json::from_value(json).unwrap()).errno, 17);
}
