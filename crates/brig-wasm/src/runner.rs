//! The runner inside this library, and its file.
//!
//! The runner is a static program that this crate's build script builds. It is written to brig's own directory when it
//! is first needed, under a name that holds its digest, so that a brig never starts the runner of another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The program; empty when this build has none.
#[cfg(feature = "embed")]
static PROGRAM: &[u8] = include_bytes!(env!("BRIG_RUNNER"));
#[cfg(not(feature = "embed"))]
static PROGRAM: &[u8] = &[];

/// The first half of the program's SHA-256, in hexadecimal.
#[cfg(feature = "embed")]
const DIGEST: &str = env!("BRIG_RUNNER_DIGEST");
#[cfg(not(feature = "embed"))]
const DIGEST: &str = "none";

/// Why the runner can't be put into place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// This build was made without it.
    #[error(
        "this build of brig can't run wasm: it was made without the runner (feature `embed` of brig-wasm, \
         or only for lints and documentation)"
    )]
    NotEmbedded,
    /// Its file can't be written.
    #[error("the wasm runner can't be written into `{}`", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Puts the runner into `dir`, a directory that only brig writes to and that is made when it isn't there, and returns its path. When it is there
/// already, that is one `stat`.
pub fn install(dir: &Path) -> Result<PathBuf, RunnerError> {
    if PROGRAM.is_empty() {
        return Err(RunnerError::NotEmbedded);
    }
    brig_runtime::program::install(dir, "brig-runner", DIGEST, PROGRAM)
        .map_err(|source| RunnerError::Write { path: dir.into(), source })
}

/// What compiled code depends on beside the binary itself: the runner that compiles and runs it (the version of
/// wasmtime, its cargo features, every tunable: all of it is in the digest of the program), and what this processor
/// can do. Fit for a file name. Compiled code of another key is never loaded.
pub fn engine_key() -> String {
    format!("{DIGEST}-{}-{}", std::env::consts::ARCH, processor())
}

/// The kernel's own list of the processor's features, as a short hash. Asking the processor takes a dozen `cpuid`
/// instructions, and in a virtual machine each of them is a trap of 9 us; this is one file of 10 us. Where it can't be
/// read the processor is asked.
fn processor() -> String {
    match fs::read("/sys/devices/system/cpu/modalias") {
        Ok(features) => brig_oci::Digest::sha256(features).hex().chars().take(12).collect(),
        Err(_) => format!("{:05x}", cpu_features()),
    }
}

/// One bit for each feature that cranelift looks for in the processor that it compiles on.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> u32 {
    macro_rules! bits {
        ($($name:tt)*) => { [$(std::is_x86_feature_detected!($name)),*] };
    }
    pack(
        &bits!("sse3" "ssse3" "sse4.1" "sse4.2" "cmpxchg16b" "popcnt" "avx" "avx2" "fma" "avxvnni" "bmi1" "bmi2"
        "avx512bitalg" "avx512dq" "avx512f" "avx512vl" "avx512vbmi" "avx512vnni" "lzcnt"),
    )
}

/// One bit for each feature that cranelift looks for in the processor that it compiles on.
#[cfg(target_arch = "aarch64")]
fn cpu_features() -> u32 {
    macro_rules! bits {
        ($($name:tt)*) => { [$(std::arch::is_aarch64_feature_detected!($name)),*] };
    }
    pack(&bits!("lse" "paca" "fp16" "dotprod" "i8mm"))
}

/// Cranelift asks nothing on other processors that this library knows about.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> u32 {
    0
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn pack(bits: &[bool]) -> u32 {
    bits.iter().fold(0, |packed, &bit| packed << 1 | u32::from(bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_name_and_stays_the_same() {
        let key = engine_key();
        assert!(key.chars().all(|char| char.is_ascii_alphanumeric() || "-_".contains(char)), "{key}");
        assert_eq!(key, engine_key());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let missing = Path::new("/proc/nonexistent");
        match install(missing) {
            Err(RunnerError::Write { path, .. }) => assert!(path.starts_with(missing)),
            Err(RunnerError::NotEmbedded) => assert!(PROGRAM.is_empty()),
            Ok(path) => panic!("installed to {}", path.display()),
        }
    }
}
