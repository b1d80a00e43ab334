//! What a spec may ask for and brig can't give. Everything that isn't handled elsewhere is here, so that nothing is left
//! out in silence.

use oci_spec::runtime::Linux;

use super::PlanError;

/// Refuses what can't be given.
pub(super) fn refuse(linux: &Linux) -> Result<(), PlanError> {
    match of_linux(linux).into_iter().find(|(_, asked, _)| *asked) {
        Some((field, _, reason)) => Err(PlanError::unsupported(field, reason)),
        None => Ok(()),
    }
}

type Asked = (&'static str, bool, &'static str);

fn of_linux(linux: &Linux) -> Vec<Asked> {
    vec![("linux.intelRdt", linux.intel_rdt().is_some(), "cache allocation isn't supported")]
}
