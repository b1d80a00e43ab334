//! What a container is given beside its limits.

use brig_engine::{Error, Result, Tuning, Ulimit};
use clap::Args;

use super::pairs;
use crate::commands::values::parse_size;

/// Flags of `run` and `create`.
#[derive(Args, Debug)]
pub(crate) struct TuningFlags {
    /// How readily its memory is swapped out, 0 to 100
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    memory_swappiness: Option<i64>,
    /// What the OOM killer adds to its badness, -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    oom_score_adj: Option<i32>,
    /// Not supported
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    oom_kill_disable: Option<bool>,
    /// Resource limits of its processes, such as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    /// Mount a file system in memory
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Size of /dev/shm [default: 64m]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    shm_size: Option<u64>,
    /// Add an annotation to the OCI runtime spec
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Add capabilities: ALL, or names with or without CAP_
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// Drop capabilities
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// Add supplementary groups, by name or number
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Signal that asks it to stop [default: the image's, or TERM]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds until it is killed then; -1 is for ever [default: 10]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    stop_timeout: Option<i64>,
}

impl TuningFlags {
    pub(crate) fn tuning(&self) -> Result<Tuning> {
        if self.oom_kill_disable == Some(true) {
            let reason =
                "a container that has used up its memory would hang for ever: give it more with --memory";
            return Err(Error::Unsupported { what: "--oom-kill-disable".into(), reason: reason.into() });
        }
        let tmpfs = self.tmpfs.iter().map(|text| text.split_once(':').unwrap_or((text, "")));
        Ok(Tuning {
            domainname: self.domainname.clone().filter(|name| !name.is_empty()),
            group_add: self.group_add.clone(),
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            tmpfs: tmpfs.map(|(target, options)| (target.to_owned(), options.to_owned())).collect(),
            shm_size: self.shm_size.filter(|size| *size > 0),
            ulimits: self.last_ulimits(),
            oom_score_adj: self.oom_score_adj,
            annotations: pairs("annotation", &self.annotation)?,
        })
    }

    /// docker's rule: of several for one name the last counts.
    fn last_ulimits(&self) -> Vec<Ulimit> {
        let last =
            |at: usize, limit: &Ulimit| self.ulimit[at + 1..].iter().all(|later| later.name != limit.name);
        let all = self.ulimit.iter().enumerate();
        all.filter(|(at, limit)| last(*at, limit)).map(|(_, limit)| limit.clone()).collect()
    }

    pub(crate) fn swappiness(&self) -> Result<Option<u64>> {
        match self.memory_swappiness {
            None | Some(-1) => Ok(None),
            Some(value) => u64::try_from(value).map(Some).map_err(|_| Error::Invalid {
                what: "value",
                value: value.to_string(),
                problem: "valid memory swappiness range is 0-100".into(),
            }),
        }
    }

    pub(crate) fn stop_signal(&self) -> Result<Option<i32>> {
        self.stop_signal.as_deref().map(crate::commands::values::signal).transpose()
    }

    pub(crate) fn stop_timeout(&self) -> Option<u64> {
        self.stop_timeout.map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}
