//! Guests, compiled, and a way to run them in the real runner.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use brig_runtime::exit::ExitReport;
use brig_wasm::request::REQUEST_VERSION;
use brig_wasm::{
    COMPILE_MEMORY, COMPILE_TIMEOUT, CompileError, CompileRequest, Form, Invoke, Preopen, RunRequest,
    compile_in_child,
};
use tempfile::TempDir;

/// What all guests here are bound to.
pub(crate) const IDENTITY: &str = "test key/test digest";

/// The runner of this build.
pub(crate) fn runner() -> &'static Path {
    static RUNNER: OnceLock<PathBuf> = OnceLock::new();
    RUNNER.get_or_init(|| brig_wasm::runner::install(env!("CARGO_TARGET_TMPDIR").as_ref()).unwrap())
}

/// A compiled guest.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
    _dir: TempDir,
}

/// One run, before it.
pub(crate) struct Run<'a> {
    pub(crate) request: RunRequest,
    stdin: &'a str,
    open: bool,
}

/// One run, after it.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Option<ExitReport>,
}

/// The C guest as a module and as a component; none, with a message, where there is no compiler for it.
pub(crate) fn forms() -> Vec<&'static Compiled> {
    static FORMS: OnceLock<Vec<Compiled>> = OnceLock::new();
    let forms = FORMS.get_or_init(|| match c_guest() {
        Ok(module) => {
            let component = component(&module);
            [module, component].iter().map(|binary| compile(binary, |_| {}).unwrap()).collect()
        }
        Err(why) => {
            eprintln!("skipped: {why}");
            Vec::new()
        }
    });
    forms.iter().collect()
}

/// From text, which is compiled as it is.
pub(crate) fn wat(text: &str) -> Compiled {
    compile(text.as_bytes(), |_| {}).unwrap()
}

/// Why this isn't compiled.
pub(crate) fn compile_error(source: &[u8]) -> CompileError {
    compile(source, |_| {}).unwrap_err()
}

pub(crate) fn compile(
    source: &[u8],
    change: impl FnOnce(&mut CompileRequest),
) -> Result<Compiled, CompileError> {
    let dir = tempfile::tempdir().unwrap();
    let mut request = request(dir.path(), source);
    change(&mut request);
    let (form, size) = compile_in_child(runner(), &request, COMPILE_TIMEOUT)?;
    assert_eq!(fs::metadata(&request.output).unwrap().len(), size);
    Ok(Compiled { path: request.output, form, _dir: dir })
}

pub(crate) fn compile_within(source: &[u8], timeout: Duration) -> Result<(Form, u64), CompileError> {
    let dir = tempfile::tempdir().unwrap();
    compile_in_child(runner(), &request(dir.path(), source), timeout)
}

pub(crate) fn request(dir: &Path, source: &[u8]) -> CompileRequest {
    let (input, output) = (dir.join("source"), dir.join("compiled"));
    fs::write(&input, source).unwrap();
    CompileRequest {
        version: REQUEST_VERSION,
        source: input,
        output,
        identity: IDENTITY.into(),
        memory: Some(COMPILE_MEMORY),
        cpu_seconds: Some(600),
        runnable_only: true,
    }
}

/// A command with so many functions that its compilation takes a while.
pub(crate) fn big_module(functions: usize) -> Vec<u8> {
    let body = "(func (param i32) (result i32) local.get 0 i32.const 3 i32.mul local.get 0 i32.add)";
    let text = format!(r#"(module (func (export "_start")) {})"#, body.repeat(functions));
    ::wat::parse_str(text).unwrap()
}

fn c_guest() -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("guest.wasm");
    let compiler = Command::new("clang")
        .args(["--target=wasm32-wasi", "--sysroot=/usr", "-O1", "-g", "-Wno-everything"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/guest.c"))
        .arg("-o")
        .arg(&output)
        .output()
        .map_err(|error| format!("clang can't be started: {error}"))?;
    if !compiler.status.success() {
        let complaint = String::from_utf8_lossy(&compiler.stderr).into_owned();
        // An error in the guest itself would otherwise pass for a missing library.
        assert!(!complaint.contains("guest.c:"), "{complaint}");
        return Err(format!("clang can't build for WASI (wasi-libc, lld): {complaint}"));
    }
    Ok(fs::read(output).unwrap())
}

fn component(module: &[u8]) -> Vec<u8> {
    use wasi_preview1_component_adapter_provider::{
        WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    };
    wit_component::ComponentEncoder::default()
        .module(module)
        .unwrap()
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER)
        .unwrap()
        .encode()
        .unwrap()
}

impl Compiled {
    pub(crate) fn run<'a>(&self, args: &[&str]) -> Run<'a> {
        let request = RunRequest {
            version: REQUEST_VERSION,
            module: self.path.clone(),
            identity: IDENTITY.into(),
            name: "guest".into(),
            encoding: self.form.encoding,
            wasi: self.form.wasi,
            args: ["guest"].iter().chain(args).map(ToString::to_string).collect(),
            env: Vec::new(),
            preopens: Vec::new(),
            cwd: None,
            memory: None,
            // A guest that never ends ends the test.
            timeout_ms: Some(60_000),
            network: false,
            precise_clocks: false,
            invoke: None,
        };
        Run { request, stdin: "", open: false }
    }
}

impl<'a> Run<'a> {
    pub(crate) fn env(mut self, variable: &str) -> Self {
        self.request.env.push(variable.into());
        self
    }

    pub(crate) fn stdin(self, stdin: &'a str) -> Self {
        Self { stdin, ..self }
    }

    /// Standard input stays open until it has ended.
    pub(crate) fn keep_stdin_open(self) -> Self {
        Self { open: true, ..self }
    }

    pub(crate) fn preopen(mut self, host: &Path, guest: &str, read_only: bool) -> Self {
        self.request.preopens.push(Preopen { host: host.into(), guest: guest.into(), read_only });
        self
    }

    pub(crate) fn memory(mut self, bytes: u64) -> Self {
        self.request.memory = Some(bytes);
        self
    }

    pub(crate) fn timeout(mut self, millis: u64) -> Self {
        self.request.timeout_ms = Some(millis);
        self
    }

    pub(crate) fn invoke(mut self, call: &[&str]) -> Self {
        let (export, args) = (call[0].into(), call[1..].iter().map(ToString::to_string).collect());
        self.request.invoke = Some(Invoke { export, args });
        self
    }

    pub(crate) fn precise_clocks(mut self) -> Self {
        self.request.precise_clocks = true;
        self
    }

    pub(crate) fn identity(mut self, identity: &str) -> Self {
        self.request.identity = identity.into();
        self
    }

    /// Runs it to its end.
    pub(crate) fn go(&self) -> Ended {
        self.start().end()
    }

    /// Starts it: a shell puts request and report on their descriptors.
    pub(crate) fn start(&self) -> Started {
        let dir = tempfile::tempdir().unwrap();
        let (request, report) = (dir.path().join("request"), dir.path().join("report"));
        fs::write(&request, self.request.encode().unwrap()).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" run 3>"$1" 4<"$2""#])
            .args([runner(), &report, &request])
            .env("NOT_FOR_GUESTS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), self.stdin.to_owned());
        // A guest that doesn't read may be gone before all is written.
        let open = self.open;
        let writer = std::thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
            open.then_some(stdin)
        });
        Started { child, writer, report, _dir: dir }
    }
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Started {
    child: Child,
    writer: JoinHandle<Option<ChildStdin>>,
    report: PathBuf,
    _dir: tempfile::TempDir,
}

impl Started {
    /// Reads its first line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn end(self) -> Ended {
        let output = self.child.wait_with_output().unwrap();
        drop(self.writer.join().unwrap());
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            report: serde_json::from_slice(&fs::read(&self.report).unwrap()).ok(),
        }
    }
}
