//! A root file system with busybox in it, and containers on top of it.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use brig_linux::seccomp::KernelVersion;
use brig_linux::{
    ContainerOptions, Helper, HelperError, Host, HostOptions, PlanError, Spawned, default_spec, plan_linux,
};
use brig_runtime::plan::{PLAN_VERSION, PayloadPlan, Plan, RootFs, SupervisorPlan};
use brig_runtime::protocol::{ExecRequest, Request, Response, StepError, read_frame, write_message};
use brig_runtime::{ExitStatus, RestartPolicy};
use oci_spec::runtime::Spec;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &str = "[ cat chmod chown dd echo env false grep head hostname id ifconfig kill ln ls mkdir mkfifo \
    mknod mount nproc ping printf ps pwd readlink rm sh sleep sort stat sync tail test top touch tr true tty umount \
    uname wc yes";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory with a root file system, and everything else that containers need.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) host: Host,
    helper: Helper,
}

/// What a container did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A container that runs.
pub(crate) struct Running {
    pub(crate) spawned: Spawned,
    pub(crate) plan: Plan,
}

/// A machine for root's containers. `None` where there is no root or no busybox, with a word about it.
pub(crate) fn machine() -> Option<Machine> {
    let host = Host::probe();
    if host.rootless && std::env::var_os(super::ordinary::MARK).is_none() {
        eprintln!("skipped: needs root");
        return None;
    }
    Machine::new(host)
}

/// The same, with a kernel that has containers come into new time namespaces.
pub(crate) fn with_time_namespaces() -> Option<Machine> {
    let machine = machine()?;
    if machine.host.kernel < (KernelVersion { major: 6, minor: 3 }) {
        eprintln!("skipped: needs Linux 6.3");
        return None;
    }
    Some(machine)
}

impl Machine {
    pub(crate) fn new(host: Host) -> Option<Self> {
        if !Path::new(BUSYBOX).exists() {
            eprintln!("skipped: needs {BUSYBOX}, of Debian's busybox-static");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("lower/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        fs::create_dir(dir.path().join("lower/etc")).unwrap();
        fs::create_dir(dir.path().join("lower/tmp")).unwrap();
        Some(Self { dir, host, helper: Helper::in_memory().unwrap().debug(true) })
    }

    /// The image's directory, to be changed before a container starts.
    pub(crate) fn lower(&self) -> PathBuf {
        self.dir.path().join("lower")
    }

    /// An empty directory of the host.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A new writable layer over the image.
    pub(crate) fn overlay(&self) -> RootFs {
        let layer = self.directory(&format!("layer{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let (upper, work) = (layer.join("upper"), layer.join("work"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        RootFs::Overlay { lowers: vec![self.lower()], upper: Some(upper), work: Some(work), options: vec![] }
    }

    /// A new container's id.
    pub(crate) fn id(&self) -> String {
        format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn spec(&self, options: &ContainerOptions) -> Spec {
        default_spec(options, &self.host)
    }

    pub(crate) fn plan(&self, spec: &Spec) -> Result<PayloadPlan, PlanError> {
        plan_linux(spec, &self.overlay(), &HostOptions::new(&self.host, &self.id()))
    }

    /// Starts what a plan says.
    pub(crate) fn start(&self, payload: PayloadPlan) -> Result<Running, HelperError> {
        self.start_with(payload, |_| {})
    }

    pub(crate) fn start_with(
        &self,
        payload: PayloadPlan,
        change: impl FnOnce(&mut SupervisorPlan),
    ) -> Result<Running, HelperError> {
        let id = format!("{:064x}", NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = self.directory(&format!("containers/{id}"));
        let run_dir = self.directory(&format!("run/containers/{id}"));
        let mut supervisor = SupervisorPlan {
            name: "test".into(),
            image: "busybox".into(),
            kind: "linux".into(),
            created_at: "2026-01-01T00:00:00Z".into(),
            dir,
            run_dir,
            events: self.dir.path().join("events.log"),
            name_file: self.dir.path().join(&id),
            id,
            attach: true,
            stdin_open: false,
            tty: None,
            log: None,
            timeout_ms: Some(30_000),
            stop_signal: 15,
            auto_remove: false,
            restart: RestartPolicy::No,
            health: None,
            stop_grace_ms: 10_000,
            cgroups: Vec::new(),
            volumes: Vec::new(),
        };
        change(&mut supervisor);
        let plan = Plan { version: PLAN_VERSION, supervisor, payload };
        Ok(Running { spawned: self.helper.spawn(&plan)?, plan })
    }

    /// Runs a shell script in a container with docker's defaults.
    pub(crate) fn sh(&self, script: &str) -> Outcome {
        self.run(&script_options(script))
    }

    pub(crate) fn run(&self, options: &ContainerOptions) -> Outcome {
        self.run_spec(&self.spec(options))
    }

    pub(crate) fn run_spec(&self, spec: &Spec) -> Outcome {
        self.start(self.plan(spec).unwrap()).unwrap().outcome()
    }

    /// The step that fails.
    pub(crate) fn failure(&self, spec: &Spec) -> StepError {
        match self.start(self.plan(spec).unwrap()) {
            Err(HelperError::Step { source }) => source,
            Err(error) => panic!("{error:?}"),
            Ok(running) => panic!("it started: {:?}", running.outcome()),
        }
    }
}

/// docker's defaults, and a shell script.
pub(crate) fn script_options(script: &str) -> ContainerOptions {
    ContainerOptions {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        hostname: "boat".to_owned(),
        ..ContainerOptions::default()
    }
}

impl Outcome {
    fn nothing() -> Self {
        Self { status: ExitStatus::exited(0), stdout: String::new(), stderr: String::new() }
    }
}

impl Running {
    /// Reads to the end.
    pub(crate) fn outcome(mut self) -> Outcome {
        let outcome = read_all(&mut self.spawned.control);
        assert!(self.spawned.child.wait().unwrap().success());
        for directory in self.plan.payload.cgroup.directories() {
            assert!(!directory.exists(), "{} is left", directory.display());
        }
        outcome
    }

    /// Another connection.
    pub(crate) fn connect(&self) -> UnixStream {
        // The directory's name may be longer than a socket's may be.
        let dir = fs::File::open(&self.plan.supervisor.run_dir).unwrap();
        UnixStream::connect(format!("/proc/self/fd/{}/sock", dir.as_raw_fd())).unwrap()
    }

    /// Asks for one answer.
    pub(crate) fn ask(&self, request: &Request) -> Response {
        let mut stream = self.connect();
        write_message(&mut stream, request).unwrap();
        let (_, json) = read_frame(&mut stream).unwrap().unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    /// Runs another shell script in the container.
    pub(crate) fn exec(&self, change: impl FnOnce(&mut ExecRequest)) -> Result<Outcome, Response> {
        let mut request = ExecRequest {
            args: vec!["true".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            uid: 0,
            gid: 0,
            groups: vec![],
            tty: false,
            stdin: false,
            detach: false,
            size: None,
            engine: None,
        };
        change(&mut request);
        let detached = request.detach;
        let mut stream = self.connect();
        write_message(&mut stream, &Request::Exec(request)).unwrap();
        let (_, json) = read_frame(&mut stream).unwrap().unwrap();
        match serde_json::from_slice(&json).unwrap() {
            Response::Started { .. } if detached => Ok(Outcome::nothing()),
            Response::Started { .. } => Ok(read_all(&mut stream)),
            other => Err(other),
        }
    }

    /// Waits until the payload has written a line, and returns it.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        while !line.ends_with('\n') {
            let (channel, bytes) = read_frame(&mut self.spawned.control).unwrap().unwrap();
            assert_ne!(channel, 0, "{}", String::from_utf8_lossy(&bytes));
            line.push_str(&String::from_utf8_lossy(&bytes));
        }
        line.trim_end().to_owned()
    }

    /// Waits until the payload has written this line, and returns the ones before it.
    pub(crate) fn lines_until(&mut self, last: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|line| line != last) {
            lines.extend(self.line().lines().map(str::to_owned));
        }
        lines.pop();
        lines
    }

    /// Gives the payload input.
    pub(crate) fn type_in(&mut self, text: &str) {
        brig_runtime::protocol::write_frame(&mut self.spawned.control, 1, text.as_bytes()).unwrap();
        self.spawned.control.flush().unwrap();
    }
}

fn read_all(stream: &mut UnixStream) -> Outcome {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let (channel, bytes) = read_frame(stream).unwrap().expect("the supervisor ended without a word");
        match channel {
            2 => stdout.extend(bytes),
            3 => stderr.extend(bytes),
            _ => {
                let Response::Exited { status } = serde_json::from_slice(&bytes).unwrap() else {
                    panic!("{}", String::from_utf8_lossy(&bytes));
                };
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return Outcome { status, stdout: text(stdout), stderr: text(stderr) };
            }
        }
    }
}

/// Whether a program of the host is there; says so when it isn't.
pub(crate) fn has_program(name: &str) -> bool {
    let found = Command::new(name).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: needs {name}");
    }
    found
}

/// Whether this is a process in namespaces of its own, of these kinds (`unshare(1)`'s words). If it isn't, the test of
/// this name is run again by one that is.
pub(crate) fn in_own_namespaces(test: &str, kinds: &[&str]) -> bool {
    const MARK: &str = "BRIG_TEST_UNSHARED";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    if Host::probe().rootless || !has_program("unshare") {
        eprintln!("skipped: needs root and unshare");
        return false;
    }
    let output = Command::new("unshare")
        .args(kinds)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// Runs a program of the host.
pub(crate) fn host(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A program's path, for a shell such as busybox's, which takes its own for those that it knows.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let dirs = std::env::var_os("PATH")?;
    std::env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.exists())
}

/// Removes a cgroup and those below it. What is busy stays.
pub(crate) fn remove_tree(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|typ| typ.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}
