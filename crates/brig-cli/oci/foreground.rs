//! A container or a process in the foreground: signals are passed on, and a terminal is this one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use brig_engine::bundle::{BundleError, Made};
use rustix::termios;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals as Iterator;

use crate::terminal;

/// What the program gets in this process's place.
const FORWARDED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH];

/// Signals that wait to be passed on.
pub(super) struct Signals(Iterator);

impl Signals {
    /// From here on signals wait.
    pub(super) fn listen() -> Result<Self, BundleError> {
        Ok(Self(Iterator::new(FORWARDED).map_err(failed("listen for signals on"))?))
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> BundleError {
    move |source| BundleError::Io { what, path: "this terminal".into(), source }
}

/// Waits for the end of a process, and is its terminal meanwhile. Returns the exit code.
pub(super) fn attend(made: &mut Made, signals: Signals) -> Result<u8, BundleError> {
    let Some(master) = made.terminal.take() else {
        pass_on(signals, made, None);
        return made.wait();
    };
    let raw = terminal::Raw::enter().map_err(failed("set"))?;
    let copy = |fd: &OwnedFd| fd.try_clone().map(File::from).map_err(failed("use"));
    let (input, output, size) = (copy(&master)?, copy(&master)?, copy(&master)?);
    resize(&size);
    pass_on(signals, made, Some(size));
    // Ends with this process: a read of a terminal can't be interrupted.
    std::thread::spawn(move || pump(io::stdin(), input));
    let shown = std::thread::spawn(move || pump(output, io::stdout()));
    drop(master);
    let code = made.wait();
    // The slave's last copy has gone with the process, so that this ends.
    let _ = shown.join();
    drop(raw);
    code
}

fn pass_on(mut signals: Signals, made: &Made, master: Option<File>) {
    let process = made.process;
    std::thread::spawn(move || {
        for signal in signals.0.forever() {
            match &master {
                Some(master) if signal == SIGWINCH => resize(master),
                // One that has ended needs none.
                _ => drop(brig_engine::bundle::signal_process(process, signal)),
            }
        }
    });
}

/// A terminal without a size has none to give.
fn resize(master: &File) {
    if let Ok(size) = termios::tcgetwinsize(io::stdin()) {
        // A master that is gone needs none.
        let _ = termios::tcsetwinsize(master, size);
    }
}

/// Until one side is done: a terminal whose slaves are all closed says so by an error.
fn pump(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
