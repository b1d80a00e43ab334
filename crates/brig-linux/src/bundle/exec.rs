//! More processes in a container.

use std::path::{Component, Path, PathBuf};

use brig_runtime::bundle::BundleRequest;
use brig_runtime::hooks::Hooks;
use brig_runtime::plan::{CgroupPlan, PLAN_VERSION, PayloadPlan, RootFs};
use oci_spec::runtime::{LinuxResources, Process, Spec};

use super::make::{check_console, hand_over, terminal_size};
use super::record::{Entry, read_document};
use super::talk::{self, Made, Maker};
use super::{BundleError, Runtime, Status};
use crate::capabilities::capability;
use crate::plan::{HostOptions, PlanError, plan_linux};

/// What is executed.
#[derive(Clone, Debug)]
pub enum ExecProcess {
    /// A process as in a spec.
    Whole(Box<Process>),
    /// The container's, with changes.
    Changed {
        /// The program and its arguments.
        args: Vec<String>,
        /// More of the environment, `NAME=value`.
        env: Vec<String>,
        /// Another working directory.
        cwd: Option<PathBuf>,
        /// Another user and group.
        user: Option<(u32, Option<u32>)>,
        /// More groups.
        groups: Vec<u32>,
        /// More capabilities, with or without `CAP_`.
        capabilities: Vec<String>,
        /// Whether it may gain no privileges, if not as the container.
        no_new_privileges: bool,
        /// Whether it gets a terminal.
        tty: bool,
        /// Another AppArmor profile.
        apparmor: Option<String>,
        /// Another SELinux label.
        selinux: Option<String>,
    },
}

/// How a process is made.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// The socket that gets the terminal's master.
    pub console_socket: Option<PathBuf>,
    /// Where its pid is written.
    pub pid_file: Option<PathBuf>,
    /// How many of the caller's descriptors from 3 up it gets.
    pub preserve_fds: u32,
    /// Whether a paused container is no obstacle: the process stops there.
    pub ignore_paused: bool,
    /// Whether its end is waited for.
    pub follow: bool,
    /// Cgroups below the container's, which are there: a path, for the hierarchies of these controllers (v1) or of all.
    pub cgroups: Vec<(Vec<String>, PathBuf)>,
}

/// Reads a process from a file (`process.json`).
///
/// # Errors
/// The file can't be read, or isn't one.
pub fn parse_process(path: &Path) -> Result<Process, BundleError> {
    read_document("process", path, "/capabilities").map(|read| read.document)
}

/// Reads resources in JSON, as `linux.resources` of a spec.
///
/// # Errors
/// The text isn't that.
pub fn parse_resources(name: &Path, json: &[u8]) -> Result<LinuxResources, BundleError> {
    let wrong = |source| BundleError::Document { what: "list of resources", path: name.to_owned(), source };
    serde_json::from_slice(json).map_err(wrong)
}

impl Runtime {
    /// Makes another process in a container. Its standard streams are this process's.
    ///
    /// # Errors
    /// The container doesn't run, or the program can't be executed.
    pub fn exec(&self, id: &str, process: ExecProcess, options: &ExecOptions) -> Result<Made, BundleError> {
        let entry = self.find(id)?;
        let maker = Maker::start(&self.helper()?)?;
        let status = entry.status()?;
        let fits = match status {
            Status::Running | Status::Created => true,
            Status::Paused => options.ignore_paused,
            _ => false,
        };
        let Some(init) = entry.record.init.filter(|_| fits) else {
            return Err(BundleError::Status { what: "exec in", id: id.to_owned(), status });
        };
        let mut spec = entry.spec()?;
        put_process(&mut spec, process)?;
        check_console(spec.process().as_ref(), options.console_socket.as_deref(), options.follow)?;
        let mut payload = self.plan_again(&entry, &spec)?;
        payload.cgroup = below(entry.record.cgroups.clone(), &options.cgroups)?;
        payload.hooks = Hooks::default();
        let preserved = talk::preserved(options.preserve_fds)?;
        let request = BundleRequest {
            version: PLAN_VERSION,
            payload,
            tty: spec.process().as_ref().and_then(terminal_size),
            wait_at: None,
            lock: None,
            follow: options.follow,
            target: Some(init),
            preserved: preserved.numbers.clone(),
        };
        maker.make(&request, &preserved, "exec in the container", &mut |process, terminal| {
            hand_over(options.pid_file.as_deref(), options.console_socket.as_deref(), process, terminal)
        })
    }
}

impl Runtime {
    /// What a spec means for a container that is there.
    pub(super) fn plan_again(&self, entry: &Entry, spec: &Spec) -> Result<PayloadPlan, BundleError> {
        let host = HostOptions {
            bundle: Some(&entry.record.bundle),
            as_runc: true,
            ..HostOptions::new(&self.host, &entry.id)
        };
        Ok(plan_linux(spec, &RootFs::Path { path: entry.record.rootfs.clone() }, &host)?)
    }
}

/// The container's cgroups, or others that it has made.
fn below(mut plan: CgroupPlan, wanted: &[(Vec<String>, PathBuf)]) -> Result<CgroupPlan, BundleError> {
    for (controllers, path) in wanted {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir | Component::RootDir);
        if !path.components().all(inside) {
            let reason = format!("the cgroup `{}` isn't one below the container's", path.display());
            return Err(BundleError::Usage { reason });
        }
        let path = path.strip_prefix("/").unwrap_or(path);
        for dir in plan.unified.iter_mut().chain(&mut plan.legacy) {
            if controllers.is_empty() || controllers.contains(&dir.controller) {
                dir.name.push(path);
            }
        }
    }
    Ok(plan)
}

fn put_process(spec: &mut Spec, process: ExecProcess) -> Result<(), BundleError> {
    let process = match process {
        ExecProcess::Whole(process) => *process,
        changed @ ExecProcess::Changed { .. } => {
            let own = spec.process().clone().ok_or(PlanError::Missing { field: "process" })?;
            change(own, changed)?
        }
    };
    spec.set_process(Some(process));
    Ok(())
}

fn change(mut process: Process, changes: ExecProcess) -> Result<Process, BundleError> {
    let ExecProcess::Changed {
        args,
        env,
        cwd,
        user,
        groups,
        capabilities,
        no_new_privileges,
        tty,
        apparmor,
        selinux,
    } = changes
    else {
        return Ok(process);
    };
    process.set_args(Some(args)).set_terminal(Some(tty));
    put_env(&mut process, &env);
    if let Some(cwd) = cwd {
        process.set_cwd(cwd);
    }
    let mut who = process.user().clone();
    if let Some((uid, gid)) = user {
        who.set_uid(uid);
        who.set_gid(gid.unwrap_or(0));
    }
    if !groups.is_empty() {
        let mut all = who.additional_gids().clone().unwrap_or_default();
        all.extend(groups);
        who.set_additional_gids(Some(all));
    }
    process.set_user(who);
    if no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if apparmor.is_some() {
        process.set_apparmor_profile(apparmor);
    }
    if selinux.is_some() {
        process.set_selinux_label(selinux);
    }
    add_capabilities(&mut process, &capabilities)?;
    Ok(process)
}

/// What comes later is in place of what had its name.
pub(super) fn put_env(process: &mut Process, more: &[String]) {
    let mut all = process.env().clone().unwrap_or_default();
    for variable in more {
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        all.retain(|have| name(have) != name(variable));
        all.push(variable.clone());
    }
    process.set_env(Some(all));
}

/// Into the sets from which a program of any user has them.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), BundleError> {
    if names.is_empty() {
        return Ok(());
    }
    let unknown = |name: &String| PlanError::Invalid {
        field: "--cap",
        value: name.clone(),
        reason: "isn't a capability",
    };
    let more = names.iter().map(|name| capability(name).ok_or_else(|| unknown(name)));
    let more = more.collect::<Result<Vec<_>, _>>()?;
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let add = |set: &Option<std::collections::HashSet<_>>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(more.iter().copied());
        Some(set)
    };
    let (bounding, effective, permitted) =
        (add(sets.bounding()), add(sets.effective()), add(sets.permitted()));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    process.set_capabilities(Some(sets));
    Ok(())
}
