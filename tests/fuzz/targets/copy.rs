//! A tar that `cp` writes into a container, by the helper's own modules.
#![no_main]
#![allow(dead_code, unused_imports, reason = "one function of a whole program is called")]

#[path = "../../../crates/brig-linux/helper/src/enter/mod.rs"]
mod enter;
#[path = "../../../crates/brig-linux/helper/src/files/mod.rs"]
mod files;
#[path = "../../../crates/brig-linux/helper/src/init.rs"]
mod init;
#[path = "../../../crates/brig-linux/helper/src/supervise/mod.rs"]
mod supervise;

use std::path::Path;
use std::sync::OnceLock;

use brig_fuzz::sandbox::Sandbox;
use brig_fuzz::{seeds, target};
use brig_runtime::files::Owner;
use rustix::fs::{Mode, OFlags};

static PLACE: OnceLock<Sandbox> = OnceLock::new();

target!(start(), |data| {
    let Some((how, tar)) = data.split_first() else { return };
    let sandbox = PLACE.get_or_init(|| Sandbox::new("copy"));
    let owner = match how % 3 {
        0 => Owner::Tar,
        1 => Owner::Root,
        _ => Owner::Caller,
    };
    let inside = sandbox.inside();
    // Into its own tree, or into a directory of a larger one.
    let (root, path) = if how & 0x40 != 0 {
        (inside.as_path(), "/")
    } else {
        (Path::new("/"), inside.to_str().unwrap_or("/dev/null"))
    };
    let open = |path: &Path| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("it is there")
    };
    let tree = enter::place::Tree {
        root: open(root),
        lowers: Vec::new(),
        numbers: open(Path::new("/proc/self/fd")),
        // Never, so no link of the tar is followed: this process's root is the machine's.
        closed: false,
    };
    if let Err(failure) = files::extract::write(&tree, path, owner, false, tar) {
        assert!(!failure.step.is_empty());
        assert!(failure.errno != 0 || failure.problem.is_some(), "no reason: {failure:?}");
    }
    sandbox.clear();
    sandbox.check();
});

fn start() -> Vec<Vec<u8>> {
    let hows = [0, 1, 2, 0x40];
    seeds::tars().iter().flat_map(|tar| hows.map(|how| seeds::chosen(how, tar))).collect()
}
