//! A container of a test: its directories, its plan, and the helper that supervises it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use brig_runtime::client::{AttachEnd, AttachIo, Supervisor};
use brig_runtime::plan::{
    IdMap, IdMaps, LogPlan, PLAN_VERSION, PayloadPlan, Plan, ProcessPlan, RootFs, SupervisorPlan,
};
use brig_runtime::protocol::ExecRequest;
use brig_runtime::{ContainerPaths, Event, ExitStatus, RestartPolicy, Roots, State, StateRecord, Timestamp};

/// A container that isn't started yet.
pub(crate) struct Container {
    pub(crate) roots: Roots,
    pub(crate) paths: ContainerPaths,
    pub(crate) plan: Plan,
    /// Where the plan is handed over, and everything else.
    dir: tempfile::TempDir,
}

/// A started one. The helper is killed when the test is done with it.
pub(crate) struct Running {
    pub(crate) helper: Child,
    pub(crate) first: Supervisor,
}

impl Container {
    /// One that runs a shell script of the host: its root file system is the host's, its namespaces its own.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_args(&["/bin/sh", "-c", script])
    }

    pub(crate) fn with_args(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::new(dir.path(), None);
        let id = "c0ffee".repeat(11)[..64].to_owned();
        let paths = roots.container(&id);
        fs::create_dir_all(paths.dir()).unwrap();
        fs::create_dir_all(roots.names()).unwrap();
        let name_file = roots.names().join("test");
        fs::write(&name_file, &id).unwrap();
        let supervisor = SupervisorPlan {
            id,
            name: "test".into(),
            image: "example/image".into(),
            kind: "linux".into(),
            created_at: Timestamp::now().to_string(),
            dir: paths.dir().into(),
            run_dir: paths.run_dir().into(),
            events: roots.events(),
            name_file,
            attach: false,
            stdin_open: false,
            tty: None,
            log: Some(LogPlan::File { max_size: None, max_files: 1, compress: false, attrs: String::new() }),
            timeout_ms: None,
            stop_signal: libc::SIGTERM,
            auto_remove: false,
            restart: RestartPolicy::No,
            health: None,
            stop_grace_ms: 10_000,
            cgroups: Vec::new(),
            volumes: Vec::new(),
        };
        let plan = Plan { version: PLAN_VERSION, supervisor, payload: payload(args) };
        Self { roots, paths, plan, dir }
    }

    /// With the record that the engine writes when it creates a container.
    pub(crate) fn created(&self) {
        let plan = &self.plan.supervisor;
        let created_at = plan.created_at.parse().unwrap();
        let record =
            StateRecord::new(&plan.id, &plan.kind, State::Created, created_at).of_this_boot().unwrap();
        record.write(&self.paths.state()).unwrap();
    }

    /// In the foreground: the first connection is attached.
    pub(crate) fn attached(mut self) -> Self {
        self.plan.supervisor.attach = true;
        self
    }

    /// With standard input.
    pub(crate) fn interactive(mut self) -> Self {
        self.plan.supervisor.stdin_open = true;
        self
    }

    /// Hands the plan to a helper; the birth isn't waited for.
    pub(crate) fn spawn(&self) -> Running {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let path = self.dir.path().join("plan");
        let mut file = File::create(&path).unwrap();
        file.write_all(&self.plan.encode().unwrap()).unwrap();
        // Another place of it for users who can't reach the build directory.
        let program =
            std::env::var_os("BRIG_TEST_HELPER").unwrap_or(env!("CARGO_BIN_EXE_brig-helper").into());
        let helper = Command::new(program)
            .stdin(File::open(&path).unwrap())
            .stdout(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        Running { helper, first: Supervisor::from_birth(ours) }
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Running {
        let mut running = self.spawn();
        running.first.birth().unwrap();
        running
    }

    pub(crate) fn connect(&self) -> Supervisor {
        Supervisor::connect(&self.paths).unwrap()
    }

    pub(crate) fn state(&self) -> StateRecord {
        StateRecord::read(&self.paths.state()).unwrap()
    }

    /// The log's texts, joined, of one stream.
    pub(crate) fn log(&self, stream: &str) -> String {
        let text = fs::read_to_string(self.paths.log()).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        records.filter(|r| r["stream"] == stream).map(|r| r["log"].as_str().unwrap().to_owned()).collect()
    }

    /// The actions of the events.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.roots.events()).unwrap();
        text.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().action).collect()
    }

    /// A path outside of the container's own directories.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Running {
    /// Waits for the payload's end, and for the helper's.
    pub(crate) fn wait(mut self) -> ExitStatus {
        let status = self.first.wait().unwrap();
        assert!(self.helper.wait().unwrap().success());
        status
    }

    /// Takes output until the end; needs an attached container.
    pub(crate) fn output(mut self) -> (ExitStatus, Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = pump(&mut self.first, &mut out, &mut err, None);
        assert!(self.helper.wait().unwrap().success());
        (status, out, err)
    }

    /// Waits for the supervisor's end.
    pub(crate) fn ended(mut self) {
        assert!(self.helper.wait().unwrap().success());
    }

    /// Whether the payload handles SIGTERM by now.
    pub(crate) fn is_ready(&self, container: &Container) -> bool {
        let pid = container.state().payload.unwrap().pid;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (libc::SIGTERM - 1)) != 0
    }

    pub(crate) fn helper_pid(&self) -> i32 {
        i32::try_from(self.helper.id()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; then this is nothing.
        let _ = self.helper.kill();
        let _ = self.helper.wait();
    }
}

/// A shell script to be run in a container.
pub(crate) fn request(script: &str) -> ExecRequest {
    ExecRequest {
        args: vec!["/bin/sh".into(), "-c".into(), script.into()],
        env: vec!["PATH=/usr/bin:/bin".into()],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        tty: false,
        stdin: false,
        detach: false,
        size: None,
        engine: None,
    }
}

pub(crate) fn pump(
    supervisor: &mut Supervisor,
    out: &mut Vec<u8>,
    err: &mut Vec<u8>,
    stdin: Option<std::os::fd::BorrowedFd<'_>>,
) -> ExitStatus {
    let io = AttachIo { stdin, stdout: out, stderr: err, detach_keys: &[], wake: None };
    match supervisor.pump(io).unwrap() {
        AttachEnd::Exited(status) => status,
        AttachEnd::Detached => panic!("detached"),
    }
}

/// Waits for something that happens soon.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn payload(args: &[&str]) -> PayloadPlan {
    let namespaces = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    PayloadPlan {
        user_namespace: user_namespace(),
        new_namespaces: u32::try_from(namespaces).unwrap(),
        root: RootFs::Path { path: "/".into() },
        process: ProcessPlan {
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: vec!["PATH=/usr/bin:/bin".into()],
            cwd: "/".into(),
            ..ProcessPlan::default()
        },
        ..PayloadPlan::default()
    }
}

/// An ordinary user needs one, in which it is root.
fn user_namespace() -> Option<IdMaps> {
    let own = fs::metadata("/proc/self").unwrap();
    let map = |host| vec![IdMap { container: 0, host, count: 1 }];
    (own.uid() != 0).then(|| IdMaps { uids: map(own.uid()), gids: map(own.gid()) })
}
