//! Compiled code from files. All of this crate's unsafe code is here, but for the system calls in [`super::sys`].

#![allow(unsafe_code, reason = "loading machine code is unsafe by nature; the proofs are below")]

use std::path::Path;

use wasmtime::component::Component;
use wasmtime::{Config, Engine, Module};

use crate::form::Encoding;

/// Compiled code, mapped and ready to be linked.
pub(crate) enum Code {
    /// A core module.
    Module(Module),
    /// A component.
    Component(Component),
}

/// Maps a compiled file. An incomplete file, one of another engine or of another binary is an error: wasmtime parses
/// the ELF file, whose section table is at its end, and compares the identity in it with the engine's.
pub(crate) fn code(engine: &Engine, path: &Path, encoding: Encoding) -> wasmtime::Result<Code> {
    // SAFETY: wasmtime demands that the file is the unmodified result of a compilation by it, and that it isn't changed
    // while it is mapped. Compiled files are written by this crate's `compile` alone, into a directory that only brig
    // writes to, under a temporary name; a complete one gets its final name by rename and is never written again (a new
    // version is a new file, and an unlinked one stays mapped). Nothing that comes from an image or a user gets there:
    // the path of a compiled file is made by brig from digest and engine key, never taken from outside. Hashing the
    // file at every start would cost more than the start (10 ms for 10 MB) and protect only from somebody who can
    // write to brig's own store, and who can thus replace the runner as well.
    unsafe {
        match encoding {
            Encoding::Module => Module::deserialize_file(engine, path).map(Code::Module),
            Encoding::Component => Component::deserialize_file(engine, path).map(Code::Component),
        }
    }
}

/// Takes the identity's word for what the processor can do, instead of asking it: a dozen traps in a virtual machine.
pub(crate) fn trust_identity(config: &mut Config) {
    // SAFETY: wasmtime demands that no feature is reported that this processor lacks. It asks only about those that a
    // compiled file uses, and loads only a file with this engine's identity. That has the engine key in it, which names
    // the features of the processor that compiled and, made anew for this start, of the one that runs (see
    // `runner::engine_key`): a file that was compiled for others has another identity.
    unsafe {
        config.detect_host_feature(|_| Some(true));
    }
}
