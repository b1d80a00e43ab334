//! Bundles beside crun, runc and youki: `cargo bench --bench oci`. The same `config.json` for all, with docker's seccomp
//! policy and without; a command in a container that runs; a hundred one after the other and eight at a time; memory; and
//! podman with brig or crun as its runtime. The program is a static one that does nothing, so that runtimes are measured.

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::slice::IterMut;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use peers::{Bench, IMAGE, Run, busybox, enter_own_namespace, heading, text, tool};

/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 60;
/// How many runs of one are a round of what is done a hundred times.
const ROUND: usize = 20;
const MANY: usize = 100;
const AT_ONCE: usize = 8;
const PEERS: [&str; 3] = ["crun", "runc", "youki"];
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
    bench.put_program(&rootfs);
    let archive = bench.archive(&rootfs);
    let spec = bench.spec();
    // What it is called decides that it is runc's command.
    let brig = bench.dir.join("brig-oci");
    std::os::unix::fs::symlink(&bench.brig, &brig).unwrap();
    let ours = Side { name: "brig", program: brig, bench: &bench };
    let peers = PEERS.map(|name| tool(name).map(|program| Side { name, program, bench: &bench }));
    heading();
    for (policy, words) in [(false, "no policy"), (true, "policy")] {
        let short = bench.bundle(&format!("short-{policy}"), &rootfs, &spec, policy, &TRUE);
        let long = bench.bundle(&format!("long-{policy}"), &rootfs, &spec, policy, &SLEEP);
        for peer in peers.iter().flatten() {
            let sides = Sides { ours: &ours, peer };
            sides.run(words, &short);
            sides.create_start_delete(words, &short);
            sides.exec(words, &long);
            sides.many(words, &short, 1);
            sides.many(words, &short, AT_ONCE);
        }
        memory(words, &short, std::iter::once(&ours).chain(peers.iter().flatten()));
    }
    podman(&ours, peers[0].as_ref(), &archive);
    assert!(bench.brig(&["rm", "--force", "bench"]).0.status().unwrap().success());
}

impl Bench {
    /// A program that ends at once. Without a compiler busybox's stays, which takes a millisecond more of each side.
    fn put_program(&self, rootfs: &Path) {
        let source = self.dir.join("true.c");
        let program = self.dir.join("true");
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let compiled = tool("cc")
            .and_then(|cc| Run::new(cc, &["-O2", "-static", "-o", text(&program), text(&source)]).time());
        if compiled.is_some() {
            let place = rootfs.join("bin/true");
            fs::remove_file(&place).unwrap();
            fs::copy(&program, &place).unwrap();
        }
    }

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

    /// The same with fewer runs, of what takes long.
    fn rounds(&self) -> Self {
        Self { brig: self.brig.clone(), dir: self.dir.clone(), runs: (self.runs / ROUND).max(1) }
    }
}

/// A runtime.
struct Side<'a> {
    name: &'static str,
    program: PathBuf,
    bench: &'a Bench,
}

impl Side<'_> {
    fn command(&self, args: &[&str]) -> Run {
        let root = self.bench.dir.join(format!("state-{}", self.name));
        Run::new(&self.program, &[&["--root", text(&root)], args].concat())
    }

    fn id(&self) -> String {
        format!("bench-{}", self.name)
    }

    fn run(&self, bundle: &Path, id: &str) -> Run {
        self.command(&["run", "--bundle", text(bundle), id])
    }

    fn create(&self, bundle: &Path) -> Run {
        self.command(&["create", "--bundle", text(bundle), &self.id()])
    }

    fn start(&self) -> Run {
        self.command(&["start", &self.id()])
    }

    fn delete(&self) -> Run {
        self.command(&["delete", "--force", &self.id()])
    }
}

struct Sides<'a> {
    ours: &'a Side<'a>,
    peer: &'a Side<'a>,
}

impl Sides<'_> {
    fn name(&self, what: &str) -> String {
        format!("{what} | {}", self.peer.name)
    }

    fn run(&self, words: &str, bundle: &Path) {
        let command = |side: &Side<'_>| side.run(bundle, &side.id());
        let name = self.name(&format!("run, {words}"));
        self.ours.bench.compare(&name, command(self.ours), Some(command(self.peer)));
    }

    fn create_start_delete(&self, words: &str, bundle: &Path) {
        let steps = |side: &Side<'_>| Many::new(vec![side.create(bundle), side.start(), side.delete()], 1);
        let name = self.name(&format!("create…delete, {words}"));
        self.ours.bench.compare_with(&name, steps(self.ours), Some(steps(self.peer)), Many::time);
    }

    fn exec(&self, words: &str, bundle: &Path) {
        let running = |side: &Side<'_>| Many::new(vec![side.create(bundle), side.start()], 1).time();
        let command = |side: &Side<'_>| side.command(&["exec", &side.id(), "/bin/true"]);
        if running(self.ours).is_some() && running(self.peer).is_some() {
            let name = self.name(&format!("exec, {words}"));
            self.ours.bench.compare(&name, command(self.ours), Some(command(self.peer)));
        } else {
            println!("exec, {words}: skipped: nothing runs");
        }
        // What couldn't be started isn't there to remove.
        for side in [self.ours, self.peer] {
            side.delete().time();
        }
    }

    fn many(&self, words: &str, bundle: &Path, at_once: usize) {
        let runs = |side: &Side<'_>| {
            let runs = (0..MANY).map(|number| side.run(bundle, &format!("{}-{number}", side.id())));
            Many::new(runs.collect(), at_once)
        };
        let name = self.name(&format!("{MANY} by {at_once}, {words}"));
        self.ours.bench.rounds().compare_with(&name, runs(self.ours), Some(runs(self.peer)), Many::time);
    }
}

/// Several commands, so many at a time; those of one at a time in their order.
struct Many {
    runs: Vec<Run>,
    at_once: usize,
}

impl Many {
    fn new(runs: Vec<Run>, at_once: usize) -> Self {
        Self { runs, at_once }
    }

    fn time(&mut self) -> Option<Duration> {
        let start = Instant::now();
        let at_once = self.at_once;
        let queue = Mutex::new(self.runs.iter_mut());
        let fine = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(|| work(&queue))).collect();
            workers.into_iter().all(|worker| worker.join().unwrap())
        });
        fine.then(|| start.elapsed())
    }
}

fn work(queue: &Mutex<IterMut<'_, Run>>) -> bool {
    loop {
        let next = queue.lock().unwrap().next();
        match next.map(Run::time) {
            Some(Some(_)) => {}
            Some(None) => return false,
            None => return true,
        }
    }
}

/// The most that a runtime's own processes took at once: whoever was largest. Asked of a small program, since a process is
/// told to have taken what its parent had before it.
fn memory<'a>(words: &str, bundle: &Path, sides: impl Iterator<Item = &'a Side<'a>>) {
    let Some(time) = tool("time") else { return println!("memory: skipped: GNU time isn't here") };
    let figures: Vec<String> = sides
        .map(|side| {
            let peak = peak(&time, side, bundle);
            format!("{} {}", side.name, peak.map_or("fails".to_owned(), |peak| format!("{peak} kB")))
        })
        .collect();
    println!("{:<34} {}", format!("memory of run, {words}"), figures.join(", "));
}

fn peak(time: &Path, side: &Side<'_>, bundle: &Path) -> Option<u64> {
    let report = side.bench.dir.join("peak");
    let own = side.run(bundle, &side.id()).0;
    let mut run = Run::new(time, &["-f", "%M", "-o", text(&report)]);
    run.0.arg(own.get_program()).args(own.get_args());
    run.time()?;
    fs::read_to_string(&report).ok()?.trim().parse().ok()
}

fn podman(ours: &Side<'_>, peer: Option<&Side<'_>>, archive: &Path) {
    let Some(podman) = ours.bench.podman(archive) else { return println!("podman: skipped, not here") };
    let run = |side: &Side<'_>| {
        let runtime = ["--runtime", text(&side.program)];
        podman(&[&runtime[..], &["run", "--rm", "--network", "none", IMAGE, "/bin/true"]].concat())
    };
    ours.bench.compare("podman run by brig | by crun", run(ours), peer.map(run));
}
