//! The same as an ordinary user: this test program runs itself again as one, when it is run by root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::container::Container;

const USER: u32 = 65534;

#[test]
fn an_ordinary_user_runs_and_removes_containers() {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return runs_and_removes();
    }
    // The build directory may be out of the user's reach.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("tests");
    let helper = dir.path().join("helper");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_brig-helper"), &helper).unwrap();
    let output = Command::new(&program)
        .args(["--nocapture", "--exact", "ordinary::an_ordinary_user_runs_and_removes_containers"])
        .env("BRIG_TEST_HELPER", &helper)
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if said.contains("skipped:") {
        eprint!("{said}");
    }
    assert!(output.status.success(), "{said}");
}

fn runs_and_removes() {
    if !Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: an ordinary user can't make a user namespace here");
        return;
    }
    let mut container = Container::new("id -u; exit 3").attached();
    container.plan.supervisor.auto_remove = true;
    // As overlayfs leaves it, and as a container may leave its own.
    for (path, mode) in [("work/work", 0o000), ("upper/closed/inner", 0o000), ("upper/closed", 0o500)] {
        let path = container.paths.dir().join(path);
        std::fs::create_dir_all(&path).unwrap();
        if path.ends_with("inner") {
            std::fs::write(path.join("file"), "x").unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let (status, out, err) = container.start().output();
    assert_eq!((status.code, out.as_slice()), (3, &b"0\n"[..]), "{}", String::from_utf8_lossy(&err));
    assert!(!container.paths.dir().exists());
    assert_eq!(container.events(), ["start", "die", "destroy"]);
}
