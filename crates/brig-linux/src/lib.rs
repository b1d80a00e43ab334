//! Linux containers: from an OCI runtime `Spec` to a process, without a store and without knowing what a supervisor
//! does.
//!
//! ```text
//! options ─ default_spec ─▶ Spec ─ plan_linux ─┐
//!                  config.json ────────────────┤
//!                        EngineProcess ─ plan_engine ─▶ PayloadPlan ─ Helper::spawn ─▶ supervisor and payload
//! ```
//!
//! - [`Host`]: what this machine allows: cgroup hierarchies, user namespaces, kernel. [`probe`] explains it for people.
//! - [`default_spec`](default_spec()): docker's defaults as a spec.
//! - [`plan_linux`], [`plan_engine`]: data for the helper. Everything that is asked for, or an error.
//! - [`Helper`]: the small static program that enters the container, embedded here and executed from where no container
//!   can write to it. No Rust runs after `fork` in the caller, which may have threads and gigabytes.
//! - [`bundle`]: containers as runc has them, without a supervisor.
//! - [`cgroup_stats`]: what a container uses, and [`cgroup_pids`]: who is in it.
//! - [`seccomp`]: policies compiled to filters.

pub mod bundle;
mod capabilities;
mod default_spec;
mod engine_process;
mod error;
mod files;
mod helper;
mod host;
mod init;
mod plan;
pub mod probe;
pub mod seccomp;
mod stats;
mod sys;
mod update;

pub use brig_runtime::plan::RootFs;
pub use capabilities::{capability, own_capabilities};
pub use default_spec::{
    Bind, ContainerOptions, Network, SeccompChoice, Tmpfs, all_capabilities, default_spec,
};
pub use engine_process::{EngineMount, EngineProcess, EngineRoot, Grant, plan_engine};
pub use error::Error;
pub use files::{Files, Piece};
pub use helper::{Helper, HelperError, Spawned};
pub use host::{CgroupMode, Cgroups, Host};
pub use init::put_init_before;
pub use plan::{HostOptions, PlanError, plan_linux};
pub use stats::{
    Blkio, BlkioEntry, CgroupStats, Cpu, CpuSet, CpuUsage, HugeTlb, IntelRdt, Memory, MemoryEntry, Pids,
    Pressure, PressureData, StatsError, Throttling, cgroup_pids, cgroup_stats,
};
pub use update::{CgroupUpdate, UpdateError, plan_resources_update, plan_update, set_limits};
