//! The program: found, its directory made, executed.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use brig_runtime::exit::{CODE_ENGINE, CODE_NOT_FOUND, CODE_NOT_RUNNABLE};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::child::Entry;
use super::failure::{Failure, On};
use super::{mounts, open_path, sys};

/// Where programs are looked for when the environment doesn't say; docker's.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a list of users is read, in bytes.
const MAX_USERS: u64 = 1024 * 1024;

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
    let mut env = c_strings(&process.env)?;
    if entry.release.is_some() && !process.env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(c_string(&format!("HOME={}", home_of(process.user.uid)))?);
    }
    let name = process.args.first().ok_or(Errno::INVAL)?;
    let errno = if let Some(program) = &entry.program {
        sys::execute_descriptor(program.as_fd(), &args, &env)
    } else {
        execute_by_name(name, &process.env, &args, &env)?
    };
    Err(cannot_execute(name, errno.raw_os_error().unwrap_or(libc::EINVAL)))
}

/// Where a user is at home, by the container's list of users: callers of runc leave that to it.
fn home_of(uid: u32) -> String {
    let home = |users: &str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':').skip(2);
            let found = fields.next()?.parse() == Ok(uid);
            fields.nth(2).filter(|home| found && !home.is_empty()).map(str::to_owned)
        })
    };
    read_users().as_deref().and_then(home).unwrap_or_else(|| "/".to_owned())
}

/// A list of users that isn't there, isn't a file or is too large is none.
fn read_users() -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open("/etc/passwd", flags, Mode::empty()).ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::new();
    file.take(MAX_USERS).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether there is a program to execute, before somebody is told that everything is made.
pub(super) fn find(entry: &mut Entry<'_>) -> Result<(), Failure> {
    let process = &entry.plan.process;
    if entry.release.is_none() || entry.program.is_some() {
        return Ok(());
    }
    let name = process.args.first().ok_or(Errno::INVAL)?;
    let mut remembered = Errno::NOENT;
    for path in candidates(name, &process.env) {
        match is_executable(&path) {
            Ok(()) => return Ok(()),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => remembered = errno,
        }
    }
    Err(cannot_execute(name, remembered.raw_os_error()))
}

/// As this process's user; root may execute what anybody may.
fn is_executable(path: &str) -> Result<(), Errno> {
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    match FileType::from_raw_mode(rustix::fs::stat(path)?.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}

/// Where a program may be: a name without a slash is looked up in the `PATH` of the container.
fn candidates(name: &str, environment: &[String]) -> Vec<String> {
    if name.is_empty() {
        // No directory of PATH has it.
        return Vec::new();
    }
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = environment.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let directories = path.unwrap_or(DEFAULT_PATH).split(':');
    directories
        .map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory }))
        .collect()
}

/// As execvp does: what can't be executed is passed over, and remembered when nothing better is found.
fn execute_by_name(
    name: &str,
    environment: &[String],
    args: &[CString],
    env: &[CString],
) -> Result<std::io::Error, Failure> {
    let mut remembered = Errno::NOENT;
    for path in candidates(name, environment) {
        let error = sys::execute(&c_string(&path)?, args, env);
        match error.raw_os_error() {
            _ if path == name => return Ok(error),
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
