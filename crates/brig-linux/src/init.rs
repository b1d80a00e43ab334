//! `--init`: a first process that passes signals on and reaps orphans.

use brig_runtime::plan::ProcessPlan;

/// The name under which the helper is an init.
const NAME: &str = "brig-init";

/// Puts brig's own init before the program of a plan: the helper once more, which the process that becomes the payload
/// still is when it opens the file.
pub fn put_init_before(process: &mut ProcessPlan) {
    process.program = Some("/proc/self/exe".into());
    process.args.insert(0, NAME.to_owned());
}
