//! Descriptors of the payload: the standard streams, a terminal, an engine's input and report. Nothing else gets in.
//!
//! ```text
//! 0 1 2   standard streams, or the terminal three times
//! 3 4     an engine process: its report, its input
//! 3 …     another one: what its creator wants it to have
//! then    until execve: the socket to the supervisor, the program, the landlock domain, the socket on which it waits to
//!         be started, the lock that says that it hasn't been
//! ```

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use brig_runtime::plan::{INPUT_FD, ProcessPlan, REPORT_FD};
use rustix::fs::{FileType, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, sys, wire};

/// The first descriptor that isn't a standard stream.
const FIRST: i32 = 3;
/// How many are needed until the program is executed.
const NEEDED: i32 = 5;

/// What an engine process gets beside its standard streams.
#[derive(Debug)]
pub(super) struct EngineEnds {
    report: OwnedFd,
    input: OwnedFd,
}

/// An engine's descriptors, and our end of its report.
pub(super) fn engine_ends(process: &ProcessPlan) -> Result<(Option<EngineEnds>, Option<OwnedFd>), Failure> {
    let Some(bytes) = &process.input else { return Ok((None, None)) };
    let input = rustix::fs::memfd_create("brig-input", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut at = 0;
    while at < bytes.0.len() {
        at += rustix::io::pwrite(&input, &bytes.0[at..], u64::try_from(at).map_err(std::io::Error::other)?)?;
    }
    rustix::fs::fcntl_add_seals(
        &input,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    let (ours, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((Some(EngineEnds { report, input }), Some(ours)))
}

impl Entry<'_> {
    /// The first descriptor that isn't the program's.
    fn first_needed(&self) -> i32 {
        let preserved = self.preserved.last().map_or(FIRST, |(number, _)| number + 1);
        preserved.max(INPUT_FD + 1)
    }

    /// Moves a descriptor out of the way of [`place`].
    pub(super) fn lift(&self, fd: &mut OwnedFd) -> Result<(), Failure> {
        *fd = sys::lift(fd.as_fd(), self.first_needed() + NEEDED)?;
        Ok(())
    }
}

/// Moves every descriptor that is still needed when [`place`] hands out numbers.
pub(super) fn lift_all(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let floor = entry.first_needed() + NEEDED;
    let mut fds = vec![&mut entry.wire, &mut entry.io.stdin, &mut entry.io.stdout, &mut entry.io.stderr];
    if let Some(engine) = &mut entry.engine {
        fds.extend([&mut engine.report, &mut engine.input]);
    }
    if let Some(release) = &mut entry.release {
        fds.extend(release.listener.iter_mut().chain(&mut release.lock));
    }
    fds.extend(&mut entry.program);
    fds.extend(entry.preserved.iter_mut().map(|(_, fd)| fd));
    for fd in fds {
        *fd = sys::lift(fd.as_fd(), floor)?;
    }
    Ok(())
}

/// A terminal for the payload, which is also its `/dev/console`. The slave is mounted through its descriptor, so that
/// nothing in the container decides what it is.
pub(super) fn make_terminal(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let Some(slave) = open_terminal(entry)? else { return Ok(()) };
    let console = "/dev/console";
    let root = entry.root()?;
    mounts::make_target(root, console, FileType::RegularFile).on(console)?;
    // Again, and through no link: what it leads to would be hidden by the terminal (CVE-2025-52565).
    let target = mounts::open_strictly(root, console).on(console)?;
    let bound = mounts::clone_of(slave.as_fd()).on(console)?;
    mounts::attach(bound.as_fd(), target.as_fd()).on(console)?;
    entry.terminal = Some(slave);
    Ok(())
}

/// A terminal for another program in the container.
pub(super) fn make_exec_terminal(entry: &mut Entry<'_>) -> Result<(), Failure> {
    entry.terminal = open_terminal(entry)?;
    Ok(())
}

/// A terminal from the container's own devpts: the master goes to the supervisor, the slave, which is got through the
/// master and not by a name, is the answer.
fn open_terminal(entry: &Entry<'_>) -> Result<Option<OwnedFd>, Failure> {
    let Some((rows, cols)) = entry.terminal_size else { return Ok(None) };
    let ptmx = "/dev/pts/ptmx";
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = mounts::open_in(entry.root()?, ptmx, flags).on(ptmx)?;
    if rustix::fs::fstatfs(&master)?.f_type != mounts::DEVPTS_MAGIC {
        return Err(Errno::NODEV).on(ptmx);
    }
    let mut slave = sys::terminal_of(master.as_fd()).on(ptmx)?;
    sys::set_size(&slave, rows, cols)?;
    entry.lift(&mut slave)?;
    wire::send_terminal(entry.wire.as_fd(), master.as_fd())?;
    Ok(Some(slave))
}

/// Gives descriptors their numbers.
pub(super) fn place(entry: &mut Entry<'_>) -> Result<(), Failure> {
    // What wasn't lifted lets go before its number becomes another's.
    entry.root = None;
    entry.cgroups.clear();
    if let Some(terminal) = &entry.terminal {
        sys::control_terminal(terminal.as_fd())?;
        for number in 0..3 {
            keep(terminal, number)?;
        }
    } else {
        for (number, fd) in [&entry.io.stdin, &entry.io.stdout, &entry.io.stderr].into_iter().enumerate() {
            keep(fd, i32::try_from(number).map_err(std::io::Error::other)?)?;
        }
    }
    for number in 0..3 {
        give_to_user(entry, number)?;
    }
    if let Some(engine) = &entry.engine {
        keep(&engine.report, REPORT_FD)?;
        keep(&engine.input, INPUT_FD)?;
    }
    for (number, fd) in &entry.preserved {
        keep(fd, *number)?;
    }
    Ok(())
}

/// Leaves a descriptor at `number` for the program.
fn keep(fd: &OwnedFd, number: i32) -> Result<(), Failure> {
    // It stays open for good: no owner.
    let _ = sys::place(fd.as_fd(), number, false)?.into_raw_fd();
    Ok(())
}

/// A user other than root can open `/dev/stdout` again only when the pipe or the terminal is its own. Regular files and
/// devices of the host keep their owners.
fn give_to_user(entry: &Entry<'_>, number: i32) -> Result<(), Failure> {
    let user = &entry.plan.process.user;
    let stream = sys::standard(number);
    let stat = rustix::fs::fstat(stream)?;
    let ours = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo => true,
        FileType::CharacterDevice => entry.terminal.is_some(),
        _ => false,
    };
    if !ours || stat.st_uid == user.uid {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(user.uid)), None) {
        // Somebody else's pipe, or a user that this namespace doesn't map: then it can only be used, not reopened.
        Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Closes everything but what has its number. The supervisor's descriptors are all here, and everything that was
/// opened on the way.
pub(super) fn close_others(entry: &mut Entry<'_>) -> Result<(), Failure> {
    // Owners let go before numbers are closed under them.
    entry.terminal = None;
    let mut number = entry.first_needed();
    let mut kept: Vec<i32> = entry.preserved.drain(..).map(|(number, _)| number).collect();
    if entry.engine.take().is_some() {
        kept = vec![REPORT_FD, INPUT_FD];
    }
    let mut hole = FIRST;
    for kept in kept.into_iter().chain([number]) {
        close(hole, kept - 1)?;
        hole = kept + 1;
    }
    let mut next = || {
        number += 1;
        number - 1
    };
    entry.wire = sys::place(entry.wire.as_fd(), next(), true)?;
    entry.program = replace(entry.program.take(), next())?;
    entry.domain = replace(entry.domain.take(), next())?;
    let (listener, lock) = match &mut entry.release {
        Some(release) => (release.listener.take(), release.lock.take()),
        None => (None, None),
    };
    let (listener, lock) = (replace(listener, next())?, replace(lock, next())?);
    if let Some(release) = &mut entry.release {
        (release.listener, release.lock) = (listener, lock);
    }
    sys::close_range(next().unsigned_abs(), u32::MAX)?;
    Ok(())
}

/// Moves a descriptor down to its number, or sees to it that there is none.
fn replace(fd: Option<OwnedFd>, number: i32) -> Result<Option<OwnedFd>, Failure> {
    match fd {
        Some(fd) => Ok(Some(sys::place(fd.as_fd(), number, true)?)),
        None => close(number, number).map(|()| None),
    }
}

fn close(first: i32, last: i32) -> Result<(), Failure> {
    if first <= last {
        sys::close_range(first.unsigned_abs(), last.unsigned_abs())?;
    }
    Ok(())
}
