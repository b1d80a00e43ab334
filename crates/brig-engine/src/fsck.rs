//! Checking the store.

use crate::blocking::Engine;
use crate::error::Result;

impl Engine {
    /// Checks that the store is whole; with `repair`, removes what is damaged.
    pub fn fsck(&self, repair: bool) -> Result<brig_store::FsckReport> {
        Ok(self.store().fsck(repair)?)
    }
}
