//! The one error that this crate's callers meet.

/// Why something that concerns Linux containers can't be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A container can't be had as its spec asks.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// The helper can't be made or started, or has failed.
    #[error(transparent)]
    Helper(#[from] crate::helper::HelperError),
    /// A seccomp policy can't be compiled.
    #[error(transparent)]
    Seccomp(#[from] crate::seccomp::SeccompError),
}
