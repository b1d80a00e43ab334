//! What can go wrong between brig and a registry. Every variant names the reference and the host.

use std::path::PathBuf;
use std::time::Duration;

use brig_oci::{Digest, DocumentError};

use crate::auth::AuthStoreError;

/// A failed exchange with a registry. Text that came from the registry is one bounded line without control characters;
/// URLs are without user information and queries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry doesn't know the repository (`NAME_UNKNOWN`).
    #[error("`{reference}` was not found: registry {host} has no such repository")]
    RepositoryNotFound {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
    },
    /// The repository has no such tag or digest, or the registry doesn't say what is missing.
    #[error("`{reference}` was not found in registry {host}: no such tag or digest")]
    ManifestNotFound {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
    },
    /// The registry lacks a blob that a manifest names.
    #[error("registry {host} has no blob {digest} in the repository of `{reference}`")]
    BlobNotFound {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The blob.
        digest: Digest,
    },
    /// Credentials are needed, or the given ones weren't taken.
    #[error("registry {host} {} `{reference}`{}", if *tried { "did not accept the credentials for" } else { "wants credentials for" }, suffix(message))]
    Unauthorized {
        /// What was asked for.
        reference: String,
        /// The registry's host, or the one of its token service.
        host: String,
        /// Whether there were credentials to try.
        tried: bool,
        /// What the registry says.
        message: String,
    },
    /// The credentials were taken, but aren't enough.
    #[error("registry {host} denies access to `{reference}`{}", suffix(message))]
    Denied {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// What the registry says.
        message: String,
    },
    /// The registry limits how often it may be asked.
    #[error("registry {host} limits requests and refuses `{reference}` for now{}", suffix(message))]
    TooManyRequests {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says.
        message: String,
    },
    /// The registry fails (5xx), after all attempts.
    #[error("registry {host} fails with status {status} for `{reference}`{}", suffix(message))]
    Unavailable {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What the registry says.
        message: String,
    },
    /// The registry refuses the request for a reason of its own.
    #[error("registry {host} refuses `{reference}` with status {status}{}", suffix(message))]
    Refused {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What the registry says.
        message: String,
    },
    /// The answer breaks the distribution specification.
    #[error(
        "registry {host} answers for `{reference}` in a way that the distribution specification does not allow: {problem}"
    )]
    Protocol {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// The content isn't what its digest says.
    #[error("registry {host} sent content for `{reference}` with digest {actual}, expected {expected}")]
    DigestMismatch {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The digest that was asked for or announced.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The content announced isn't of the size that its descriptor says.
    #[error("{digest} of `{reference}` should have {expected} bytes, but registry {host} has {actual}")]
    SizeMismatch {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The content.
        digest: Digest,
        /// The descriptor's size, in bytes.
        expected: u64,
        /// What the registry announces or sent, in bytes.
        actual: u64,
    },
    /// More came than the descriptor allows.
    #[error("registry {host} sends more than the {size} bytes of {digest} of `{reference}`")]
    Overlong {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The content.
        digest: Digest,
        /// The descriptor's size, in bytes.
        size: u64,
    },
    /// The content ended early, after all attempts.
    #[error("{digest} of `{reference}` ended after {received} of {size} bytes from registry {host}")]
    Truncated {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The content.
        digest: Digest,
        /// The descriptor's size, in bytes.
        size: u64,
        /// How much of it there is, in bytes.
        received: u64,
        /// What broke the connection, where it didn't just end.
        #[source]
        source: Option<TransportError>,
    },
    /// A manifest, list or token is larger than brig reads.
    #[error(
        "registry {host} sends more than the {limit} bytes that brig reads of a {what}, for `{reference}`"
    )]
    TooLarge {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// Of what.
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The manifest or index can't be read.
    #[error("registry {host} has a manifest for `{reference}` that can't be used")]
    Document {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// Why.
        #[source]
        source: DocumentError,
    },
    /// A redirect, an upload location or a link leads where brig doesn't go.
    #[error("registry {host} leads from `{reference}` to {location}, where brig does not follow: {problem}")]
    Redirect {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// Where to, without secrets.
        location: String,
        /// Why not.
        problem: &'static str,
    },
    /// The registry's token service isn't one that brig sends credentials to.
    #[error(
        "registry {host} sends brig to {realm} for a token for `{reference}`, which is not allowed: {problem}"
    )]
    Realm {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The token service, without secrets.
        realm: String,
        /// Why not.
        problem: &'static str,
    },
    /// The registry wants an authentication that brig doesn't know.
    #[error("registry {host} wants an authentication for `{reference}` that brig does not know: {schemes}")]
    Challenge {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The schemes offered.
        schemes: String,
    },
    /// The credentials for the registry can't be read.
    #[error("cannot get the credentials of registry {host} for `{reference}`")]
    Credentials {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// Why.
        #[source]
        source: AuthStoreError,
    },
    /// The host can't be reached, or the connection broke, after all attempts.
    #[error("cannot reach {host} for `{reference}`")]
    Network {
        /// What was asked for.
        reference: String,
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// No trusted connection: the certificate isn't valid for the host, or the two share no version of TLS.
    #[error("no secure connection to {host} for `{reference}`")]
    Tls {
        /// What was asked for.
        reference: String,
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// Nothing, or next to nothing, came for too long.
    #[error("{host} did not {doing} for {} seconds, for `{reference}`", after.as_secs_f32())]
    Timeout {
        /// What was asked for.
        reference: String,
        /// The host.
        host: String,
        /// What it should have done.
        doing: &'static str,
        /// How long brig waited.
        after: Duration,
    },
    /// A certificate or key file for the host can't be used.
    #[error("cannot use the certificate file `{}` for {host}", path.display())]
    Certificate {
        /// What was asked for.
        reference: String,
        /// The host.
        host: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TransportError,
    },
    /// The content to push can't be read.
    #[error("cannot read {digest}, which is to be pushed for `{reference}` to registry {host}")]
    Source {
        /// What was asked for.
        reference: String,
        /// The registry's host.
        host: String,
        /// The content.
        digest: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The document to push isn't the one that the reference's digest names.
    #[error("the manifest to push as `{reference}` to registry {host} has digest {actual}")]
    PushedDigest {
        /// Where to.
        reference: String,
        /// The registry's host.
        host: String,
        /// The document's digest.
        actual: Digest,
    },
    /// The registry's name can't be a host.
    #[error("`{host}` of `{reference}` is not the name of a host")]
    Host {
        /// What was asked for.
        reference: String,
        /// The name.
        host: String,
    },
}

/// What broke a connection: the innermost cause, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    message: String,
    connecting: bool,
    speaks_tls: bool,
}

impl TransportError {
    pub(crate) fn new(error: &(dyn std::error::Error + 'static), connecting: bool) -> Self {
        let speaks_tls = tls(error).is_some_and(|error| !matches!(error, rustls::Error::InvalidMessage(_)));
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self { message: crate::redact::line(&innermost.to_string(), 300), connecting, speaks_tls }
    }

    /// Whether TLS failed with somebody who speaks it, rather than with something else on that port.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.speaks_tls
    }

    /// Whether no connection came about at all: a refused port, an unknown host.
    pub fn is_connect(&self) -> bool {
        self.connecting
    }
}

impl Error {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooManyRequests { .. } | Self::Truncated { .. } | Self::Timeout { .. } => true,
            Self::Network { source, .. } => !source.is_connect(),
            Self::Unavailable { status, .. } => matches!(status, 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the registry asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// Who an exchange is about, for errors.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) reference: String,
    pub(crate) host: String,
}

impl Subject {
    pub(crate) fn new(reference: &brig_oci::Reference, host: &str) -> Self {
        Self { reference: reference.to_string(), host: host.to_owned() }
    }

    /// The same, at another host: where a redirect led, or a token service.
    pub(crate) fn at(&self, host: String) -> Self {
        Self { reference: self.reference.clone(), host }
    }

    fn parts(&self) -> (String, String) {
        (self.reference.clone(), self.host.clone())
    }

    pub(crate) fn protocol(&self, problem: impl Into<String>) -> Error {
        let (reference, host) = self.parts();
        Error::Protocol { reference, host, problem: problem.into() }
    }

    pub(crate) fn redirect(&self, location: String, problem: &'static str) -> Error {
        let (reference, host) = self.parts();
        Error::Redirect { reference, host, location, problem }
    }

    pub(crate) fn realm(&self, realm: String, problem: &'static str) -> Error {
        let (reference, host) = self.parts();
        Error::Realm { reference, host, realm, problem }
    }

    pub(crate) fn timeout(&self, doing: &'static str, after: Duration) -> Error {
        let (reference, host) = self.parts();
        Error::Timeout { reference, host, doing, after }
    }

    pub(crate) fn too_large(&self, what: &'static str, limit: u64) -> Error {
        let (reference, host) = self.parts();
        Error::TooLarge { reference, host, what, limit }
    }

    pub(crate) fn unauthorized(&self, tried: bool, message: String) -> Error {
        let (reference, host) = self.parts();
        Error::Unauthorized { reference, host, tried, message }
    }

    pub(crate) fn digest_mismatch(&self, expected: &Digest, actual: Digest) -> Error {
        let (reference, host) = self.parts();
        Error::DigestMismatch { reference, host, expected: expected.clone(), actual }
    }

    pub(crate) fn size_mismatch(&self, descriptor: &brig_oci::Descriptor, actual: u64) -> Error {
        let (reference, host) = self.parts();
        Error::SizeMismatch {
            reference,
            host,
            digest: descriptor.digest.clone(),
            expected: descriptor.size,
            actual,
        }
    }

    /// Sorts a failure of the HTTP client.
    pub(crate) fn transport(&self, error: reqwest::Error, connect_timeout: Duration) -> Error {
        // Its text would carry the URL with its query.
        let error = error.without_url();
        if error.is_timeout() {
            return self.timeout("accept a connection", connect_timeout);
        }
        let (reference, host) = self.parts();
        let source = TransportError::new(&error, error.is_connect());
        if tls(&error).is_some() {
            return Error::Tls { reference, host, source };
        }
        Error::Network { reference, host, source }
    }
}

/// The TLS library's error, if it is what gave up. It travels inside I/O errors, which hide it from `source`.
fn tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let found = error.downcast_ref().or_else(|| inner.and_then(|inner| tls(inner)));
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}
