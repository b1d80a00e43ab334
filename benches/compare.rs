//! Whole-process comparisons beside the peers: medians, ratios, tails. `cargo bench` runs it, on the profile of
//! packages; a peer that isn't on the machine is skipped with a sentence. Never a test: a busy machine decides nothing.
//!
//! Runs of brig and of its peer alternate, so that what disturbs one disturbs the other; only ratios of one run mean
//! anything. As root it moves into a mount namespace of its own and unmounts the v2 hierarchy there, where the host is
//! hybrid: crun 1.8 and podman 4.3 refuse such hosts.

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brig_testing::is_root;

/// The name that brig and podman both read in the archive.
const IMAGE: &str = "localhost/busybox:latest";
/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 60;

fn main() {
    if enter_own_namespace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let brig =
        std::env::var_os("BRIG_BENCH_BRIG").map_or_else(|| env!("CARGO_BIN_EXE_brig").into(), PathBuf::from);
    let bench = Bench { brig, dir: place.path().to_owned(), runs: runs() };
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "", "brig p50", "peer p50", "brig p99", "peer p99", "ratio"
    );
    bench.version();
    bench.linux();
    bench.wasm();
    bench.finish();
}

fn runs() -> usize {
    std::env::var("BRIG_BENCH_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

/// Starts itself again below `unshare` where that is needed; `true` when that run has done the work.
fn enter_own_namespace() -> bool {
    const MARK: &str = "BRIG_BENCH_NAMESPACE";
    let unified = Path::new("/sys/fs/cgroup/unified");
    if std::env::var_os(MARK).is_some() || !is_root() || !unified.exists() {
        return false;
    }
    let script = "umount /sys/fs/cgroup/unified; exec \"$0\"";
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(MARK, "1")
        .status();
    status.is_ok_and(|status| status.success())
}

struct Bench {
    /// The binary that is measured: cargo's, or the one that BRIG_BENCH_BRIG names.
    brig: PathBuf,
    dir: PathBuf,
    runs: usize,
}

/// What is measured: a program and its arguments, in an environment of the bench's own.
struct Run(Command);

impl Run {
    fn new(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command)
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    fn time(&mut self) -> Option<Duration> {
        let start = Instant::now();
        let status = self.0.status().ok()?;
        status.success().then(|| start.elapsed())
    }
}

impl Bench {
    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn brig(&self, args: &[&str]) -> Run {
        Run::new(&self.brig, args).env("BRIG_ROOT", self.root())
    }

    /// Runs both sides in turn, and prints a line.
    fn compare(&self, name: &str, mut ours: Run, peer: Option<Run>) {
        let Some(mut peer) = peer else { return println!("{name:<34} skipped: the peer is not here") };
        // The first run of each fills caches.
        if let (None, _) | (_, None) = (ours.time(), peer.time()) {
            return println!(
                "{name:<34} skipped: {}",
                if ours.time().is_none() { "brig fails" } else { "the peer fails" }
            );
        }
        let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
        for _ in 0..self.runs {
            our_times.extend(ours.time());
            peer_times.extend(peer.time());
        }
        let (ours, theirs) = (Figures::of(our_times), Figures::of(peer_times));
        println!(
            "{name:<34} {:>9} {:>9} {:>9} {:>9} {:>7.2}",
            ms(ours.p50),
            ms(theirs.p50),
            ms(ours.p99),
            ms(theirs.p99),
            ours.p50.as_secs_f64() / theirs.p50.as_secs_f64()
        );
    }

    fn version(&self) {
        self.compare("brig --version | true", self.brig(&["--version"]), Some(Run::new("true", &[])));
        let wasmtime = tool("wasmtime").map(|path| Run::new(path, &["--version"]));
        self.compare("brig --version | wasmtime --version", self.brig(&["--version"]), wasmtime);
    }

    fn linux(&self) {
        let Some(busybox) = busybox() else { return println!("Linux: skipped: no static busybox") };
        let rootfs = self.rootfs(&busybox);
        let archive = self.dir.join("busybox.tar");
        image(&rootfs, &archive);
        assert!(self.brig(&["load", "--quiet", "--input", text(&archive)]).0.status().unwrap().success());
        let run = || self.brig(&["run", "--rm", IMAGE, "/bin/true"]);
        let crun =
            |bundle| tool("crun").map(|path| Run::new(path, &["run", "--bundle", bundle, "brig-bench"]));
        let plain = self.bundle("plain", &rootfs, false);
        let policy = self.bundle("policy", &rootfs, true);
        self.compare("run busybox | crun, no policy", run(), crun(text(&plain)));
        self.compare("run busybox | crun, docker's policy", run(), crun(text(&policy)));
        self.compare("run busybox | podman run", run(), self.podman(&archive));
    }

    fn rootfs(&self, busybox: &Path) -> PathBuf {
        let rootfs = self.dir.join("rootfs");
        for dir in ["bin", "etc", "proc", "sys", "dev", "tmp", "root"] {
            fs::create_dir_all(rootfs.join(dir)).unwrap();
        }
        fs::copy(busybox, rootfs.join("bin/busybox")).unwrap();
        for name in ["true", "sh", "cat"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        rootfs
    }

    /// A prepared bundle with what docker asks for, with its seccomp policy or without.
    fn bundle(&self, name: &str, rootfs: &Path, policy: bool) -> PathBuf {
        let bundle = self.dir.join(name);
        fs::create_dir_all(&bundle).unwrap();
        std::os::unix::fs::symlink(rootfs, bundle.join("rootfs")).unwrap();
        // brig's own spec of the same container, so that both do the same work.
        let create = self
            .brig(&["create", "--name", &format!("bench-{name}"), IMAGE, "/bin/true"])
            .0
            .status()
            .unwrap();
        assert!(create.success());
        let mut inspect = self.brig(&["inspect", &format!("bench-{name}")]);
        let output = inspect.0.stdout(Stdio::piped()).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut spec = document[0]["Spec"].clone();
        spec["root"]["path"] = text(rootfs).into();
        spec["ociVersion"] = "1.0.2".into();
        if !policy {
            spec["linux"].as_object_mut().unwrap().remove("seccomp");
        }
        fs::write(bundle.join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        bundle
    }

    fn podman(&self, archive: &Path) -> Option<Run> {
        let podman = tool("podman")?;
        let config = self.dir.join("containers.conf");
        let limits = r#"default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]"#;
        let engine = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"";
        fs::write(&config, format!("[containers]\n{limits}\n{engine}\n")).unwrap();
        let (storage, run) = (self.dir.join("podman"), self.dir.join("podman-run"));
        let with = |args: &[&str]| {
            let global = ["--root", text(&storage), "--runroot", text(&run)];
            Run::new(&podman, &[&global[..], args].concat()).env("CONTAINERS_CONF", &config)
        };
        with(&["load", "--input", text(archive)]).time()?;
        Some(with(&["run", "--rm", "--network", "none", IMAGE, "/bin/true"]))
    }

    fn wasm(&self) {
        let hello = self.dir.join("hello.wasm");
        fs::write(&hello, wat::parse_str(HELLO).unwrap()).unwrap();
        let spin = self.dir.join("spin.wasm");
        fs::write(&spin, wat::parse_str(SPIN).unwrap()).unwrap();
        for (name, module) in
            [("run hello | wasmtime run", &hello), ("CPU-bound guest | wasmtime run", &spin)]
        {
            let ours = self.brig(&["run", "--rm", text(module)]);
            let peer = tool("wasmtime").and_then(|wasmtime| {
                let compiled = module.with_extension("cwasm");
                Run::new(&wasmtime, &["compile", text(module), "-o", text(&compiled)]).time()?;
                Some(Run::new(&wasmtime, &["run", "--allow-precompiled", text(&compiled)]))
            });
            self.compare(name, ours, peer);
        }
    }

    /// The containers that were made for their specs.
    fn finish(&self) {
        let removed = self.brig(&["rm", "--force", "bench-plain", "bench-policy"]).0.status();
        assert!(removed.is_ok());
    }
}

/// An image of one layer, as an archive that brig and podman load.
fn image(rootfs: &Path, archive: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    layer.follow_symlinks(false);
    layer.append_dir_all(".", rootfs).unwrap();
    let layer = layer.into_inner().unwrap();
    let diff_id = brig_engine::Digest::sha256(&layer).to_string();
    let config = serde_json::json!({
        "architecture": brig_engine::Platform::host().architecture,
        "os": "linux",
        "config": { "Cmd": ["/bin/sh"] },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [IMAGE],
        "Layers": ["layer.tar"],
    }]);
    let mut tar = tar::Builder::new(fs::File::create(archive).unwrap());
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = serde_json::to_vec(&manifest).unwrap();
    for (name, bytes) in [("config.json", &config), ("layer.tar", &layer), ("manifest.json", &manifest)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    tar.finish().unwrap();
}

struct Figures {
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1)).copied();
        Self { p50: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A program of PATH, or the one that `BRIG_BENCH_<NAME>` names.
fn tool(name: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(format!("BRIG_BENCH_{}", name.to_uppercase())) {
        return Some(path.into());
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.is_file())
}

const HELLO: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "hello\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 8))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))))"#;

/// Sieves the primes below four million, again and again: most of a second.
const SPIN: &str = r#"(module
  (memory (export "memory") 64)
  (func (export "_start") (local $i i32) (local $j i32) (local $round i32)
    (loop $again
      (local.set $i (i32.const 2))
      (loop $next
        (local.set $j (i32.mul (local.get $i) (i32.const 2)))
        (if (i32.lt_u (local.get $j) (i32.const 4000000))
          (then
            (loop $strike
              (i32.store8 (local.get $j) (i32.const 1))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br_if $strike (i32.lt_u (local.get $j) (i32.const 4000000))))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $i) (i32.const 4000000))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $round) (i32.const 8))))))"#;
