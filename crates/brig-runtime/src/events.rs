//! What happened: one JSON object a line, appended to `events.log`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The version of the format of a line.
pub const EVENT_VERSION: u32 = 1;

/// One event, in docker's words: `container start`, `image pull`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`EVENT_VERSION`].
    pub version: u32,
    /// When.
    pub time: Timestamp,
    /// `container`, `image` or `volume`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `create`, `start`, `die`, `pull`, …
    pub action: String,
    /// The container's id, the image's reference, or the volume's name.
    pub id: String,
    /// More: name, image, exitCode, signal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event of a container, now.
    pub fn container(action: &str, id: &str) -> Self {
        Self::new("container", action, id)
    }

    /// An event of an image, now.
    pub fn image(action: &str, id: &str) -> Self {
        Self::new("image", action, id)
    }

    /// An event of a volume, now.
    pub fn volume(action: &str, name: &str) -> Self {
        Self::new("volume", action, name).with("driver", "local")
    }

    fn new(kind: &str, action: &str, id: &str) -> Self {
        Self {
            version: EVENT_VERSION,
            time: Timestamp::now(),
            kind: kind.into(),
            action: action.into(),
            id: id.into(),
            attributes: BTreeMap::new(),
        }
    }

    /// With an attribute.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// The log, open for appending.
#[derive(Debug)]
pub struct EventLog(File);

impl EventLog {
    /// Opens or makes the log.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Appends one event. A line is one `write` on a descriptor with `O_APPEND`, so that writers don't mix.
    pub fn append(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}
