//! What this machine can do, and how a test says that it needs more.

use std::fmt::Display;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The file that skipped tests are appended to, one `name: reason` a line, when the variable is set. The harness of
/// Rust hides what a passing test prints; the test command reads this instead.
pub const SKIPS_VARIABLE: &str = "BRIG_TEST_SKIPS";

/// Says why this test isn't run here, and returns from it.
///
/// ```
/// fn a_test() {
///     if !brig_testing::is_root() {
///         brig_testing::skip!("needs root");
///     }
/// }
/// # a_test();
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        fn here() {}
        $crate::record_skip(::std::any::type_name_of_val(&here), ::std::format_args!($($reason)+));
        return;
    }};
}

/// The value of a `Result`, or a [`skip!`] with the error as its reason.
#[macro_export]
macro_rules! need {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// Records a skipped test; [`skip!`] calls it with the name of a function inside the test.
#[allow(clippy::print_stderr, reason = "a skip is shown where the test's output is shown")]
pub fn record_skip(inner_name: &str, reason: impl Display) {
    let name = inner_name.strip_suffix("::here").unwrap_or(inner_name);
    eprintln!("skipped: {name}: {reason}");
    if let Some(path) = std::env::var_os(SKIPS_VARIABLE) {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            // One write, so that lines of tests that run at once don't mix. The list is a convenience: a test
            // doesn't fail over it.
            let _ = file.write_all(format!("{name}: {reason}\n").as_bytes());
        }
    }
}

/// Why a test can't be run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(String);

impl Unavailable {
    /// A reason, such as `needs skopeo`.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `Ok` when the tests run as root.
pub fn need_root() -> Result<(), Unavailable> {
    if is_root() { Ok(()) } else { Err(Unavailable::new("needs root")) }
}

/// The path of a program, looked up in `PATH` and in the directories of system programs.
pub fn has_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The path of a program, or the reason to skip.
pub fn need_tool(name: &str) -> Result<PathBuf, Unavailable> {
    has_tool(name).ok_or_else(|| Unavailable::new(format!("needs the program `{name}`")))
}

/// Whether the user who runs the tests may make a user namespace.
pub fn can_userns() -> bool {
    let Some(unshare) = has_tool("unshare") else { return false };
    quiet(Command::new(unshare).args(["--user", "--map-root-user", "true"]))
}

/// Whether an ordinary user may make a user namespace. Needs root, to become that user.
pub fn can_userns_as(uid: u32) -> bool {
    let Some(unshare) = has_tool("unshare") else { return false };
    is_root() && quiet(Command::new(unshare).args(["--user", "--map-root-user", "true"]).uid(uid).gid(uid))
}

/// `Ok` when Linux containers can be made at all: as root, or with a user namespace.
pub fn need_containers() -> Result<(), Unavailable> {
    if is_root() || can_userns() {
        return Ok(());
    }
    Err(Unavailable::new("needs root or user namespaces"))
}

/// `Ok` when the tests may become an ordinary user who may make user namespaces.
pub fn need_rootless() -> Result<(), Unavailable> {
    need_root()?;
    if can_userns_as(crate::ORDINARY_USER) {
        return Ok(());
    }
    Err(Unavailable::new("needs user namespaces for ordinary users"))
}

/// Runs a command without its output; whether it succeeded.
fn quiet(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_name() {
        assert!(has_tool("sh").is_some());
        assert!(has_tool("no-such-program-anywhere").is_none());
        assert_eq!(
            need_tool("no-such-program").unwrap_err().to_string(),
            "needs the program `no-such-program`"
        );
    }

    #[test]
    fn a_skip_returns_from_the_test_that_it_is_in() {
        fn skipping(reached: &mut bool) {
            need!(Err::<(), _>(Unavailable::new("for the sake of it")));
            *reached = true;
        }
        let mut reached = false;
        skipping(&mut reached);
        assert!(!reached);
    }
}
