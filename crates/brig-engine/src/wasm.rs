//! The engine's side of wasm: which file holds the module, what form it has, and its compiled code.
//!
//! A module is known by a key: the digest of its bytes where it is a blob or a bare file; for a file of a layer, which
//! never changes, the digest of the layer's name and the file's path, so that no start hashes megabytes. Its form is
//! found out once, and kept in `<root>/forms/<key>`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use brig_oci::{Descriptor, Digest, Kind, KindChoice, RunConfig, media_type};
use brig_runtime::ContainerSpec;
use brig_runtime::record::{ImageRecord, WasmRecord};
use brig_store::{LayerStack, Which};
use brig_wasm::runner::engine_key;
use brig_wasm::{COMPILE_MEMORY, COMPILE_TIMEOUT, CompileError, CompileRequest, Form};

use serde::{Deserialize, Serialize};

use crate::blocking::Engine;
use crate::containers::{CreateOptions, Source, command};
use crate::error::{Error, Result};
use crate::images::ResolvedImage;
use crate::names;

/// The most processor time that the compiler may take, in seconds: an 18 MB Python component takes 20.
const COMPILE_SECONDS: u64 = 600;
/// How long ago a file must have been changed before its times can be believed.
const SETTLED: Duration = Duration::from_secs(2);

/// A module of an image or of a bare file.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// What its form and its compiled code are kept under.
    pub(crate) key: Digest,
    /// What it is called: the guest's `argv[0]`.
    pub(crate) name: String,
    /// The file that holds it.
    pub(crate) path: PathBuf,
    /// The blob with which its compiled code goes; `None` for a bare file.
    pub(crate) origin: Option<Digest>,
}

impl Module {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// Whether what was given for an image is the path of a wasm file: it looks like a path, or ends like a wasm file's
/// name and is there.
pub(crate) fn is_file(image: &str) -> bool {
    let path_like = image.starts_with(['/', '.']);
    let ending = Path::new(image).extension().is_some_and(|ending| ending == "wasm" || ending == "wat");
    path_like || (ending && Path::new(image).is_file())
}

impl Engine {
    /// Whether what was given for an image is the path of a wasm file.
    pub fn is_wasm_file(&self, image: &str) -> bool {
        is_file(image)
    }

    /// A bare file as the source of a container.
    pub(crate) fn bare_source(&self, options: &CreateOptions) -> Result<Source> {
        let path = fs::canonicalize(&options.image).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::FileNotFound { path: options.image.clone().into() },
            _ => Error::io("read", &options.image)(error),
        })?;
        let key = self.file_digest(&path)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Source {
            image: ImageRecord {
                reference: path.display().to_string(),
                manifest: String::new(),
                id: key.to_string(),
                platform: brig_oci::Platform::wasi().to_string(),
            },
            config: RunConfig::default(),
            kind: KindChoice { kind: Kind::Wasm, reason: "it is a bare file".into() },
            layers: Vec::new(),
            stack: self.layer_stack(&[], None)?,
            module: Some(Module { key, name, path, origin: None }),
            stop_signal: libc::SIGTERM,
            _lease: None,
        })
    }

    /// The digest of a bare file's bytes. Hashing megabytes at every start would take longer than the start, so the
    /// digest is kept beside what the kernel says of the file, and believed as long as that is the same. A file that was
    /// changed in the last moments could change again within one tick of the clock: it is hashed each time.
    fn file_digest(&self, path: &Path) -> Result<Digest> {
        let meta = fs::metadata(path).map_err(Error::io("read", path))?;
        let dir = self.roots().root.join("files");
        let kept = dir.join(Digest::sha256(path.as_os_str().as_bytes()).hex());
        let now = FileIdentity::of(&meta);
        let known = fs::read(&kept).ok().and_then(|bytes| serde_json::from_slice::<KnownFile>(&bytes).ok());
        if let Some(known) = known.filter(|known| known.file == now) {
            return Ok(known.digest);
        }
        let known = KnownFile { file: now, digest: digest_of(path)? };
        // The time of the last change of any kind: that of the content can be set to anything.
        let changed = UNIX_EPOCH + Duration::from_secs(meta.ctime().try_into().unwrap_or(0));
        let settled = changed.elapsed().is_ok_and(|age| age > SETTLED);
        if settled {
            fs::create_dir_all(&dir).map_err(Error::io("make the directory", &dir))?;
            write_whole(&kept, &known)?;
        }
        Ok(known.digest)
    }

    /// The module of an artifact: a layer that is itself a wasm binary. `None` for an image of tars.
    pub(crate) fn artifact_module(&self, resolved: &ResolvedImage) -> Result<Option<Module>> {
        let layers = &resolved.image.manifest.layers;
        let modules: Vec<&Descriptor> =
            layers.iter().filter(|layer| media_type::is_wasm_layer(&layer.media_type)).collect();
        let layer = match modules.as_slice() {
            [] => return Ok(None),
            [layer] => *layer,
            _ => {
                return Err(Error::Unsupported {
                    what: format!("`{}`", resolved.name),
                    reason: format!("it has {} wasm layers, and an artifact is one module", modules.len()),
                });
            }
        };
        let title = layer.annotations.get("org.opencontainers.image.title");
        let name = title.cloned().unwrap_or_else(|| "module.wasm".into());
        let (key, path) = (layer.digest.clone(), self.store().blob_path(&layer.digest));
        Ok(Some(Module { origin: Some(key.clone()), key, name, path }))
    }

    /// The module that a container runs: the artifact's, or the file that its first argument names.
    pub(crate) fn container_module(&self, spec: &ContainerSpec, source: &Source) -> Result<WasmRecord> {
        let module = match &source.module {
            Some(module) => module.clone(),
            None => {
                let program = spec.args.first().map(String::as_str).unwrap_or_default();
                let module = layer_module(program, spec, &source.stack, &source.layers, self.store().root())?;
                module.ok_or_else(|| Error::ProgramNotFound { program: program.into() })?
            }
        };
        self.runnable(&module, &spec.image.reference)
    }

    /// Another module of a container's image, by its path.
    pub(crate) fn module_of_image(&self, spec: &ContainerSpec, program: &str) -> Result<Option<WasmRecord>> {
        if spec.layers.is_empty() {
            return Ok(None);
        }
        // Without the writable layer: what the guest writes isn't of the image, and may change at any time.
        let stack = self.layer_stack(&crate::layers::of_record(spec)?, None)?;
        let module = layer_module(program, spec, &stack, &spec.layers, self.store().root())?;
        module.map(|module| self.runnable(&module, program)).transpose()
    }

    fn runnable(&self, module: &Module, name: &str) -> Result<WasmRecord> {
        let form = self.prepare(module)?;
        form.check_runnable().map_err(|source| Error::NotRunnable { name: name.into(), source })?;
        Ok(WasmRecord { module: module.key.to_string(), form: form.to_string(), source: module.path.clone() })
    }

    /// The form of a module whose compiled code is there: found out and compiled on first use.
    fn prepare(&self, module: &Module) -> Result<Form> {
        let kept = self.forms().join(module.key.hex());
        let form = match fs::read(&kept) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", kept)(error)),
        };
        let compiled = self.has_compiled(module)?;
        match form {
            Some(form) if compiled => Ok(form),
            _ => self.compile(module),
        }
    }

    /// Whether there is compiled code that this brig can use: whole, and of this engine and module. What isn't is compiled
    /// anew, never run.
    fn has_compiled(&self, module: &Module) -> Result<bool> {
        let key = engine_key();
        if self.store().compiled(&key, &module.key)?.is_none() {
            return Ok(false);
        }
        let path = self.store().compiled_path(&key, &module.key)?;
        let identity = brig_wasm::request::identity(&key, &module.key);
        Ok(brig_wasm::compiled::is_current(&path, &identity).unwrap_or(false))
    }

    /// Compiles a module in a child with limits, and keeps the code and the form.
    fn compile(&self, module: &Module) -> Result<Form> {
        let key = engine_key();
        let copy = if self.is_own(&module.path) { None } else { Some(self.private_copy(module)?) };
        let source = copy.as_ref().map_or(&module.path, |copy| &copy.0);
        let mut writer = self.store().publish_compiled(&key, &module.key, module.origin.as_ref())?;
        let request = CompileRequest {
            version: brig_wasm::request::REQUEST_VERSION,
            source: source.clone(),
            output: PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), writer.file().as_raw_fd())),
            identity: brig_wasm::request::identity(&key, &module.key),
            memory: Some(COMPILE_MEMORY),
            cpu_seconds: Some(COMPILE_SECONDS),
            runnable_only: true,
        };
        let (form, _) =
            brig_wasm::compile_in_child(&self.runner()?, &request, COMPILE_TIMEOUT).map_err(|error| {
                match error {
                    CompileError::Refused { message, .. } => {
                        Error::BadModule { path: module.path.clone(), problem: message }
                    }
                    error => error.into(),
                }
            })?;
        writer.commit()?;
        self.keep_form(&module.key, &form)?;
        Ok(form)
    }

    /// Whether only brig writes a file: it is of the store.
    fn is_own(&self, path: &Path) -> bool {
        path.starts_with(&self.roots().root)
    }

    /// A copy of a bare file that nobody changes between hashing and compiling: code must never be kept under another
    /// file's digest.
    fn private_copy(&self, module: &Module) -> Result<TemporaryFile> {
        let dir = self.roots().root.join("files");
        fs::create_dir_all(&dir).map_err(Error::io("make the directory", &dir))?;
        let unique = names::new_id().map_err(Error::io("write", &dir))?;
        let copy = TemporaryFile(dir.join(format!("{unique}.copy")));
        fs::copy(&module.path, &copy.0).map_err(Error::io("copy", &module.path))?;
        if digest_of(&copy.0)? == module.key {
            return Ok(copy);
        }
        let problem = "it changes while it is read: run it again when it is written".into();
        Err(Error::BadModule { path: module.path.clone(), problem })
    }

    fn keep_form(&self, key: &Digest, form: &Form) -> Result<()> {
        let dir = self.forms();
        fs::create_dir_all(&dir).map_err(Error::io("make the directory", &dir))?;
        write_whole(&dir.join(key.hex()), form)
    }

    /// What a start needs: the form, and the compiled file. Compiled anew where a new brig or another processor needs
    /// it.
    pub(crate) fn compiled(&self, record: &WasmRecord, layers: &[String]) -> Result<(Form, PathBuf, Digest)> {
        let key: Digest =
            record.module.parse().map_err(|_| Error::invalid("module", &record.module, "not a digest"))?;
        let origin = match layers.last() {
            _ if !self.is_own(&record.source) => None,
            Some(layer) => layer.parse().ok(),
            None => Some(key.clone()),
        };
        let module = Module { key: key.clone(), name: String::new(), path: record.source.clone(), origin };
        let form = self.prepare(&module)?;
        let path = self.store().compiled_path(&engine_key(), &key)?;
        Ok((form, path, key))
    }

    /// The runner's file, written into the root on first use.
    pub(crate) fn runner(&self) -> Result<PathBuf> {
        Ok(brig_wasm::runner::install(&self.roots().programs())?)
    }

    fn forms(&self) -> PathBuf {
        self.roots().root.join("forms")
    }
}

/// What the kernel says of a file that changes when its content does.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A file that goes when this is dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A left-over is a small file that nobody reads.
        let _ = fs::remove_file(&self.0);
    }
}

/// A bare file that was hashed.
#[derive(Debug, Serialize, Deserialize)]
struct KnownFile {
    file: FileIdentity,
    digest: Digest,
}

/// Writes a small document by rename: whole, or not at all.
fn write_whole<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    // Of its own for each writer: threads of one host may find out the same at once.
    let unique = names::new_id().map_err(Error::io("write", path))?;
    let temporary = path.with_extension(format!("{unique}.new"));
    let bytes = serde_json::to_vec(value).map_err(|error| Error::io("write", path)(error.into()))?;
    fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path)).map_err(Error::io("write", path))
}

/// A file of the image's layers.
fn layer_module(
    program: &str,
    spec: &ContainerSpec,
    stack: &LayerStack,
    layers: &[String],
    root: &Path,
) -> Result<Option<Module>> {
    let search = command::value(&spec.env, "PATH").unwrap_or(command::DEFAULT_PATH);
    // Not every build sets the execute bit on a module.
    let file = match stack.which(program, search, &spec.cwd)? {
        Which::Found { file, .. } => Some(file),
        Which::NotExecutable { path } => stack.open(&path)?,
        Which::NotFound => None,
    };
    let Some(file) = file else { return Ok(None) };
    let path =
        fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(Error::io("find", program))?;
    let within = path.strip_prefix(root).unwrap_or(&path);
    let key = Digest::sha256(format!("layer file {}", within.display()));
    let name = program.to_owned();
    let origin = layers.last().and_then(|layer| layer.parse().ok());
    Ok(Some(Module { key, name, path, origin }))
}

fn digest_of(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = brig_oci::Algorithm::Sha256.hasher();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
