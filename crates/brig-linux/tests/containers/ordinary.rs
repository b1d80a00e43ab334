//! The same containers for an ordinary user: tests of this program, run again as nobody with a directory of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use brig_linux::{Host, PlanError};

use super::support::{has_program, machine, script_options};

/// Set in the process that runs a test as an ordinary user.
pub(crate) const MARK: &str = "BRIG_TEST_ORDINARY";
const NOBODY: u32 = 65534;

/// Runs tests of this program, by their names, as nobody.
fn as_nobody(names: &[&str]) {
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
    let program = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let id = NOBODY.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(&program)
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
