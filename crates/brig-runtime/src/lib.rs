//! The contract that everything in brig shares and that depends on nothing: what a container is on disk, which states
//! it goes through, how it ended, what its supervisor understands, and what the helper is told to do.
//!
//! ```text
//! <root>/containers/<id>/spec.json      [ContainerSpec]  replaced by rename, by `rename` and `update` alone
//!                        state.json     [StateRecord]    replaced by rename
//!                        log log.1 …    json-file lines  appended, and rotated by rename, by the supervisor
//!                        upper/ work/   the writable layer
//!        names/<name>                   hard link to an id file: a name is taken by exclusive link
//!        events.log                     [Event] lines, append-only
//! <run-root>/containers/<id>/lock       held by the living supervisor
//!                            sock       the supervisor's socket, [protocol]
//! ```
//!
//! Both programs that read and write these (the library in the CLI, the helper that supervises) link this crate, and
//! every format carries a version, so that a new CLI drives containers that an older brig started.

pub mod bundle;
pub mod cgroup;
pub mod client;
pub mod events;
pub mod exit;
pub mod files;
pub mod health;
pub mod hooks;
pub mod limits;
pub mod liveness;
pub mod lock;
mod log_config;
pub mod logs;
mod mount_plan;
pub mod notify;
pub mod packets;
pub mod paths;
mod payload;
pub mod plan;
mod process;
pub mod program;
pub mod protocol;
pub mod record;
pub mod remove;
pub mod restart;
pub mod state;
pub mod time;
mod tuning;
pub mod volumes;

pub use events::{Event, EventLog};
pub use exit::{ExitReason, ExitStatus};
pub use health::{Health, HealthCheck, HealthStatus};
pub use limits::{BlockDevice, BlockIo, BlockRate, BlockRateKind, BlockWeight, LimitChanges, Limits};
pub use log_config::{LogConfig, LogConfigError};
pub use paths::{ContainerPaths, Roots};
pub use record::{ContainerSpec, StateRecord};
pub use restart::RestartPolicy;
pub use state::State;
pub use time::Timestamp;
pub use tuning::{Tuning, Ulimit};
