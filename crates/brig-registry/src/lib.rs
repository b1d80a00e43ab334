//! A client for registries that speak the OCI distribution specification: pull and push, authentication, bounded and
//! verified answers.
//!
//! ```text
//! Client ─ resolve / head / manifest ─▶ Document, Descriptor     bounded, digest verified
//!        ─ blob ─▶ BlobStream ─▶ bytes                           counted against the descriptor, resumed
//!        ─ has_blob / mount_blob / push_blob / push_manifest     streamed from a BlobSource
//!        ─ tags / referrers                                      bounded paging
//! ```
//!
//! The crate knows no store: what a stream yields is for the caller to hash and write. Nothing here is global: the TLS
//! provider belongs to the client, and files and the environment are read where a function says so
//! ([`AuthStore::from_environment`]; certificates when a host is first spoken to). All futures may be dropped at any
//! await.
//!
//! What is never done, whatever a registry says (`docs/registry.md` has the rules):
//! - send credentials to another origin than the one they are for, or answer a challenge from one;
//! - step down from HTTPS to HTTP;
//! - read more of a body than its bound, or wait for ever for it;
//! - show a secret in an error or a debug text.
//!
//! | module | what |
//! |---|---|
//! | `client` | options, one endpoint per registry |
//! | `endpoint` | where a registry is, HTTPS or HTTP, what counts as the same origin |
//! | `exchange` | one request: challenge, redirects, time limits |
//! | `auth` | credentials, helpers, challenges, scopes, tokens |
//! | `retry` | second attempts |
//! | `manifest`, `blob`, `push`, `list` | the operations |
//! | `transport`, `verifier` | HTTP clients and TLS |

mod auth;
mod blob;
mod client;
mod endpoint;
mod error;
mod exchange;
#[cfg(brig_fuzzing)]
pub mod fuzzing;
mod list;
mod manifest;
mod push;
mod redact;
mod response;
mod retry;
mod source;
mod transport;
mod verifier;

pub use auth::{AuthStore, AuthStoreError, Credential, Secret};
pub use blob::BlobStream;
pub use client::{Client, ClientOptions};
pub use error::{Error, TransportError};
pub use source::BlobSource;
