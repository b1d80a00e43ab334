//! Where things that are slow to make are kept.

use std::path::{Path, PathBuf};

/// A directory inside cargo's target directory, found from where this test's program is; a directory of the user's in
/// `/tmp` where that one can't be written (tests built by one user and run by another).
///
/// `BRIG_TEST_CACHE` overrides it.
///
/// # Panics
/// When no such directory can be made.
pub fn cache_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("BRIG_TEST_CACHE") {
        return dir.into();
    }
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let own = format!("brig-test-cache-{}", rustix::process::geteuid().as_raw());
    let candidates = target.map(|target| target.join("brig-test-cache"));
    let candidates = candidates.into_iter().chain([std::env::temp_dir().join(own)]);
    let mut usable = candidates.filter(|dir| is_usable(dir));
    usable.next().expect("a directory for what tests keep")
}

/// Makes the directory if it isn't there; whether it can be written.
fn is_usable(dir: &Path) -> bool {
    std::fs::create_dir_all(dir).is_ok() && tempfile::tempfile_in(dir).is_ok()
}
