//! What this host can do, for `brig doctor` and for messages.

use serde::Serialize;

/// Looks at everything, and tries what can't be read anywhere.
pub fn doctor() -> Vec<Check> {
    let host = brig_linux::Host::probe();
    brig_linux::probe::probe(&host).into_iter().map(Check::from).collect()
}

impl From<brig_linux::probe::Finding> for Check {
    fn from(finding: brig_linux::probe::Finding) -> Self {
        let verdict = match finding.verdict {
            brig_linux::probe::Verdict::Good => Verdict::Ok,
            brig_linux::probe::Verdict::Limited => Verdict::Limited,
            _ => Verdict::Missing,
        };
        Self { name: finding.name, verdict, detail: finding.detail, fix: finding.fix }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub verdict: Verdict,
    /// In words.
    pub detail: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All there.
    Ok,
    /// Works, with less.
    Limited,
    /// Something that a kind of container needs isn't there.
    Missing,
}
