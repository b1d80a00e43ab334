//! The helper, while it makes a container or a process in one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use brig_runtime::bundle::{BUNDLE_ARGUMENT, BundleMessage, BundleRequest, COMMIT, START};
use brig_runtime::hooks::HookError;
use brig_runtime::packets;
use brig_runtime::record::ProcessId;

use super::BundleError;
use crate::helper::{Helper, HelperError, start};

/// A process that was made.
#[derive(Debug)]
pub struct Made {
    /// Its pid.
    pub process: ProcessId,
    /// The master of its terminal, unless a console socket has got it.
    pub terminal: Option<OwnedFd>,
    /// Hooks after the start that have failed, which changes nothing else.
    pub failed_hooks: Vec<HookError>,
    /// Capabilities of the spec that nobody knows, and that it doesn't have.
    pub unknown_capabilities: Vec<String>,
    /// The helper, which waits for the process's end.
    follower: Option<Maker>,
}

impl Made {
    /// Waits for the end of a process that was made in the foreground: its exit code, or 128 and the signal that ended
    /// it.
    ///
    /// # Errors
    /// [`BundleError::Helpless`]: the helper was killed, or the process wasn't made in the foreground.
    pub fn wait(&mut self) -> Result<u8, BundleError> {
        let follower = self.follower.as_ref().ok_or_else(|| helpless(io::ErrorKind::NotConnected))?;
        match hear(&follower.control)?.0 {
            BundleMessage::Ended { code: Some(code), .. } => Ok(u8::try_from(code & 0xff).unwrap_or(u8::MAX)),
            BundleMessage::Ended { signal: Some(signal), .. } => {
                Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            BundleMessage::Failed(source) => Err(BundleError::Step { what: "run the program", source }),
            _ => Err(helpless(io::ErrorKind::InvalidData)),
        }
    }
}

/// What is done with a process that is ready, before it outlives the helper.
pub(super) type Ready<'a> =
    dyn FnMut(ProcessId, Option<OwnedFd>) -> Result<Option<OwnedFd>, BundleError> + 'a;

/// A helper that is about to make a process, or follows it. Dropping it ends it, and what it has made by then but not
/// been told to leave alone.
#[derive(Debug)]
pub(super) struct Maker {
    child: Child,
    control: OwnedFd,
}

impl Maker {
    /// Starts the helper, which gets ready while its caller finds out what it is to do.
    pub(super) fn start(helper: &Helper) -> Result<Self, BundleError> {
        let (control, theirs) = packets::pair().map_err(HelperError::seal("make a pair of sockets"))?;
        let mut command = helper.command();
        command.arg(BUNDLE_ARGUMENT).stdin(Stdio::null()).stdout(theirs).stderr(Stdio::null());
        Ok(Self { child: start(command)?, control })
    }

    /// Has a process made, with these descriptors beside its standard streams.
    pub(super) fn make(
        self,
        request: &BundleRequest,
        preserved: &Preserved,
        what: &'static str,
        ready: &mut Ready<'_>,
    ) -> Result<Made, BundleError> {
        let bytes = request.encode().map_err(HelperError::seal("encode the request"))?;
        let bytes = Helper::plan_file(&bytes).map_err(HelperError::seal("write the request"))?;
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let mut fds = vec![bytes.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        fds.extend(preserved.copies.iter().map(AsFd::as_fd));
        self.send(START, &fds)?;
        let (process, terminal) = self.hear_to_the_end(what, ready)?;
        // When the helper is gone, whoever adopts orphans is the process's parent.
        let follower = request.follow.then_some(self);
        Ok(Made { process, terminal, failed_hooks: Vec::new(), unknown_capabilities: Vec::new(), follower })
    }

    fn hear_to_the_end(
        &self,
        what: &'static str,
        ready: &mut Ready<'_>,
    ) -> Result<(ProcessId, Option<OwnedFd>), BundleError> {
        let (mut terminal, mut process) = (None, None);
        loop {
            match hear(&self.control)? {
                (BundleMessage::Terminal, master) => terminal = master,
                (BundleMessage::Ready { payload }, _) => {
                    terminal = ready(payload, terminal.take())?;
                    process = Some(payload);
                    self.send(COMMIT, &[])?;
                }
                (BundleMessage::Done, _) => {
                    let process = process.ok_or_else(|| helpless(io::ErrorKind::InvalidData))?;
                    return Ok((process, terminal));
                }
                (BundleMessage::Failed(source), _) => return Err(BundleError::Step { what, source }),
                (BundleMessage::Ended { .. }, _) => return Err(helpless(io::ErrorKind::InvalidData)),
            }
        }
    }

    fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), BundleError> {
        let sent = packets::send(&self.control, bytes, fds);
        sent.map_err(|source| BundleError::Helpless { source })
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        // It ends by itself once it has said all, or nobody listens.
        let _ = rustix::net::shutdown(&self.control, rustix::net::Shutdown::Both);
        // It is this process's child, and nobody else waits for it.
        let _ = self.child.wait();
    }
}

fn hear(control: &OwnedFd) -> Result<(BundleMessage, Option<OwnedFd>), BundleError> {
    let source = |source: io::Error| BundleError::Helpless { source };
    let packet = packets::receive(control, 1).map_err(source)?;
    if packet.bytes.is_empty() {
        return Err(helpless(io::ErrorKind::UnexpectedEof));
    }
    let message = serde_json::from_slice(&packet.bytes).map_err(|error| source(error.into()))?;
    Ok((message, packet.fds.into_iter().next()))
}

pub(super) fn helpless(kind: io::ErrorKind) -> BundleError {
    BundleError::Helpless { source: kind.into() }
}

/// Hands the master of a terminal to whoever listens at a console socket, as runc does: one message, whose text nobody
/// reads.
pub(super) fn send_console(socket: &Path, master: &OwnedFd) -> Result<(), BundleError> {
    let failed = BundleError::io("send the terminal to", socket);
    let sent = UnixStream::connect(socket)
        .and_then(|stream| packets::send(&stream, b"/dev/ptmx", &[master.as_fd()]));
    sent.map_err(failed)
}

/// Descriptors of this process's that the program is to have, closed in every other program that is executed.
#[derive(Debug, Default)]
pub(super) struct Preserved {
    /// Their numbers, from 3 up.
    pub(super) numbers: Vec<i32>,
    copies: Vec<OwnedFd>,
}

/// Those from 3 up. What isn't open stays a hole, as with runc's relatives: callers count on numbers, and not on what
/// they have never opened.
pub(super) fn preserved(count: u32) -> Result<Preserved, BundleError> {
    if count > MAX_PRESERVED {
        let reason = format!("{count} descriptors are to be kept: {MAX_PRESERVED} can be");
        return Err(BundleError::Usage { reason });
    }
    let mut preserved = Preserved::default();
    let end = i32::try_from(count).unwrap_or_default() + 3;
    for number in 3..end {
        // Above them all: a copy must not fill a hole among them.
        let path = || Path::new("/proc/self/fd").join(number.to_string());
        let copy = crate::sys::duplicate_given(number, end);
        if let Some(copy) = copy.map_err(|source| BundleError::io("keep", &path())(source))? {
            preserved.copies.push(copy);
            preserved.numbers.push(number);
        }
    }
    Ok(preserved)
}

/// As many as go beside one message, with the request and the standard streams.
pub(super) const MAX_PRESERVED: u32 = 249;

/// Writes a pid to a file that others wait for.
pub(super) fn write_pid(path: &Path, process: ProcessId) -> Result<(), BundleError> {
    let written = super::record::write_whole(path, process.pid.to_string().as_bytes());
    written.map_err(BundleError::io("write", path))
}
