//! Reading a long log beside podman: `cargo bench --bench logs`. The same output of the same program, 100 MB in a
//! million lines, goes through each side's own log (json-file here, k8s-file there).

#![expect(clippy::print_stdout, reason = "a bench talks to people")]
#![expect(clippy::unwrap_used, reason = "a bench that can't go on stops")]

mod peers;

use peers::{Bench, IMAGE, busybox, enter_own_namespace, heading};

/// Runs of each side, unless BRIG_BENCH_RUNS says otherwise.
const RUNS: usize = 10;
/// The container.
const NAME: &str = "bench-talker";

fn main() {
    if enter_own_namespace() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new(place.path(), env!("CARGO_BIN_EXE_brig"), RUNS);
    let Some(busybox) = busybox() else { return println!("skipped: no static busybox") };
    let archive = bench.archive(&bench.rootfs(&busybox));
    let podman = bench.podman(&archive);
    let talk = format!("yes {} | head -n 1000000", "0123456789".repeat(9) + "12345678\\t");
    let run = ["run", "--name", NAME, "--network", "none", IMAGE, "sh", "-c", &talk];
    assert!(bench.brig(&run).time().is_some());
    let podman = podman.filter(|podman| podman(&run).time().is_some());
    heading();
    for (name, args) in [
        ("logs, 100 MB", &["logs", NAME][..]),
        ("logs -f, 100 MB", &["logs", "-f", NAME]),
        ("logs -t, 100 MB", &["logs", "-t", NAME]),
        ("logs --tail 1000", &["logs", "--tail", "1000", NAME]),
    ] {
        bench.compare(name, bench.brig(args), podman.as_ref().map(|podman| podman(args)));
    }
    assert!(bench.brig(&["rm", NAME]).time().is_some());
}
