//! Seccomp notification: who answers for the calls that a filter passes on.

use brig_runtime::plan::{ListenerPlan, SeccompPlan};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction};

use super::{Context, PlanError};
use crate::seccomp::flags::NEW_LISTENER;

/// `linux.seccomp.listenerPath` and what goes there, where the filter passes something on.
pub(super) fn listener(
    context: &Context<'_>,
    filter: Option<&SeccompPlan>,
) -> Result<Option<ListenerPlan>, PlanError> {
    let Some(policy) = context.linux.seccomp() else { return Ok(None) };
    let path = policy.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    let Some(path) = path else {
        return match filter {
            Some(filter) if filter.flags & NEW_LISTENER != 0 => Err(PlanError::unsupported(
                "linux.seccomp",
                "SCMP_ACT_NOTIFY needs a `listenerPath`, where somebody answers",
            )),
            _ if policy.listener_metadata().is_some() => Err(PlanError::unsupported(
                "linux.seccomp.listenerMetadata",
                "without a `listenerPath` nobody reads it",
            )),
            _ => Ok(None),
        };
    };
    if filter.is_none_or(|filter| filter.flags & NEW_LISTENER == 0) {
        return Ok(None);
    }
    if passes_on(policy, "write") {
        let reason = "SCMP_ACT_NOTIFY can't be for `write`, with which the listener may be handed over";
        return Err(PlanError::unsupported("linux.seccomp", reason));
    }
    let annotations = context.spec.annotations().iter().flatten();
    let mut annotations: Vec<_> = annotations.map(|(name, value)| (name.clone(), value.clone())).collect();
    annotations.sort_unstable();
    Ok(Some(ListenerPlan {
        path: context.options.resolve(path),
        metadata: policy.listener_metadata().clone(),
        version: context.spec.version().clone(),
        id: context.options.id.to_owned(),
        bundle: context.options.bundle.unwrap_or("/".as_ref()).to_owned(),
        annotations,
        by_number: passes_on(policy, "sendmsg"),
    }))
}

fn passes_on(policy: &LinuxSeccomp, call: &str) -> bool {
    policy.syscalls().iter().flatten().any(|rule| {
        rule.action() == LinuxSeccompAction::ScmpActNotify && rule.names().iter().any(|name| name == call)
    })
}
