//! From a bundle to a container that waits to be started, or runs.

use std::path::{Path, PathBuf};

use brig_runtime::bundle::BundleRequest;
use brig_runtime::hooks::{self, Hook, HookError};
use brig_runtime::plan::{CgroupPlan, PLAN_VERSION, PayloadPlan, RootFs};
use oci_spec::runtime::{Process, Spec};

use super::exec::put_env;
use super::record::{Document, Entry, Record, make_root, read_spec};
use super::talk::{self, Made, Maker};
use super::{BundleError, Runtime};
use crate::plan::{HostOptions, PlanError, about, late_hooks, plan_linux};

/// How a container is created.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// The directory with `config.json`.
    pub bundle: PathBuf,
    /// The socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Where the first process's pid is written.
    pub pid_file: Option<PathBuf>,
    /// How many of the caller's descriptors from 3 up the program gets.
    pub preserve_fds: u32,
    /// More of its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Whether it gets no cgroups, whatever its spec says: its creator has put this process where it belongs.
    pub no_cgroups: bool,
}

/// A container that is about to be made.
struct Plan {
    spec: Spec,
    config: Vec<u8>,
    bundle: PathBuf,
    rootfs: PathBuf,
    payload: PayloadPlan,
    /// Capabilities that nobody knows.
    unknown: Vec<String>,
}

impl Runtime {
    /// Makes a container whose program waits for [`Runtime::start`] (runtime specification, Create). Its standard
    /// streams are this process's.
    ///
    /// # Errors
    /// [`BundleError`]; nothing is left of the container then.
    pub fn create(&self, id: &str, options: &CreateOptions) -> Result<Made, BundleError> {
        self.make(id, options, &Way { start: false, follow: false })
    }

    /// Makes a container and starts its program. With `follow` its end can be waited for, and it may have a terminal
    /// without a console socket.
    ///
    /// # Errors
    /// [`BundleError`]; nothing is left of the container then.
    pub fn run(&self, id: &str, options: &CreateOptions, follow: bool) -> Result<Made, BundleError> {
        self.make(id, options, &Way { start: true, follow })
    }

    fn make(&self, id: &str, options: &CreateOptions, way: &Way) -> Result<Made, BundleError> {
        self.directory(id)?;
        make_root(&self.root)?;
        let maker = Maker::start(&self.helper()?)?;
        let plan = self.plan(id, options)?;
        check_console(plan.spec.process().as_ref(), options.console_socket.as_deref(), way.follow)?;
        let preserved = talk::preserved(options.preserve_fds)?;
        let record = Record::new(&plan.spec, &plan.bundle, &plan.rootfs, &plan.payload);
        let mut entry = self.add(id, &plan.config, record)?;
        let mut request = request(&plan, &entry, way);
        request.preserved.clone_from(&preserved.numbers);
        let made = maker.make(&request, &preserved, "create the container", &mut |process, terminal| {
            entry.record.init = Some(process);
            entry.write()?;
            hand_over(options.pid_file.as_deref(), options.console_socket.as_deref(), process, terminal)
        });
        match made {
            Ok(mut made) => {
                made.unknown_capabilities = plan.unknown;
                if way.start {
                    made.failed_hooks = run_poststart(&plan.spec, &entry, made.process.pid)?;
                }
                Ok(made)
            }
            Err(error) => {
                // The first error is the one to tell; what is left is found by `delete`.
                let _ = entry.undo(Some(&plan.spec));
                Err(error)
            }
        }
    }

    fn plan(&self, id: &str, options: &CreateOptions) -> Result<Plan, BundleError> {
        let bundle = options.bundle.canonicalize();
        let bundle = bundle.map_err(BundleError::io("find the bundle", &options.bundle))?;
        let Document { document: mut spec, bytes: config, unknown } = read_spec(&bundle.join("config.json"))?;
        check_version(&spec)?;
        add_env(&mut spec, &options.env);
        let rootfs = root_of(&spec, &bundle)?;
        let cgroup = self.cgroup(id);
        let host = HostOptions {
            bundle: Some(&bundle),
            as_runc: true,
            cgroup: Some(&cgroup),
            ..HostOptions::new(&self.host, id)
        };
        let mut payload = plan_linux(&spec, &RootFs::Path { path: rootfs.clone() }, &host)?;
        if options.no_cgroups {
            payload.cgroup = CgroupPlan::default();
        }
        Ok(Plan { spec, config, bundle, rootfs, payload, unknown })
    }
}

/// What becomes of a container that was made.
struct Way {
    start: bool,
    follow: bool,
}

fn request(plan: &Plan, entry: &Entry, way: &Way) -> BundleRequest {
    BundleRequest {
        version: PLAN_VERSION,
        payload: plan.payload.clone(),
        tty: plan.spec.process().as_ref().and_then(terminal_size),
        wait_at: (!way.start).then(|| entry.start_socket()),
        lock: (!way.start).then(|| entry.created_lock()),
        follow: way.follow,
        target: None,
        preserved: Vec::new(),
    }
}

/// Of a process with a terminal: rows and columns.
pub(super) fn terminal_size(process: &Process) -> Option<(u16, u16)> {
    let narrow = |size: u64| u16::try_from(size).unwrap_or(u16::MAX);
    let size = process.console_size().map_or((0, 0), |size| (narrow(size.height()), narrow(size.width())));
    process.terminal().unwrap_or(false).then_some(size)
}

/// runc's rules: a terminal whose master nobody takes is none.
pub(super) fn check_console(
    process: Option<&Process>,
    socket: Option<&Path>,
    follow: bool,
) -> Result<(), BundleError> {
    let terminal = process.and_then(Process::terminal).unwrap_or(false);
    let reason = match (terminal, socket, follow) {
        (true, None, false) => {
            "a detached process with a terminal needs --console-socket, which gets its master"
        }
        (false, Some(_), _) => "--console-socket is for a process with a terminal, and this one has none",
        (_, Some(_), true) => {
            "--console-socket is for detached processes; a terminal in the foreground is this one"
        }
        _ => return Ok(()),
    };
    Err(BundleError::Console { reason })
}

/// What others wait for: the pid, and the terminal.
pub(super) fn hand_over(
    pid_file: Option<&Path>,
    console: Option<&Path>,
    process: brig_runtime::record::ProcessId,
    terminal: Option<std::os::fd::OwnedFd>,
) -> Result<Option<std::os::fd::OwnedFd>, BundleError> {
    if let Some(path) = pid_file {
        talk::write_pid(path, process)?;
    }
    match (console, terminal) {
        (Some(socket), Some(master)) => talk::send_console(socket, &master).map(|()| None),
        (_, terminal) => Ok(terminal),
    }
}

/// Every 1.x is a superset of what came before, but for what is refused by name.
fn check_version(spec: &Spec) -> Result<(), BundleError> {
    let known = spec.version().split_once('.').is_some_and(|(major, rest)| {
        let minor = rest.split(['.', '-']).next().unwrap_or_default();
        major == "1" && minor.parse::<u32>().is_ok()
    });
    if known { Ok(()) } else { Err(BundleError::Version { version: spec.version().clone() }) }
}

fn root_of(spec: &Spec, bundle: &Path) -> Result<PathBuf, BundleError> {
    let root = spec.root().as_ref().ok_or(PlanError::Missing { field: "root" })?;
    let path = bundle.join(root.path());
    path.canonicalize().map_err(BundleError::io("find the root file system", &path))
}

fn add_env(spec: &mut Spec, more: &[String]) {
    if more.is_empty() {
        return;
    }
    if let Some(mut process) = spec.process().clone() {
        put_env(&mut process, more);
        spec.set_process(Some(process));
    }
}

/// What follows the start.
pub(super) fn run_poststart(spec: &Spec, entry: &Entry, pid: i32) -> Result<Vec<HookError>, BundleError> {
    Ok(run_late(&late_hooks(spec)?.poststart, spec, entry, "running", Some(pid)))
}

/// All of them, whatever one of them says (runtime specification, Poststart and Poststop): a failure is told and changes
/// nothing else.
pub(super) fn run_late(
    hooks: &[Hook],
    spec: &Spec,
    entry: &Entry,
    status: &str,
    pid: Option<i32>,
) -> Vec<HookError> {
    let about = about(spec, &entry.id, Some(&entry.record.bundle));
    let state = about.state(status, pid);
    hooks.iter().filter_map(|hook| hooks::run(hook, &about.bundle, &state).err()).collect()
}
