//! Starts containers of a directory, one after the other, and prints where the time goes, in microseconds.
//!
//! ```text
//! start ROOTFS COUNT PROGRAM [ARGUMENT…]
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use brig_linux::{ContainerOptions, Helper, Host, HostOptions, RootFs, default_spec, plan_linux};
use brig_runtime::RestartPolicy;
use brig_runtime::plan::{PLAN_VERSION, Plan, SupervisorPlan};
use brig_runtime::protocol::read_frame;

const NAMES: [&str; 7] = ["copy helper", "look at host", "spec", "plan", "to birth", "to exit", "all"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let rootfs = PathBuf::from(arguments.next().ok_or("ROOTFS is missing")?);
    let count: usize = arguments.next().ok_or("COUNT is missing")?.parse()?;
    let options = ContainerOptions {
        args: arguments.collect(),
        env: vec!["PATH=/bin:/usr/bin".into()],
        hostname: "boat".into(),
        ..ContainerOptions::default()
    };
    let dir = std::env::temp_dir().join(format!("brig-start-{}", std::process::id()));
    let mut times: Vec<Vec<u128>> = vec![Vec::new(); NAMES.len()];
    for index in 0..count {
        for (all, one) in times.iter_mut().zip(start(&rootfs, &dir, &options, index)?) {
            all.push(one);
        }
    }
    std::fs::remove_dir_all(&dir)?;
    for (name, mut times) in NAMES.iter().zip(times) {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
        println!("{name:14} p50 {:6}  p99 {:6}", at(50), at(99));
    }
    Ok(())
}

fn start(
    rootfs: &Path,
    dir: &Path,
    options: &ContainerOptions,
    index: usize,
) -> Result<Vec<u128>, Box<dyn Error>> {
    let id = format!("{index:064x}");
    let run_dir = dir.join("run").join(&id);
    let container = dir.join(&id);
    for path in [&run_dir, &container.join("upper"), &container.join("work")] {
        std::fs::create_dir_all(path)?;
    }
    let begin = Instant::now();
    let mut marks = vec![begin];
    let helper = Helper::in_memory()?;
    marks.push(Instant::now());
    let host = Host::probe();
    marks.push(Instant::now());
    let spec = default_spec(options, &host);
    marks.push(Instant::now());
    let root = RootFs::Overlay {
        lowers: vec![rootfs.into()],
        upper: Some(container.join("upper")),
        work: Some(container.join("work")),
        options: vec![],
    };
    let payload = plan_linux(&spec, &root, &HostOptions::new(&host, &id))?;
    let plan =
        Plan { version: PLAN_VERSION, supervisor: supervisor(&id, dir, &container, &run_dir), payload };
    marks.push(Instant::now());
    let mut spawned = helper.spawn(&plan)?;
    marks.push(Instant::now());
    while let Some((channel, _)) = read_frame(&mut spawned.control)? {
        if channel == 0 {
            break;
        }
    }
    marks.push(Instant::now());
    drop(spawned.control);
    spawned.child.wait()?;
    let mut times: Vec<u128> = marks.windows(2).map(|pair| (pair[1] - pair[0]).as_micros()).collect();
    times.push((marks[6] - begin).as_micros());
    Ok(times)
}

fn supervisor(id: &str, dir: &Path, container: &Path, run_dir: &Path) -> SupervisorPlan {
    SupervisorPlan {
        id: id.into(),
        name: "start".into(),
        image: "directory".into(),
        kind: "linux".into(),
        created_at: "2026-01-01T00:00:00Z".into(),
        dir: container.into(),
        run_dir: run_dir.into(),
        events: dir.join("events.log"),
        name_file: dir.join("name"),
        attach: true,
        stdin_open: false,
        tty: None,
        log: None,
        timeout_ms: None,
        stop_signal: 15,
        auto_remove: false,
        restart: RestartPolicy::No,
        health: None,
        stop_grace_ms: 10_000,
        cgroups: Vec::new(),
        volumes: Vec::new(),
    }
}
