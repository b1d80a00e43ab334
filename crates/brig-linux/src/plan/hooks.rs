//! The hooks of a spec.

use std::ffi::OsString;
use std::path::Path;

use brig_runtime::hooks::{About, Hook, Hooks};
use oci_spec::runtime::{Hook as SpecHook, Spec};

use super::{Context, PlanError};

/// The hooks that come after the start of a container's program, and after its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LateHooks {
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
}

/// The hooks that are run while a container is made.
#[allow(deprecated, reason = "specs of older engines have prestart hooks")]
pub(super) fn hooks(context: &Context<'_>) -> Result<Hooks, PlanError> {
    let spec = context.spec;
    let Some(hooks) = spec.hooks() else { return Ok(Hooks::default()) };
    let late = late_hooks(spec)?;
    if !context.options.as_runc && late != LateHooks::default() {
        let reason = "poststart and poststop hooks are run by `brig oci` only";
        return Err(PlanError::unsupported("hooks", reason));
    }
    // A hook without an environment has that of whoever runs it, as with runc.
    let own = || spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default();
    let start_container = hooks.start_container().as_deref();
    Ok(Hooks {
        prestart: list("hooks.prestart", hooks.prestart().as_deref())?,
        create_runtime: list("hooks.createRuntime", hooks.create_runtime().as_deref())?,
        create_container: list("hooks.createContainer", hooks.create_container().as_deref())?,
        start_container: list_with("hooks.startContainer", start_container, own)?,
        about: about(spec, context.options.id, context.options.bundle),
    })
}

/// What hooks are told about a container.
pub(crate) fn about(spec: &Spec, id: &str, bundle: Option<&Path>) -> About {
    let mut annotations: Vec<_> = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    annotations.sort();
    About {
        oci_version: spec.version().clone(),
        id: id.to_owned(),
        bundle: bundle.unwrap_or(Path::new("/")).to_owned(),
        annotations,
    }
}

/// The hooks that the runtime runs once the helper is gone.
pub(crate) fn late_hooks(spec: &Spec) -> Result<LateHooks, PlanError> {
    let Some(hooks) = spec.hooks() else { return Ok(LateHooks::default()) };
    Ok(LateHooks {
        poststart: list("hooks.poststart", hooks.poststart().as_deref())?,
        poststop: list("hooks.poststop", hooks.poststop().as_deref())?,
    })
}

fn list(field: &'static str, hooks: Option<&[SpecHook]>) -> Result<Vec<Hook>, PlanError> {
    // A plan is text: a variable that isn't doesn't reach the hook.
    let text = |(name, value): (OsString, OsString)| Some(format!("{}={}", name.to_str()?, value.to_str()?));
    list_with(field, hooks, || std::env::vars_os().filter_map(text).collect())
}

fn list_with(
    field: &'static str,
    hooks: Option<&[SpecHook]>,
    env: impl Fn() -> Vec<String>,
) -> Result<Vec<Hook>, PlanError> {
    hooks.unwrap_or_default().iter().map(|hook| one(field, hook, &env)).collect()
}

fn one(field: &'static str, hook: &SpecHook, env: impl Fn() -> Vec<String>) -> Result<Hook, PlanError> {
    let invalid = |value: String, reason| Err(PlanError::Invalid { field, value, reason });
    if !hook.path().is_absolute() {
        return invalid(hook.path().display().to_string(), "isn't an absolute path");
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => return invalid(seconds.to_string(), "isn't a time limit: it must be greater than zero"),
        },
    };
    Ok(Hook {
        path: hook.path().clone(),
        args: hook.args().clone().unwrap_or_default(),
        env: hook.env().clone().unwrap_or_else(env),
        timeout,
    })
}
