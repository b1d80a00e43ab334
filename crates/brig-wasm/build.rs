//! Builds the runner, to be embedded (feature `embed`).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use brig_embed::Program;
use sha2::{Digest, Sha256};

const RUNNER: Program<'_> = Program { package: "brig-wasm-runner", binary: "brig-runner", profile: "runner" };

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_EMBED").is_none() {
        return Ok(());
    }
    let runner = match unbuilt()? {
        Some(placeholder) => placeholder,
        None => RUNNER.build("BRIG_RUNNER")?,
    };
    let digest = Sha256::digest(fs::read(runner)?);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=BRIG_RUNNER_DIGEST={hex}");
    Ok(())
}

/// Lints and documentation need no runner, and it takes minutes: an empty file stands for one that isn't there yet.
/// Cargo runs this script again until it is, because a file that is missing has always changed.
fn unbuilt() -> Result<Option<PathBuf>, Box<dyn Error>> {
    let linting = env::var("RUSTC_WORKSPACE_WRAPPER").is_ok_and(|wrapper| wrapper.contains("clippy"));
    let documenting = env::var_os("DOCS_RS").is_some();
    let skipped = env::var_os("BRIG_WITHOUT_RUNNER").is_some();
    println!("cargo::rerun-if-env-changed=BRIG_WITHOUT_RUNNER");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR isn't set")?);
    let built = built(&out)?;
    if built.exists() || !(linting || documenting || skipped) {
        return Ok(None);
    }
    println!("cargo::rerun-if-changed={}", built.display());
    let placeholder = out.join("no-runner");
    fs::write(&placeholder, "")?;
    println!("cargo::rustc-env=BRIG_RUNNER={}", placeholder.display());
    Ok(Some(placeholder))
}

/// Where the runner is once it is built: see `brig_embed`.
fn built(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let above = out.ancestors().nth(4).ok_or("OUT_DIR isn't in a target directory")?;
    Ok(above.join("embedded").join(env::var("TARGET")?).join(RUNNER.profile).join(RUNNER.binary))
}
