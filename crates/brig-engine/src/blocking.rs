//! The engine for callers without an async runtime: the CLI's start path runs on it, and [`crate::Engine`] puts its
//! calls on blocking threads.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use brig_runtime::{Event, EventLog, Roots};
use brig_store::{Store, UnpackOptions};

use crate::error::{Error, Result};

/// Where an engine works, and with whom it talks.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// The root: images, containers. Default: `BRIG_ROOT`'s meaning is the CLI's; here `/var/lib/brig` for root, and
    /// `$XDG_DATA_HOME/brig` for others.
    pub root: Option<PathBuf>,
    /// The run root: locks and sockets. Default: below a given root; else `/run/brig` or `$XDG_RUNTIME_DIR/brig`.
    pub run_root: Option<PathBuf>,
    /// Registries to speak HTTP with, beyond those on loopback.
    pub insecure_registries: Vec<String>,
}

/// One engine on one root. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    #[cfg_attr(
        not(feature = "registry"),
        expect(dead_code, reason = "only a registry client asks for more of it")
    )]
    options: EngineOptions,
    roots: Roots,
    store: Store,
    /// Supervisors that this process started, to be reaped: they are its children, and outlive it all the same.
    supervisors: Mutex<Vec<Child>>,
    helper: OnceLock<brig_linux::Helper>,
    host: OnceLock<brig_linux::Host>,
    #[cfg(feature = "registry")]
    client: OnceLock<brig_registry::Client>,
}

impl Engine {
    /// Opens the root, and makes it on first use. Reads next to nothing.
    pub fn open(options: EngineOptions) -> Result<Self> {
        let roots = roots(&options)?;
        let store = Store::open(&roots.root)?;
        Ok(Self(Arc::new(Inner {
            options,
            roots,
            store,
            helper: OnceLock::new(),
            host: OnceLock::new(),
            supervisors: Mutex::default(),
            #[cfg(feature = "registry")]
            client: OnceLock::new(),
        })))
    }

    /// The roots.
    pub fn roots(&self) -> &Roots {
        &self.0.roots
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn unpack_options(&self) -> UnpackOptions {
        UnpackOptions::default()
    }

    /// The helper, made ready once per engine.
    pub(crate) fn helper(&self) -> Result<&brig_linux::Helper> {
        if let Some(helper) = self.0.helper.get() {
            return Ok(helper);
        }
        let helper =
            brig_linux::Helper::in_directory(&self.roots().programs()).map_err(brig_linux::Error::from)?;
        Ok(self.0.helper.get_or_init(|| helper))
    }

    pub(crate) fn host_cell(&self) -> &OnceLock<brig_linux::Host> {
        &self.0.host
    }

    /// Takes over a supervisor, to be reaped when it has ended.
    pub(crate) fn adopt(&self, supervisor: Child) {
        self.reap();
        self.0.supervisors.lock().unwrap_or_else(PoisonError::into_inner).push(supervisor);
    }

    /// Reaps the supervisors of this engine that have ended, and no other child of the host program.
    pub(crate) fn reap(&self) {
        let mut supervisors = self.0.supervisors.lock().unwrap_or_else(PoisonError::into_inner);
        // One that can't be waited for was reaped by the host program, which may do so.
        supervisors.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// Whether this is the first time, on this root, that something is said.
    pub fn first_time(&self, what: &str) -> bool {
        let dir = self.roots().root.join("said");
        let file = dir.join(what);
        if file.exists() {
            return false;
        }
        // Saying it twice does no harm, so a root that can't be written just says it again.
        let _ = std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&file, ""));
        true
    }

    /// The registry client; its connections are shared by all transfers of this engine.
    #[cfg(feature = "registry")]
    pub(crate) fn registry_client(&self) -> Result<&brig_registry::Client> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let mut options = brig_registry::ClientOptions::default();
        options.auth = brig_registry::AuthStore::from_environment()?;
        options.insecure_registries.clone_from(&self.0.options.insecure_registries);
        Ok(self.0.client.get_or_init(|| brig_registry::Client::new(options)))
    }

    /// Appends to the log of events.
    pub(crate) fn record_event(&self, event: &Event) -> Result<()> {
        let path = self.roots().events();
        EventLog::open(&path).and_then(|mut log| log.append(event)).map_err(Error::io("append to", path))
    }
}

/// The defaults of invariant 4.
pub(crate) fn roots(options: &EngineOptions) -> Result<Roots> {
    if let Some(root) = &options.root {
        let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io("find", path));
        let run_root = options.run_root.as_deref().map(absolute).transpose()?;
        return Ok(Roots::new(absolute(root)?, run_root));
    }
    if rustix::process::geteuid().is_root() {
        let run_root = options.run_root.clone().unwrap_or_else(|| "/run/brig".into());
        return Ok(Roots::new("/var/lib/brig", Some(run_root)));
    }
    let data = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share")))
        .filter(|path| path.is_absolute())
        .ok_or_else(|| Error::Unsupported {
            what: "a default root".into(),
            reason: "neither XDG_DATA_HOME nor HOME is set: set one, or give --root".into(),
        })?;
    let root = data.join("brig");
    let run_root = options.run_root.clone().or_else(|| {
        let runtime = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
        // A stale value (of another login, of sudo) would fail later and less clearly.
        runtime.is_dir().then(|| runtime.join("brig"))
    });
    Ok(Roots::new(root, run_root))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn ended_supervisors_are_reaped_by_any_look_and_other_children_left_alone() {
        let dir = std::env::temp_dir().join(format!("brig-reap-{}", std::process::id()));
        let options = EngineOptions { root: Some(dir.clone()), ..EngineOptions::default() };
        let engine = Engine::open(options).unwrap();
        let spawn = || Command::new("true").spawn().unwrap();
        let (supervisor, mut other) = (spawn(), spawn());
        let proc = PathBuf::from(format!("/proc/{}", supervisor.id()));
        engine.adopt(supervisor);
        let deadline = Instant::now() + Duration::from_secs(10);
        while proc.exists() {
            assert!(Instant::now() < deadline, "a zombie is left");
            engine.containers().unwrap();
        }
        assert!(other.wait().unwrap().success());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
