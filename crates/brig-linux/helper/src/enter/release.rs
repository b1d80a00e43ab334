//! What a payload without a supervisor does before its program: it runs hooks, says that it is made, outlives the helper,
//! and waits to be started.

use std::os::fd::{AsFd, OwnedFd};

use brig_runtime::bundle::GO;
use brig_runtime::hooks::{self, Hook};
use brig_runtime::packets;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::child::Entry;
use super::failure::{Failure, On};
use super::wire::{self, Asked};
use super::{identity, sys};

/// What a payload needs that outlives the helper.
#[derive(Debug)]
pub(super) struct Release {
    /// The socket on which it is started. Without one it goes on at once.
    pub(super) listener: Option<OwnedFd>,
    /// Locked until the program is executed.
    pub(super) lock: Option<OwnedFd>,
}

/// The runtime's hooks in its namespaces, then those in the container's: everything is mounted, and the host's files
/// are in sight.
pub(super) fn run_hooks(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let hooks = &entry.plan.hooks;
    if !hooks.are_none() {
        entry.host_pid = Some(wire::ask(entry.wire.as_fd(), Asked::Hooks)?);
        run_all(entry, &hooks.create_container, "creating")?;
    }
    Ok(())
}

/// The hooks in the container.
pub(super) fn run_start_hooks(entry: &mut Entry<'_>) -> Result<(), Failure> {
    run_all(entry, &entry.plan.hooks.start_container, "created")
}

fn run_all(entry: &Entry<'_>, hooks: &[Hook], status: &str) -> Result<(), Failure> {
    let about = &entry.plan.hooks.about;
    let state = about.state(status, entry.host_pid);
    // The bundle is the host's, and out of sight in the container.
    let directory = if status == "created" { std::path::Path::new("/") } else { &about.bundle };
    hooks.iter().try_for_each(|hook| Ok(hooks::run(hook, directory, &state)?))
}

/// The last walls of a payload whose filter has a listener: whoever created it gets that, and not whoever starts it. The
/// wait for the start is the listener's to answer for then, if the filter says so.
pub(super) fn be_guarded(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let waits = entry.release.as_ref().is_some_and(|release| release.listener.is_some());
    if waits && entry.plan.process.listener.is_some() {
        identity::no_new_privileges(entry)?;
        identity::set_capabilities_early(entry)?;
        identity::load_seccomp(entry)?;
        identity::set_capabilities_late(entry)?;
        entry.guarded = true;
    }
    Ok(())
}

/// What a payload does that hasn't done so in [`be_guarded`].
pub(super) fn unless_guarded(
    entry: &mut Entry<'_>,
    step: fn(&mut Entry<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if entry.guarded { Ok(()) } else { step(entry) }
}

/// Says that everything is made, and lets go of the helper once it is written down.
pub(super) fn be_released(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let Some(release) = &mut entry.release else { return Ok(()) };
    wire::ask(entry.wire.as_fd(), Asked::Ready)?;
    sys::prctl(libc::PR_SET_PDEATHSIG, 0, 0)?;
    if let Some(listener) = release.listener.take() {
        // The first process of a pid namespace gets no signal that it doesn't handle, and may wait here for ever.
        sys::end_on_signals()?;
        // The helper hears that this end of its socket is gone.
        entry.wire = listener;
        entry.wire = wait_to_be_started(&entry.wire).on("the socket of the container")?;
    }
    Ok(())
}

/// Whoever connects and says so starts it; whoever goes away again doesn't.
fn wait_to_be_started(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    loop {
        let connection = match accept_with(listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            accepted => accepted?,
        };
        match packets::receive(&connection, 0) {
            Ok(packet) if packet.bytes == GO => return Ok(connection),
            // Somebody else may mean it.
            _ => drop(connection),
        }
    }
}
