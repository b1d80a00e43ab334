//! For tests only: what a test of brig stands on.
//!
//! | | |
//! |---|---|
//! | [`TestEnv`] | a hermetic home for the real program: own roots, own environment, other users |
//! | [`Invocation`], [`Running`], [`Output`] | one call, bounded in time; signals, terminals; what came of it |
//! | [`Registry`] | a distribution registry in the test's process, with faults and a log of requests |
//! | [`DebianRegistry`] | Debian's `docker-registry`, somebody else's implementation |
//! | [`image`] | layers, configs, manifests and indexes made from nothing |
//! | [`Guest`] | WebAssembly guests, compiled from `guests/` on demand |
//! | [`debian`] | a Debian root file system by mmdebstrap; skopeo |
//! | [`skip!`], [`need!`] | how a test says that this machine can't run it |
//!
//! A failed set-up is a failed test: these functions panic with a message where a library would return an error, and
//! return [`Unavailable`] where the machine lacks what the test needs.

mod cache;
pub mod debian;
mod debian_registry;
mod env;
mod guest;
mod host;
pub mod image;
mod invocation;
mod output;
mod registry;

pub use cache::cache_dir;
pub use debian_registry::DebianRegistry;
pub use env::{ORDINARY_USER, TestEnv};
pub use guest::{Guest, componentize, need_wasm_clang};
pub use host::{
    SKIPS_VARIABLE, Unavailable, can_userns, can_userns_as, has_tool, is_root, need_containers, need_root,
    need_rootless, need_tool, record_skip,
};
pub use invocation::{Invocation, OnTerminal, Running};
pub use output::{Output, normalize};
pub use registry::{Auth, Fault, Registry, Request, Rule};
pub use rustix::process::Signal;
