//! What a container may use. The same words for both kinds.

use serde::{Deserialize, Serialize};

/// Limits of one container. `None` is no limit. A limit that can't be given is an error (invariant 9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes: the cgroup's for a Linux container; for wasm also the sum of all linear memories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
    /// How long the payload may run, in milliseconds of wall-clock time. Then it is killed, with code 124.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}
