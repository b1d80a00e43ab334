//! A host program with threads of its own that runs a Linux and a wasm image side by side.
//!
//! `cargo run --example host -- ARCHIVE` loads an OCI archive with an image for each and runs both at once.

use std::path::PathBuf;

use brig_engine::{CreateOptions, Engine, EngineOptions, ExitStatus, Platform, Wanted};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let archive = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: host ARCHIVE")?;
    // A root of its own where BRIG_ROOT names one; else the one that the `brig` command has, too.
    let root = std::env::var_os("BRIG_ROOT").map(PathBuf::from);
    let engine = Engine::open(EngineOptions { root, ..EngineOptions::default() }).await?;
    let names = engine.load(&archive, None).await?;
    let name = names.first().ok_or("the archive holds no image")?;
    // Both kinds through one type, from whichever thread the runtime has free.
    let runs = [Platform::host(), Platform::wasi()].map(|platform| {
        let (engine, name) = (engine.clone(), name.clone());
        tokio::spawn(async move { run(&engine, &name, platform).await })
    });
    for handle in runs {
        let (platform, status, output) = handle.await??;
        #[expect(clippy::print_stdout, reason = "this program talks to people")]
        {
            println!("{platform}: exit code {}: {}", status.code, output.trim_end());
        }
    }
    Ok(())
}

async fn run(
    engine: &Engine,
    name: &str,
    platform: Platform,
) -> Result<(Platform, ExitStatus, String), BoxError> {
    let options = CreateOptions {
        image: name.into(),
        wanted: Wanted { platform: Some(platform.clone()), kind: None },
        ..CreateOptions::default()
    };
    let container = engine.create(options).await?;
    let id = &container.spec.id;
    engine.start(&container).await?;
    let status = engine.wait(id).await?;
    let output = engine.logs(id).await?.into_iter().map(|(_, text)| text).collect();
    engine.remove(id, false).await?;
    Ok((platform, status, output))
}
