//! The listener of a seccomp filter goes to whoever is to answer, over a socket of the host.
//!
//! The process that loads the filter gives it to whoever started it (the supervisor, or who starts a container that
//! waits), which knows whom it is for. Where the filter asks about sending, the process says the number of its
//! descriptor, of which a copy is taken.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::json;

use crate::packets;
use crate::plan::ListenerPlan;

/// How long whoever listens may take to accept and to read.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to whoever is to answer.
#[derive(Debug)]
pub struct Listener<'a> {
    plan: &'a ListenerPlan,
    /// The container's first process, when that is another one.
    payload: Option<i32>,
    socket: OwnedFd,
}

impl<'a> Listener<'a> {
    /// Connects. `payload` is the container's first process, when the filter is of another one.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(plan: &'a ListenerPlan, payload: Option<i32>) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
        connect(&socket, &SocketAddrUnix::new(&plan.path)?)?;
        Ok(Self { plan, payload, socket })
    }

    /// Sends the listener of the filter of the process of this pid.
    ///
    /// # Errors
    /// Whoever listens has gone.
    pub fn send(self, pid: i32, filter: BorrowedFd<'_>) -> io::Result<()> {
        let state = state(self.plan, pid, self.payload).to_string();
        // A stream takes as much as it has room for, and a state has annotations.
        let mut rest = state.as_bytes();
        let first = rest.len().min(packets::MAX_PACKET);
        packets::send(&self.socket, &rest[..first], &[filter])?;
        rest = &rest[first..];
        while !rest.is_empty() {
            let sent = rustix::net::send(&self.socket, rest, rustix::net::SendFlags::NOSIGNAL)?;
            rest = &rest[sent..];
        }
        Ok(())
    }
}

/// A copy of a descriptor of another process, by its number there.
///
/// # Errors
/// It has none of that number, or may not be looked into.
pub fn take(pid: i32, number: i32) -> io::Result<OwnedFd> {
    let process = pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    Ok(pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?)
}

/// The specification's container process state.
fn state(plan: &ListenerPlan, pid: i32, payload: Option<i32>) -> serde_json::Value {
    let annotations: serde_json::Map<_, _> =
        plan.annotations.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let mut state = json!({
        "ociVersion": plan.version,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": {
            "ociVersion": plan.version,
            "id": plan.id,
            "status": if payload.is_some() { "running" } else { "creating" },
            "pid": payload.unwrap_or(pid),
            "bundle": plan.bundle,
            "annotations": annotations,
        },
    });
    if let Some(metadata) = &plan.metadata {
        state["metadata"] = metadata.clone().into();
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_who_asks() {
        let plan = ListenerPlan {
            id: "c".into(),
            version: "1.3.0".into(),
            bundle: "/b".into(),
            metadata: Some("m".into()),
            annotations: vec![("a".into(), "b".into())],
            ..ListenerPlan::default()
        };
        let first = state(&plan, 7, None);
        assert_eq!((&first["pid"], &first["state"]["pid"]), (&json!(7), &json!(7)));
        assert_eq!((&first["state"]["status"], &first["fds"]), (&json!("creating"), &json!(["seccompFd"])));
        assert_eq!(first["metadata"], "m");
        let second = state(&ListenerPlan { metadata: None, ..plan }, 9, Some(7));
        assert_eq!((&second["pid"], &second["state"]["pid"]), (&json!(9), &json!(7)));
        assert_eq!((&second["state"]["status"], second.get("metadata")), (&json!("running"), None));
    }
}
