//! Doors for `tests/fuzz`, which calls what reads untrusted text directly. Not in an ordinary build.

use serde_json::Value;

use crate::error::Result;

/// Applies `--change` instructions to the `config` of an image's config.
pub fn apply_changes(config: &mut Value, changes: &[String]) -> Result<()> {
    crate::images::change::apply_all(config, changes)
}

/// Resolves `user[:group]` by an image's files; gives the user and the group.
pub fn user(wanted: &str, passwd: &[u8], group: &[u8]) -> Result<(u32, u32)> {
    crate::users::resolve(wanted, passwd, group).map(|user| (user.uid, user.gid))
}
