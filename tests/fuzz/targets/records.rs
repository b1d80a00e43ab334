//! `spec.json`, `state.json` and lines of `events.log`, whatever wrote them.
#![no_main]

use std::fmt::Debug;
use std::path::Path;
use std::sync::OnceLock;

use brig_fuzz::sandbox::Sandbox;
use brig_fuzz::{seeds, target, told};
use brig_runtime::record::{ContainerSpec, StateRecord};
use brig_runtime::{Event, State, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

static PLACE: OnceLock<Sandbox> = OnceLock::new();

target!(start(), |data| {
    let sandbox = PLACE.get_or_init(|| Sandbox::new("records"));
    let path = sandbox.input(data);
    spec(&path);
    match StateRecord::read(&path) {
        Ok(record) => stable(&record),
        Err(error) => drop(told(&error)),
    }
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(event) = serde_json::from_slice::<Event>(line) {
            stable(&event);
        }
    }
});

/// Lists read a spec in another way, and must find the same.
fn spec(path: &Path) {
    let (whole, short) = (ContainerSpec::read(path), ContainerSpec::read_for_list(path));
    match whole {
        Ok(whole) => {
            stable(&whole);
            let short = short.expect("a list reads what can be read");
            assert_eq!(short, ContainerSpec { linux: None, ..whole });
        }
        Err(error) => drop(told(&error)),
    }
}

fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(&again, value);
}

fn start() -> Vec<Vec<u8>> {
    let state = StateRecord::new("0123", "linux", State::Created, Timestamp::now());
    let event = Event::container("die", "0123").with("exitCode", "1");
    let spec = json!({
        "version": 1, "id": "0123", "name": "a", "kind": "linux", "image": "a:b",
        "image_digest": "sha256:0123456789012345678901234567890123456789012345678901234567890123",
        "created_at": "2026-01-02T03:04:05.000000000Z", "args": ["sh"], "env": ["A=b"], "labels": { "a": "b" },
        "linux": { "ociVersion": "1.3.0", "process": { "args": ["\"}", "\\"], "cwd": "/" }, "hostname": "{[" },
        "limits": {}, "mounts": [],
    });
    let mut all = seeds::documents(&[spec]);
    all.push(serde_json::to_vec(&state).expect("a record"));
    all.push(serde_json::to_vec(&event).expect("an event"));
    all
}
