//! A container's life beside podman: `cargo bench --bench life`. Starting and removing, entering, listing a thousand, and
//! what an idle one takes.

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

mod peers;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use peers::{Bench, IMAGE, Run, busybox, enter_own_namespace, heading};

/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 20;
/// How many containers are listed.
const MANY: usize = 1000;
/// How long podman may take to make as many as it can.
const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    if enter_own_namespace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(place.path(), env!("CARGO_BIN_EXE_brig"), RUNS);
    let Some(busybox) = busybox() else { return println!("skipped: no static busybox") };
    let archive = bench.archive(&bench.rootfs(&busybox));
    let podman = bench.podman(&archive);
    let podman = podman.as_ref().map(|podman| podman as &dyn Fn(&[&str]) -> Run);
    heading();
    start_and_remove(&bench, podman);
    exec(&bench, podman);
    list(&bench, podman);
    memory(&bench, podman);
}

type Podman<'a> = Option<&'a dyn Fn(&[&str]) -> Run>;

const START: [&str; 9] =
    ["run", "-d", "--network", "none", "--name", "bench-one", IMAGE, "/bin/busybox", "sleep"];

fn run(name: &str) -> Vec<&str> {
    let mut args: Vec<&str> = START.iter().map(|arg| if *arg == "bench-one" { name } else { arg }).collect();
    args.push("1000");
    args
}

/// `run -d` and `rm -f`, one after the other, as one figure.
fn start_and_remove(bench: &Bench, podman: Podman<'_>) {
    let remove = ["rm", "-f", "bench-one"];
    let pair = |start: Run, remove: Run| Pair { start, remove };
    let ours = pair(bench.brig(&run("bench-one")), bench.brig(&remove));
    let theirs = podman.map(|podman| {
        let remove = ["rm", "-f", "-t", "0", "bench-one"];
        pair(podman(&run("bench-one")), podman(&remove))
    });
    bench.compare_with("run -d + rm -f", ours, theirs, Pair::time);
}

struct Pair {
    start: Run,
    remove: Run,
}

impl Pair {
    fn time(&mut self) -> Option<Duration> {
        Some(self.start.time()? + self.remove.time()?)
    }
}

fn exec(bench: &Bench, podman: Podman<'_>) {
    assert!(bench.brig(&run("bench-one")).time().is_some());
    let podman = podman.filter(|podman| podman(&run("bench-one")).time().is_some());
    let exec = ["exec", "bench-one", "/bin/busybox", "true"];
    bench.compare("exec", bench.brig(&exec), podman.map(|podman| podman(&exec)));
    assert!(bench.brig(&["rm", "-f", "bench-one"]).time().is_some());
    if let Some(podman) = podman {
        podman(&["rm", "-f", "-t", "0", "bench-one"]).time();
    }
}

/// A thousand of ours beside as many of podman's as it makes in a minute; half of ours run.
fn list(bench: &Bench, podman: Podman<'_>) {
    let names: Vec<_> = (0..MANY).map(|number| format!("bench-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let mut args = run(name);
        if number % 2 == 1 {
            args[0] = "create";
            args.remove(1);
        }
        assert!(bench.brig(&args).time().is_some(), "{name}");
    }
    let mut theirs = 0;
    if let Some(podman) = podman {
        let start = Instant::now();
        while start.elapsed() < MINUTE && theirs < MANY {
            if podman(&["create", "--network", "none", "--name", &names[theirs], IMAGE, "true"])
                .time()
                .is_none()
            {
                break;
            }
            theirs += 1;
        }
    }
    let line = format!("ps -a, {MANY} beside {theirs}");
    bench.compare(&line, bench.brig(&["ps", "-a"]), podman.map(|podman| podman(&["ps", "-a"])));
    bench.compare(
        &format!("ps -aq, {MANY} beside {theirs}"),
        bench.brig(&["ps", "-aq"]),
        podman.map(|podman| podman(&["ps", "-aq"])),
    );
    for some in names.chunks(100) {
        let some: Vec<_> = some.iter().map(String::as_str).collect();
        assert!(bench.brig(&[&["rm", "-f"], &some[..]].concat()).time().is_some());
    }
    if let Some(podman) = podman {
        podman(&["rm", "-f", "-t", "0", "--all"]).time();
    }
}

/// What an idle detached container takes beside its payload: the supervisor, or conmon. Pages of its own, and its share of
/// those that it shares.
fn memory(bench: &Bench, podman: Podman<'_>) {
    let names = ["bench-m0", "bench-m1", "bench-m2", "bench-m3"];
    for name in names {
        assert!(bench.brig(&run(name)).time().is_some());
        if let Some(podman) = podman {
            podman(&run(name)).time();
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let ours = share_of("brig-helper", bench);
    let theirs = share_of("conmon", bench);
    for (name, figures) in [("brig's supervisor", &ours), ("conmon", &theirs)] {
        let count = figures.len().max(1) as u64;
        let sum = |pick: fn(&(u64, u64)) -> u64| figures.iter().map(pick).sum::<u64>() / count;
        println!("{name:<34} {} KiB of its own, {} KiB with its share", sum(|one| one.0), sum(|one| one.1));
    }
    for name in names {
        bench.brig(&["rm", "-f", name]).time();
        if let Some(podman) = podman {
            podman(&["rm", "-f", "-t", "0", name]).time();
        }
    }
}

/// Private and proportional KiB of each process with this name that has to do with the bench.
fn share_of(name: &str, bench: &Bench) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let program = line.split('\0').next().unwrap_or_default();
        let is_it = Path::new(program).file_name().is_some_and(|file| file == name);
        let ours = line.contains(&*bench.dir.to_string_lossy());
        // brig's supervisor has no arguments: its lock names it.
        let holds = || {
            let fds = fs::read_dir(path.join("fd")).into_iter().flatten().flatten();
            fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target.starts_with(&bench.dir))
        };
        if !is_it || !(ours || holds()) {
            continue;
        }
        let text = fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
        let kilobytes = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        let private = kilobytes("Private_Dirty:") + kilobytes("Private_Clean:");
        found.push((private, kilobytes("Pss:")));
    }
    found
}
