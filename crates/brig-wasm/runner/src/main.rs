//! The wasm runner: the process in which a wasm container's code runs, or is compiled.
//!
//! `brig-runner run` and `brig-runner compile` find their request on descriptor 4 and report on descriptor 3; with
//! `--stdio` behind it, `compile` uses standard input and output instead. It is started by brig, of the same build.

use std::fs::File;
use std::io::{self, Read, Write};
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brig_runtime::exit::CODE_ENGINE;
use brig_wasm::request::{
    COMPILE_ARGUMENT, COMPILE_PLUGIN_ARGUMENT, CompileReport, CompileRequest, MAX_REQUEST, RUN_ARGUMENT,
    RunRequest, STDIO_ARGUMENT,
};
use brig_wasm::{Ending, Stop};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::{self, register_conditional_shutdown};
use signal_hook::low_level::pipe;

mod inherited;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap_or_default()).collect();
    match args[..] {
        [RUN_ARGUMENT] => run(),
        [COMPILE_ARGUMENT] => compile(brig_wasm::compile, inherited::request(), inherited::report()),
        [COMPILE_ARGUMENT, STDIO_ARGUMENT] => compile(brig_wasm::compile, Ok(io::stdin()), Ok(io::stdout())),
        [COMPILE_PLUGIN_ARGUMENT, STDIO_ARGUMENT] => {
            compile(brig_wasm::compile_plugin, Ok(io::stdin()), Ok(io::stdout()))
        }
        _ => usage(),
    }
}

#[expect(clippy::print_stderr, reason = "this is a program, and this is for people")]
fn usage() -> ExitCode {
    eprintln!("brig's wasm runner, started by brig itself: `run`, `compile` or `compile --stdio`");
    ExitCode::from(2)
}

fn run() -> ! {
    // Before anything is opened, which could get the numbers if they are free.
    let (report, request) = (inherited::report(), inherited::request());
    *REPORT.lock().unwrap_or_else(PoisonError::into_inner) = report.ok();
    // While there is one thread, and nothing of the guest has been read.
    if let Err(error) = brig_wasm::no_more_programs() {
        end(&Ending::start_failed(format!("the runner {error}: {}", error.source)));
    }
    let request = request.and_then(read).and_then(|bytes| RunRequest::decode(&bytes).map_err(other));
    let request = match request {
        Ok(request) => request,
        Err(error) => end(&Ending::start_failed(format!("the runner got no request: {error}"))),
    };
    let stop = match listen_to_signals() {
        Ok(stop) => stop,
        Err(error) => end(&Ending::start_failed(format!("the runner can't listen to signals: {error}"))),
    };
    if let Some(millis) = request.timeout_ms {
        // Whoever started this process does it as well, from outside: without a thread it is only less exact.
        let _ = std::thread::Builder::new().spawn(move || {
            std::thread::sleep(Duration::from_millis(millis));
            end(&Ending::timeout(millis))
        });
    }
    let ending = panic::catch_unwind(|| brig_wasm::run(&request, &stop));
    // The panic's own message is on standard error.
    end(&ending.unwrap_or_else(|_| Ending::start_failed("the wasm engine failed, which is a bug of brig")))
}

/// The first process of a pid namespace gets no signal that it has no handler for, and a guest can't have handlers:
/// without these ctrl-c would do nothing. SIGTERM asks the guest to stop; the others end it.
fn listen_to_signals() -> io::Result<Stop> {
    for signal in [SIGHUP, SIGINT, SIGQUIT] {
        register_conditional_shutdown(signal, 128 + signal, Arc::new(AtomicBool::new(true)))?;
    }
    let asked = Arc::new(AtomicBool::new(false));
    let (readable, written) = io::pipe()?;
    // In this order: who finds the pipe readable finds the flag set.
    flag::register(SIGTERM, Arc::clone(&asked))?;
    pipe::register(SIGTERM, written)?;
    Ok(Stop::new(asked, readable.into(), |code| end(&Ending::exited(code))))
}

/// Where the report goes, if anybody wants it.
static REPORT: Mutex<Option<File>> = Mutex::new(None);

/// The end of this process, which comes once, whoever is first.
#[expect(clippy::exit, reason = "the end of the program: nothing is to be taken down in order")]
fn end(ending: &Ending) -> ! {
    // Held until the process is gone: the second to come waits here.
    let report = REPORT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = &ending.text {
        // Where standard error is gone there is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }
    if let Some(file) = report.as_ref() {
        // The exit code says the most important thing also to a supervisor that doesn't read.
        let _ = write_line(file, &ending.report);
    }
    std::process::exit(ending.report.code.into())
}

fn compile(
    compile: fn(&CompileRequest) -> CompileReport,
    request: io::Result<impl Read>,
    report: io::Result<impl Write>,
) -> ExitCode {
    let request = request.and_then(read).and_then(|bytes| CompileRequest::decode(&bytes).map_err(other));
    let written = request.map(|request| compile(&request)).and_then(|outcome| {
        let refused = matches!(outcome, CompileReport::Refused { .. });
        write_line(report?, &outcome)?;
        Ok(refused)
    });
    match written {
        Ok(refused) => ExitCode::from(u8::from(refused)),
        Err(error) => complain(&error),
    }
}

#[expect(clippy::print_stderr, reason = "there is nobody else to tell")]
fn complain(error: &io::Error) -> ExitCode {
    eprintln!("brig's wasm runner: {error}");
    ExitCode::from(CODE_ENGINE)
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_REQUEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_line(mut to: impl Write, report: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    to.write_all(&line)
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
