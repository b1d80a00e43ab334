//! What the supervisor writes down: the container's state, and what happened to it.

use std::io;
use std::path::PathBuf;

use brig_runtime::exit::ExitStatus;
use brig_runtime::plan::{SupervisorPlan, VolumeUse};
use brig_runtime::record::{ProcessId, RecordError};
use brig_runtime::{Event, EventLog, Health, HealthStatus, State, StateRecord, Timestamp};

/// How many of its own troubles a supervisor keeps for `status`.
const MAX_WARNINGS: usize = 8;

/// The state record and the log of events.
pub(super) struct Journal {
    path: PathBuf,
    record: StateRecord,
    events: EventLog,
    name: String,
    image: String,
    volumes: Vec<VolumeUse>,
    warnings: Vec<String>,
}

impl Journal {
    /// Opens the log of events; nothing is written yet.
    pub(super) fn open(plan: &SupervisorPlan) -> io::Result<Self> {
        let created_at = plan
            .created_at
            .parse::<Timestamp>()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self {
            path: plan.dir.join("state.json"),
            record: StateRecord {
                supervisor: Some(ProcessId::own()?),
                health: plan.health.is_some().then(Health::default),
                ..StateRecord::new(&plan.id, &plan.kind, State::Created, created_at).of_this_boot()?
            },
            events: EventLog::open(&plan.events)?,
            name: plan.name.clone(),
            image: plan.image.clone(),
            volumes: plan.volumes.clone(),
            warnings: Vec::new(),
        })
    }

    /// The state as it was written last.
    pub(super) fn state(&self) -> State {
        self.record.state
    }

    /// The payload, while there is one.
    pub(super) fn payload(&self) -> Option<ProcessId> {
        self.record.payload
    }

    /// How the payload ended last.
    pub(super) fn exit(&self) -> Option<ExitStatus> {
        self.record.exit.clone()
    }

    /// What couldn't be written and nobody could be told.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The payload runs.
    pub(super) fn running(&mut self, payload: ProcessId, cgroups: Vec<PathBuf>) -> Result<(), RecordError> {
        self.record.state = State::Running;
        self.record.payload = Some(payload);
        self.record.cgroups = cgroups;
        self.record.started_at = Some(Timestamp::now());
        self.record.write(&self.path)
    }

    /// Another payload runs, the `count`th since somebody started the container.
    pub(super) fn running_again(&mut self, payload: ProcessId, count: u32) {
        self.record.state = State::Running;
        self.record.payload = Some(payload);
        self.record.started_at = Some(Timestamp::now());
        self.record.restart_count = count;
        self.save();
    }

    /// The payload ended, and another one follows.
    pub(super) fn restarting(&mut self, exit: ExitStatus) {
        self.record.state = State::Restarting;
        self.record.payload = None;
        self.record.exit = Some(exit);
        self.record.finished_at = Some(Timestamp::now());
        self.save();
    }

    /// Whether the payload works.
    pub(super) fn health(&self) -> &Health {
        const UNKNOWN: &Health =
            &Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() };
        self.record.health.as_ref().unwrap_or(UNKNOWN)
    }

    /// What is known of the payload's health.
    pub(super) fn set_health(&mut self, health: Health) {
        if self.record.health.as_ref() != Some(&health) {
            self.record.health = Some(health);
            self.save();
        }
    }

    /// The container has another name.
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// The payload was frozen or thawed, or the container couldn't be removed.
    pub(super) fn change(&mut self, state: State) {
        self.record.state = state;
        self.save();
    }

    /// The payload ended, and that is the end; maybe of a container that its successor is about to start again. Its
    /// cgroups stay in the record, for `rm` to look after.
    pub(super) fn stopped(&mut self, exit: ExitStatus, by_user: bool, successor: Option<ProcessId>) {
        self.record.stopped_by_user = by_user;
        self.record.creator = successor;
        self.record.state = State::Stopped;
        self.record.supervisor = None;
        self.record.payload = None;
        self.record.exit = Some(exit);
        self.record.finished_at = Some(Timestamp::now());
        self.save();
    }

    fn save(&mut self) {
        if let Err(error) = self.record.write(&self.path) {
            self.warn(format!("{error}: {}", source(&error)));
        }
    }

    /// Appends an event with the attributes that all of a container's have, and more.
    pub(super) fn event(&mut self, action: &str, attributes: &[(&str, &str)]) {
        let mut event =
            Event::container(action, &self.record.id).with("name", &*self.name).with("image", &*self.image);
        for (key, value) in attributes {
            event = event.with(key, *value);
        }
        self.append(&event);
    }

    /// The payload has started; it sees its volumes.
    pub(super) fn started(&mut self) {
        let mounted = |volume: &VolumeUse| {
            self.volume_event("mount", volume)
                .with("destination", &*volume.target)
                .with("read/write", volume.writable.to_string())
                .with("propagation", "")
        };
        let events: Vec<_> = self.volumes.iter().map(mounted).collect();
        events.iter().for_each(|event| self.append(event));
        self.event("start", &[]);
    }

    /// The payload has ended; what it saw is no longer used.
    pub(super) fn ended(&mut self, exit: &ExitStatus) {
        self.event("die", &[("exitCode", &exit.code.to_string())]);
        let events: Vec<_> = self.volumes.iter().map(|volume| self.volume_event("unmount", volume)).collect();
        events.iter().for_each(|event| self.append(event));
    }

    /// A volume went with the container.
    pub(super) fn volume_removed(&mut self, name: &str) {
        self.append(&Event::volume("destroy", name));
    }

    fn volume_event(&self, action: &str, volume: &VolumeUse) -> Event {
        Event::volume(action, &volume.name).with("container", &*self.record.id)
    }

    fn append(&mut self, event: &Event) {
        if let Err(error) = self.events.append(event) {
            self.warn(format!("the event `{}` is lost: {error}", event.action));
        }
    }

    /// Keeps a trouble for `status`; the container goes on.
    pub(super) fn warn(&mut self, warning: String) {
        if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

fn source(error: &RecordError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
