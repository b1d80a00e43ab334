//! Flags of `run` and `create`, by what they are about.

mod block;
mod files;
mod limits;
mod log;
mod mounts;
mod tuning;

use std::collections::BTreeMap;

use brig_engine::{Error, Result};

pub(crate) use block::BlockFlags;
pub(crate) use files::{CidFile, FileFlags};
pub(crate) use limits::LimitFlags;
pub(crate) use log::LogFlags;
pub(crate) use mounts::MountFlags;
pub(crate) use tuning::TuningFlags;

/// `KEY=VALUE`, each.
fn pairs(what: &'static str, given: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::Invalid { what, value: text.clone(), problem: "it isn't KEY=VALUE".into() }),
    };
    given.iter().map(pair).collect()
}
