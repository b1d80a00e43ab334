//! The states of a container, and the words that docker and the OCI runtime specification have for them.
//!
//! | state | docker | `ps` shows | OCI runtime |
//! |---|---|---|---|
//! | creating | `created` | Created | `creating` |
//! | created | `created` | Created | `created` |
//! | running | `running` | Up 3 seconds | `running` |
//! | paused | `paused` | Up 3 seconds (Paused) | `running` |
//! | restarting | `restarting` | Restarting (1) 3 seconds ago | `stopped` |
//! | stopped | `exited` | Exited (0) 3 seconds ago | `stopped` |
//! | dead | `dead` | Dead | `stopped` |

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its record isn't complete.
    Creating,
    /// It exists and was never started.
    Created,
    /// Its payload runs.
    Running,
    /// Its payload is frozen.
    Paused,
    /// Its payload ended, and its supervisor is about to start another one.
    Restarting,
    /// Its payload ended.
    Stopped,
    /// Its removal failed half-way; `rm -f` tries again.
    Dead,
}

impl State {
    /// docker's word.
    pub fn docker(self) -> &'static str {
        match self {
            Self::Creating | Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Stopped => "exited",
            Self::Dead => "dead",
        }
    }

    /// The OCI runtime specification's word (`runtime.md`, "State").
    pub fn oci(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running | Self::Paused => "running",
            Self::Restarting | Self::Stopped | Self::Dead => "stopped",
        }
    }

    /// Whether a supervisor looks after it.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.docker())
    }
}
