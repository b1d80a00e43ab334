//! Waits for changes in the log's directory: of the log, and of the record, which says that the container ended.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::LogError;

/// How often a follower looks whether the container still runs when nothing happens in its directory: the end of a
/// supervisor that was killed is no event there.
const LOOK: Duration = Duration::from_secs(1);

/// A watched log.
pub(super) struct Watch<'a> {
    path: &'a Path,
    inotify: Inotify,
}

impl<'a> Watch<'a> {
    /// From here on every change is an event.
    pub(super) fn new(path: &'a Path) -> Result<Self, LogError> {
        let failed = |error: Errno| LogError::Watch { path: path.into(), source: error.into() };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let events = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        inotify.add_watch(dir, events).map_err(failed)?;
        Ok(Self { path, inotify })
    }

    /// Waits for the next change, or for a short time.
    pub(super) fn wait(&self) -> Result<(), LogError> {
        let failed = |error: Errno| LogError::Watch { path: self.path.into(), source: error.into() };
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(failed(error)),
        }
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }
}
