//! The same containers for an ordinary user: tests of this program, run again as nobody with a directory of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use brig_linux::{Host, PlanError};

use super::support::{has_program, machine, program, remove_tree, script_options};
use super::unified::with_controllers;

/// Set in the process that runs a test as an ordinary user.
pub(crate) const MARK: &str = "BRIG_TEST_ORDINARY";
const NOBODY: u32 = 65534;

/// Runs tests of this program, by their names, as nobody.
fn as_nobody(names: &[&str]) {
    as_nobody_in(None, names);
}

/// The same in a cgroup.
fn as_nobody_in(cgroup: Option<&Path>, names: &[&str]) {
    if std::env::var_os(MARK).is_some() {
        return;
    }
    if Host::probe().rootless || !has_program("setpriv") {
        eprintln!("skipped: needs root, to become somebody else");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tests = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    let id = NOBODY.to_string();
    let enter = cgroup.map(|cgroup| format!("echo $$ > {}/cgroup.procs; ", cgroup.display()));
    let enter = enter.unwrap_or_default() + "exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", &enter])
        .arg(program("setpriv").unwrap())
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(&tests)
        .args(["--test-threads", "2", "--exact"])
        .args(names)
        .env_remove("HOME")
        .env(MARK, "1")
        .env("TMPDIR", dir.path())
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{} passed", names.len())), "{text}");
}

#[test]
fn containers_of_an_ordinary_user() {
    as_nobody(&[
        "defaults::it_is_alone_in_its_namespaces",
        "defaults::it_has_dockers_capabilities_and_filter",
        "defaults::the_kernels_secrets_are_hidden_and_its_switches_read_only",
        "defaults::only_three_descriptors_get_in",
        "defaults::the_loopback_interface_is_up",
        "defaults::the_root_can_be_read_only",
        "defaults::the_host_s_network_is_the_host_s",
        "defaults::nothing_survives_a_killed_supervisor",
        "process::the_working_directory_is_made",
        "process::a_working_directory_outside_is_refused",
        "mounts::the_target_of_a_link_in_the_image_is_in_the_image",
        "mounts::options_become_attributes",
        "mounts::nothing_is_left_mounted",
        "mounts::a_tmpfs_can_begin_with_what_the_image_has",
        "namespaces::an_ordinary_user_enters_its_own_user_namespace",
        "notify::somebody_else_answers_for_a_call",
        "exec::it_is_in_the_same_namespaces_with_the_same_walls",
        "exec::what_can_t_be_executed_is_said",
        "hostile::a_link_for_proc_is_refused",
        "hostile::links_to_the_host_end_in_the_image",
        "engine::it_reads_its_input_and_reports",
        "engine::it_sees_its_grants_and_nothing_else",
        "engine::it_sees_the_image_s_files",
        "engine::without_namespaces_it_has_its_grants_and_nothing_else",
        "engine::without_namespaces_nothing_is_left_out_in_silence",
        "ordinary::a_user_of_the_image_is_the_one_that_is_mapped",
        "ordinary::devices_work",
        "ordinary::a_limit_is_an_error_where_nothing_is_delegated",
    ]);
}

/// A cgroup of v2 with its controllers, and one in it for those who use it, both nobody's.
struct Delegated {
    dir: PathBuf,
}

impl Delegated {
    fn new(inner: &str) -> Option<Self> {
        let machine = with_controllers(&["memory", "pids"]).filter(|machine| !machine.host.rootless)?;
        let root = machine.host.cgroups.unified.clone().unwrap();
        fs::write(root.join("cgroup.subtree_control"), "+memory +pids").unwrap();
        let dir = root.join(format!("brig-test-{inner}-{}", std::process::id()));
        let delegated = Self { dir };
        fs::create_dir_all(delegated.inner(inner)).unwrap();
        for dir in [delegated.dir.clone(), delegated.inner(inner)] {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
            for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                chown(dir.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Some(delegated)
    }

    fn inner(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        remove_tree(&self.dir);
    }
}

/// What an ordinary user can do with a cgroup of its own.
const WITH_A_CGROUP: [&str; 4] = [
    "ordinary::what_is_delegated_has_limits",
    "limits::too_much_memory_is_a_reason",
    "limits::too_many_processes_can_t_be_made",
    "limits::everything_stands_still_while_it_is_paused",
];

#[test]
fn containers_in_a_delegated_cgroup() {
    let Some(delegated) = Delegated::new("session") else { return };
    as_nobody_in(Some(&delegated.inner("session")), &WITH_A_CGROUP);
}

/// As a service of systemd's with `User=` and `Delegate=yes`: the process is in the cgroup itself, and a cgroup with
/// processes passes no controllers on.
#[test]
fn containers_in_a_delegated_cgroup_with_processes() {
    let Some(delegated) = Delegated::new("service") else { return };
    as_nobody_in(Some(&delegated.dir), &WITH_A_CGROUP);
}

#[test]
fn what_is_delegated_has_limits() {
    let Some(machine) = machine() else { return };
    if !machine.host.rootless || machine.host.cgroups.unified.is_none() {
        return;
    }
    let mut options = script_options("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max");
    options.limits.memory = Some(64 << 20);
    options.limits.pids = Some(20);
    assert_eq!(machine.run(&options).stdout, "67108864\n20\n");
}

#[test]
fn a_user_of_the_image_is_the_one_that_is_mapped() {
    let Some(machine) = machine() else { return };
    let mut options = script_options("id -u; id -g; echo again > /dev/stdout; stat -c %u /bin");
    (options.uid, options.gid, options.groups) = (1000, 1000, vec![1, 2, 3]);
    let outcome = machine.run(&options);
    let owner = if machine.host.rootless { 1000 } else { 0 };
    assert_eq!(outcome.stdout, format!("1000\n1000\nagain\n{owner}\n"), "{outcome:?}");
}

#[test]
fn devices_work() {
    let Some(machine) = machine() else { return };
    let outcome =
        machine.sh("echo x > /dev/null && head -c 3 /dev/zero | wc -c; echo x > /dev/full || echo full");
    assert_eq!(outcome.stdout, "3\nfull\n", "{outcome:?}");
}

#[test]
fn a_limit_is_an_error_where_nothing_is_delegated() {
    let Some(machine) = machine() else { return };
    if !machine.host.rootless || machine.host.cgroups.unified.is_some() {
        return;
    }
    let mut options = script_options("true");
    options.limits.pids = Some(10);
    let error = machine.plan(&machine.spec(&options)).unwrap_err();
    assert!(matches!(error, PlanError::Limit { .. }), "{error}");
}
