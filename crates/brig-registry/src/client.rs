//! The client: options, and one endpoint per registry.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brig_oci::Reference;

use crate::auth::AuthStore;
use crate::endpoint::Endpoint;
use crate::error::Subject;
use crate::exchange::{Exchange, Wire};

/// How a [`Client`] behaves. Made with `default` and changed field by field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The credentials; none by default.
    pub auth: AuthStore,
    /// Registries, `host` or `host:port`, whose certificate isn't verified and that may be spoken to over plain HTTP
    /// where they don't answer over TLS.
    pub insecure_registries: Vec<String>,
    /// Whether registries on this machine (`localhost`, 127.0.0.0/8, ::1) are insecure ones too; true by default. One
    /// with certificates of its own in `certs_dirs` is verified all the same where it answers over TLS.
    pub insecure_loopback: bool,
    /// Directories that hold a directory per registry, `host` or `host:port`, with certificates: `*.crt` are additional
    /// authorities, `NAME.cert` with `NAME.key` is the client's own. `/etc/containers/certs.d` and
    /// `/etc/docker/certs.d` by default.
    pub certs_dirs: Vec<PathBuf>,
    /// What the client calls itself: `brig/<version>`.
    pub user_agent: String,
    /// How long a connection may take to come about, TLS included; 10 s by default.
    pub connect_timeout: Duration,
    /// How long an answer may take to begin, and then to bring another KiB; 30 s by default. There is no limit on the
    /// whole.
    pub idle_timeout: Duration,
    /// How long a registry may take to answer when it has all of a blob; 5 minutes by default, since some compute its
    /// digest or copy it then.
    pub commit_timeout: Duration,
    /// How often a request is sent again after a failure that may pass by itself; 4 by default. A MiB of a blob wipes
    /// the slate clean.
    pub retries: u32,
    /// The pause before the first of them; it doubles from one to the next. 250 ms by default.
    pub backoff: Duration,
    /// The longest `Retry-After` that is waited for; 60 s by default. A longer one ends the request.
    pub max_retry_wait: Duration,
    /// Push blobs that are larger than this many bytes in chunks of this size. By default blobs are pushed in one
    /// piece, and in chunks only where the registry refuses that as too large.
    pub chunk_size: Option<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            auth: AuthStore::empty(),
            insecure_registries: Vec::new(),
            insecure_loopback: true,
            certs_dirs: vec!["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()],
            user_agent: concat!("brig/", env!("CARGO_PKG_VERSION")).into(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            commit_timeout: Duration::from_secs(300),
            retries: 4,
            backoff: Duration::from_millis(250),
            max_retry_wait: Duration::from_secs(60),
            chunk_size: None,
        }
    }
}

/// A distribution client for any number of registries. Clones share connections, tokens and what is known about each
/// registry; making one opens nothing and reads nothing.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wire: Arc<Wire>,
    options: Arc<ClientOptions>,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
}

impl Client {
    /// A client.
    pub fn new(options: ClientOptions) -> Self {
        let options = Arc::new(options);
        let wire = Arc::new(Wire::new(Arc::clone(&options)));
        Self { shared: Arc::new(Shared { wire, options, endpoints: Mutex::default() }) }
    }

    pub(crate) fn exchange(&self, reference: &Reference) -> Exchange {
        let endpoint = self.endpoint(reference.registry());
        let subject = Subject::new(reference, endpoint.host());
        let repository = reference.repository().to_owned();
        Exchange { wire: Arc::clone(&self.shared.wire), endpoint, subject, repository }
    }

    fn endpoint(&self, registry: &str) -> Arc<Endpoint> {
        // The map is whole at any time, so a panic elsewhere in the holder's thread doesn't matter.
        let mut endpoints = self.shared.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let made = endpoints
            .entry(registry.to_owned())
            .or_insert_with(|| Arc::new(Endpoint::new(registry, &self.shared.options)));
        Arc::clone(made)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(ClientOptions::default())
    }
}
