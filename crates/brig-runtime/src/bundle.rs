//! What the helper is asked for by a runtime without a supervisor: to make a container, or a process in one, that
//! outlives it.
//!
//! ```text
//! descriptor 1: a socket of packets
//!
//! runtime ── START + request, streams ──▶ helper ── clone ──▶ payload
//!         ◀─ terminal's master ──────────        ◀─────────── made everything
//!         ◀─ ready {pid} ────────────────
//!   writes its record
//!         ── COMMIT ─────────────────────▶       ───────────▶ forgets the helper; waits to be started, or goes on
//!         ◀─ done, and later ended {…} ──
//! ```
//!
//! Until COMMIT the payload dies with the helper, and the helper gives up when the runtime is gone.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::{self, PLAN_VERSION, PayloadPlan};
use crate::protocol::StepError;
use crate::record::ProcessId;

/// The argument with which the helper does this.
pub const BUNDLE_ARGUMENT: &str = "bundle";

/// The runtime's first packet. Beside it come a file with the request, standard input, output and error, and then the descriptors of
/// [`BundleRequest::preserved`].
pub const START: &[u8] = b"S";
/// The runtime's second packet.
pub const COMMIT: &[u8] = b"C";
/// What is written to the socket at [`BundleRequest::wait_at`] to start the payload. The answer is the end, when the program
/// has been executed, or a letter and a [`StepError`] in JSON, when it hasn't.
pub const GO: &[u8] = b"G";

/// A container to make, or a process in one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRequest {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The payload. In a container that exists, only what concerns its namespaces, its cgroups and the process counts.
    pub payload: PayloadPlan,
    /// Whether the payload gets a terminal, and its first size, rows and columns.
    pub tty: Option<(u16, u16)>,
    /// The numbers of more descriptors that the payload is to have: from 3 up, in their order.
    pub preserved: Vec<i32>,
    /// The socket on which the payload waits to be started. Without one it starts at once.
    pub wait_at: Option<PathBuf>,
    /// A file that the payload has locked (`flock(2)`) until its program is executed.
    pub lock: Option<PathBuf>,
    /// Whether the helper waits for the payload's end.
    pub follow: bool,
    /// A process of the container that the payload is to be in; without one a container is made.
    pub target: Option<ProcessId>,
}

impl BundleRequest {
    /// The bytes for the helper.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        plan::encode(self)
    }

    /// Reads what [`BundleRequest::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        plan::decode(bytes, PLAN_VERSION)
    }
}

/// What the helper says, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BundleMessage {
    /// The master of the payload's terminal comes with this.
    Terminal,
    /// Everything is made but the program executed.
    Ready {
        /// The payload.
        payload: ProcessId,
    },
    /// The payload waits to be started, or its program has been executed.
    Done,
    /// A step failed. Nothing is left of the payload.
    Failed(StepError),
    /// The payload has ended.
    Ended {
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal.
        signal: Option<i32>,
    },
}
