//! Verbs on images.

use std::path::PathBuf;
use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{Platform, PullOptions, PushOptions, ResolvedImage, Result, Wanted};
use clap::Args;

use super::Context;
use super::filter::ReferenceFilter;
use crate::progress::Bars;
use crate::table::{self, Table};
use crate::{error, output, terminal};

/// Pulls an image with progress on standard error.
pub(crate) fn pull(
    context: &Context,
    engine: &Engine,
    name: &str,
    wanted: &Wanted,
    quiet: bool,
) -> Result<ResolvedImage> {
    let bars = Bars::new(terminal::stderr_is_terminal() && !quiet && !context.globals.json());
    let options = PullOptions { wanted: wanted.clone(), all_platforms: false, progress: bars.sink() };
    engine.pull_now(name, &options)
}

/// Download an image
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// Choose an image by platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Take the images of all platforms
    #[arg(long, conflicts_with = "platform")]
    all_platforms: bool,
    /// Print the reference only
    #[arg(short, long)]
    quiet: bool,
    /// Reference
    image: String,
}

impl Pull {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let bars = Bars::new(terminal::stderr_is_terminal() && !self.quiet && !context.globals.json());
        let options = PullOptions {
            wanted: Wanted { platform: self.platform, kind: None },
            all_platforms: self.all_platforms,
            progress: bars.sink(),
        };
        let image = engine.pull_now(&self.image, &options)?;
        if context.globals.json() {
            output::json(&serde_json::json!({
                "Reference": image.name,
                "Digest": image.target.digest,
                "Id": image.id(),
                "Platform": image.platform.to_string(),
                "Kind": image.kind.kind,
            }))?;
        } else if self.quiet {
            output::line(&image.name)?;
        } else {
            output::line(&format!("Digest: {}\n{}", image.target.digest, image.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Upload an image
#[derive(Args, Debug)]
pub(crate) struct Push {
    /// Push the image of one platform only
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Reference of an image in the store
    image: String,
}

impl Push {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let bars = Bars::new(terminal::stderr_is_terminal() && !self.quiet && !context.globals.json());
        let options = PushOptions { platform: self.platform, progress: bars.sink() };
        let pushed = engine.push_now(&self.image, &options)?;
        if context.globals.json() {
            output::json(
                &serde_json::json!({ "Reference": self.image, "Digest": pushed.digest, "Size": pushed.size }),
            )?;
        } else if !self.quiet {
            output::line(&format!("Digest: {}", pushed.digest))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// List images
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Show all; brig makes no images between two layers, so these are the same
    #[arg(short, long)]
    all: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Don't shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// Show only some: those whose reference has this pattern
    #[arg(short, long, value_name = "reference=PATTERN")]
    filter: Vec<ReferenceFilter>,
    /// Show only those of this repository, or repository and tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pattern: Option<String>,
}

impl List {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let mut images = context.engine()?.images()?;
        let pattern = self.pattern.clone().map(ReferenceFilter::of_pattern);
        images.retain(|image| pattern.iter().all(|pattern| pattern.admits(image)));
        images
            .retain(|image| self.filter.is_empty() || self.filter.iter().any(|filter| filter.admits(image)));
        let id = |digest: &brig_engine::Digest| {
            if self.no_trunc { digest.to_string() } else { digest.short().to_owned() }
        };
        if self.quiet {
            for image in &images {
                output::line(&id(&image.id))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if context.globals.json() {
            output::json(&images)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut headings = vec!["REPOSITORY", "TAG"];
        headings.extend(self.digests.then_some("DIGEST"));
        headings.extend(["IMAGE ID", "PLATFORM", "KIND", "CREATED", "SIZE"]);
        let mut table = Table::new(&headings);
        for image in &images {
            let mut row = vec![image.repository.clone(), image.tag.clone()];
            row.extend(self.digests.then(|| image.digest.to_string()));
            row.extend([
                id(&image.id),
                image.platforms.join(","),
                image.kinds.join(","),
                image.created.map_or_else(|| "N/A".into(), |time| table::ago(time.elapsed())),
                table::size(image.size),
            ]);
            table.row(row);
        }
        output::print(&table.render())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Remove images
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// Remove it though stopped containers use it
    #[arg(short, long)]
    force: bool,
    /// References or ids
    #[arg(required = true)]
    images: Vec<String>,
}

impl Remove {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        let mut code = ExitCode::SUCCESS;
        for name in &self.images {
            match engine.remove_image(name, self.force) {
                Ok(removed) => {
                    for text in removed {
                        output::line(&text)?;
                    }
                }
                Err(failure) => code = error::report(&failure, context.globals.error_format()),
            }
        }
        Ok(code)
    }
}

/// Give an image another name
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// Reference or id
    source: String,
    /// The other name
    target: String,
}

impl Tag {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        context.engine()?.tag(&self.source, &self.target)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Load images from an archive or layout
#[derive(Args, Debug)]
#[command(about = "Load images from an OCI or docker archive, or an OCI layout directory")]
pub(crate) struct Load {
    /// Archive or layout [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Name for an image that the archive doesn't name
    #[arg(short, long, value_name = "REFERENCE")]
    tag: Option<String>,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let loaded = context.engine()?.load(self.input.as_deref(), self.tag.as_deref())?;
        if context.globals.json() {
            output::json(&loaded)?;
        } else if !self.quiet {
            for name in loaded {
                output::line(&format!("Loaded image: {name}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Save images to an OCI archive
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// References
    #[arg(required = true)]
    images: Vec<String>,
}

impl Save {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        if self.output.is_none() && terminal::stdout_is_terminal() {
            return Err(brig_engine::Error::Unsupported {
                what: "an archive on the terminal".into(),
                reason: "give --output FILE, or redirect standard output".into(),
            });
        }
        context.engine()?.save(&self.images, self.output.as_deref())?;
        Ok(ExitCode::SUCCESS)
    }
}
