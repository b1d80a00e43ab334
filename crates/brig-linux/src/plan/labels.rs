//! What security modules make of a container: AppArmor profiles and SELinux labels.

use brig_runtime::plan::RootFs;
use oci_spec::runtime::Process;

use super::{Context, PlanError};

/// File systems that have labels of their own.
const LABELLED: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];
const CONTEXT: &str = "context";

/// `process.apparmorProfile`; `unconfined` asks for nothing.
pub(super) fn apparmor(context: &Context<'_>, process: &Process) -> Result<Option<String>, PlanError> {
    let field = "process.apparmorProfile";
    let profile = given(field, process.apparmor_profile())?.filter(|profile| *profile != "unconfined");
    if let Some(profile) = profile
        && !context.options.host.has_apparmor()
    {
        let reason =
            format!("the profile `{profile}` can't be applied: this kernel has no AppArmor switched on");
        return Err(PlanError::unsupported(field, reason));
    }
    Ok(profile.map(str::to_owned))
}

/// `process.selinuxLabel`.
pub(super) fn selinux(context: &Context<'_>, process: &Process) -> Result<Option<String>, PlanError> {
    label(context, "process.selinuxLabel", process.selinux_label())
}

/// The root file system, with `linux.mountLabel`.
pub(super) fn of_root(context: &Context<'_>, mut root: RootFs) -> Result<RootFs, PlanError> {
    if let RootFs::Overlay { options, .. } = &mut root
        && let Some(label) = mount_label(context)?
    {
        options.push(format!("{CONTEXT}={label}"));
    }
    Ok(root)
}

/// The options of a new file system, with `linux.mountLabel`, unless they have a label.
pub(super) fn put(
    context: &Context<'_>,
    fs_type: &str,
    options: &mut Vec<(String, Option<String>)>,
) -> Result<(), PlanError> {
    let labelled = LABELLED.contains(&fs_type) || options.iter().any(|(key, _)| key == CONTEXT);
    if let Some(label) = mount_label(context)?
        && !labelled
    {
        options.push((CONTEXT.to_owned(), Some(label)));
    }
    Ok(())
}

fn mount_label(context: &Context<'_>) -> Result<Option<String>, PlanError> {
    label(context, "linux.mountLabel", context.linux.mount_label())
}

fn label(
    context: &Context<'_>,
    field: &'static str,
    asked: &Option<String>,
) -> Result<Option<String>, PlanError> {
    let label = given(field, asked)?;
    if let Some(label) = label
        && !context.options.host.has_selinux()
    {
        let reason = format!("the label `{label}` can't be given: SELinux isn't enabled here");
        return Err(PlanError::unsupported(field, reason));
    }
    Ok(label.map(str::to_owned))
}

fn given<'a>(field: &'static str, asked: &'a Option<String>) -> Result<Option<&'a str>, PlanError> {
    let asked = asked.as_deref().filter(|text| !text.is_empty());
    match asked.filter(|text| text.chars().any(char::is_control)) {
        Some(text) => {
            let value = text.escape_default().to_string();
            Err(PlanError::Invalid { field, value, reason: "isn't a name" })
        }
        None => Ok(asked),
    }
}
