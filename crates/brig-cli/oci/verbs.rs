//! What the verbs do.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use brig_engine::bundle::{
    BundleError, CreateOptions, ExecOptions, ExecProcess, Made, OCI_VERSION, Runtime, Status, default_config,
    features, parse_process,
};
use serde::Serialize;

use super::args::{
    Bundle, CgroupManager, Cli, Delete, Events, Exec, Format, Globals, Kill, List, NewSpec, Ps, Run, Verb,
};
use super::{foreground, limits, report, show};
use crate::output;

/// Does what is asked for.
pub(super) fn execute(cli: &Cli) -> Result<ExitCode, BundleError> {
    let globals = &cli.globals;
    let Some(verb) = cli.verb.as_ref().filter(|_| !globals.version) else { return version(globals) };
    let runtime = || Ok::<_, BundleError>(Runtime::new(root(globals)?));
    match verb {
        Verb::Create(create) => {
            warn_of(globals, &runtime()?.create(&create.bundle.id, &options(&create.bundle, globals)?)?);
        }
        Verb::Start(one) => warn(globals, &runtime()?.start(&one.id)?),
        Verb::Run(run) => return execute_run(&runtime()?, run, globals),
        Verb::State(one) => print_json(&show::named(runtime()?.state(&one.id)?))?,
        Verb::Kill(kill) => execute_kill(&runtime()?, kill)?,
        Verb::Delete(delete) => execute_delete(&runtime()?, delete, globals)?,
        Verb::Exec(exec) => return execute_exec(&runtime()?, exec, globals),
        Verb::Ps(ps) => execute_ps(&runtime()?, ps)?,
        Verb::List(list) => execute_list(&runtime()?, list)?,
        Verb::Update(update) => runtime()?.update(&update.id, &limits::resources(update)?)?,
        Verb::Events(events) => execute_events(&runtime()?, events)?,
        Verb::Pause(one) => runtime()?.pause(&one.id, true)?,
        Verb::Resume(one) => runtime()?.pause(&one.id, false)?,
        Verb::Spec(spec) => execute_spec(spec)?,
        Verb::Features => print_json(&features())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn root(globals: &Globals) -> Result<std::path::PathBuf, BundleError> {
    match &globals.root {
        Some(root) => Ok(root.clone()),
        None => Runtime::default_root(),
    }
}

fn version(globals: &Globals) -> Result<ExitCode, BundleError> {
    if !globals.version {
        return Err(BundleError::Usage {
            reason: "a verb is missing: `brig oci --help` lists them".to_owned(),
        });
    }
    print(&format!("brig-oci version {}\nspec: {OCI_VERSION}\n", env!("CARGO_PKG_VERSION")))?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), BundleError> {
    let failed = |source| BundleError::Io { what: "write to", path: "standard output".into(), source };
    output::Stream.write_all(text.as_bytes()).and_then(|()| output::Stream.flush()).map_err(failed)
}

fn print_json(value: &impl Serialize) -> Result<(), BundleError> {
    let text = serde_json::to_string_pretty(value);
    let wrong = |source| BundleError::Document { what: "document", path: "standard output".into(), source };
    print(&format!("{}\n", text.map_err(wrong)?))
}

fn warn(globals: &Globals, hooks: &[brig_engine::bundle::HookError]) {
    hooks.iter().for_each(|error| report::warning(globals, error));
}

fn warn_of(globals: &Globals, made: &Made) {
    for name in &made.unknown_capabilities {
        report::note(
            globals,
            &format!("the capability `{name}` is unknown, and the container doesn't have it"),
        );
    }
    warn(globals, &made.failed_hooks);
}

/// Sockets of a service manager go to the program, as runc hands them on.
fn options(bundle: &Bundle, globals: &Globals) -> Result<CreateOptions, BundleError> {
    // What is no number was meant for somebody else.
    let sockets = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    let env = if sockets == 0 {
        Vec::new()
    } else {
        vec![format!("LISTEN_FDS={sockets}"), "LISTEN_PID=1".to_owned()]
    };
    Ok(CreateOptions {
        bundle: bundle.bundle.clone(),
        console_socket: bundle.console_socket.clone(),
        pid_file: bundle.pid_file.clone(),
        preserve_fds: bundle.preserve_fds.saturating_add(sockets),
        env,
        no_cgroups: globals.cgroup_manager == Some(CgroupManager::Disabled),
    })
}

fn execute_run(runtime: &Runtime, run: &Run, globals: &Globals) -> Result<ExitCode, BundleError> {
    let id = &run.bundle.id;
    let signals = (!run.detach).then(foreground::Signals::listen).transpose()?;
    let mut made = runtime.run(id, &options(&run.bundle, globals)?, !run.detach)?;
    warn_of(globals, &made);
    let Some(signals) = signals else { return Ok(ExitCode::SUCCESS) };
    // The helper is waited for last: it needs nothing of what is removed.
    let ended = attend(&mut made, signals);
    if !run.keep {
        // Whatever became of the wait: nobody else will remove it.
        let deleted = runtime.delete(id, true);
        let code = ended?;
        warn(globals, &deleted?);
        return Ok(code);
    }
    ended
}

fn attend(made: &mut Made, signals: foreground::Signals) -> Result<ExitCode, BundleError> {
    foreground::attend(made, signals).map(ExitCode::from)
}

fn execute_kill(runtime: &Runtime, kill: &Kill) -> Result<(), BundleError> {
    // 0 asks whether it is there.
    let signal = if kill.signal == "0" { Some(0) } else { brig_engine::signal(&kill.signal) };
    let unknown = || BundleError::Usage { reason: format!("unknown signal {:?}", kill.signal) };
    runtime.kill(&kill.id, signal.ok_or_else(unknown)?, kill.all)
}

fn execute_delete(runtime: &Runtime, delete: &Delete, globals: &Globals) -> Result<(), BundleError> {
    warn(globals, &runtime.delete(&delete.id, delete.force)?);
    Ok(())
}

fn execute_exec(runtime: &Runtime, exec: &Exec, globals: &Globals) -> Result<ExitCode, BundleError> {
    let options = ExecOptions {
        console_socket: exec.console_socket.clone(),
        pid_file: exec.pid_file.clone(),
        preserve_fds: exec.preserve_fds,
        ignore_paused: exec.ignore_paused,
        follow: !exec.detach,
        cgroups: exec.cgroup.clone(),
    };
    let signals = (!exec.detach).then(foreground::Signals::listen).transpose()?;
    let mut made = runtime.exec(&exec.id, process(exec)?, &options)?;
    warn_of(globals, &made);
    match signals {
        Some(signals) => attend(&mut made, signals),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn process(exec: &Exec) -> Result<ExecProcess, BundleError> {
    if let Some(path) = &exec.process {
        return Ok(ExecProcess::Whole(Box::new(parse_process(path)?)));
    }
    Ok(ExecProcess::Changed {
        args: exec.args.clone(),
        env: exec.env.clone(),
        cwd: exec.cwd.clone(),
        user: exec.user,
        groups: exec.additional_gids.clone(),
        capabilities: exec.cap.clone(),
        no_new_privileges: exec.no_new_privs,
        tty: exec.tty,
        apparmor: exec.apparmor.clone(),
        selinux: exec.process_label.clone(),
    })
}

fn execute_ps(runtime: &Runtime, ps: &Ps) -> Result<(), BundleError> {
    let pids = runtime.pids(&ps.id)?;
    match ps.format {
        Format::Json => print_json(&pids),
        Format::Table => print(&show::ps(&pids, &ps.options)?),
    }
}

fn execute_list(runtime: &Runtime, list: &List) -> Result<(), BundleError> {
    let states: Vec<_> = runtime.list()?.into_iter().map(show::named).collect();
    match list.format {
        _ if list.quiet => print(&states.iter().map(|state| format!("{}\n", state.id)).collect::<String>()),
        Format::Json => print_json(&states),
        Format::Table => print(&show::list(&states)),
    }
}

/// How often is looked whether a container ran out of memory, or has ended.
const GLANCE: Duration = Duration::from_millis(100);

fn execute_events(runtime: &Runtime, events: &Events) -> Result<(), BundleError> {
    let tell = |kind: &str, data: serde_json::Value| {
        let event = serde_json::json!({ "type": kind, "id": events.id, "data": data });
        print(&format!("{event}\n"))
    };
    let stats = || {
        let wrong =
            |source| BundleError::Document { what: "document", path: "standard output".into(), source };
        let stats = runtime.stats(&events.id)?;
        tell("stats", serde_json::to_value(stats).map_err(wrong)?)
    };
    if events.stats {
        return stats();
    }
    let mut kills = runtime.oom_kills(&events.id)?;
    let mut next = Instant::now();
    loop {
        match runtime.state(&events.id) {
            Ok(state) if state.status != Status::Stopped => {}
            Ok(_) | Err(BundleError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        let now = runtime.oom_kills(&events.id)?;
        if now > kills {
            tell("oom", serde_json::Value::Null)?;
        }
        kills = now;
        if Instant::now() >= next {
            next += events.interval.max(GLANCE);
            match stats() {
                // It has ended in this moment.
                Err(BundleError::NotRunning) => return Ok(()),
                told => told?,
            }
        }
        std::thread::sleep(GLANCE);
    }
}

fn execute_spec(new: &NewSpec) -> Result<(), BundleError> {
    let path = new.bundle.join("config.json");
    write_new(&path, &default_config(new.rootless)).map_err(|source| BundleError::Io {
        what: "write",
        path,
        source,
    })
}

/// A file that is there is somebody's work.
fn write_new(path: &Path, spec: &brig_engine::bundle::Spec) -> std::io::Result<()> {
    let file = std::fs::File::create_new(path)?;
    Ok(serde_json::to_writer_pretty(file, spec)?)
}
