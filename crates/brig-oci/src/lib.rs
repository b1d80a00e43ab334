//! The words of the OCI image and distribution specifications as types: digests, references, platforms, media
//! types, descriptors, manifests, indexes and configs.
//!
//! Pure: no I/O and no async. Everything validates when it is parsed, so that a value of one of these types can be
//! trusted to be well-formed (and a [`Digest`] to be usable as a path component). Documents are views of bytes that
//! are kept as they came: [`Document`] never re-serialises what a registry sent.
//!
//! | module | what | specification |
//! |---|---|---|
//! | [`digest`] | `sha256:…`, `sha512:…`, verifying hashers | image-spec `descriptor.md`, Digests |
//! | [`reference`](mod@reference) | `registry/repository:tag@digest` | docker's normalisation, distribution-spec |
//! | [`platform`] | `linux/amd64`, `wasi/wasm` | image-spec `image-index.md`, `platform` |
//! | [`media_type`] | the exact strings | image-spec `media-types.md`, docker schema 2, wasm artifacts |
//! | [`document`] | manifests, indexes, configs | image-spec `manifest.md`, `image-index.md`, `config.md` |
//! | [`kind`] | Linux or wasm, and why | — |

pub mod digest;
pub mod document;
mod excerpt;
pub mod kind;
pub mod media_type;
pub mod platform;
pub mod reference;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use document::{
    Descriptor, Document, DocumentError, Image, ImageConfig, ImageHealthcheck, Index, MAX_DOCUMENT_SIZE,
    Manifest, RunConfig,
};
pub use kind::{Kind, KindChoice};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
