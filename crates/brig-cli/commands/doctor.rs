//! `doctor`: what this host can do, one line a thing, each with the fix where it can't.

use std::process::ExitCode;

use brig_engine::{Check, Result, Verdict};
use clap::Args;

use super::Context;
use crate::format::Format;
use crate::output;

/// Say what this host can do, and how to fix what it can't
#[derive(Args, Debug)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        let checks = brig_engine::doctor();
        if !Format::document(context.globals.format.as_ref(), &serde_json::json!(checks))? {
            let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
            for check in &checks {
                output::print(&render(check, width))?;
            }
        }
        let failed = checks.iter().any(|check| check.verdict == Verdict::Missing);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn render(check: &Check, width: usize) -> String {
    let mark = match check.verdict {
        Verdict::Ok => "ok     ",
        Verdict::Limited => "limited",
        Verdict::Missing => "MISSING",
    };
    let mut text = format!("{mark}  {:width$}  {}\n", check.name, check.detail);
    if let Some(fix) = &check.fix {
        text.push_str(&format!("{:9}{:width$}  fix: {fix}\n", "", ""));
    }
    text
}
