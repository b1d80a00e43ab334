//! The first process of a container with `--init`: starts the program, passes signals on to it, and reaps the orphans that
//! come to it, which few programs expect to have to do.
//!
//! It is this program again, executed under the name [`NAME`] from where no container can write to it. By then it is in
//! the container, behind its walls, with nothing of the supervisor's but the streams.

#![allow(unsafe_code, reason = "system calls; each block carries its proof")]

use std::ffi::{CString, OsString};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStringExt;

use brig_runtime::exit::{CODE_ENGINE, CODE_NOT_FOUND, CODE_NOT_RUNNABLE};

/// The name under which this program is an init.
pub(crate) const NAME: &str = "brig-init";

/// Runs `args` to its end. Returns the exit status: its own, or 128 and the signal that ended it.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> libc::c_int {
    let args = args.map(|arg| CString::new(arg.into_vec())).collect::<Result<Vec<_>, _>>();
    let ended = match args {
        Ok(args) if !args.is_empty() => start(&args).and_then(|(child, signals)| look_after(child, &signals)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    ended.unwrap_or_else(|error| complain("can't look after the program", &error, CODE_ENGINE.into()))
}

fn complain(what: &str, error: &io::Error, code: libc::c_int) -> libc::c_int {
    use std::io::Write;
    // Without a standard error there is nobody to tell; the code says it, too.
    let _ = writeln!(io::stderr(), "{NAME}: {what}: {error}");
    code
}

/// Starts the program as a child, and blocks all signals for this process.
fn start(args: &[CString]) -> io::Result<(libc::pid_t, libc::sigset_t)> {
    // SAFETY: both sets are initialised before they are used, and live through the calls.
    let (all, before) = unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        check(libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before))?;
        (all, before)
    };
    // SAFETY: this process has one thread, so that the child may do all that its parent may.
    match check(unsafe { libc::fork() })? {
        0 => become_program(args, &before),
        child => Ok((child, all)),
    }
}

/// In the child: a process group of its own, in the foreground of the terminal if there is one, then the program.
fn become_program(args: &[CString], signals: &libc::sigset_t) -> ! {
    let mut pointers: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: `signals` is a whole set; `pointers` ends with a null, and its strings live until the program is executed or
    // this process ends; the other calls take no memory.
    unsafe {
        libc::setpgid(0, 0);
        // Without a terminal it is ENOTTY. All signals are blocked, SIGTTOU, which would stop this process, too.
        libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpgrp());
        libc::sigprocmask(libc::SIG_SETMASK, signals, std::ptr::null_mut());
        libc::execvp(pointers[0], pointers.as_ptr());
    }
    let error = io::Error::last_os_error();
    let code = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => CODE_NOT_FOUND,
        _ => CODE_NOT_RUNNABLE,
    };
    let code = complain(&format!("can't execute `{}`", args[0].to_string_lossy()), &error, code.into());
    // SAFETY: ends this process and nothing else; nothing is to be taken down.
    unsafe { libc::_exit(code) }
}

/// Passes signals on, and reaps, until the program has ended.
fn look_after(child: libc::pid_t, signals: &libc::sigset_t) -> io::Result<libc::c_int> {
    loop {
        // SAFETY: `signals` is a whole set; no siginfo is asked for.
        match check(unsafe { libc::sigwaitinfo(signals, std::ptr::null_mut()) }) {
            Ok(libc::SIGCHLD) => {
                if let Some(status) = reap(child)? {
                    return Ok(status);
                }
            }
            Ok(signal) => {
                // SAFETY: takes no memory. ESRCH: the child has ended, and the next signal says so.
                unsafe { libc::kill(child, signal) };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps all that have ended. Says how the program did, if it was among them.
fn reap(child: libc::pid_t) -> io::Result<Option<libc::c_int>> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        match check(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) }) {
            Ok(0) => return Ok(ended),
            Ok(pid) if pid == child => ended = Some(exit_code(status)),
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(ended),
            Err(error) => return Err(error),
        }
    }
}

fn exit_code(status: libc::c_int) -> libc::c_int {
    if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_codes() {
        assert_eq!(exit_code(0x0300), 3);
        assert_eq!(exit_code(libc::SIGTERM), 143);
    }
}
