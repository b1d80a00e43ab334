//! WebAssembly guests, built from the sources in `guests/` when a test asks for them.
//!
//! C sources need clang, lld, wasi-libc and the wasm32 runtime library of Debian; WAT sources need nothing. Compiled
//! guests are kept in the target directory under the hash of their source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use brig_oci::Digest;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::{Unavailable, cache_dir, need_tool};

/// How clang is called; part of a compiled guest's key.
const CLANG_FLAGS: &[&str] = &["--target=wasm32-unknown-wasi", "--sysroot=/usr", "-O2", "-Wall", "-Werror"];

/// A guest with its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The name of its source, without the ending.
    pub name: &'static str,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    C(&'static str),
    Wat(&'static str),
}

macro_rules! guests {
    ($($(#[doc = $doc:literal])+ $constant:ident = $kind:ident $name:literal $ending:literal;)+) => {
        impl Guest {
            $(
                $(#[doc = $doc])+
                pub const $constant: Self = Self {
                    name: $name,
                    source: Source::$kind(include_str!(concat!("../guests/", $name, $ending))),
                };
            )+

            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$constant),+];
        }
    };
}

guests! {
    /// Prints `hello from wasm` (C).
    HELLO = C "hello" ".c";
    /// Prints its arguments, one `arg: …` a line, then its environment, one `env: …` a line.
    ARGS = C "args" ".c";
    /// Copies the files that it is given, or its standard input, to its standard output.
    CAT = C "cat" ".c";
    /// `read PATH`, `write PATH TEXT`, `append PATH TEXT`, `ls DIR`, `mkdir PATH`, `rm PATH`; 1 and the error's text
    /// when it fails.
    FILES = C "files" ".c";
    /// Exits with the status that it is given, after `out` on standard output and `err` on standard error.
    EXIT = C "exit" ".c";
    /// Traps three functions deep: `main`, `outer`, `inner`.
    TRAP = C "trap" ".c";
    /// Says `looping` and loops for ever.
    LOOP = C "loop" ".c";
    /// Allocates and touches a mebibyte at a time up to the number that it is given; says how many it has; aborts
    /// when it gets no more.
    MEMORY = C "memory" ".c";
    /// Recurses for ever.
    RECURSE = C "recurse" ".c";
    /// Counts the primes below the number that it is given (10,000,000 without): bound by the processor and memory.
    SIEVE = C "sieve" ".c";
    /// Sleeps for the number of milliseconds that it is given, then says `slept`.
    SLEEP = C "sleep" ".c";
    /// Prints `hello from wat`; needs no compiler.
    TINY = Wat "tiny" ".wat";
    /// Loops for ever; needs no compiler.
    SPIN = Wat "spin" ".wat";
    /// Reaches `unreachable`; needs no compiler.
    UNREACHABLE = Wat "unreachable" ".wat";
    /// Imports a function that nobody has.
    MISSING_IMPORT = Wat "missing-import" ".wat";
    /// A component, not a command: exports `add: func(a: u32, b: u32) -> u32` and `spin: func()`.
    ADDER = Wat "adder" ".wat";
}

impl Guest {
    /// The guest as a WASI p1 module ([`Self::ADDER`]: as the component that it is).
    ///
    /// # Errors
    /// When the compiler for C is missing.
    ///
    /// # Panics
    /// When the source doesn't compile.
    pub fn module(self) -> Result<Vec<u8>, Unavailable> {
        match self.source {
            Source::Wat(text) => {
                Ok(wat::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.name)))
            }
            Source::C(text) => compile_c(self.name, text),
        }
    }

    /// The guest as a WASI p2 component with the command world.
    ///
    /// # Errors
    /// When the compiler for C is missing.
    pub fn component(self) -> Result<Vec<u8>, Unavailable> {
        let module = self.module()?;
        Ok(componentize(&module).unwrap_or_else(|error| panic!("{}: {error}", self.name)))
    }
}

/// Wraps a WASI p1 module into a p2 component with wasmtime's adapter.
///
/// # Errors
/// When the module imports what the adapter doesn't have.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| {
            encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        })
        .and_then(|encoder| encoder.validate(true).encode());
    encoder.map_err(|error| format!("{error:#}"))
}

/// The path of clang, when it and all that it needs for wasm are there.
pub fn need_wasm_clang() -> Result<PathBuf, Unavailable> {
    let clang = need_tool("clang")?;
    need_tool("wasm-ld")?;
    if !Path::new("/usr/lib/wasm32-wasi/libc.a").exists() {
        return Err(Unavailable::new("needs wasi-libc"));
    }
    Ok(clang)
}

fn compile_c(name: &str, source: &str) -> Result<Vec<u8>, Unavailable> {
    let clang = need_wasm_clang()?;
    let key = Digest::sha256(format!("{CLANG_FLAGS:?}\n{source}"));
    let dir = cache_dir().join("guests");
    let path = dir.join(format!("{name}-{}.wasm", key.short()));
    if let Ok(bytes) = fs::read(&path) {
        return Ok(bytes);
    }
    fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    // Another test may build the same guest now: each writes its own file, and the rename is atomic.
    let work = tempfile::tempdir_in(&dir).expect("a directory for the compiler");
    let (input, output) = (work.path().join(format!("{name}.c")), work.path().join("out.wasm"));
    fs::write(&input, source).expect("write the guest's source");
    let mut command = Command::new(clang);
    command.args(CLANG_FLAGS).arg("-o").arg(&output).arg(&input).stdin(Stdio::null());
    let result = command.output().expect("start clang");
    let message = String::from_utf8_lossy(&result.stderr);
    if message.contains("libclang_rt.builtins") {
        return Err(Unavailable::new("needs libclang-rt-14-dev-wasm32"));
    }
    assert!(result.status.success(), "clang, for {name}.c: {message}");
    let bytes = fs::read(&output).expect("read clang's output");
    fs::rename(&output, &path).expect("keep the compiled guest");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_compiles() {
        for guest in Guest::ALL {
            let module = crate::need!(guest.module());
            assert_eq!(module.get(..4), Some(&b"\0asm"[..]), "{}", guest.name);
        }
    }

    #[test]
    fn guests_of_c_and_of_wat_become_components() {
        const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
        assert_eq!(&Guest::TINY.component().unwrap()[..8], COMPONENT);
        assert_eq!(&Guest::ADDER.module().unwrap()[..8], COMPONENT);
        let component = crate::need!(Guest::HELLO.component());
        assert_eq!(&component[..8], COMPONENT);
        assert!(componentize(&Guest::MISSING_IMPORT.module().unwrap()).is_err());
    }
}
