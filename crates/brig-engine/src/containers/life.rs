//! Stopping, signalling, waiting, reading logs: the verbs that a supervisor answers.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use brig_runtime::client::Supervisor;
use brig_runtime::liveness::observe;
use brig_runtime::logs::{LogOptions, LogRecord, LogSink, read_log, read_log_to};
use brig_runtime::record::ProcessId;
use brig_runtime::{ContainerPaths, ContainerSpec, Event, ExitStatus, State, Timestamp};

use super::find::ContainerInfo;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::threads::Cancel;

/// How many seconds a container has to stop, where nothing was said: docker's.
const STOP_SECONDS: u64 = 10;

impl Engine {
    /// The supervisor of an active container.
    pub(crate) fn supervisor(&self, container: &ContainerInfo, action: &'static str) -> Result<Supervisor> {
        if !container.state.state.is_active() {
            return Err(container.wrong_state(action));
        }
        self.connect(container)
    }

    fn connect(&self, container: &ContainerInfo) -> Result<Supervisor> {
        let paths = self.roots().container(&container.spec.id);
        Supervisor::connect(&paths).map_err(client_error(&container.spec.name))
    }

    /// Asks a container to stop, and kills it after `grace`: without one after its own time, or ten seconds. Gives how
    /// it ended; a stopped one has ended already.
    pub fn stop(
        &self,
        name: &str,
        signal: Option<i32>,
        grace: impl Into<Option<Duration>>,
    ) -> Result<ExitStatus> {
        self.stop_until(name, signal, grace.into(), &Cancel::default())
    }

    /// Stops a container if it runs, and starts it.
    pub fn restart(&self, name: &str, signal: Option<i32>, grace: Option<Duration>) -> Result<()> {
        let container = self.container(name)?;
        let id = &container.spec.id;
        if container.state.state.is_active() {
            let own = ProcessId::own().map_err(Error::io("read", "/proc/self/stat"))?;
            self.stop_for(&container, signal, grace, Some(own), &Cancel::default())?;
        }
        self.start(&self.container_by_id(id)?, None)?;
        let event = Event::container("restart", id).with("name", &container.spec.name);
        self.record_event(&event.with("image", &container.spec.image.reference))
    }

    pub(crate) fn stop_until(
        &self,
        name: &str,
        signal: Option<i32>,
        grace: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<ExitStatus> {
        let container = self.container(name)?;
        if container.state.state == State::Stopped {
            return ended(&container, "stop");
        }
        self.stop_for(&container, signal, grace, None, cancel)
    }

    fn stop_for(
        &self,
        container: &ContainerInfo,
        signal: Option<i32>,
        grace: Option<Duration>,
        successor: Option<ProcessId>,
        cancel: &Cancel,
    ) -> Result<ExitStatus> {
        let spec = &container.spec;
        let signal = signal.unwrap_or(spec.stop_signal);
        let grace_ms =
            u64::try_from(grace.unwrap_or_else(|| own_grace(spec)).as_millis()).unwrap_or(u64::MAX);
        let stopped = self.supervisor(container, "stop").and_then(|mut supervisor| {
            cancel.watch(&supervisor)?;
            supervisor.stop(signal, grace_ms, successor).map_err(client_error(&spec.name))
        });
        let status = match stopped {
            Err(error) if ended_meanwhile(&error) => match self.container_by_id(&spec.id) {
                // Somebody has started it again in this moment, and that one isn't asked yet.
                Ok(now) if is_another_life(container, &now) => {
                    return self.stop_for(&now, Some(signal), grace, successor, cancel);
                }
                _ => self.wait_until(&spec.id, cancel)?,
            },
            stopped => stopped?,
        };
        let event = Event::container("stop", &spec.id).with("name", &spec.name);
        self.record_event(&event.with("image", &spec.image.reference))?;
        Ok(status)
    }

    /// Sends a signal to the payload.
    pub fn kill(&self, name: &str, signal: i32) -> Result<()> {
        let container = self.container(name)?;
        let mut supervisor = self.supervisor(&container, "kill")?;
        supervisor.signal(signal).map_err(client_error(&container.spec.name))
    }

    /// Waits until the container has ended, and gives how. One that was never started doesn't run: as with docker, that is
    /// an answer, 0.
    pub fn wait(&self, name: &str) -> Result<ExitStatus> {
        self.wait_until(name, &Cancel::default())
    }

    /// As `wait`, unless it is cancelled.
    pub(crate) fn wait_until(&self, name: &str, cancel: &Cancel) -> Result<ExitStatus> {
        let container = self.container(name)?;
        if container.state.state == State::Created {
            return Ok(ExitStatus::exited(0));
        }
        if !container.state.state.is_active() {
            return ended(&container, "wait for");
        }
        let waited = self.connect(&container).and_then(|mut supervisor| {
            cancel.watch(&supervisor)?;
            supervisor.wait().map_err(client_error(&container.spec.name))
        });
        self.reap();
        match waited {
            Ok(status) => Ok(status),
            // It ended between the two calls: the record says how.
            Err(error) => match self.container_by_id(&container.spec.id) {
                Ok(now) if !now.state.state.is_active() => ended(&now, "wait for"),
                Ok(_) => Err(error),
                Err(_) => self.end_of_gone(&container, error),
            },
        }
    }

    /// How a container ended that is gone, or going: from the events. Without one, `error` is told if it is there after
    /// all.
    fn end_of_gone(&self, container: &ContainerInfo, error: Error) -> Result<ExitStatus> {
        let (spec, mut code) = (&container.spec, None);
        let since = container.state.started_at.unwrap_or(spec.created_at);
        for event in self.events(Some(since), Some(Timestamp::now()))? {
            let event = event?;
            if event.id == spec.id && event.action == "die" {
                code = event.attributes.get("exitCode").and_then(|code| code.parse().ok());
            }
        }
        let paths = self.roots().container(&spec.id);
        match code {
            Some(code) => Ok(ExitStatus::exited(code)),
            None if paths.spec().exists() && paths.state().exists() => Err(error),
            None => Err(self.no_container(&spec.name)),
        }
    }

    /// What the container printed.
    ///
    /// `sink` gets each record, and may break off.
    pub fn logs(
        &self,
        name: &str,
        options: &LogOptions,
        sink: impl FnMut(&LogRecord<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (paths, runs) = self.readable_log(name)?;
        read_log(&paths.log(), options, runs, sink)?;
        Ok(())
    }

    /// As [`Engine::logs`], to a sink that collects.
    pub fn logs_to(&self, name: &str, options: &LogOptions, sink: &mut impl LogSink) -> Result<()> {
        let (paths, runs) = self.readable_log(name)?;
        read_log_to(&paths.log(), options, runs, sink)?;
        Ok(())
    }

    /// The file in which a container's output is kept, where there is one.
    pub fn log_path(&self, container: &ContainerInfo) -> Option<PathBuf> {
        container.spec.log.is_readable().then(|| self.roots().container(&container.spec.id).log())
    }

    /// Where the log is, and whether more may come.
    fn readable_log(&self, name: &str) -> Result<(ContainerPaths, impl FnMut() -> bool + use<>)> {
        let container = self.container(name)?;
        if !container.spec.log.is_readable() {
            return Err(Error::LogNotReadable {
                name: container.spec.name,
                driver: container.spec.log.driver,
            });
        }
        let paths = self.roots().container(&container.spec.id);
        let observed = paths.clone();
        Ok((paths, move || observe(&observed).is_ok_and(|now| now.record.state.is_active())))
    }
}

/// Whether a container that runs was started after it was looked at.
fn is_another_life(before: &ContainerInfo, now: &ContainerInfo) -> bool {
    now.state.state.is_active() && now.state.started_at != before.state.started_at
}

/// How long a container may take to stop when the caller doesn't say.
pub(super) fn own_grace(spec: &ContainerSpec) -> Duration {
    Duration::from_secs(spec.stop_timeout.unwrap_or(STOP_SECONDS))
}

/// How a container that isn't active ended; one that was never started hasn't.
fn ended(container: &ContainerInfo, action: &'static str) -> Result<ExitStatus> {
    container.state.exit.clone().ok_or_else(|| container.wrong_state(action))
}

/// Whether a request failed since the container ended between the look at its record and the request.
pub(super) fn ended_meanwhile(error: &Error) -> bool {
    use brig_runtime::client::ClientError;
    match error {
        Error::Client { source: ClientError::NotRunning { .. } | ClientError::Lost { .. }, .. } => true,
        Error::Client { source: ClientError::Refused { source }, .. } => source.code == "not_running",
        _ => false,
    }
}

/// A failure of the talk with a supervisor, as an error of the engine.
pub(crate) fn client_error(name: &str) -> impl FnOnce(brig_runtime::client::ClientError) -> Error {
    let name = name.to_owned();
    move |source| Error::Client { name, source }
}
