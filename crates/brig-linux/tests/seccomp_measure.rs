//! Prints what compiling costs and how long the filters are.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests are tests too")]

use std::time::Instant;

use brig_linux::seccomp::{Abi, KernelVersion, Newer, compile_for, docker_default, engine_policy};
use oci_spec::runtime::Capabilities;

#[test]
fn compiling_is_cheap() {
    let kernel = KernelVersion { major: 6, minor: 18 };
    let caps = Capabilities::new();
    let mut best = [u128::MAX; 3];
    for _ in 0..2000 {
        let start = Instant::now();
        let policy = docker_default(&caps, kernel, Abi::X86_64);
        let made = start.elapsed().as_nanos();
        let start = Instant::now();
        let filter = compile_for(&policy, Abi::X86_64, Newer::Enosys).unwrap();
        let compiled = start.elapsed().as_nanos();
        std::hint::black_box(filter);
        best[0] = best[0].min(made);
        best[1] = best[1].min(compiled);
        let start = Instant::now();
        let filter = compile_for(&engine_policy(true), Abi::X86_64, Newer::Enosys).unwrap();
        best[2] = best[2].min(start.elapsed().as_nanos());
        std::hint::black_box(filter);
    }
    for (name, policy) in [
        ("docker", docker_default(&caps, kernel, Abi::X86_64)),
        ("docker arm64", docker_default(&caps, kernel, Abi::Aarch64)),
        ("engine", engine_policy(true)),
    ] {
        let native = if name == "docker arm64" { Abi::Aarch64 } else { Abi::X86_64 };
        let filter = compile_for(&policy, native, Newer::Enosys).unwrap();
        println!("{name}: {} instructions, {:?}", filter.instructions().len(), filter.statistics());
    }
    println!("docker policy made in {} ns, compiled in {} ns; engine both {} ns", best[0], best[1], best[2]);
    // Microseconds when optimised and quiet; this only catches a change of kind.
    assert!(best.iter().sum::<u128>() < 20_000_000);
}
