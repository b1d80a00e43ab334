//! The real binary on real images, in hermetic homes.

mod compatibility;
mod completion;
mod escapes;
mod examples;
mod faults;
mod files;
mod formats;
mod images;
mod interop;
mod kills;
mod life;
mod limits;
mod linux;
mod logs;
mod man;
mod mounts;
mod oci;
mod registries;
mod rootless;
mod snapshots;
mod supervision;
mod volumes;
mod wasm;
mod wasm_life;

use brig_testing::image::{self, Image};
use brig_testing::{TestEnv, Unavailable};

/// A home of its own for one test.
fn env() -> TestEnv {
    TestEnv::new(env!("CARGO_BIN_EXE_brig"))
}

/// Loads an image into the store under a name.
fn load(env: &TestEnv, image: &Image, name: &str) {
    let archive = env.write("load.tar", image.oci_archive(None));
    let _ = env.brig(&["load", "-q", "-i", archive.to_str().unwrap(), "--tag", name]).success();
}

/// A home whose store has `busybox`.
fn with_busybox() -> Result<TestEnv, Unavailable> {
    brig_testing::need_containers()?;
    let image = image::busybox()?.build();
    let env = env();
    load(&env, &image, "busybox");
    Ok(env)
}

/// Waits until `condition` holds.
#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Expects that a failure left nothing: no image, no container, and a store that is whole.
#[track_caller]
fn nothing_is_left(env: &TestEnv) {
    let _ = env.brig(&["images", "-q"]).success().prints("");
    assert_eq!(env.containers(), Vec::<String>::new());
    let _ = env.brig(&["fsck"]).success();
}
