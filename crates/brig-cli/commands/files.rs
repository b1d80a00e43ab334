//! Verbs on a container's files.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brig_engine::{CommitOptions, Copied, CopyOptions, Digest, Error, ImportOptions, Result};
use clap::Args;

use super::Context;
use crate::{output, table, terminal};

/// Copy files between a container and this machine
#[derive(Args, Debug)]
#[command(
    after_help = "With - as the source, a tar is read from standard input and goes into a directory of the container;
with - as the destination, a tar is written to standard output."
)]
pub(crate) struct Cp {
    /// Keep owners (default: files become yours, and root's in a container)
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link points to, where the source is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Don't say what was copied
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, PATH or -
    #[arg(value_name = "SOURCE")]
    source: String,
    /// CONTAINER:PATH, PATH or -
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Stream,
    Host(&'a str),
    Container(&'a str, &'a str),
}

impl<'a> End<'a> {
    /// docker's rule: what begins with `/` or `.` is a path of this machine, whatever colons are in it.
    fn of(text: &'a str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((container, path)) if !text.starts_with(['/', '.']) => Self::Container(container, path),
            _ => Self::Host(text),
        }
    }
}

impl Cp {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let options = CopyOptions { archive: self.archive, follow_link: self.follow_link };
        let (source, destination) = (End::of(&self.source), End::of(&self.destination));
        let engine = context.engine()?;
        let (copied, to) = match (source, destination) {
            (End::Container(..), End::Container(..)) => {
                return Err(usage(&self.source, "copying between containers is not supported"));
            }
            (End::Container(name, path), End::Stream) => {
                engine.archive_from(name, path, &options, &mut output::Stream)?;
                return Ok(ExitCode::SUCCESS);
            }
            (End::Container(name, path), End::Host(to)) => {
                (engine.copy_from(name, path, Path::new(to), &options)?, to.to_owned())
            }
            (End::Stream, End::Container(name, path)) => {
                let copied = engine.archive_to(&mut io::stdin().lock(), name, path, &options)?;
                let to = format!("{name}:{}", copied.destination);
                (copied, to)
            }
            (End::Host(from), End::Container(name, path)) => {
                let copied = engine.copy_to(Path::new(from), name, path, &options)?;
                let to = format!("{name}:{}", copied.destination);
                (copied, to)
            }
            _ => return Err(usage(&self.source, "one of the two must be in a container: CONTAINER:PATH")),
        };
        self.say(&copied, &to);
        Ok(ExitCode::SUCCESS)
    }

    fn say(&self, copied: &Copied, to: &str) {
        if !self.quiet && terminal::stdout_is_terminal() {
            output::note(&format!("Successfully copied {} to {to}", table::size(copied.bytes)));
        }
        if copied.unset > 0 {
            output::note(&format!("brig: {} owners or attributes couldn't be set", copied.unset));
        }
    }
}

fn usage(argument: &str, problem: &str) -> Error {
    Error::Invalid { what: "arguments", value: argument.into(), problem: problem.into() }
}

/// List what a container has changed in its image's files
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// Name or id
    container: String,
}

impl Diff {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let changes = context.engine()?.changes(&self.container)?;
        if context.globals.json() {
            let documents = changes.iter().map(|change| {
                let kind = change.kind.letter().to_string();
                serde_json::json!({ "Kind": kind, "Path": change.path })
            });
            output::json(&documents.collect::<Vec<_>>())?;
        } else {
            for change in &changes {
                output::line(&format!("{} {}", change.kind.letter(), change.path))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Write a container's file system to a tar, without what is mounted in it
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Name or id
    container: String,
}

impl Export {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let engine = context.engine()?;
        match self.output {
            Some(path) => engine.export_to_file(&self.container, &path)?,
            None if terminal::stdout_is_terminal() => {
                return Err(Error::Unsupported {
                    what: "an archive on the terminal".into(),
                    reason: "give --output FILE, or redirect standard output".into(),
                });
            }
            None => engine.export(&self.container, &mut output::Stream)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Make an image of a tar with a root file system
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Change the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME
    /// or WORKDIR, as in a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What its history says
    #[arg(short, long)]
    message: Option<String>,
    /// Its platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Tar, compressed or not, or - for standard input
    #[arg(value_name = "FILE|-")]
    file: String,
    /// Name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Import {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        if ["http://", "https://"].iter().any(|scheme| self.file.starts_with(scheme)) {
            return Err(Error::Unsupported {
                what: "import from a URL".into(),
                reason: format!("download it first: curl -L {} | brig import -", self.file),
            });
        }
        let options = ImportOptions {
            changes: self.change,
            message: self.message,
            platform: self.platform.as_deref().map(str::parse).transpose()?,
        };
        let path = (self.file != "-").then(|| Path::new(&self.file));
        let (name, id) = context.engine()?.import(path, self.name.as_deref(), &options)?;
        print_image(context, &name, &id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Make an image of a container: its image, and what the container has changed
#[derive(Args, Debug)]
pub(crate) struct Commit {
    /// Who made it
    #[arg(short, long)]
    author: Option<String>,
    /// Change the image's config: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME
    /// or WORKDIR, as in a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What its history says
    #[arg(short, long)]
    message: Option<String>,
    /// Pause the container meanwhile, if it runs [default: true, where it can be]
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pause: Option<bool>,
    /// Name or id
    container: String,
    /// Name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

impl Commit {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let options = CommitOptions {
            author: self.author,
            changes: self.change,
            message: self.message,
            pause: self.pause,
        };
        let committed = context.engine()?.commit(&self.container, self.name.as_deref(), &options)?;
        if committed.ran_on {
            output::note(
                "brig: the container couldn't be paused: files that it wrote meanwhile may be half written",
            );
        }
        print_image(context, &committed.name, &committed.id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// docker prints the id alone.
fn print_image(context: &Context, name: &str, id: &Digest) -> Result<()> {
    match context.globals.json() {
        true => output::json(&serde_json::json!({ "Reference": name, "ID": id })),
        false => output::line(&id.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_end_is_in_a_container() {
        for (text, end) in [
            ("-", End::Stream),
            ("web:/x", End::Container("web", "/x")),
            ("web:x:y", End::Container("web", "x:y")),
            ("/a:b", End::Host("/a:b")),
            ("./a:b", End::Host("./a:b")),
            ("../a:b", End::Host("../a:b")),
            ("a", End::Host("a")),
            ("web:", End::Container("web", "")),
        ] {
            assert_eq!(End::of(text), end, "{text}");
        }
    }
}
