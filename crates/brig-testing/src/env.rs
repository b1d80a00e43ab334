//! A place of its own for every test: directories, environment, registries.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::invocation::Invocation;
use crate::{Output, Registry};

/// An ordinary user: nobody.
pub const ORDINARY_USER: u32 = 65534;

/// What of the caller's environment a command gets: where programs are, and how to show a crash.
const INHERITED: [&str; 3] = ["PATH", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// A hermetic home for the real program.
///
/// ```text
/// /tmp/brig-XXXXXX/      short, since sockets' paths are bounded
///   home/ root/ run/     HOME, BRIG_ROOT and BRIG_RUN_ROOT of the user who runs the tests
///   work/                the working directory
///   users/<uid>/         home, data, run: HOME, XDG_DATA_HOME and XDG_RUNTIME_DIR of another user
///   bin/brig             the program, where other users can reach it
/// ```
///
/// When it is dropped, the containers that are left are removed with `brig rm -f`, and then the directory.
#[derive(Debug)]
pub struct TestEnv {
    dir: TempDir,
    binary: PathBuf,
}

impl TestEnv {
    /// A new place. The program is given by the caller: `env!("CARGO_BIN_EXE_brig")`.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("brig-").tempdir_in("/tmp").expect("a temporary directory");
        let env = Self { dir, binary: binary.into() };
        // Other users pass through it.
        set_mode(env.path(), 0o755);
        for name in ["home", "home/run", "root", "run", "work"] {
            make_dir(&env.path().join(name), None, 0o700);
        }
        env
    }

    /// The directory of all of it.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The working directory of commands.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// `BRIG_ROOT`.
    pub fn root(&self) -> PathBuf {
        self.path().join("root")
    }

    /// `BRIG_RUN_ROOT`.
    pub fn run_root(&self) -> PathBuf {
        self.path().join("run")
    }

    /// `HOME`.
    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    /// Writes a file into the working directory; its path.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, contents).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Lets docker's `config.json` hold credentials for a registry.
    pub fn log_in(&self, registry: &str, auth: serde_json::Value) {
        let dir = self.home().join(".docker");
        make_dir(&dir, None, 0o700);
        let config = serde_json::json!({ "auths": { registry: auth } });
        fs::write(dir.join("config.json"), config.to_string()).expect("write config.json");
    }

    /// Starts a registry.
    pub fn registry(&self) -> Registry {
        Registry::start()
    }

    /// Runs brig with these arguments to its end.
    #[track_caller]
    pub fn brig(&self, args: &[&str]) -> Output {
        self.command(args).run()
    }

    /// Runs brig as another user, with a home of its own and default roots below it. Needs root.
    #[track_caller]
    pub fn brig_as_user(&self, uid: u32, args: &[&str]) -> Output {
        self.command_as_user(uid, args).run()
    }

    /// A call of brig with these arguments.
    pub fn command(&self, args: &[&str]) -> Invocation {
        let mut command = self.hermetic(&self.binary, &self.home());
        command.args(args);
        command.env("BRIG_ROOT", self.root()).env("BRIG_RUN_ROOT", self.run_root());
        command.env("XDG_RUNTIME_DIR", self.home().join("run"));
        Invocation::new(command, self.path())
    }

    /// A call of brig as another user.
    pub fn command_as_user(&self, uid: u32, args: &[&str]) -> Invocation {
        self.program_as_user(uid, self.reachable_binary(), args)
    }

    /// A call of another program as another user.
    pub fn program_as_user(&self, uid: u32, program: impl AsRef<Path>, args: &[&str]) -> Invocation {
        let home = self.user_home(uid);
        let mut command = self.hermetic(program.as_ref(), &home);
        command.args(args).current_dir(&home);
        command.env("XDG_DATA_HOME", home.join("data")).env("XDG_RUNTIME_DIR", home.join("run"));
        Invocation::new(command, self.path()).by_user(uid)
    }

    /// A call of another program in this environment, such as skopeo.
    pub fn program(&self, program: impl AsRef<Path>, args: &[&str]) -> Invocation {
        let mut command = self.hermetic(program.as_ref(), &self.home());
        command.args(args).env("XDG_RUNTIME_DIR", self.home().join("run"));
        Invocation::new(command, self.path())
    }

    /// Writes a file into another user's home, owned by that user; its path.
    pub fn write_for_user(&self, uid: u32, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.user_home(uid).join(name);
        fs::write(&path, contents).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        chown(&path, Some(uid), Some(uid)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Where another user's files are.
    pub fn user_home(&self, uid: u32) -> PathBuf {
        let home = self.path().join("users").join(uid.to_string());
        if !home.exists() {
            make_dir(&self.path().join("users"), None, 0o755);
            for dir in [home.clone(), home.join("data"), home.join("run")] {
                make_dir(&dir, Some(uid), 0o700);
            }
        }
        home
    }

    /// The ids of all containers, of the user who runs the tests.
    #[track_caller]
    pub fn containers(&self) -> Vec<String> {
        let output = self.brig(&["ps", "-a", "-q"]).success();
        output.stdout.lines().map(String::from).collect()
    }

    fn hermetic(&self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear();
        let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.envs(inherited);
        command.env("HOME", home).env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir(self.work());
        command
    }

    /// The program where every user may run it: the target directory may be in somebody's closed home.
    fn reachable_binary(&self) -> PathBuf {
        let dir = self.path().join("bin");
        let path = dir.join("brig");
        if !path.exists() {
            make_dir(&dir, None, 0o755);
            // A link costs nothing, where both are on one file system.
            let binary = fs::canonicalize(&self.binary).expect("the program's real path");
            if fs::hard_link(&binary, &path).is_err() {
                fs::copy(&binary, &path).expect("copy the program");
            }
        }
        path
    }

    /// Ends and removes what is left of the containers below one root.
    fn sweep(&self, containers: &Path, call: impl Fn(&[&str]) -> Invocation) {
        let Ok(entries) = fs::read_dir(containers) else { return };
        let ids: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        if ids.is_empty() {
            return;
        }
        let mut args = vec!["rm", "-f"];
        args.extend(ids.iter().map(String::as_str));
        let invocation = call(&args).timeout(Duration::from_secs(60));
        // Dropping must not panic while a failed test unwinds; a container that can't be removed is another test's.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| invocation.run()));
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        self.sweep(&self.root().join("containers"), |args| self.command(args));
        let users = fs::read_dir(self.path().join("users")).into_iter().flatten().flatten();
        for user in users {
            if let Some(uid) = user.file_name().to_str().and_then(|name| name.parse().ok()) {
                let containers = user.path().join("data/brig/containers");
                self.sweep(&containers, |args| self.command_as_user(uid, args));
            }
        }
    }
}

fn make_dir(path: &Path, owner: Option<u32>, mode: u32) {
    fs::create_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    set_mode(path, mode);
    if let Some(uid) = owner {
        chown(path, Some(uid), Some(uid)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any program stands in for brig.
    fn env(program: &str) -> TestEnv {
        TestEnv::new(crate::has_tool(program).unwrap())
    }

    #[test]
    fn the_environment_is_what_we_say() {
        let env = env("env");
        let output = env.brig(&[]).success();
        assert!(output.stdout.contains(&format!("BRIG_ROOT={}", env.root().display())));
        assert!(!output.stdout.contains("CARGO"), "{}", output.stdout);
        assert!(output.normalized().contains("HOME=$ENV/home"));
    }

    #[test]
    fn another_user_has_a_home_of_its_own() {
        crate::need!(crate::need_root());
        let env = env("sh");
        let script = "id -u; id -G; touch $HOME/x && stat -c %u $HOME/x; test -w / && echo bad";
        let output = env.brig_as_user(ORDINARY_USER, &["-c", script]);
        assert_eq!(output.stdout, "65534\n65534\n65534\n");
    }

    #[test]
    fn input_output_and_status_pass_through() {
        let env = env("sh");
        let output = env.command(&["-c", "cat; echo no >&2; exit 3"]).stdin("yes").run().exits(3);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("yes", "no\n"));
        assert_eq!(env.brig(&["-c", "kill -9 $$"]).code(), 137);
    }

    #[test]
    fn a_terminal_is_a_terminal() {
        let env = env("sh");
        let output =
            env.command(&["-c", "test -t 0 && stty size; read x; echo got $x"]).run_on_terminal("a\n");
        let output = output.success();
        assert!(output.stdout.contains("24 80"), "{}", output.stdout);
        assert!(output.stdout.contains("got a"), "{}", output.stdout);
    }

    #[test]
    fn another_user_has_a_terminal_too() {
        crate::need!(crate::need_root());
        let env = env("sh");
        let call = env.command_as_user(ORDINARY_USER, &["-c", "id -u; test -t 0 && stty size"]);
        let output = call.run_on_terminal("").success();
        assert!(output.stdout.contains("65534") && output.stdout.contains("24 80"), "{}", output.stdout);
    }

    #[test]
    #[should_panic(expected = "took too long")]
    fn a_command_that_hangs_fails_the_test() {
        let _ = env("sleep").command(&["60"]).timeout(Duration::from_millis(200)).run();
    }
}
