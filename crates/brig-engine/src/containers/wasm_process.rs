//! The engine process of a wasm container, and others that `exec` brings in beside it.
//!
//! An engine process finds compiled code in one directory of the container's own, in which each file is a second name of
//! one in the store: so `exec` can add a module to a container that runs, and no container sees the code of others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use brig_linux::{EngineMount, EngineProcess, EngineRoot, Grant, plan_engine};
use brig_oci::Digest;
use brig_runtime::plan::PayloadPlan;
use brig_runtime::protocol::{EngineRequest, ExecRequest};
use brig_runtime::record::WasmRecord;
use brig_runtime::{ContainerPaths, ContainerSpec};
use brig_wasm::{Form, Invoke, Preopen, RunRequest};

use super::exec::ExecOptions;
use super::files::{ENGINE_ROOT, engine_volume};
use super::find::ContainerInfo;
use super::start::{damaged, make_dir};
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// Where it finds compiled code.
const ENGINE_MODULES: &str = "/modules";
/// The name of the engine process.
const RUNNER: &str = "brig-runner";

impl Engine {
    /// The plan for the engine process of a container.
    pub(super) fn wasm_payload(
        &self,
        container: &ContainerInfo,
        paths: &ContainerPaths,
    ) -> Result<PayloadPlan> {
        let spec = &container.spec;
        let record = spec.wasm.as_ref().ok_or_else(|| damaged(spec, "it names no module"))?;
        let code = self.code(paths, record, &spec.layers)?;
        let request = self.run_request(spec, paths, &code, spec.args.clone(), spec.env.clone());
        let modules = paths.modules();
        let mut grants =
            vec![Grant { source: modules, target: ENGINE_MODULES.into(), writable: false, code: true }];
        // The image's own files need a mount.
        let root = if self.has_root(spec) {
            let root = self.root_fs(container, paths)?;
            Some(EngineRoot { root, target: ENGINE_ROOT.into(), writable: !spec.read_only })
        } else {
            None
        };
        let mut mounts = Vec::new();
        for (number, mount) in spec.mounts.iter().enumerate() {
            let (target, writable) = (engine_volume(number), !mount.read_only);
            match self.special_mount(mount)? {
                Some(what) => mounts.push(EngineMount { what, target, writable }),
                None => grants.push(Grant { source: mount.source.clone(), target, writable, code: false }),
            }
        }
        let process = EngineProcess {
            program: self.runner()?,
            args: engine_args(),
            input: request.encode().map_err(|error| damaged(spec, &error.to_string()))?,
            uid: self.host().uid,
            gid: self.host().gid,
            root,
            grants,
            mounts,
            network: request.network,
            limits: spec.limits.clone(),
            rlimits: super::tuning::rlimits(&spec.tuning),
            oom_score_adj: spec.tuning.oom_score_adj,
            ..EngineProcess::default()
        };
        Ok(plan_engine(&process, self.host(), &spec.id).map_err(brig_linux::Error::from)?)
    }

    /// What `exec` runs in a wasm container: another module of its image, by its path, or a function that the container's
    /// module exports; with its own name, the module once more.
    pub(super) fn wasm_exec_request(
        &self,
        container: &ContainerInfo,
        options: &ExecOptions,
    ) -> Result<ExecRequest> {
        let spec = &container.spec;
        self.refuse_for_wasm(spec, options)?;
        let own = spec.wasm.as_ref().ok_or_else(|| damaged(spec, "it names no module"))?;
        let name = options.args.first().ok_or_else(|| Error::NothingToRun { name: spec.name.clone() })?;
        let other = if spec.args.first() == Some(name) { None } else { self.module_of_image(spec, name)? };
        let again = spec.args.first() == Some(name);
        let record = other.as_ref().unwrap_or(own);
        let paths = self.roots().container(&spec.id);
        let code = self.code(&paths, record, &spec.layers)?;
        let env = super::exec::env(spec, options)?;
        let mut request = self.run_request(spec, &paths, &code, options.args.clone(), env);
        if other.is_none() && !again {
            let args = options.args.get(1..).unwrap_or_default().to_vec();
            request.invoke = Some(Invoke { export: name.clone(), args });
            request.args.clone_from(&spec.args);
        }
        // The container's time is its own.
        request.timeout_ms = None;
        if let Some(cwd) = &options.workdir {
            request.cwd = Some(cwd.clone());
        }
        let input = request.encode().map_err(|error| damaged(spec, &error.to_string()))?;
        Ok(ExecRequest {
            args: engine_args(),
            env: Vec::new(),
            cwd: "/".into(),
            uid: self.host().uid,
            gid: self.host().gid,
            groups: Vec::new(),
            tty: false,
            stdin: options.interactive,
            detach: options.detach,
            size: None,
            engine: Some(EngineRequest::new(self.runner()?, &input)),
        })
    }

    /// What a wasm container has no notion of.
    fn refuse_for_wasm(&self, spec: &ContainerSpec, options: &ExecOptions) -> Result<()> {
        let refused = |what: &str, reason: &str| {
            let what = format!("{what} in wasm container `{}`", spec.name);
            Err(Error::Unsupported { what, reason: reason.into() })
        };
        if options.tty {
            return refused("a terminal for exec", "WebAssembly can't tell: leave out -t");
        }
        if options.user.is_some() {
            return refused("a user for exec", "WebAssembly has no users: leave out -u");
        }
        Ok(())
    }

    /// Compiled code, under a name that the container's engine processes see.
    fn code(&self, paths: &ContainerPaths, record: &WasmRecord, layers: &[String]) -> Result<Code> {
        let (form, file, key) = self.compiled(record, layers)?;
        let dir = paths.modules();
        make_dir(&dir)?;
        let name = key.hex().to_owned();
        link(&file, &dir.join(&name))?;
        Ok(Code { form, name, key })
    }

    /// Whether the image's own files are seen: they need a mount.
    fn has_root(&self, spec: &ContainerSpec) -> bool {
        !spec.layers.is_empty() && self.can_make_namespaces()
    }

    fn run_request(
        &self,
        spec: &ContainerSpec,
        paths: &ContainerPaths,
        code: &Code,
        args: Vec<String>,
        env: Vec<String>,
    ) -> RunRequest {
        // Without namespaces the engine process finds everything at its place on the host.
        let moved = self.can_make_namespaces();
        let found = |target: &str, source: &Path| if moved { target.into() } else { source.to_owned() };
        let modules: PathBuf = found(ENGINE_MODULES, &paths.modules());
        let root = Preopen { host: ENGINE_ROOT.into(), guest: "/".into(), read_only: spec.read_only };
        let root = self.has_root(spec).then_some(root);
        let volumes = spec.mounts.iter().enumerate().map(|(number, mount)| Preopen {
            host: found(&engine_volume(number), &mount.source),
            guest: mount.target.clone(),
            read_only: mount.read_only,
        });
        RunRequest {
            version: brig_wasm::request::REQUEST_VERSION,
            module: modules.join(&code.name),
            identity: brig_wasm::request::identity(&brig_wasm::runner::engine_key(), &code.key),
            name: args.first().cloned().unwrap_or_default(),
            encoding: code.form.encoding,
            wasi: code.form.wasi,
            args,
            env,
            preopens: root.into_iter().chain(volumes).collect(),
            cwd: (spec.cwd != "/").then(|| spec.cwd.clone()),
            memory: spec.limits.memory,
            timeout_ms: spec.limits.timeout_ms,
            network: spec.network == "host",
            precise_clocks: false,
            invoke: None,
        }
    }
}

/// Compiled code of a container.
struct Code {
    form: Form,
    /// The file's name among the container's modules.
    name: String,
    key: Digest,
}

fn engine_args() -> Vec<String> {
    vec![RUNNER.into(), brig_wasm::request::RUN_ARGUMENT.into()]
}

/// Gives a compiled file another name. What was there is of the same module, maybe of an older brig.
fn link(file: &Path, name: &Path) -> Result<()> {
    let failed =
        |source| Error::Io { action: "link the compiled code to", path: Some(name.to_owned()), source };
    match fs::hard_link(file, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // A file has only so many names.
        Err(error) if error.raw_os_error() == Some(libc::EMLINK) => {
            return fs::copy(file, name).map(drop).map_err(failed);
        }
        linked => return linked.map_err(failed),
    }
    if same_file(file, name).map_err(failed)? {
        return Ok(());
    }
    let new = name.with_extension(format!("{}.new", std::process::id()));
    fs::hard_link(file, &new).and_then(|()| fs::rename(&new, name)).map_err(failed)
}

fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}
