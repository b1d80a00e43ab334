//! The program: found, its directory made, executed.

use std::ffi::CString;
use std::os::fd::AsFd;

use brig_runtime::exit::{CODE_ENGINE, CODE_NOT_FOUND, CODE_NOT_RUNNABLE};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, open_path, sys};

/// Where programs are looked for when the environment doesn't say; docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Opens a program of the host, to be executed when the host is out of sight.
pub(super) fn open_host_program(entry: &mut Entry<'_>) -> Result<(), Failure> {
    if let Some(path) = &entry.plan.process.program {
        let mut fd = open_path(path)?;
        entry.lift(&mut fd)?;
        entry.program = Some(fd);
    }
    Ok(())
}

/// Makes the working directory when it is missing, as docker does.
pub(super) fn make_working_directory(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let cwd = &entry.plan.process.cwd;
    match mounts::make_target(entry.root()?, cwd, FileType::Directory) {
        // A root that can't be written: then changing to the directory says that it is missing.
        Ok(_) | Err(Errno::ROFS | Errno::ACCESS) => Ok(()),
        Err(errno) => Err(errno).on(cwd),
    }
}

/// Changes to the working directory, as the container sees it.
pub(super) fn change_directory(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let cwd = &entry.plan.process.cwd;
    rustix::process::chdir(cwd.as_str()).on(cwd)?;
    // A directory that isn't below the root has a name that doesn't begin with a slash (CVE-2024-21626).
    let name = rustix::process::getcwd(Vec::new()).on(cwd)?;
    if name.as_bytes().starts_with(b"/") { Ok(()) } else { Err(Errno::ACCESS).on(cwd) }
}

/// Becomes the program.
pub(super) fn execute(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let process = &entry.plan.process;
    let args = c_strings(&process.args)?;
    let env = c_strings(&process.env)?;
    let name = process.args.first().ok_or(Errno::INVAL)?;
    let errno = if let Some(program) = &entry.program {
        sys::execute_descriptor(program.as_fd(), &args, &env)
    } else {
        execute_by_name(name, &process.env, &args, &env)?
    };
    Err(cannot_execute(name, errno.raw_os_error().unwrap_or(libc::EINVAL)))
}

/// Looks a name without a slash up in the `PATH` of the container, as execvp does: what can't be executed is passed
/// over, and remembered when nothing better is found.
fn execute_by_name(
    name: &str,
    environment: &[String],
    args: &[CString],
    env: &[CString],
) -> Result<std::io::Error, Failure> {
    if name.is_empty() {
        // No directory of PATH has it.
        return Ok(Errno::NOENT.into());
    }
    if name.contains('/') {
        return Ok(sys::execute(&c_string(name)?, args, env));
    }
    let path = environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let mut remembered = Errno::NOENT;
    for directory in path.unwrap_or(DEFAULT_PATH).split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let error = sys::execute(&c_string(&format!("{directory}/{name}"))?, args, env);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => remembered = Errno::ACCESS,
            _ => return Ok(error),
        }
    }
    Ok(remembered.into())
}

fn cannot_execute(name: &str, errno: i32) -> Failure {
    let code = match errno {
        libc::ENOENT | libc::ENOTDIR => CODE_NOT_FOUND,
        libc::EACCES
        | libc::EPERM
        | libc::ENOEXEC
        | libc::EISDIR
        | libc::ELOOP
        | libc::ELIBBAD
        | libc::EINVAL
        | libc::ETXTBSY => CODE_NOT_RUNNABLE,
        _ => CODE_ENGINE,
    };
    Failure { subject: Some(name.to_owned()), errno, code }
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>, Failure> {
    strings.iter().map(|string| c_string(string)).collect()
}

fn c_string(string: &str) -> Result<CString, Failure> {
    CString::new(string).map_err(|_| Failure::new(Errno::INVAL)).on(string)
}
