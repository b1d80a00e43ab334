//! Containers of both kinds, through one set of verbs.

mod boot;
mod change;
pub(crate) mod command;
mod copy;
mod create;
mod exec;
mod files;
mod find;
mod health;
mod life;
mod linux;
mod log;
mod options;
mod processes;
mod prune;
mod remove;
mod size;
mod start;
mod tuning;
mod update;
#[cfg(feature = "wasm")]
mod wasm_process;

pub use command::signal;
pub use copy::{Copied, CopyOptions};
pub(crate) use create::Source;
pub use exec::ExecOptions;
pub use find::ContainerInfo;
pub(crate) use find::names_in;
pub use health::HealthOptions;
pub(crate) use life::client_error;
pub use options::{CreateOptions, Isolation, Network};
pub use processes::{Process, Sample, machine_memory};
pub(crate) use prune::disk_use;
pub use prune::{PruneFilter, PrunedContainers};
pub use size::ContainerSize;
pub use start::AttachOptions;
pub(crate) use start::make_dir;
