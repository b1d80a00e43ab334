//! Start: from a record to a supervisor with a running payload.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use brig_linux::{HelperError, HostOptions, RootFs, plan_linux};
use brig_runtime::client::Supervisor;
use brig_runtime::plan::{MountKind, MountPlan, PLAN_VERSION, PayloadPlan, Plan, SupervisorPlan, VolumeUse};
use brig_runtime::protocol::STEP_RUNNING;
use brig_runtime::record::{MountRecord, MountsBelow};
use brig_runtime::remove::remove_tree;
use brig_runtime::{ContainerPaths, ContainerSpec, State};
use brig_store::MountOptions;

use super::find::ContainerInfo;
use super::life::{client_error, own_grace};
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The creator's terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Whether to send input.
    pub stdin: bool,
    /// Rows and columns.
    pub size: Option<(u16, u16)>,
}

impl Engine {
    /// Starts a container that is created or stopped. The connection is the creator's: with `attach` it carries
    /// output, input and the end from the first byte on.
    pub fn start(&self, container: &ContainerInfo, attach: Option<&AttachOptions>) -> Result<Supervisor> {
        if !matches!(container.state.state, State::Created | State::Stopped) {
            return Err(container.wrong_state("start"));
        }
        let paths = self.roots().container(&container.spec.id);
        // Until it runs with what its record says, nobody changes the record.
        let dir = fs::File::open(paths.dir()).map_err(Error::io("open", paths.dir()))?;
        dir.lock_shared().map_err(Error::io("lock", paths.dir()))?;
        let spec = ContainerSpec::read(&paths.spec())?;
        let container = &ContainerInfo { spec, state: container.state.clone() };
        forget_volatile(container, &paths)?;
        let plan = self.plan(container, &paths, attach).inspect_err(|_| self.forget(container))?;
        match self.helper()?.spawn(&plan) {
            Ok(spawned) => {
                self.adopt(spawned.child);
                Ok(Supervisor::from_birth(spawned.control))
            }
            // Somebody else started it in this moment: it is theirs.
            Err(HelperError::Step { source }) if source.step == STEP_RUNNING => {
                let (name, state) = (container.spec.name.clone(), State::Running.docker());
                Err(Error::WrongState { name, state, action: "start" })
            }
            Err(HelperError::Step { source }) => {
                self.forget(container);
                Err(Error::Start { name: container.spec.name.clone(), source })
            }
            Err(error) => Err(brig_linux::Error::from(error).into()),
        }
    }

    fn plan(
        &self,
        container: &ContainerInfo,
        paths: &ContainerPaths,
        attach: Option<&AttachOptions>,
    ) -> Result<Plan> {
        let payload = match container.spec.kind.as_str() {
            "wasm" => self.wasm_payload(container, paths)?,
            _ => self.linux_payload(container, paths)?,
        };
        let supervisor = self.supervisor_plan(container, paths, attach)?;
        Ok(Plan { version: PLAN_VERSION, supervisor, payload })
    }

    /// Removes a container that was to be removed at its end, and couldn't be started.
    fn forget(&self, container: &ContainerInfo) {
        if container.spec.auto_remove {
            // It was never visible as running; docker leaves nothing of it either. The first error counts.
            let _ = self.remove(&container.spec.id, false);
        }
    }

    /// Attaches to a running container's output, and to its input where asked.
    pub fn attach(&self, container: &ContainerInfo, stdin: bool) -> Result<Supervisor> {
        let mut supervisor = self.supervisor(container, "attach to")?;
        supervisor.attach(stdin).map_err(client_error(&container.spec.name))?;
        Ok(supervisor)
    }

    fn supervisor_plan(
        &self,
        container: &ContainerInfo,
        paths: &ContainerPaths,
        attach: Option<&AttachOptions>,
    ) -> Result<SupervisorPlan> {
        let spec = &container.spec;
        Ok(SupervisorPlan {
            id: spec.id.clone(),
            name: spec.name.clone(),
            image: spec.image.reference.clone(),
            kind: spec.kind.clone(),
            created_at: spec.created_at.to_string(),
            dir: paths.dir().into(),
            run_dir: paths.run_dir().into(),
            events: self.roots().events(),
            name_file: self.roots().names().join(&spec.name),
            attach: attach.is_some(),
            stdin_open: spec.stdin_open,
            tty: spec.tty.then(|| attach.and_then(|attach| attach.size).unwrap_or((24, 80))),
            log: super::log::plan(spec)?,
            timeout_ms: spec.limits.timeout_ms,
            stop_signal: spec.stop_signal,
            stop_grace_ms: u64::try_from(own_grace(spec).as_millis()).unwrap_or(u64::MAX),
            auto_remove: spec.auto_remove,
            restart: spec.restart,
            health: self.health_plan(container)?,
            cgroups: self.host().cgroups.of_supervisors(),
            volumes: self.volumes_in_use(&spec.mounts),
        })
    }

    fn volumes_in_use(&self, mounts: &[MountRecord]) -> Vec<VolumeUse> {
        let used = |mount: &MountRecord| {
            let name = mount.volume.clone()?;
            Some(VolumeUse {
                dir: self.roots().volumes().join(&name),
                name,
                target: mount.target.clone(),
                writable: !mount.read_only,
                anonymous: mount.anonymous,
            })
        };
        mounts.iter().filter_map(used).collect()
    }

    pub(super) fn linux_payload(
        &self,
        container: &ContainerInfo,
        paths: &ContainerPaths,
    ) -> Result<PayloadPlan> {
        let spec = &container.spec;
        let document = spec.linux.as_ref().ok_or_else(|| damaged(spec, "it has no OCI runtime spec"))?;
        let oci = <oci_spec::runtime::Spec as serde::Deserialize>::deserialize(document)
            .map_err(|error| damaged(spec, &error.to_string()))?;
        let rootfs = self.root_fs(container, paths)?;
        let mut payload = plan_linux(&oci, &rootfs, &HostOptions::new(self.host(), &spec.id))
            .map_err(brig_linux::Error::from)?;
        self.put_special_mounts(&spec.mounts, &mut payload.mounts)?;
        if spec.init {
            brig_linux::put_init_before(&mut payload.process);
        }
        Ok(payload)
    }

    /// The OCI runtime spec has a directory in the place of an image, or of a part of a volume, and doesn't tell what is
    /// below a mount from the mount.
    fn put_special_mounts(&self, records: &[MountRecord], plans: &mut [MountPlan]) -> Result<()> {
        for record in records {
            let is_it = |plan: &&mut MountPlan| {
                plan.target == record.target
                    && matches!(&plan.what, MountKind::Bind { source, .. } if *source == record.source)
            };
            let what = self.special_mount(record)?;
            let Some(plan) = plans.iter_mut().find(is_it) else { continue };
            if record.below == MountsBelow::Writable {
                plan.let_below_be_written();
            }
            if let Some(what) = what {
                plan.what = what;
            }
        }
        Ok(())
    }

    /// The layers under the container's writable top, whose directories are made on the first start.
    pub(super) fn root_fs(&self, container: &ContainerInfo, paths: &ContainerPaths) -> Result<RootFs> {
        let spec = &container.spec;
        let diff_ids = crate::layers::of_record(spec)?;
        let layers = self.store().stack(&diff_ids)?;
        let (upper, work) = (paths.upper(), paths.work());
        make_dir(&upper)?;
        make_dir(&work)?;
        if layers.is_empty() {
            return Ok(RootFs::Path { path: upper });
        }
        let options = MountOptions { user_xattr: self.host().rootless, volatile: spec.auto_remove };
        let plan = self.store().mount_plan(&layers, Some((&upper, &work)), options);
        Ok(RootFs::Overlay {
            lowers: plan.lowers,
            upper: plan.upper,
            work: plan.work,
            options: plan.options.iter().map(|option| (*option).to_owned()).collect(),
        })
    }
}

/// A restart of one whose overlay was volatile: the kernel's marker would say that something may be lost. It was unmounted
/// in order.
fn forget_volatile(container: &ContainerInfo, paths: &ContainerPaths) -> Result<()> {
    if !container.spec.auto_remove {
        return Ok(());
    }
    let marker = paths.work().join("work/incompat");
    remove_tree(&marker, &[]).map_err(Error::io("remove", &marker))
}

/// The writable top's root is the container's `/`, so its mode is seen inside.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // The umask took bits away.
        Ok(()) => fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)),
        Err(error) => Err(error),
    }
    .map_err(Error::io("make the directory", path))
}

pub(super) fn damaged(spec: &brig_runtime::ContainerSpec, problem: &str) -> Error {
    Error::invalid("record of container", spec.id.clone(), problem)
}
