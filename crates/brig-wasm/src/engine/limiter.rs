//! How much memory a guest may take: the sum over all linear memories and tables of its store.
//!
//! wasmtime's own `StoreLimits` is per memory, so that a component of ten modules may take ten times the limit.

use wasmtime::{Error, ResourceLimiter, Result};

/// What one element of a table takes, in bytes: a pointer, and for lazily initialised ones a tag in it.
const TABLE_ELEMENT: usize = 8;
/// The number of table elements when there is no memory limit: 80 MB of pointers, as many as any compiler emits.
const MAX_TABLE_ELEMENTS: usize = 10_000_000;

/// Counts, and refuses what is over the limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    /// What the last growth added, to be taken back when the system refuses it after all.
    last: usize,
    refused: Option<Refused>,
}

/// A growth that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// How many bytes there would have been.
    pub(crate) wanted: usize,
    /// How many there may be; `None` when it was the system that refused.
    pub(crate) limit: Option<usize>,
}

impl Limiter {
    /// With a limit in bytes, or without.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self { limit, used: 0, last: 0, refused: None }
    }

    /// From now on. What is there already stays, also when it is more.
    pub(crate) fn set_limit(&mut self, limit: u64) {
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.refused = None;
    }

    /// The last growth that was refused.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.refused
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let added = desired.saturating_sub(current);
        let wanted = self.used.saturating_add(added);
        if wanted > self.limit {
            self.refused = Some(Refused { wanted, limit: Some(self.limit) });
            return false;
        }
        self.used = wanted;
        self.last = added;
        true
    }

    fn take_back(&mut self) {
        self.refused = Some(Refused { wanted: self.used, limit: None });
        self.used -= std::mem::take(&mut self.last);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        // Over its own maximum it fails anyway, and that isn't our limit.
        Ok(maximum.is_none_or(|maximum| desired <= maximum) && self.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if desired > MAX_TABLE_ELEMENTS || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        Ok(self.grow(current * TABLE_ELEMENT, desired * TABLE_ELEMENT))
    }

    fn table_grow_failed(&mut self, _error: Error) -> Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 65_536;

    #[test]
    fn the_limit_is_for_all_memories_together() {
        let mut limiter = Limiter::new(Some(3 * PAGE as u64));
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert!(limiter.memory_growing(0, PAGE, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(PAGE, 2 * PAGE, None).unwrap());
        assert_eq!(limiter.refused(), Some(Refused { wanted: 4 * PAGE, limit: Some(3 * PAGE) }));
    }

    #[test]
    fn tables_count_too() {
        let mut limiter = Limiter::new(Some(PAGE as u64));
        assert!(limiter.table_growing(0, PAGE / 8, None).unwrap());
        assert!(!limiter.memory_growing(0, PAGE, None).unwrap());
        assert!(!Limiter::new(None).table_growing(0, MAX_TABLE_ELEMENTS + 1, None).unwrap());
    }

    #[test]
    fn a_memory_at_its_own_maximum_is_not_over_the_limit() {
        let mut limiter = Limiter::new(Some(10 * PAGE as u64));
        assert!(!limiter.memory_growing(PAGE, 2 * PAGE, Some(PAGE)).unwrap());
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn a_growth_that_the_system_refuses_is_taken_back() {
        let mut limiter = Limiter::new(Some(2 * PAGE as u64));
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        limiter.memory_grow_failed(Error::msg("no")).unwrap();
        assert!(limiter.memory_growing(0, 2 * PAGE, None).unwrap());
        assert_eq!(limiter.refused(), Some(Refused { wanted: 2 * PAGE, limit: None }));
    }
}
