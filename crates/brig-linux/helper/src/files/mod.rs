//! One operation on files, for whoever started the helper with an argument: a look, a tar out, a tar in, a comparison.
//!
//! ```text
//! descriptor 0: the plan ─▶ enter::place: into the tree ─▶ operation ─▶ descriptor 1: frames, the last one its end
//! ```
//!
//! [`place`] is the first wall: this process's root is the tree. The second: every file is a
//! descriptor before anything is known of it, opened without following a link in the last component; what was looked at
//! is what is read. Nobody who changes names meanwhile makes it another one.

mod archive;
mod changes;
pub(crate) mod extract;
mod frames;
mod lookup;
mod node;
mod tar;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use brig_runtime::files::{FilesEnd, FilesFailure, FilesPlan, Operation, Place};
use brig_runtime::protocol::{StepError, write_message};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::enter::place::{self, Tree};

/// The result of what happens in a tree.
type Result<T> = std::result::Result<T, FilesFailure>;

/// The longest path that is read or listed, in bytes: the kernel's, with its end.
const MAX_PATH: usize = 4095;
/// The largest plan that is read, in bytes.
const MAX_PLAN: u64 = 16 * 1024 * 1024;

/// Does what the plan on descriptor 0 says, and returns the exit status.
pub(crate) fn run() -> libc::c_int {
    let Ok(mut peer) = place::connection() else { return libc::EXIT_FAILURE };
    let plan = read_plan().map_err(|error| failed("read the plan", b"", error));
    let end = plan.and_then(|plan| work(&plan)).unwrap_or_else(FilesEnd::Failed);
    // Who asked may be gone: then there is nobody to tell.
    match write_message(&mut peer, &end) {
        Ok(()) => libc::EXIT_SUCCESS,
        Err(_) => libc::EXIT_FAILURE,
    }
}

fn read_plan() -> io::Result<FilesPlan> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let length = file.metadata()?.len();
    if length > MAX_PLAN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_exact_at(&mut bytes, 0)?;
    FilesPlan::decode(&bytes)
}

fn work(plan: &FilesPlan) -> Result<FilesEnd> {
    // Modes are what is asked for.
    rustix::process::umask(Mode::empty());
    raise_open_files();
    let tree = place::enter(&plan.place).map_err(in_step)?;
    let done = |unset| FilesEnd::Done { unset };
    match &plan.operation {
        Operation::Stat { path } => lookup::stat(&tree, path).map(FilesEnd::Found),
        Operation::Read { path, name } => {
            archive::read(&tree, path, name, frames::output()).map(|()| done(0))
        }
        Operation::Tree => archive::whole(&tree, frames::output()).map(|()| done(0)),
        Operation::Write { path, owner, follow } => {
            extract::write(&tree, path, *owner, *follow, frames::Input::new()).map(done)
        }
        Operation::Changes | Operation::Layer => changes(&tree, plan).map(|()| done(0)),
    }
}

fn changes(tree: &Tree, plan: &FilesPlan) -> Result<()> {
    let Place::Layers { mount_points, user_namespace, .. } = &plan.place else {
        return Err(problem("compare layers", b"", "this isn't a stack of layers"));
    };
    let layers = changes::Layers::new(tree, mount_points, user_namespace.is_some());
    match plan.operation {
        Operation::Layer => layers.write(frames::output()),
        _ => layers.list(frames::output()),
    }
}

/// A deep tree is walked with a descriptor a level. Where the limit can't be raised, a deep one fails by itself.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn in_step(error: StepError) -> FilesFailure {
    FilesFailure { step: error.step, subject: error.subject, errno: error.errno, problem: None }
}

/// What the kernel refused, or what was wrong with what came.
fn failed(step: &str, subject: &[u8], error: impl Into<io::Error>) -> FilesFailure {
    let error = error.into();
    let errno = error.raw_os_error();
    let problem = errno.is_none().then(|| error.to_string());
    FilesFailure { step: step.into(), subject: shown(subject), errno: errno.unwrap_or_default(), problem }
}

/// What brig refuses.
fn problem(step: &str, subject: &[u8], problem: impl Into<String>) -> FilesFailure {
    FilesFailure { step: step.into(), subject: shown(subject), errno: 0, problem: Some(problem.into()) }
}

fn shown(subject: &[u8]) -> Option<String> {
    (!subject.is_empty()).then(|| String::from_utf8_lossy(subject).into_owned())
}
