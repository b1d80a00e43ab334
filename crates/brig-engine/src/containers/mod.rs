//! Containers of both kinds, through one set of verbs.

mod change;
pub(crate) mod command;
mod create;
mod exec;
mod find;
mod health;
mod life;
#[cfg(feature = "linux")]
mod linux;
mod options;
mod remove;
mod start;

pub use command::signal;
pub(crate) use create::Source;
pub use exec::ExecOptions;
pub use find::ContainerInfo;
pub use health::HealthOptions;
pub(crate) use life::client_error;
pub use options::{CreateOptions, Isolation, Network, Volume};
pub use start::AttachOptions;
