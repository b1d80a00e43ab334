//! Who one is: credentials, challenges, tokens.

pub(crate) mod challenge;
mod helper;
mod scope;
mod secret;
mod session;
mod store;
pub(crate) mod token;

pub(crate) use scope::Scopes;
pub use secret::Secret;
pub(crate) use session::{Means, Session};
pub use store::{AuthStore, AuthStoreError, Credential};
