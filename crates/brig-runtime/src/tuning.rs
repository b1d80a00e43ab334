//! What a container is given beside its limits: docker's words for it, as they were asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Everything that is nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// The NIS domain name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Supplementary groups beyond the user's own, names or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Capabilities beside docker's: `ALL`, or names with or without `CAP_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities of docker's that it doesn't get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// File systems in memory: where, and docker's options for each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, String>,
    /// The size of `/dev/shm`, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Resource limits of its processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<Ulimit>,
    /// What the kernel's OOM killer adds to its badness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// Annotations of its OCI runtime spec.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Tuning {
    /// Whether nothing was asked for.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// docker's names; `as` isn't one of them.
const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A resource limit: `nofile=1024:2048`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// docker's name for it.
    pub name: String,
    /// What a process may raise up to the hard one; -1 for none.
    pub soft: i64,
    /// What nobody without privileges may raise; -1 for none.
    pub hard: i64,
}

impl Ulimit {
    /// Both, as the kernel writes them.
    pub fn values(&self) -> (u64, u64) {
        let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
        (value(self.soft), value(self.hard))
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

impl FromStr for Ulimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("invalid ulimit argument: {text}");
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        if !NAMES.contains(&name) {
            return Err(format!("invalid ulimit type: {name}; there are {}", NAMES.join(", ")));
        }
        let number = |text: &str| text.parse().ok().filter(|number| *number >= -1_i64).ok_or_else(wrong);
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            ));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_as_docker_writes_them() {
        for (text, expected) in [
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("core=0", "core=0:0"),
            ("memlock=-1", "memlock=-1:-1"),
            ("stack=5:-1", "stack=5:-1"),
        ] {
            assert_eq!(text.parse::<Ulimit>().unwrap().to_string(), expected);
        }
        assert_eq!("memlock=5:-1".parse::<Ulimit>().unwrap().values(), (5, u64::MAX));
        for text in [
            "",
            "nofile",
            "nofile=",
            "nofile=a",
            "as=1",
            "NOFILE=1",
            "nofile=2:1",
            "nofile=-1:5",
            "nofile=1:2:3",
            "nofile=-2",
        ] {
            assert!(text.parse::<Ulimit>().is_err(), "{text}");
        }
    }
}
