//! `man`: the manual's pages, for packages. One page a verb, made of what help shows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brig_engine::{Error, Result};
use clap::{Args, Command};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use super::Context;
use crate::args;

/// Write the manual's pages
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Where to write them: brig.1, brig-run.1 and so on
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    pub(crate) fn execute(self, _context: &Context) -> Result<ExitCode> {
        let failed = |action| {
            move |path: &Path| {
                let path = path.to_owned();
                move |source| Error::Io { action, path: Some(path), source }
            }
        };
        fs::create_dir_all(&self.dir).map_err(failed("make")(&self.dir))?;
        for (name, text) in pages().map_err(failed("write")(&self.dir))? {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(failed("write")(&path))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The names and the texts of all pages.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = args::described();
    command.build();
    let mut found = Vec::new();
    add(&command, None, &mut found)?;
    Ok(found)
}

fn add(command: &Command, above: Option<&str>, found: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    found.push((format!("{name}.1"), page(command, name, above)?));
    command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .try_for_each(|verb| add(verb, Some(name), found))
}

fn page(command: &Command, name: &str, above: Option<&str>) -> io::Result<Vec<u8>> {
    let page = Page::new(command.clone());
    // clap_mangen leaves an empty date out, and a date would make each build another.
    let (title, version) = (name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let mut text = format!(".TH {title} 1 \"\" \"brig {version}\" \"brig's manual\"\n").into_bytes();
    page.render_name_section(&mut text)?;
    synopsis(command).to_writer(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        Page::new(command.clone().subcommand_help_heading("COMMANDS"))
            .render_subcommands_section(&mut text)?;
    }
    notes(&command.get_after_help().map(ToString::to_string).unwrap_or_default()).to_writer(&mut text)?;
    if let Some(above) = above {
        see_also(above).to_writer(&mut text)?;
    }
    Ok(text)
}

/// As help has it: all options are one word.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let rest = usage.strip_prefix(name).unwrap_or_default();
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(name), roman(rest)]);
    roff
}

/// What help ends with: examples as they stand, and paragraphs.
fn notes(text: &str) -> Roff {
    let mut roff = Roff::new();
    for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            roff.control("SH", ["EXAMPLES"]);
            roff.control("nf", []);
            verbatim(&mut roff, examples);
            roff.control("fi", []);
        } else {
            roff.control("SH", ["NOTES"]);
            verbatim(&mut roff, paragraph);
        }
    }
    roff
}

fn verbatim(roff: &mut Roff, text: &str) {
    for line in text.lines() {
        roff.text([roman(line.trim_start())]);
    }
}

fn see_also(above: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold(above), roman("(1)")]);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &str) -> String {
        let (_, text) = pages().unwrap().into_iter().find(|(name, _)| name == page).expect("the page");
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn there_is_a_page_a_verb_and_none_of_hidden_ones() {
        let names: Vec<_> = pages().unwrap().into_iter().map(|(name, _)| name).collect();
        for name in
            ["brig.1", "brig-run.1", "brig-container.1", "brig-container-prune.1", "brig-generate-systemd.1"]
        {
            assert!(names.iter().any(|have| have == name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name == "brig-man.1"), "{names:?}");
    }

    #[test]
    fn a_page_has_what_help_has() {
        let page = text("brig-ps.1");
        for part in [
            ".TH BRIG-PS 1 \"\" \"brig 0",
            "brig\\-ps \\- List containers",
            "\\fBbrig ps\\fR [OPTIONS]",
            ".SH OPTIONS",
            "\\fB\\-q\\fR, \\fB\\-\\-quiet\\fR",
            ".SH \"GLOBAL OPTIONS\"",
            ".SH EXAMPLES\n.nf\nbrig ps \\-a",
            ".SH \"SEE ALSO\"\n\\fBbrig\\fR(1)",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(text("brig-run.1").contains(".SH NOTES\nExit codes: "));
        assert!(text("brig.1").contains(".SH COMMANDS\n"));
    }
}
