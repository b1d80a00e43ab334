//! One call of a program, with its own time limit.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::Output;

/// How long a command may take unless the test says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long somebody else may hold a command's output open after its end.
const DRAIN: Duration = Duration::from_secs(10);

/// A command that isn't started yet.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
    timeout: Duration,
    uid: Option<u32>,
    dir: PathBuf,
}

impl Invocation {
    /// A command; `dir` is what [`Output::normalized`] calls `$ENV`.
    pub(crate) fn new(command: Command, dir: &Path) -> Self {
        Self { command, stdin: None, timeout: PATIENCE, uid: None, dir: dir.into() }
    }

    /// Runs as another user, without groups.
    pub(crate) fn by_user(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self.uid = Some(uid);
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args(mut self, args: &[impl AsRef<OsStr>]) -> Self {
        self.command.args(args);
        self
    }

    /// What the command reads from its standard input; `/dev/null` without it.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// One more variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// One variable less.
    #[must_use]
    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// How long the command may take before it is killed and the test fails.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the command to its end.
    ///
    /// # Panics
    /// When it can't be started or takes too long.
    #[track_caller]
    pub fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts the command in a process group of its own.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let shown = self.shown();
        let mut child = start(&mut self.command, &shown);
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.stdin.take()) {
            // A command that doesn't read all of its input closes the pipe, which is its right.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        Running {
            child,
            stdout,
            stderr,
            command: shown,
            deadline: Instant::now() + self.timeout,
            dir: self.dir,
        }
    }

    /// Runs the command on a terminal of its own, of 80 columns and 24 lines, types `input`, and runs it to its end.
    /// What the terminal shows (the typed input's echo too) is the standard output.
    ///
    /// # Panics
    /// When it can't be started or takes too long.
    #[track_caller]
    pub fn run_on_terminal(self, input: &str) -> Output {
        let mut terminal = self.spawn_on_terminal();
        terminal.type_text(input);
        terminal.wait()
    }

    /// Starts the command on a terminal of its own.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn spawn_on_terminal(self) -> OnTerminal {
        let (master, slave) = open_terminal();
        // A controlling terminal is taken by the first process of a session: setsid makes itself that, and becomes
        // the command.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(self.command.get_program()).args(self.command.get_args());
        command.env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("TERM", "xterm");
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        let clone = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("another descriptor"));
        command.stdin(clone(&slave)).stdout(clone(&slave)).stderr(clone(&slave));
        let shown = self.shown();
        let child = start(&mut command, &shown);
        drop((slave, command));
        let writer = File::from(master.try_clone().expect("another descriptor"));
        let (_, nothing) = mpsc::channel();
        let running = Running {
            child,
            stdout: collect(File::from(master)),
            stderr: nothing,
            command: shown,
            deadline: Instant::now() + self.timeout,
            dir: self.dir,
        };
        OnTerminal { running, writer }
    }

    fn shown(&self) -> String {
        let program = Path::new(self.command.get_program()).file_name().map(OsStr::to_owned);
        let words = program.into_iter().chain(self.command.get_args().map(OsString::from));
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// A command that runs. One that is dropped without being waited for is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    command: String,
    deadline: Instant,
    dir: PathBuf,
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        // A process that has just ended can't be signalled; the test sees its end.
        let _ = kill_process(self.rustix_pid(), signal);
    }

    /// Sends a signal to the process and its group, as a terminal does on Ctrl-C.
    pub fn signal_group(&self, signal: Signal) {
        // As above.
        let _ = kill_process_group(self.rustix_pid(), signal);
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("look at the child").is_some()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it takes too long, or somebody holds the output open afterwards.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let status = self.wait_for_status();
        let drained = |stream: &Receiver<Vec<u8>>| match stream.recv_timeout(DRAIN) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(mpsc::RecvTimeoutError::Disconnected) => String::new(),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("`{}` has ended, but somebody holds its output open", self.command)
            }
        };
        let (stdout, stderr) = (drained(&self.stdout), drained(&self.stderr));
        Output { command: self.command.clone(), status, stdout, stderr, dir: self.dir.clone() }
    }

    #[track_caller]
    fn wait_for_status(&mut self) -> ExitStatus {
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.child.try_wait().expect("look at the child") {
                return status;
            }
            if Instant::now() > self.deadline {
                self.signal_group(Signal::KILL);
                // It is gone either way; its status is of no interest.
                let _ = self.child.wait();
                let said = |stream: &Receiver<Vec<u8>>| stream.recv_timeout(DRAIN).unwrap_or_default();
                let (out, err) = (said(&self.stdout), said(&self.stderr));
                let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
                panic!("`{}` took too long and was killed:\n{out}\n{err}", self.command);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn rustix_pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal_group(Signal::KILL);
            // Reaped so that no zombie stays; nobody wants the status.
            let _ = self.child.wait();
        }
    }
}

/// A command on a terminal.
#[derive(Debug)]
pub struct OnTerminal {
    running: Running,
    writer: File,
}

impl OnTerminal {
    /// Types a text.
    pub fn type_text(&mut self, text: &str) {
        self.writer.write_all(text.as_bytes()).expect("type into the terminal");
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(self) -> Output {
        self.running.wait()
    }
}

#[track_caller]
fn start(command: &mut Command, shown: &str) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("`{shown}` can't be started: {error}"))
}

/// Reads a stream to its end on a thread of its own.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A terminal whose last process has gone ends with an error (EIO); what came before counts.
        let _ = stream.read_to_end(&mut bytes);
        // The test may have given up already.
        let _ = sender.send(bytes);
    });
    receiver
}

/// A new terminal of 80 columns and 24 lines: our side, and the command's.
fn open_terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a terminal");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("the terminal's name");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(&*name, flags, rustix::fs::Mode::empty()).expect("open the terminal");
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).expect("the terminal's size");
    (master, slave)
}
