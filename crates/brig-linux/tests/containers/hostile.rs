//! Images that would have us mount or write somewhere else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use brig_linux::Bind;

use super::support::{Machine, machine, script_options};

/// A directory of the host that an image points to; nothing may change in it.
fn trap(machine: &Machine) -> std::path::PathBuf {
    let trap = machine.directory("trap");
    fs::write(trap.join("file"), "untouched").unwrap();
    trap
}

fn assert_untouched(trap: &Path) {
    let names: Vec<_> = fs::read_dir(trap).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    assert_eq!(fs::read_to_string(trap.join("file")).unwrap(), "untouched");
}

#[test]
fn a_link_for_proc_is_refused() {
    let Some(machine) = machine() else { return };
    symlink("/etc", machine.lower().join("proc")).unwrap();
    let failure = machine.failure(&machine.spec(&script_options("true")));
    let text = "mount: `/proc` must be mounted on ordinary directory, and is a link";
    assert_eq!(failure.to_string(), text);
}

#[test]
fn links_to_the_host_end_in_the_image() {
    let Some(machine) = machine() else { return };
    let trap = trap(&machine);
    let up = format!("../../../../../../../../../..{}", trap.display());
    for (name, to) in [("srv", trap.display().to_string()), ("etc/hosts", format!("{up}/hosts"))] {
        symlink(to, machine.lower().join(name)).unwrap();
    }
    let file = machine.dir.path().join("hosts");
    fs::write(&file, "127.0.0.1 localhost\n").unwrap();
    let mut options = script_options("cat /etc/hosts; ls /srv/inside");
    options.cwd = "/srv/work".into();
    options.binds = vec![
        Bind { source: file, target: "/etc/hosts".into(), read_only: false, ..Bind::default() },
        Bind {
            source: machine.directory("empty"),
            target: "/srv/inside".into(),
            read_only: false,
            ..Bind::default()
        },
    ];
    let outcome = machine.run(&options);
    assert_eq!(outcome.stdout, "127.0.0.1 localhost\n", "{outcome:?}");
    assert_untouched(&trap);
}

#[test]
fn a_link_for_dev_is_refused() {
    let Some(machine) = machine() else { return };
    let trap = trap(&machine);
    symlink(&trap, machine.lower().join("dev")).unwrap();
    let failure = machine.failure(&machine.spec(&script_options("true")));
    assert!(failure.to_string().contains("`/dev/pts` must be mounted on ordinary directory"), "{failure:?}");
    assert_untouched(&trap);
}

#[test]
fn a_link_for_dev_pts_stays_inside() {
    let Some(machine) = machine() else { return };
    let trap = trap(&machine);
    fs::create_dir(machine.lower().join("dev")).unwrap();
    symlink(&trap, machine.lower().join("dev/pts")).unwrap();
    symlink(trap.join("null"), machine.lower().join("dev/null")).unwrap();
    // The tmpfs covers them.
    let outcome = machine.sh("echo x > /dev/null; ls /dev/pts");
    assert_eq!(outcome.stdout, "ptmx\n", "{outcome:?}");
    assert_untouched(&trap);
}

#[test]
fn nothing_is_mounted_over_parts_of_proc() {
    let Some(machine) = machine() else { return };
    symlink("/proc/self", machine.lower().join("me")).unwrap();
    for target in ["/proc/sys", "/proc/1/attr", "/me/fd"] {
        let mut options = script_options("true");
        options.binds = vec![Bind {
            source: machine.directory("empty"),
            target: target.into(),
            read_only: false,
            ..Bind::default()
        }];
        let failure = machine.failure(&machine.spec(&options));
        assert_eq!(failure.step, "mount", "{target}: {failure:?}");
    }
}

#[test]
fn a_device_with_another_number_isn_t_taken() {
    let Some(machine) = machine() else { return };
    let mut spec = machine.spec(&script_options("true"));
    // No tmpfs on /dev: the image's own files count.
    let mounts =
        spec.mounts().clone().unwrap().into_iter().filter(|mount| !mount.destination().starts_with("/dev"));
    spec.set_mounts(Some(mounts.collect()));
    fs::create_dir(machine.lower().join("dev")).unwrap();
    fs::write(machine.lower().join("dev/null"), "a file").unwrap();
    let failure = machine.failure(&spec);
    assert_eq!((failure.step.as_str(), failure.subject.as_deref()), ("make the device", Some("/dev/null")));
}

#[test]
fn the_helper_can_t_be_written_from_inside() {
    let Some(machine) = machine() else { return };
    // While an exec'd helper is on its way in, a process of the container tries to open its program for writing.
    let script = "echo up; while :; do for p in /proc/[0-9]*; do
            case $(readlink $p/exe) in *memfd*) echo seen >&2; (echo x > $p/exe) 2>/dev/null && echo written;; esac
        done; [ -e /tmp/stop ] && exit 0; done";
    let plan = machine.plan(&machine.spec(&script_options(script))).unwrap();
    let mut running = machine.start(plan).unwrap();
    assert_eq!(running.line(), "up");
    for _ in 0..20 {
        running.exec(|_| {}).unwrap();
    }
    running.exec(|request| request.args = vec!["touch".to_owned(), "/tmp/stop".to_owned()]).unwrap();
    let outcome = running.outcome();
    assert_eq!(outcome.stdout, "", "{outcome:?}");
}
