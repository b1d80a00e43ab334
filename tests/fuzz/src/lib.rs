//! What the fuzz targets share: their seeds, and a place to write to whose surroundings are watched.

pub mod sandbox;
pub mod seeds;

use std::path::Path;

#[doc(hidden)]
pub use libfuzzer_sys;

/// A target: what it begins with, and what it does with bytes. With `BRIG_FUZZ_SEEDS=DIR` it writes its seeds there and
/// ends.
#[macro_export]
macro_rules! target {
    ($seeds:expr, |$data:ident| $body:expr) => {
        $crate::libfuzzer_sys::fuzz_target!(init: $crate::plant($seeds), |$data: &[u8]| { $body });
    };
}

/// Writes the seeds, where they are asked for, and bounds what a target may write to a file.
pub fn plant(seeds: Vec<Vec<u8>>) {
    if let Some(dir) = std::env::var_os("BRIG_FUZZ_SEEDS") {
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(Path::new(&dir).join(format!("seed-{number}")), seed)
                .expect("seeds can be written");
        }
        std::process::exit(0);
    }
    sandbox::bound_files();
}

/// The text in it, if it is one.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// What a user would see of an error, which must be possible to print.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
