//! brig's helper: the small program that supervises one container and makes its payload.
//!
//! Whoever starts a container starts it, from where no container can write to it, in a program with threads or without: all
//! that must happen between `fork` and `exec`, and all that must outlive the caller, happens here, in one thread.
//! Descriptor 0 is the plan, descriptor 1 the first connection; the rest is `docs/supervisor.md`. With an argument it
//! does one thing with a container's files instead, or makes a container that outlives it, and ends. Under another name it is the first process of a container
//! that wants an init.
#![cfg_attr(not(test), no_main)]

mod bundle;
mod enter;
mod files;
mod init;
mod supervise;

use brig_runtime::bundle::BUNDLE_ARGUMENT;

/// The entry point, as the C library calls it. Without the preparations of Rust's own `main`, a tenth of the time to
/// the first step: they read `/proc/self/maps` for a guard page and make a second stack.
#[allow(unsafe_code, reason = "the one symbol that the C library starts; nothing else has this name")]
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main() -> libc::c_int {
    run()
}

#[cfg(test)]
fn main() {
    run();
}

fn run() -> libc::c_int {
    let mut args = std::env::args_os();
    match (args.next(), args.len()) {
        (Some(name), _) if name == init::NAME => init::run(args),
        (_, 0) => supervise::run(),
        _ if args.next().is_some_and(|argument| argument == BUNDLE_ARGUMENT) => bundle::run(),
        // The only other argument that anybody gives: `brig_runtime::files::FILES_ARGUMENT`.
        _ => files::run(),
    }
}
