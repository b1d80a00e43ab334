//! Whole-process comparisons beside the peers: medians, ratios, tails. `cargo bench` runs it, on the profile of
//! packages; a peer that isn't on the machine is skipped with a sentence. Never a test: a busy machine decides nothing.
//!
//! Runs of brig and of its peer alternate, so that what disturbs one disturbs the other; only ratios of one run mean
//! anything. As root it moves into a mount namespace of its own and unmounts the v2 hierarchy there, where the host is
//! hybrid: crun 1.8 and podman 4.3 refuse such hosts.

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{Bench, IMAGE, Run, busybox, enter_own_namespace, heading, text, tool};

/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 60;

fn main() {
    if enter_own_namespace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(place.path(), env!("CARGO_BIN_EXE_brig"), RUNS);
    heading();
    bench.version();
    bench.linux();
    bench.wasm();
    bench.finish();
}

impl Bench {
    fn version(&self) {
        self.compare("brig --version | true", self.brig(&["--version"]), Some(Run::new("true", &[])));
        let wasmtime = tool("wasmtime").map(|path| Run::new(path, &["--version"]));
        self.compare("brig --version | wasmtime --version", self.brig(&["--version"]), wasmtime);
    }

    fn linux(&self) {
        let Some(busybox) = busybox() else { return println!("Linux: skipped: no static busybox") };
        let rootfs = self.rootfs(&busybox);
        let archive = self.archive(&rootfs);
        let run = || self.brig(&["run", "--rm", IMAGE, "/bin/true"]);
        let crun =
            |bundle| tool("crun").map(|path| Run::new(path, &["run", "--bundle", bundle, "brig-bench"]));
        let plain = self.bundle("plain", &rootfs, false);
        let policy = self.bundle("policy", &rootfs, true);
        self.compare("run busybox | crun, no policy", run(), crun(text(&plain)));
        self.compare("run busybox | crun, docker's policy", run(), crun(text(&policy)));
        let podman = self.podman(&archive);
        let podman = podman.map(|podman| podman(&["run", "--rm", "--network", "none", IMAGE, "/bin/true"]));
        self.compare("run busybox | podman run", run(), podman);
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
