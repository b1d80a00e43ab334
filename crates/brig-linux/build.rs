//! Builds the helper, to be embedded (feature `embed`).

use std::error::Error;

use brig_embed::Program;
use sha2::{Digest, Sha256};

const HELPER: Program<'_> =
    Program { package: "brig-linux-helper", binary: "brig-helper", profile: "helper" };

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_EMBED").is_none() {
        return Ok(());
    }
    let digest = Sha256::digest(std::fs::read(HELPER.build("BRIG_HELPER")?)?);
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=BRIG_HELPER_DIGEST={hex}");
    Ok(())
}
