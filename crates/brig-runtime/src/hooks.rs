//! Hooks: programs of the host that a spec wants to be run around a container's life (runtime specification, `hooks`).

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How often is looked whether a hook with a time limit has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// One hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program.
    pub path: PathBuf,
    /// Its name and arguments; without any, the path is the name.
    pub args: Vec<String>,
    /// Its environment, `NAME=value`, and nothing else.
    pub env: Vec<String>,
    /// After so many seconds it is killed, and has failed.
    pub timeout: Option<u64>,
}

/// The hooks that are run while a container is made, and what they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// In the runtime's namespaces, when the container's are there. What they are told is older than the status
    /// `creating`.
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, after those.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root is changed.
    pub create_container: Vec<Hook>,
    /// In the container, before its program is executed.
    pub start_container: Vec<Hook>,
    /// What they are told about, and where the runtime runs them.
    pub about: About,
}

impl Hooks {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        [&self.prestart, &self.create_runtime, &self.create_container, &self.start_container]
            .iter()
            .all(|hooks| hooks.is_empty())
    }
}

/// What the state of a container that a hook is told of is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of the specification that the container's spec follows.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// The directory of the container's spec: the working directory of hooks.
    pub bundle: PathBuf,
    /// The spec's annotations.
    pub annotations: Vec<(String, String)>,
}

impl About {
    /// The state (runtime specification, State), as JSON.
    pub fn state(&self, status: &str, pid: Option<i32>) -> Value {
        let mut state = Map::new();
        let mut put = |key: &str, value: Value| state.insert(key.to_owned(), value);
        put("ociVersion", self.oci_version.as_str().into());
        put("id", self.id.as_str().into());
        put("status", status.into());
        if let Some(pid) = pid {
            put("pid", pid.into());
        }
        put("bundle", self.bundle.to_string_lossy().into_owned().into());
        if !self.annotations.is_empty() {
            let annotations =
                self.annotations.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
            put("annotations", Value::Object(annotations.collect()));
        }
        Value::Object(state)
    }
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HookError {
    /// It can't be run.
    #[error("can't run the hook `{}`", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has said that something is wrong.
    #[error("the hook `{}` failed: {status}", path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// It has taken too long.
    #[error("the hook `{}` was killed after {seconds} s", path.display())]
    TimedOut {
        /// The program.
        path: PathBuf,
        /// Its limit.
        seconds: u64,
    },
}

/// Runs a hook in a directory, with the state on its standard input. Its output isn't kept.
///
/// # Errors
/// [`HookError`]; a hook that has taken too long was killed.
pub fn run(hook: &Hook, directory: &Path, state: &Value) -> Result<(), HookError> {
    let failed = |source| HookError::Run { path: hook.path.clone(), source };
    let mut child = start(hook, directory, state).map_err(failed)?;
    let status = match hook.timeout {
        None => child.wait().map_err(failed)?,
        Some(seconds) => wait(&mut child, Duration::from_secs(seconds))
            .map_err(failed)?
            .ok_or_else(|| HookError::TimedOut { path: hook.path.clone(), seconds })?,
    };
    if status.success() { Ok(()) } else { Err(HookError::Failed { path: hook.path.clone(), status }) }
}

fn start(hook: &Hook, directory: &Path, state: &Value) -> io::Result<Child> {
    let mut command = Command::new(&hook.path);
    let mut args = hook.args.iter();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    let env = hook.env.iter().filter_map(|variable| variable.split_once('='));
    command.args(args).env_clear().envs(env).current_dir(directory);
    command.stdin(input(state)?).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}

/// A file in memory: a hook that doesn't read its input blocks nobody.
fn input(state: &Value) -> io::Result<Stdio> {
    let mut file = File::from(rustix::fs::memfd_create("brig-state", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, state)?;
    file.rewind()?;
    Ok(file.into())
}

/// How it ended, or nothing when it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=b c".to_owned()], timeout: None }
    }

    #[test]
    fn a_hook_is_told_the_state_and_has_its_own_environment_and_directory() {
        let dir = tempfile::tempdir().unwrap();
        let about = About {
            oci_version: "1.2.0".to_owned(),
            id: "box".to_owned(),
            bundle: dir.path().to_owned(),
            annotations: vec![("k".to_owned(), "v".to_owned())],
        };
        let state = about.state("creating", Some(7));
        run(&shell("cat >state; echo \"$A$HOME\" >env; pwd >pwd"), dir.path(), &state).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let heard: Value = serde_json::from_str(&read("state")).unwrap();
        assert_eq!(heard, state);
        assert_eq!(heard["pid"], 7);
        assert_eq!(heard["annotations"]["k"], "v");
        assert_eq!(read("env"), "b c\n");
        assert_eq!(read("pwd").trim_end(), dir.path().to_str().unwrap());
    }

    #[test]
    fn failures_are_told() {
        let run = |hook: &Hook| run(hook, Path::new("/"), &Value::Null).unwrap_err().to_string();
        assert_eq!(run(&shell("exit 3")), "the hook `/bin/sh` failed: exit status: 3");
        assert_eq!(run(&Hook { path: "/none".into(), ..Hook::default() }), "can't run the hook `/none`");
        let slow = Hook { timeout: Some(0), ..shell("sleep 60") };
        assert_eq!(run(&slow), "the hook `/bin/sh` was killed after 0 s");
    }
}
