//! `demo`: one image reference, run as a Linux container and as WebAssembly, without a network.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use brig_engine::blocking::Engine;
use brig_engine::{CreateOptions, EngineOptions, Error, LogOptions, Platform, Result, Verdict, Wanted};
use clap::Args;

use super::Context;
use crate::output;

/// The archive that the build script made.
const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/demo.tar"));
const REFERENCE: &str = "localhost/demo:latest";

/// Run a Linux and a wasm container from images built into this binary
#[derive(Args, Debug)]
pub(crate) struct Demo {}

/// A root of the demo's own, removed at its end; the one that was named by --root stays.
struct Place {
    root: PathBuf,
    temporary: bool,
}

impl Demo {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let place = Place::new(context)?;
        let result = show(context, &place);
        // The first error is the one to tell.
        let left = place.leave();
        result.and_then(|code| left.map(|()| code))
    }
}

fn show(context: &Context, place: &Place) -> Result<ExitCode> {
    let engine = Engine::open(EngineOptions {
        root: Some(place.root.clone()),
        run_root: None,
        insecure_registries: context.globals.insecure_registry.clone(),
    })?;
    let archive = place.root.join("demo.tar");
    fs::write(&archive, ARCHIVE).map_err(io("write", &archive))?;
    let (loaded, took) = timed(|| engine.load(Some(&archive), None))?;
    output::line(&format!(
        "loaded   {} ({} kB, built into brig) in {}",
        loaded.join(", "),
        ARCHIVE.len() / 1000,
        ms(took)
    ))?;
    let details = engine.inspect_image(REFERENCE, &Wanted::default())?;
    output::line(&format!("         one index with {}\n", details.available_platforms.join(" and ")))?;
    let mut code = ExitCode::SUCCESS;
    for platform in [Platform::host(), Platform::wasi()] {
        if let Some(why) = why_not(&platform) {
            output::line(&format!("skipped  {platform}: {why}\n"))?;
            continue;
        }
        if !run(&engine, &platform)? {
            code = ExitCode::FAILURE;
        }
    }
    output::line("Next: brig pull IMAGE, brig run --rm -it IMAGE sh, brig run ./file.wasm, brig doctor")?;
    Ok(code)
}

/// Twice: the second start finds everything prepared.
fn run(engine: &Engine, platform: &Platform) -> Result<bool> {
    let (first, kind, status) = start(engine, platform)?;
    output::line(&format!("ran      {platform} as {kind}: exit code {status}"))?;
    let (second, _, _) = start(engine, platform)?;
    output::line(&format!(
        "         created in {}, started in {}, done in {}; again: {}, {}, {}\n",
        ms(first.create),
        ms(first.start),
        ms(first.run),
        ms(second.create),
        ms(second.start),
        ms(second.run),
    ))?;
    Ok(status == 0)
}

struct Times {
    create: Duration,
    start: Duration,
    run: Duration,
}

fn start(engine: &Engine, platform: &Platform) -> Result<(Times, String, u8)> {
    let options = CreateOptions {
        image: REFERENCE.into(),
        wanted: Wanted { platform: Some(platform.clone()), kind: None },
        ..CreateOptions::default()
    };
    let (container, create) = timed(|| engine.create(&options))?;
    let (_, start) = timed(|| engine.start(&container, None))?;
    let (status, run) = timed(|| engine.wait(&container.spec.id))?;
    let mut said = String::new();
    engine.logs(&container.spec.id, &LogOptions::default(), |record| {
        said.push_str(&format!("         {}", record.text));
        ControlFlow::Continue(())
    })?;
    output::print(&said)?;
    engine.remove(&container.spec.id, false)?;
    Ok((Times { create, start, run }, container.spec.kind, status.code))
}

/// Why this host can't run the half for `platform`.
fn why_not(platform: &Platform) -> Option<String> {
    if platform.is_wasm() {
        return None;
    }
    brig_engine::doctor()
        .into_iter()
        .find(|check| check.name == "user namespaces" && check.verdict == Verdict::Missing)
        .map(|check| match check.fix {
            Some(fix) => format!("it needs user namespaces, and {}; fix: {fix}", check.detail),
            None => format!("it needs user namespaces, and {}", check.detail),
        })
}

impl Place {
    fn new(context: &Context) -> Result<Self> {
        if let Some(root) = &context.globals.root {
            fs::create_dir_all(root).map_err(io("make the directory", root))?;
            return Ok(Self { root: root.clone(), temporary: false });
        }
        let root = std::env::temp_dir().join(format!("brig-demo-{}", std::process::id()));
        fs::create_dir(&root).map_err(io("make the directory", &root))?;
        Ok(Self { root, temporary: true })
    }

    fn leave(self) -> Result<()> {
        if self.temporary {
            fs::remove_dir_all(&self.root).map_err(io("remove", &self.root))?;
        }
        Ok(())
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path: Some(path), source }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
