//! Published container escapes, tried on this build by `tests/escapes/run`.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use brig_testing::image::busybox_binary;
use brig_testing::{need, need_root, need_tool, skip};

/// What the script ends with where the machine lacks something.
const LACKING: i32 = 77;

#[test]
fn published_escapes_are_withstood() {
    need!(need_root());
    let _ = need!(busybox_binary());
    for tool in ["bash", "cc", "findmnt", "ip", "nsenter", "script", "setpriv", "unshare"] {
        let _ = need!(need_tool(tool));
    }
    let env = super::env();
    let runtime = env.path().join("brig-oci");
    symlink(env!("CARGO_BIN_EXE_brig"), &runtime).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/escapes/run");
    let runtime = format!("brig={}", runtime.display());
    // Races are short here; the script by itself runs them longer.
    let output = env
        .program(script, &[&runtime])
        .env("ESCAPE_TRIES", "10")
        .env("ESCAPE_TIMEOUT", "40")
        .timeout(Duration::from_secs(110))
        .run();
    if output.code() == LACKING {
        skip!("{}", output.stdout.trim());
    }
    assert!(output.code() == 0, "{}", output.transcript());
}
