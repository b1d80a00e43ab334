//! Bundles beside crun: `cargo bench --bench oci`. The same `config.json` for both, with docker's seccomp policy and
//! without, a command in a container that runs, and podman with either as its runtime.

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use peers::{Bench, IMAGE, Run, busybox, enter_own_namespace, heading, text, tool};

/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 60;
const TRUE: [&str; 1] = ["/bin/true"];
const SLEEP: [&str; 3] = ["/bin/busybox", "sleep", "1000"];

fn main() {
    if enter_own_namespace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(place.path(), env!("CARGO_BIN_EXE_brig"), RUNS);
    let Some(busybox) = busybox() else { return println!("skipped: no static busybox") };
    let rootfs = bench.rootfs(&busybox);
    let archive = bench.archive(&rootfs);
    let spec = bench.spec();
    // What it is called decides that it is runc's command.
    let brig = bench.dir.join("brig-oci");
    std::os::unix::fs::symlink(&bench.brig, &brig).unwrap();
    let sides = Sides {
        ours: Side { program: brig, bench: &bench },
        peer: tool("crun").map(|program| Side { program, bench: &bench }),
    };
    heading();
    for (name, policy) in [("plain", false), ("policy", true)] {
        let bundle = bench.bundle(name, &rootfs, &spec, policy, &TRUE);
        sides.run(
            if policy { "oci run, docker's policy | crun" } else { "oci run, no policy | crun" },
            &bundle,
        );
    }
    sides.exec(&bench.bundle("long", &rootfs, &spec, true, &SLEEP));
    sides.podman(&archive);
    assert!(bench.brig(&["rm", "--force", "bench"]).0.status().unwrap().success());
}

impl Bench {
    /// The spec that docker would give the image's container, by brig. It mounts files of that container, which stays.
    fn spec(&self) -> serde_json::Value {
        assert!(self.brig(&["create", "--name", "bench", IMAGE, "/bin/true"]).0.status().unwrap().success());
        let inspected = self.brig(&["inspect", "bench"]).0.stdout(Stdio::piped()).output().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
        document[0]["Spec"].clone()
    }

    fn bundle(
        &self,
        name: &str,
        rootfs: &Path,
        spec: &serde_json::Value,
        policy: bool,
        args: &[&str],
    ) -> PathBuf {
        let mut spec = spec.clone();
        spec["root"]["path"] = text(rootfs).into();
        spec["process"]["args"] = args.into();
        // crun 1.8 knows no later one.
        spec["ociVersion"] = "1.0.2".into();
        if !policy {
            spec["linux"].as_object_mut().unwrap().remove("seccomp");
        }
        let bundle = self.dir.join(name);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        bundle
    }
}

/// A runtime.
struct Side<'a> {
    program: PathBuf,
    bench: &'a Bench,
}

impl Side<'_> {
    fn command(&self, args: &[&str]) -> Run {
        let root = self.bench.dir.join("state");
        Run::new(&self.program, &[&["--root", text(&root)], args].concat())
    }
}

struct Sides<'a> {
    ours: Side<'a>,
    peer: Option<Side<'a>>,
}

impl Sides<'_> {
    fn run(&self, name: &str, bundle: &Path) {
        let command = |side: &Side<'_>, id| side.command(&["run", "--bundle", text(bundle), id]);
        let peer = self.peer.as_ref().map(|peer| command(peer, "bench-peer"));
        self.ours.bench.compare(name, command(&self.ours, "bench-ours"), peer);
    }

    fn exec(&self, bundle: &Path) {
        let start = |side: &Side<'_>, id| {
            side.command(&["create", "--bundle", text(bundle), id]).time().unwrap();
            side.command(&["start", id]).time().unwrap();
            side.command(&["exec", id, "/bin/true"])
        };
        let peer = self.peer.as_ref().map(|peer| start(peer, "bench-peer"));
        self.ours.bench.compare("oci exec | crun exec", start(&self.ours, "bench-ours"), peer);
        self.ours.command(&["delete", "--force", "bench-ours"]).time().unwrap();
        if let Some(peer) = &self.peer {
            peer.command(&["delete", "--force", "bench-peer"]).time().unwrap();
        }
    }

    fn podman(&self, archive: &Path) {
        let Some(podman) = self.ours.bench.podman(archive) else {
            return println!("podman: skipped, not here");
        };
        let run = |side: &Side<'_>| {
            podman(&[
                "--runtime",
                text(&side.program),
                "run",
                "--rm",
                "--network",
                "none",
                IMAGE,
                "/bin/true",
            ])
        };
        self.ours.bench.compare("podman run by brig | by crun", run(&self.ours), self.peer.as_ref().map(run));
    }
}
