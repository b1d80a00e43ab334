//! Verbs on images.

use std::path::PathBuf;
use std::process::ExitCode;

use brig_engine::blocking::Engine;
use brig_engine::{
    HistoryEntry, ImageSummary, Platform, PullOptions, PushOptions, ResolvedImage, Result, Wanted,
};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::filter::images::{ImageFilter, ImageFilters};
use super::values::docker_time;
use crate::format::Format;
use crate::list::{Fields, List as Rows};
use crate::progress::Bars;
use crate::{error, output, table, terminal};

/// Pulls an image with progress on standard error.
pub(crate) fn pull(
    context: &Context,
    engine: &Engine,
    name: &str,
    wanted: &Wanted,
    quiet: bool,
) -> Result<ResolvedImage> {
    let bars = Bars::new(terminal::stderr_is_terminal() && !quiet && context.globals.is_for_people());
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
        let bars =
            Bars::new(terminal::stderr_is_terminal() && !self.quiet && context.globals.is_for_people());
        let options = PullOptions {
            wanted: Wanted { platform: self.platform, kind: None },
            all_platforms: self.all_platforms,
            progress: bars.sink(),
        };
        let image = engine.pull_now(&self.image, &options)?;
        let document = json!({
            "Reference": image.name,
            "Digest": image.target.digest,
            "Id": image.id(),
            "Platform": image.platform.to_string(),
            "Kind": image.kind.kind,
        });
        if !Format::document(context.globals.format.as_ref(), &document)? {
            let digest =
                if self.quiet { String::new() } else { format!("Digest: {}\n", image.target.digest) };
            output::line(&format!("{digest}{}", image.name))?;
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
        let bars =
            Bars::new(terminal::stderr_is_terminal() && !self.quiet && context.globals.is_for_people());
        let options = PushOptions { platform: self.platform, progress: bars.sink() };
        let pushed = engine.push_now(&self.image, &options)?;
        let document = json!({ "Reference": self.image, "Digest": pushed.digest, "Size": pushed.size });
        if !Format::document(context.globals.format.as_ref(), &document)? && !self.quiet {
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
    /// Refused: brig shows the platforms of an image in its row
    #[arg(long)]
    tree: bool,
    /// Show only some: before, dangling, label, label!, reference, since or until
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<ImageFilter>,
    /// Show only those of this repository, or repository and tag
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pattern: Option<String>,
}

/// docker's, and brig's `Platform`, `Kind` and `Reference`.
const FIELDS: Fields = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Platform", "PLATFORM"),
    ("Kind", "KIND"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("Reference", "REFERENCE"),
];

impl List {
    pub(crate) fn execute(mut self, context: &Context) -> Result<ExitCode> {
        if self.tree {
            return Err(brig_engine::Error::Unsupported {
                what: "--tree".into(),
                reason: "brig shows the platforms of an image in its row: leave it out".into(),
            });
        }
        let mut images = context.engine()?.images()?;
        let pattern = self.pattern.take().map(ImageFilter::of_pattern);
        let (by_pattern, filters) =
            (ImageFilters::new(pattern.as_slice(), &images)?, ImageFilters::new(&self.filter, &images)?);
        let admitted: Vec<_> =
            images.iter().map(|image| by_pattern.admit(image) && filters.admit(image)).collect();
        let mut admitted = admitted.into_iter();
        images.retain(|_| admitted.next() == Some(true));
        // As docker's, the newest first.
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        self.print(context, &images)?;
        Ok(ExitCode::SUCCESS)
    }

    fn print(&self, context: &Context, images: &[ImageSummary]) -> Result<()> {
        let mut columns = vec!["Repository", "Tag"];
        columns.extend(self.digests.then_some("Digest"));
        columns.extend(["ID", "Platform", "Kind", "CreatedSince", "Size"]);
        let shortened: &[&str] = if self.no_trunc { &[] } else { &["Repository", "Platform", "Tag"] };
        let mut list = Rows::new(FIELDS, &columns).shortening(shortened);
        for image in images {
            list.labelled_row(self.row(image), &image.labels);
        }
        list.print(context, self.quiet.then_some("ID"))
    }

    fn row(&self, image: &ImageSummary) -> Value {
        let size = table::size(image.size);
        json!({
            "Repository": image.repository,
            "Tag": image.tag,
            "Digest": image.digest,
            "ID": if self.no_trunc { image.id.to_string() } else { image.id.short().to_owned() },
            "Platform": image.platforms.join(","),
            "Kind": image.kinds.join(","),
            "CreatedSince": image.created.map_or_else(|| "N/A".into(), |time| table::ago(time.elapsed())),
            "CreatedAt": image.created.map_or_else(|| "N/A".into(), docker_time),
            "Size": size,
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
            "VirtualSize": size,
            "Containers": "N/A",
            "Reference": image.reference,
        })
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
        if !Format::document(context.globals.format.as_ref(), &json!(loaded))? && !self.quiet {
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

/// Show how an image came about
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Print sizes and times for people [default: true]
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Don't shorten ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Choose an image by platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Reference or id
    image: String,
}

/// docker's fields of `history`.
const HISTORY: Fields = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

impl History {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let wanted = Wanted { platform: self.platform.clone(), kind: None };
        let entries = context.engine()?.history(&self.image, &wanted)?;
        let columns = ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];
        let shortened: &[&str] = if self.no_trunc { &[] } else { &["CreatedBy"] };
        let mut list = Rows::new(HISTORY, &columns).shortening(shortened);
        entries.iter().for_each(|entry| list.row(self.values(entry)));
        list.print(context, self.quiet.then_some("ID"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn values(&self, entry: &HistoryEntry) -> Value {
        let time = entry.created.map_or_else(|| "N/A".into(), |time| time.to_string());
        json!({
            "ID": self.id(entry),
            "CreatedSince": self.created(entry),
            "CreatedAt": time,
            "CreatedBy": shortened(&entry.created_by, if self.no_trunc { usize::MAX } else { 45 }),
            "Size": self.size(entry),
            "Comment": entry.comment,
        })
    }

    /// Steps before the last one are no images any more.
    fn id(&self, entry: &HistoryEntry) -> String {
        match &entry.id {
            Some(id) if self.no_trunc => id.clone(),
            Some(id) => id.split_once(':').map_or(id.as_str(), |(_, hex)| hex).chars().take(12).collect(),
            None => "<missing>".into(),
        }
    }

    fn created(&self, entry: &HistoryEntry) -> String {
        match entry.created {
            None => "N/A".into(),
            Some(time) if self.human => table::ago(time.elapsed()),
            Some(time) => time.to_string(),
        }
    }

    fn size(&self, entry: &HistoryEntry) -> String {
        if self.human { table::size(entry.size) } else { entry.size.to_string() }
    }
}

/// On one line, and not longer than this.
fn shortened(text: &str, length: usize) -> String {
    let text = text.replace(['\n', '\t'], " ");
    if text.chars().count() <= length {
        return text;
    }
    format!("{}…", text.chars().take(length - 1).collect::<String>())
}
