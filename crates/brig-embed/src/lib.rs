//! For build scripts: builds a static program of this workspace, to be embedded in a library of it.
//!
//! ```no_run
//! # fn main() -> Result<(), brig_embed::EmbedError> {
//! brig_embed::Program { package: "brig-linux-helper", binary: "brig-helper", profile: "helper" }.build("BRIG_HELPER")?;
//! # Ok(())
//! # }
//! ```
//!
//! and in the library `include_bytes!(env!("BRIG_HELPER"))`.
//!
//! The program is built by a nested cargo in `<outer target directory>/embedded`, which has a lock of its own (the
//! outer cargo holds that of its profile's directory) and is the same for every outer profile and for `build`,
//! `test`, `clippy`, `doc` and `install`, so that nothing is built twice.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::{env, fs, io};

/// A program of this workspace.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its package.
    pub package: &'a str,
    /// The binary target of that package.
    pub binary: &'a str,
    /// The profile that it is built with, of the workspace's `Cargo.toml`.
    pub profile: &'a str,
}

/// Why a program couldn't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// Cargo didn't set this variable: the caller isn't a build script.
    #[error("`{name}` isn't set: this is for build scripts")]
    Variable {
        /// The variable.
        name: &'static str,
    },
    /// `OUT_DIR` isn't in a cargo target directory.
    #[error("`{}` isn't below a directory `build` of a target directory", out_dir.display())]
    OutDir {
        /// `OUT_DIR`.
        out_dir: PathBuf,
    },
    /// The nested cargo can't be started.
    #[error("can't start `{}`", cargo.display())]
    Start {
        /// The cargo.
        cargo: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The nested cargo failed; it has said why on standard error.
    #[error("cargo couldn't build `{package}`: {status}")]
    Cargo {
        /// What was built.
        package: String,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// The file with the list of the program's sources can't be read.
    #[error("can't read `{}`", path.display())]
    DepInfo {
        /// The list.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Program<'_> {
    /// Builds the program, tells cargo what it is made of, and sets `variable` to its path for `env!` in the crate
    /// whose build script this is.
    pub fn build(&self, variable: &str) -> Result<PathBuf, EmbedError> {
        let target = required("TARGET")?.to_string_lossy().into_owned();
        let directory = embedded_directory(Path::new(&required("OUT_DIR")?))?;
        self.run_cargo(&target, &directory)?;
        let program = directory.join(&target).join(self.profile).join(self.binary);
        let listed = tell_sources(&program.with_extension("d"))?;
        say(&format!("rerun-if-changed={}", program.display()));
        for path in listed {
            say(&format!("rerun-if-changed={path}"));
        }
        say(&format!("rustc-env={variable}={}", program.display()));
        Ok(program)
    }

    fn run_cargo(&self, target: &str, directory: &Path) -> Result<(), EmbedError> {
        let cargo = PathBuf::from(required("CARGO")?);
        let mut command = Command::new(&cargo);
        command
            .args(["build", "--locked", "--package", self.package, "--bin", self.binary])
            .args(["--profile", self.profile, "--target", target, "--target-dir"])
            .arg(directory)
            .current_dir(required("CARGO_MANIFEST_DIR")?);
        clean_environment(&mut command);
        command.env(format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_")), FLAGS);
        let status = command.status().map_err(|source| EmbedError::Start { cargo, source })?;
        if status.success() {
            Ok(())
        } else {
            Err(EmbedError::Cargo { package: self.package.into(), status })
        }
    }
}

/// Static, at a fixed address: what the kernel has to map and relocate before `main` is most of a short start. And the
/// crate `getrandom` asks the kernel by its system call: it would look the function up by name, which a static program
/// can't, and then want `/dev/urandom`, which a sandbox doesn't have.
const FLAGS: &str =
    r#"-C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom""#;

/// What the outer cargo tells its build scripts and compilers isn't meant for the nested one: flags would replace
/// ours, clippy would be run instead of the compiler, and each change would build everything again. Kept are where
/// cargo finds its things, how it reaches registries, and the job server.
fn clean_environment(command: &mut Command) {
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
    ];
    const COMPILER: [&str; 12] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "TARGET",
        "OUT_DIR",
        "__CARGO_FIX_PLZ",
    ];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = text.starts_with("CARGO") && !KEPT.iter().any(|kept| text.starts_with(kept));
        if cargos || COMPILER.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
}

/// `OUT_DIR` is `<target directory>/[<triple>/]<profile>/build/<package>-<hash>/out`; the answer is beside the
/// profile's directory.
fn embedded_directory(out_dir: &Path) -> Result<PathBuf, EmbedError> {
    out_dir
        .ancestors()
        .find(|path| path.file_name().is_some_and(|name| name == "build"))
        .and_then(|build| build.parent()?.parent())
        .map(|above| above.join("embedded"))
        .ok_or_else(|| EmbedError::OutDir { out_dir: out_dir.into() })
}

/// The sources that cargo listed beside the program, in the form of a makefile.
fn tell_sources(dep_info: &Path) -> Result<Vec<String>, EmbedError> {
    let text = fs::read_to_string(dep_info)
        .map_err(|source| EmbedError::DepInfo { path: dep_info.into(), source })?;
    Ok(sources_of(&text))
}

fn sources_of(dep_info: &str) -> Vec<String> {
    let Some((_, list)) = dep_info.split_once(": ") else { return Vec::new() };
    let list = list.trim_end().replace("\\ ", "\0");
    list.split_whitespace().map(|path| path.replace('\0', " ")).collect()
}

fn required(name: &'static str) -> Result<OsString, EmbedError> {
    env::var_os(name).ok_or(EmbedError::Variable { name })
}

#[allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]
fn say(instruction: &str) {
    println!("cargo::{instruction}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_beside_the_profiles() {
        for (out, embedded) in [
            ("/t/debug/build/brig-linux-0123/out", "/t/embedded"),
            ("/t/x86_64-unknown-linux-gnu/release/build/p-1/out", "/t/x86_64-unknown-linux-gnu/embedded"),
        ] {
            assert_eq!(embedded_directory(Path::new(out)).unwrap(), Path::new(embedded));
        }
        assert!(embedded_directory(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn sources_are_read_from_a_makefile() {
        assert_eq!(sources_of("/t/brig: /w/a.rs /w/a\\ b.rs\n"), ["/w/a.rs", "/w/a b.rs"]);
        assert!(sources_of("").is_empty());
    }
}
