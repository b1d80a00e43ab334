//! Caches and bandwidth of memory, shared out by Intel's RDT and its like through the resctrl file system.

use std::path::{Path, PathBuf};

use brig_runtime::plan::ResctrlPlan;
use oci_spec::runtime::LinuxIntelRdt;

use super::{Context, PlanError};

const ROOT: &str = "/sys/fs/resctrl";
/// `statfs` of it (`linux/magic.h`).
const MAGIC: rustix::fs::FsWord = 0x0765_5821;
const FIELD: &str = "linux.intelRdt";

/// `linux.intelRdt`
pub(super) fn resctrl(context: &Context<'_>) -> Result<Option<ResctrlPlan>, PlanError> {
    let Some(asked) = context.linux.intel_rdt() else { return Ok(None) };
    if !rustix::fs::statfs(ROOT).is_ok_and(|stat| stat.f_type == MAGIC) {
        let reason = format!(
            "no resctrl file system is mounted at {ROOT}; where the processor can: mount -t resctrl none {ROOT}"
        );
        return Err(PlanError::unsupported(FIELD, reason));
    }
    plan(asked, Path::new(ROOT), context.options.id).map(Some)
}

fn plan(asked: &LinuxIntelRdt, root: &Path, id: &str) -> Result<ResctrlPlan, PlanError> {
    let class = asked.clos_id().as_deref().filter(|class| !class.is_empty());
    let group = match class {
        Some("/") => PathBuf::new(),
        Some(class) => PathBuf::from(name(class)?),
        None => PathBuf::from(name(id)?),
    };
    let schemata: Vec<_> =
        [asked.l3_cache_schema(), asked.mem_bw_schema()].into_iter().flatten().cloned().collect();
    let last = asked.schemata().clone().unwrap_or_default();
    for text in schemata.iter().chain(&last) {
        line(text)?;
    }
    if let Some(bandwidth) = asked.mem_bw_schema().as_ref().filter(|text| !text.starts_with("MB:")) {
        return Err(invalid(bandwidth, "doesn't begin with `MB:`"));
    }
    let monitored = asked.enable_monitoring().unwrap_or(false);
    Ok(ResctrlPlan {
        root: root.to_owned(),
        group,
        own: class.is_none(),
        schemata,
        last,
        monitor: monitored.then(|| name(id).map(str::to_owned)).transpose()?,
    })
}

/// One directory in the file system, and none of its own.
fn name(name: &str) -> Result<&str, PlanError> {
    const TAKEN: [&str; 5] = [".", "..", "info", "mon_groups", "mon_data"];
    if name.contains('/') || name.chars().any(char::is_control) || TAKEN.contains(&name) {
        return Err(invalid(name, "can't be the name of a group"));
    }
    Ok(name)
}

fn line(text: &str) -> Result<(), PlanError> {
    if text.chars().any(char::is_control) {
        return Err(invalid(&text.escape_default().to_string(), "isn't one line"));
    }
    Ok(())
}

fn invalid(value: &str, reason: &'static str) -> PlanError {
    PlanError::Invalid { field: FIELD, value: value.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(json: serde_json::Value) -> Result<ResctrlPlan, PlanError> {
        plan(&serde_json::from_value(json).unwrap(), Path::new("/r"), "c1")
    }

    #[test]
    fn a_group_is_the_container_s_or_has_a_name() {
        let own =
            planned(json!({ "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f", "enableMonitoring": true }));
        let own = own.unwrap();
        assert_eq!((own.path(), own.own), (PathBuf::from("/r/c1"), true));
        assert_eq!(own.schemata, ["L3:0=f", "MB:0=20"]);
        assert_eq!(own.monitor.as_deref(), Some("c1"));
        let named = planned(json!({ "closID": "gold", "schemata": ["L2:0=1"] })).unwrap();
        assert_eq!((named.path(), named.own, named.monitor), (PathBuf::from("/r/gold"), false, None));
        assert_eq!((named.schemata.len(), named.last), (0, vec!["L2:0=1".to_owned()]));
        let every = planned(json!({ "closID": "/", "enableMonitoring": true })).unwrap();
        assert_eq!((every.group, every.own, every.monitor.is_some()), (PathBuf::new(), false, true));
    }

    #[test]
    fn what_isn_t_a_group_or_a_line_is_refused() {
        for json in [
            json!({ "closID": "a/b" }),
            json!({ "closID": ".." }),
            json!({ "closID": "info" }),
            json!({ "memBwSchema": "L3:0=1" }),
            json!({ "l3CacheSchema": "L3:0=1\nMB:0=1" }),
            json!({ "schemata": ["L3:0=1\n"] }),
        ] {
            assert!(planned(json.clone()).is_err(), "{json}");
        }
    }
}
