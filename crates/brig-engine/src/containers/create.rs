//! Create: from an image and options to a record on disk. Nothing runs yet.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;

use brig_oci::{Kind, KindChoice, RunConfig};
use brig_runtime::limits::Machine;
use brig_runtime::record::{ImageRecord, ProcessId, RECORD_VERSION};
use brig_runtime::{
    ContainerPaths, ContainerSpec, Event, Limits, LogConfig, RestartPolicy, State, StateRecord, Timestamp,
};
use brig_store::{LayerStack, Lease, Which};

use super::command;
use super::find::ContainerInfo;
use super::options::{CreateOptions, Isolation, Network};
use super::tuning;
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::images::ResolvedImage;
use crate::names;
use crate::volumes::{Planned, propagation};

/// What is to be run, from an image or a bare file, before flags come in.
pub(crate) struct Source {
    pub(crate) image: ImageRecord,
    pub(crate) config: RunConfig,
    pub(crate) kind: KindChoice,
    /// The diff ids of the root file system's layers, lowest first.
    pub(crate) layers: Vec<String>,
    pub(crate) stack: LayerStack,
    /// The module, where it isn't a file of the layers.
    pub(crate) module: Option<crate::wasm::Module>,
    pub(crate) stop_signal: i32,
    /// Keeps all of it from garbage collection until the container's record does.
    pub(crate) _lease: Option<Lease>,
}

impl Engine {
    /// Creates a container from an image that is complete in the store, or from a `.wasm` file.
    pub fn create(&self, options: &CreateOptions) -> Result<ContainerInfo> {
        let source = self.source(options)?;
        let id =
            names::new_id().map_err(|source| Error::Io { action: "get random bytes", path: None, source })?;
        let paths = self.roots().container(&id);
        make_dir(&paths)?;
        match self.create_in(&paths, &id, source, options) {
            Ok(info) => Ok(info),
            Err(error) => {
                // Nothing of it was ever visible as a container; the error to tell is the first one.
                let _ = fs::remove_dir_all(paths.dir());
                Err(error)
            }
        }
    }

    fn create_in(
        &self,
        paths: &ContainerPaths,
        id: &str,
        source: Source,
        options: &CreateOptions,
    ) -> Result<ContainerInfo> {
        let mut planned = self.plan_mounts(options, &source.config.volumes)?;
        let _images = self.keep_images(paths, &mut planned)?;
        let spec = self.container_spec(paths, id, &source, options, &planned)?;
        let taken = self.take_volumes(&spec, &planned, &source.stack)?;
        let made = self.name_and_record(paths, spec, options);
        match &made {
            Ok(_) => self.keep(&taken),
            Err(_) => self.give_back(taken),
        }
        made
    }

    /// What makes it a container. Its volumes are locked until then.
    fn name_and_record(
        &self,
        paths: &ContainerPaths,
        mut spec: ContainerSpec,
        options: &CreateOptions,
    ) -> Result<ContainerInfo> {
        spec.name = self.take_name(paths, &spec.id, options.name.as_deref())?;
        let state = initial_state(&spec, options)?;
        let event = Event::container("create", &spec.id)
            .with("image", &spec.image.reference)
            .with("name", &spec.name);
        let recorded = self.record(paths, &spec, &state).and_then(|()| self.record_event(&event));
        if recorded.is_err() {
            // As above: the name must not outlive the record.
            let _ = fs::remove_file(self.roots().names().join(&spec.name));
        }
        recorded.map(|()| ContainerInfo { spec, state })
    }

    fn record(&self, paths: &ContainerPaths, spec: &ContainerSpec, state: &StateRecord) -> Result<()> {
        spec.write(&paths.spec())?;
        state.write(&paths.state())?;
        Ok(())
    }

    fn source(&self, options: &CreateOptions) -> Result<Source> {
        if crate::wasm::is_file(&options.image) {
            return self.bare_source(options);
        }
        let resolved = self.resolve(&options.image, &options.wanted)?;
        // Before the look at what is there, and until the record says that it is needed: `rmi` collects garbage.
        let lease = self.store().lease("create")?;
        let blobs: Vec<_> = resolved.image.manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
        lease.protect(std::slice::from_ref(&resolved.image.descriptor.digest), &[])?;
        lease.protect(&blobs, &resolved.root_layers())?;
        if let Some(digest) = self.missing_part(&resolved)? {
            return Err(Error::Incomplete { name: resolved.name, digest });
        }
        self.image_source(&resolved, options, lease)
    }

    fn image_source(
        &self,
        resolved: &ResolvedImage,
        options: &CreateOptions,
        lease: Lease,
    ) -> Result<Source> {
        let layers = resolved.root_layers();
        let stack = self.layer_stack(&layers, None)?;
        let config = resolved.config.as_ref().map(|config| config.config.clone()).unwrap_or_default();
        let mut kind = resolved.kind.clone();
        let module = match kind.kind {
            Kind::Wasm => self.artifact_module(resolved)?,
            Kind::Linux => None,
        };
        if kind.kind == Kind::Linux && options.wanted.kind.is_none() {
            kind = sniff(&stack, &config, options, kind)?;
        }
        Ok(Source {
            image: ImageRecord {
                reference: resolved.name.clone(),
                manifest: resolved.image.descriptor.digest.to_string(),
                id: resolved.id().to_string(),
                platform: resolved.platform.to_string(),
            },
            config,
            kind,
            layers: layers.iter().map(ToString::to_string).collect(),
            stack,
            module,
            stop_signal: command::stop_signal(resolved.config.as_ref()),
            _lease: Some(lease),
        })
    }

    fn container_spec(
        &self,
        paths: &ContainerPaths,
        id: &str,
        source: &Source,
        options: &CreateOptions,
        planned: &[Planned],
    ) -> Result<ContainerSpec> {
        let mut spec = ContainerSpec {
            version: RECORD_VERSION,
            id: id.to_owned(),
            name: String::new(),
            kind: source.kind.kind.to_string(),
            kind_reason: source.kind.reason.clone(),
            image: source.image.clone(),
            created_at: Timestamp::now(),
            args: Vec::new(),
            env: command::env(&source.config, options)?,
            cwd: command::cwd(&source.config, options)?,
            user: options.user.clone().unwrap_or_else(|| source.config.user.clone()),
            hostname: hostname(options, id)?,
            tty: options.tty,
            stdin_open: options.interactive,
            read_only: options.read_only,
            auto_remove: options.auto_remove,
            network: options.network.as_str().into(),
            isolation: isolation(source.kind.kind, options.isolation).into(),
            mounts: planned.iter().map(|planned| planned.record.clone()).collect(),
            labels: source
                .config
                .labels
                .iter()
                .chain(&options.labels)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            limits: limits(&options.limits)?,
            tuning: tuning::checked(source.kind.kind, options)?,
            log: log(&options.log)?,
            stop_signal: options.stop_signal.unwrap_or(source.stop_signal),
            stop_timeout: options.stop_timeout,
            restart: check_restart(options.restart, options.auto_remove)?,
            health: super::health::check(&source.config, &options.health)?,
            init: options.init,
            security_opt: options.security_opt.clone(),
            layers: source.layers.clone(),
            linux: None,
            wasm: None,
        };
        propagation::check(source.kind.kind, &spec.mounts, self.host().rootless)?;
        self.check_mounts_below(source.kind.kind, &spec.mounts)?;
        match source.kind.kind {
            Kind::Linux => {
                spec.args = command::args(&source.config, options)?;
                self.linux_spec(paths, &mut spec, source)?;
            }
            Kind::Wasm => {
                // An artifact says no entry point: its module is the program, and all arguments are its own.
                spec.args = match &source.module {
                    Some(module) if source.config.entrypoint.is_empty() && source.config.cmd.is_empty() => {
                        std::iter::once(module.name().to_owned())
                            .chain(options.args.iter().cloned())
                            .collect()
                    }
                    _ => command::args(&source.config, options)?,
                };
                spec.wasm = Some(self.container_module(&spec, source)?);
            }
        }
        // Now that it has all that a record of the log may say.
        super::log::plan(&spec)?;
        Ok(spec)
    }

    /// Takes a name by exclusive link: two creators of one name can't both get it.
    fn take_name(&self, paths: &ContainerPaths, id: &str, wanted: Option<&str>) -> Result<String> {
        let file = paths.dir().join("id");
        fs::write(&file, id).map_err(Error::io("write", &file))?;
        if let Some(name) = wanted {
            names::check(name)?;
            return self.link_name(paths, name).map(|()| name.to_owned());
        }
        for attempt in 0.. {
            let name = names::generated(id, attempt);
            match self.link_name(paths, &name) {
                Err(Error::NameInUse { .. }) => {}
                linked => return linked.map(|()| name),
            }
        }
        Err(Error::invalid("container name", id, "all generated names are taken"))
    }

    /// Takes this name for the container.
    pub(super) fn link_name(&self, paths: &ContainerPaths, name: &str) -> Result<()> {
        let dir = self.roots().names();
        let (file, link) = (paths.dir().join("id"), dir.join(name));
        let mut made = false;
        loop {
            match fs::hard_link(&file, &link) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !made => {
                    fs::create_dir_all(&dir).map_err(Error::io("make the directory", &dir))?;
                    made = true;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.sweep_name(name)? {
                        continue;
                    }
                    // Its holder may have gone in this moment.
                    let Some(holder) = self.name_holder(name)? else { continue };
                    let holder = holder.chars().take(12).collect();
                    return Err(Error::NameInUse { name: name.to_owned(), holder });
                }
                Err(error) => return Err(Error::io("take the name", link)(error)),
            }
        }
    }

    /// Frees a name whose container is gone: a kill between two steps of a removal leaves that. One sweeper at a time:
    /// a second one would remove what the first one's creator has just taken.
    fn sweep_name(&self, name: &str) -> Result<bool> {
        let dir = self.roots().names();
        let names = fs::File::open(&dir).map_err(Error::io("open", &dir))?;
        names.lock().map_err(Error::io("lock", &dir))?;
        let Some(holder) = self.name_holder(name)? else { return Ok(true) };
        let paths = self.roots().container(&holder);
        if paths.dir().exists() {
            // The look removes one that should have gone by itself, and frees its name.
            if matches!(self.container_by_id(&holder), Err(Error::ContainerNotFound { .. })) {
                return Ok(true);
            }
            if !is_left_over(&paths, name) {
                return Ok(false);
            }
        }
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(Error::io("remove", path)(error)),
        }
    }
}

/// Whether a name of this container is one that it hasn't any more: its renaming was cut off. One that goes on holds the
/// lock of the directory.
fn is_left_over(paths: &ContainerPaths, name: &str) -> bool {
    let Ok(dir) = fs::File::open(paths.dir()) else { return false };
    dir.try_lock().is_ok() && ContainerSpec::read(&paths.spec()).is_ok_and(|spec| spec.name != name)
}

/// An entry point that begins with `\0asm` makes a Linux image wasm (invariant 1).
fn sniff(
    stack: &LayerStack,
    config: &RunConfig,
    options: &CreateOptions,
    kind: KindChoice,
) -> Result<KindChoice> {
    let Ok(args) = command::args(config, options) else { return Ok(kind) };
    let env = command::env(config, options)?;
    let path = command::value(&env, "PATH").unwrap_or(command::DEFAULT_PATH);
    let found = stack.which(&args[0], path, &command::cwd(config, options)?)?;
    let Which::Found { mut file, .. } = found else { return Ok(kind) };
    let mut magic = [0; 4];
    match io::Read::read_exact(&mut file, &mut magic) {
        Ok(()) if magic == *b"\0asm" => Ok(KindChoice {
            kind: Kind::Wasm,
            reason: format!("its entry point `{}` is WebAssembly ({})", args[0], kind.reason),
        }),
        _ => Ok(kind),
    }
}

/// docker's rule: the short id, or the host's name on the host's network.
fn hostname(options: &CreateOptions, id: &str) -> Result<String> {
    const FILE: &str = "/proc/sys/kernel/hostname";
    match (&options.hostname, options.network) {
        (Some(name), _) => Ok(name.clone()),
        (None, Network::None) => Ok(id.chars().take(12).collect()),
        (None, Network::Host) => {
            let name = fs::read_to_string(FILE).map_err(Error::io("read", FILE))?;
            Ok(name.trim_end().to_owned())
        }
    }
}

fn limits(limits: &Limits) -> Result<Limits> {
    if *limits != Limits::default() {
        limits.check(&Machine::look())?;
    }
    Ok(limits.clone())
}

/// What can't be kept so is refused here, not at the start.
fn log(config: &LogConfig) -> Result<LogConfig> {
    const JOURNAL: &str = "/run/systemd/journal/socket";
    config.plan()?;
    if config.driver == "journald" && !std::path::Path::new(JOURNAL).exists() {
        let reason = format!("no journal listens here (`{JOURNAL}` is missing)");
        return Err(Error::Unsupported { what: "the log driver `journald`".into(), reason });
    }
    Ok(config.clone())
}

fn isolation(kind: Kind, isolation: Isolation) -> &'static str {
    match (kind, isolation) {
        (Kind::Linux, _) => "namespaces",
        (Kind::Wasm, Isolation::Process) => "process",
    }
}

/// docker's rule: what goes at its end doesn't come again.
pub(super) fn check_restart(policy: RestartPolicy, auto_remove: bool) -> Result<RestartPolicy> {
    if auto_remove && policy != RestartPolicy::No {
        return Err(Error::invalid("restart policy", policy.to_string(), "it excludes `--rm`"));
    }
    Ok(policy)
}

fn initial_state(spec: &ContainerSpec, options: &CreateOptions) -> Result<StateRecord> {
    let goes_with_us = options.auto_remove && options.start_follows;
    let creator = goes_with_us.then(ProcessId::own).transpose();
    let creator = creator.map_err(Error::io("read", "/proc/self/stat"))?;
    let record = StateRecord::new(&spec.id, &spec.kind, State::Created, spec.created_at).of_this_boot();
    let record = record.map_err(|source| Error::Io { action: "read the boot id", path: None, source })?;
    Ok(StateRecord { creator, ..record })
}

/// The container's directory, readable by its owner alone; its parent is made on first use.
fn make_dir(paths: &ContainerPaths) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700);
    match builder.create(paths.dir()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => builder.recursive(true).create(paths.dir()),
        result => result,
    }
    .map_err(Error::io("make the directory", paths.dir()))
}
