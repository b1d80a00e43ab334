//! A container, or a process in one, for a runtime that leaves no supervisor behind: `brig_runtime::bundle`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use brig_runtime::bundle::{BundleMessage, BundleRequest, COMMIT, START};
use brig_runtime::packets::{self, MAX_FDS};
use brig_runtime::protocol::StepError;
use brig_runtime::record::ProcessId;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::enter::failure::{On, Step};
use crate::enter::{self, ChildIo, Making, Owner, Payload, Target};

/// The largest request that is read, in bytes.
const MAX_REQUEST: u64 = 16 * 1024 * 1024;
/// How many may be about to start a container at once.
const BACKLOG: i32 = 4;

/// Does what the request that comes over descriptor 1 says, and returns the exit status.
pub(crate) fn run() -> libc::c_int {
    let Ok(control) = enter::place::connection().map(OwnedFd::from) else { return libc::EXIT_FAILURE };
    let mut runtime = Runtime { control };
    match work(&mut runtime) {
        Ok(()) => libc::EXIT_SUCCESS,
        Err(error) => {
            // Who asked may be gone: then there is nobody to tell.
            let _ = runtime.say(&BundleMessage::Failed(error), None);
            libc::EXIT_FAILURE
        }
    }
}

fn work(runtime: &mut Runtime) -> Result<(), StepError> {
    let (request, io, preserved) = runtime.request()?;
    let preserved = request.preserved.iter().copied().zip(preserved).collect();
    let lock = request.lock.as_deref().map(take_lock).transpose().step("take the lock")?;
    let listener = request.wait_at.as_deref().map(bind_at).transpose().step("make the socket")?;
    let making = Making::new(&request.payload, request.tty, io).released(preserved, listener, lock);
    let made = match request.target {
        None => made_whole(making, &request, runtime),
        Some(target) => entered(making, target, runtime),
    }?;
    runtime.say(&BundleMessage::Done, None)?;
    if request.follow { follow(&made, runtime) } else { Ok(()) }
}

/// Nothing is left of a container that can't be made.
fn made_whole(
    making: Making<'_>,
    request: &BundleRequest,
    runtime: &mut Runtime,
) -> Result<Payload, StepError> {
    enter::make(making, Some(runtime)).inspect_err(|_| {
        // The first error is the one to tell; the runtime tries again when the container is deleted.
        let _ = enter::remove_groups(&request.payload);
    })
}

fn entered(making: Making<'_>, target: ProcessId, runtime: &mut Runtime) -> Result<Payload, StepError> {
    let pid = Pid::from_raw(target.pid).ok_or(Errno::SRCH).step("find the container")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).step("find the container")?;
    // The descriptor can't come to mean another process; that it means the right one is looked at now.
    if !target.exists() {
        return Err(Errno::SRCH).step("find the container");
    }
    enter::enter(making, Target { pid: target.pid, pidfd: pidfd.as_fd() }, runtime)
}

fn follow(payload: &Payload, runtime: &Runtime) -> Result<(), StepError> {
    let wait = || waitid(WaitId::PidFd(payload.pidfd.as_fd()), WaitIdOptions::EXITED);
    let status = rustix::io::retry_on_intr(wait).step("wait for the program")?;
    let (code, signal) = match &status {
        Some(status) => (status.exit_status(), status.terminating_signal()),
        None => (None, None),
    };
    runtime.say(&BundleMessage::Ended { code, signal }, None)
}

fn read_request(file: OwnedFd) -> io::Result<BundleRequest> {
    let file = File::from(file);
    let length = file.metadata()?.len();
    if length > MAX_REQUEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    BundleRequest::decode(&bytes)
}

/// Locked for as long as the payload has it open, which it is the last to have.
fn take_lock(path: &Path) -> Result<OwnedFd, enter::failure::Failure> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).on(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).on(path)?;
    Ok(file)
}

/// The path may be longer than a socket's address: its directory is opened, and has a short name in `/proc`.
fn bind_at(path: &Path) -> Result<OwnedFd, enter::failure::Failure> {
    let (directory, name) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL).on(path)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty()).on(path)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    let short = Path::new("/proc/self/fd").join(number.to_string()).join(name);
    let address = SocketAddrUnix::new(&short).on(path)?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).on(path)?;
    bind(&socket, &address).on(path)?;
    listen(&socket, BACKLOG).on(path)?;
    Ok(socket)
}

/// The process that has asked.
struct Runtime {
    control: OwnedFd,
}

impl Runtime {
    fn say(&self, message: &BundleMessage, fd: Option<&OwnedFd>) -> Result<(), StepError> {
        let json = serde_json::to_vec(message).map_err(io::Error::from).step("answer the runtime")?;
        let fd = fd.map(AsFd::as_fd);
        packets::send(&self.control, &json, fd.as_slice()).step("answer the runtime")
    }

    /// What is to be done, and the payload's descriptors.
    fn request(&self) -> Result<(BundleRequest, ChildIo, Vec<OwnedFd>), StepError> {
        let packet = packets::receive(&self.control, MAX_FDS).step("hear the runtime")?;
        let mut fds = packet.fds.into_iter();
        let mut next = || fds.next().ok_or(Errno::PROTO).step("hear the runtime");
        if packet.bytes != START {
            return Err(Errno::PROTO).step("hear the runtime");
        }
        let request = read_request(next()?).step("read the request")?;
        let io = ChildIo { stdin: next()?, stdout: next()?, stderr: next()? };
        Ok((request, io, fds.collect()))
    }
}

impl Owner for Runtime {
    fn ready(&mut self, pid: i32, terminal: Option<OwnedFd>) -> Result<(), StepError> {
        if let Some(terminal) = &terminal {
            self.say(&BundleMessage::Terminal, Some(terminal))?;
        }
        let payload = ProcessId::of(pid).step("find the payload in /proc")?;
        self.say(&BundleMessage::Ready { payload }, None)?;
        match packets::receive(&self.control, 0).step("hear the runtime")?.bytes.as_slice() == COMMIT {
            true => Ok(()),
            false => Err(Errno::PIPE).step("hear the runtime"),
        }
    }
}
