//! The examples, as programs: built by the same cargo as these tests, beside the binary.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};

use brig_testing::image;
use brig_testing::{Guest, need, need_containers};

use super::env;

/// Cargo builds examples with the tests, into `examples/` beside the binary.
fn example(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_brig")).with_file_name("examples").join(name);
    assert!(path.exists(), "`{}` isn't built", path.display());
    path
}

#[test]
fn a_threaded_host_runs_a_linux_and_a_wasm_image() {
    need!(need_containers());
    let env = env();
    let index = need!(image::linux_and_wasm(&Guest::TINY.module().unwrap()));
    let archive = env.write("both.tar", index.oci_archive(Some("localhost/both:v1")));
    let root = env.root().to_str().unwrap().to_owned();
    let run = env.program(example("host"), &[archive.to_str().unwrap()]).env("BRIG_ROOT", &root).run();
    let _ = run
        .success()
        .shows("linux/amd64: exit code 0: hello from linux\n")
        .shows("wasi/wasm: exit code 0: hello from wat\n");
}

#[test]
#[cfg(feature = "plugin")]
fn a_host_outlives_a_plugin_that_never_ends() {
    let _ = env()
        .program(example("plugin"), &[])
        .run()
        .success()
        .shows("add(2, 3) = 5\n")
        .shows("spin: ")
        .shows("grow: stopped at ")
        .shows("add(20, 22) = 42");
}
