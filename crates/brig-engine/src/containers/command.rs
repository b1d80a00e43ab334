//! Which program a container runs: the image's entry point and command, and what the caller puts in their place.

use brig_oci::{ImageConfig, RunConfig};

use super::options::CreateOptions;
use crate::error::{Error, Result};

/// PATH where neither the image nor the caller sets it, as docker has it.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program and its arguments (image-spec `config.md`, `Entrypoint` and `Cmd`; docker's rules for overriding:
/// `--entrypoint` also drops the image's `Cmd`).
pub(crate) fn args(config: &RunConfig, options: &CreateOptions) -> Result<Vec<String>> {
    let (mut args, cmd) = match options.entrypoint.as_deref() {
        Some("") => (Vec::new(), &options.args),
        Some(program) => (vec![program.to_owned()], &options.args),
        None if options.args.is_empty() => (config.entrypoint.clone(), &config.cmd),
        None => (config.entrypoint.clone(), &options.args),
    };
    args.extend(cmd.iter().cloned());
    if args.is_empty() {
        return Err(Error::NothingToRun { name: options.image.clone() });
    }
    Ok(args)
}

/// The environment: the image's, then the caller's; later ones win, in place.
pub(crate) fn env(config: &RunConfig, options: &CreateOptions) -> Result<Vec<String>> {
    let mut env: Vec<String> = Vec::new();
    for entry in &config.env {
        set(&mut env, entry.clone());
    }
    for entry in &options.env {
        match entry.split_once('=') {
            Some(("", _)) => return Err(Error::invalid("environment variable", entry, "its name is empty")),
            Some(_) => set(&mut env, entry.clone()),
            // docker's rule: a bare name takes the caller's value, and unsets it where the caller has none.
            None => match std::env::var(entry) {
                Ok(value) => set(&mut env, format!("{entry}={value}")),
                Err(_) => env.retain(|have| name(have) != entry),
            },
        }
    }
    Ok(env)
}

/// Sets `NAME=value`, replacing an earlier value.
pub(crate) fn set(env: &mut Vec<String>, entry: String) {
    match env.iter_mut().find(|have| name(have) == name(&entry)) {
        Some(have) => *have = entry,
        None => env.push(entry),
    }
}

/// Sets `NAME=value` unless NAME is set.
pub(crate) fn set_default(env: &mut Vec<String>, entry: String) {
    if !env.iter().any(|have| name(have) == name(&entry)) {
        env.push(entry);
    }
}

/// The value of a variable.
pub(crate) fn value<'a>(env: &'a [String], wanted: &str) -> Option<&'a str> {
    env.iter()
        .find_map(|entry| entry.split_once('=').filter(|(name, _)| *name == wanted).map(|(_, value)| value))
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// The working directory.
pub(crate) fn cwd(config: &RunConfig, options: &CreateOptions) -> Result<String> {
    let cwd = options.workdir.as_deref().unwrap_or(&config.working_dir);
    match cwd {
        "" => Ok("/".into()),
        cwd if cwd.starts_with('/') => Ok(cwd.into()),
        cwd if options.workdir.is_none() => Ok(format!("/{cwd}")),
        cwd => Err(Error::invalid("working directory", cwd, "it must be an absolute path")),
    }
}

/// The signal that asks to stop: the image's, or SIGTERM.
pub(crate) fn stop_signal(config: Option<&ImageConfig>) -> i32 {
    config.and_then(|config| signal(&config.config.stop_signal)).unwrap_or(libc::SIGTERM)
}

/// A signal by number or name, with or without `SIG`.
pub fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        let number = 34 + offset.parse::<i32>().ok()?;
        return (34..=64).contains(&number).then_some(number);
    }
    SIGNALS.iter().find(|(have, _)| *have == name).map(|(_, number)| *number)
}

const SIGNALS: [(&str, i32); 33] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("PROF", libc::SIGPROF),
    ("PWR", libc::SIGPWR),
    ("QUIT", libc::SIGQUIT),
    ("RTMIN", 34),
    ("RTMAX", 64),
    ("SEGV", libc::SIGSEGV),
    ("STKFLT", libc::SIGSTKFLT),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RunConfig {
        RunConfig {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["cmd".into()],
            env: vec!["A=1".into(), "B=2".into()],
            ..RunConfig::default()
        }
    }

    fn options(entrypoint: Option<&str>, args: &[&str]) -> CreateOptions {
        CreateOptions {
            image: "app".into(),
            entrypoint: entrypoint.map(Into::into),
            args: args.iter().map(|arg| (*arg).into()).collect(),
            ..CreateOptions::default()
        }
    }

    #[test]
    fn arguments_are_put_together_as_docker_does() {
        let run = |entrypoint, arguments: &[&str]| args(&config(), &options(entrypoint, arguments)).unwrap();
        assert_eq!(run(None, &[]), ["/entry", "cmd"]);
        assert_eq!(run(None, &["x"]), ["/entry", "x"]);
        assert_eq!(run(Some("/sh"), &[]), ["/sh"]);
        assert_eq!(run(Some("/sh"), &["x"]), ["/sh", "x"]);
        assert_eq!(run(Some(""), &["x"]), ["x"]);
        assert!(args(&RunConfig::default(), &options(None, &[])).is_err());
    }

    #[test]
    fn later_variables_win_in_place() {
        let mut given = options(None, &[]);
        given.env = vec!["A=3".into(), "C=4".into(), "BRIG_TEST_UNSET_VARIABLE".into()];
        assert_eq!(env(&config(), &given).unwrap(), ["A=3", "B=2", "C=4"]);
        given.env = vec!["=x".into()];
        assert!(env(&config(), &given).is_err());
    }

    #[test]
    fn signals_by_name_and_number() {
        assert_eq!(signal("SIGTERM"), Some(15));
        assert_eq!(signal("term"), Some(15));
        assert_eq!(signal("9"), Some(9));
        assert_eq!(signal("SIGRTMIN+3"), Some(37));
        assert_eq!(signal("0"), None);
        assert_eq!(signal("SIGNOPE"), None);
    }
}
