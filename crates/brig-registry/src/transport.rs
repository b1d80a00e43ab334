//! HTTP clients: one for all registries, and one for each that has certificates of its own.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Mutex;

use crate::client::ClientOptions;
use crate::error::{Error, Subject, TransportError};
use crate::verifier::{Pinned, Unverified};
use crate::{endpoint, redact};

/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// How many bytes of one body, and of all bodies of one connection, may be on their way before somebody takes them.
/// HTTP/2's own 64 KiB would make every fast link wait; more would only be memory.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// The most hosts whose client is remembered: redirects name them.
const MAX_HOSTS: usize = 256;

/// What tells two HTTP clients apart. Equal ones share a client, and so its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    verify: bool,
    proxy: bool,
    certificates: Option<PathBuf>,
}

/// The HTTP clients. They are made when they are first used: the system's certificates take milliseconds to read, and
/// plain HTTP needs none.
#[derive(Debug)]
pub(crate) struct Transports {
    options: Arc<ClientOptions>,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    hosts: HashMap<String, reqwest::Client>,
    clients: HashMap<Kind, reqwest::Client>,
}

impl Transports {
    pub(crate) fn new(options: Arc<ClientOptions>) -> Self {
        Self { options, made: Mutex::default() }
    }

    /// The client for a URL's host.
    pub(crate) async fn of(&self, subject: &Subject, url: &Url) -> Result<reqwest::Client, Error> {
        let host = format!("{}://{}", url.scheme(), redact::authority(url));
        let mut made = self.made.lock().await;
        if let Some(client) = made.hosts.get(&host) {
            return Ok(client.clone());
        }
        let client = self.make(&mut made, subject, url).await?;
        if made.hosts.len() >= MAX_HOSTS {
            made.hosts.clear();
        }
        made.hosts.insert(host, client.clone());
        Ok(client)
    }

    async fn make(&self, made: &mut Made, subject: &Subject, url: &Url) -> Result<reqwest::Client, Error> {
        let kind = self.kind(url);
        if let Some(client) = made.clients.get(&kind) {
            return Ok(client.clone());
        }
        let (options, wanted) = (Arc::clone(&self.options), kind.clone());
        // Reads files: not on this thread.
        let built = tokio::task::spawn_blocking(move || build(&options, &wanted)).await;
        let built = built.map_err(|error| setup(subject, &error))?;
        let client = built.map_err(|error| error.for_host(subject))?;
        made.clients.insert(kind, client.clone());
        Ok(client)
    }

    fn kind(&self, url: &Url) -> Kind {
        let host = redact::authority(url);
        let secure = url.scheme() == "https";
        let certificates = secure.then(|| self.certificates(&host)).flatten();
        // Plain HTTP needs no certificates, and making a verifier would read them all.
        let verify = secure && (certificates.is_some() || !endpoint::is_insecure(&self.options, &host));
        Kind { verify, proxy: !endpoint::is_loopback(url), certificates }
    }

    /// The directory with the host's own certificates, as docker and containers keep them.
    pub(crate) fn certificates(&self, host: &str) -> Option<PathBuf> {
        // A URL's host has no slash and a name isn't `..`, so the directory is below its parent.
        self.options.certs_dirs.iter().map(|parent| parent.join(host)).find(|directory| directory.is_dir())
    }
}

/// Why an HTTP client couldn't be made.
enum Setup {
    File(PathBuf, TransportError),
    Tls(TransportError),
}

impl Setup {
    fn file(path: &Path, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::File(path.into(), TransportError::new(error, true))
    }

    fn tls(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Tls(TransportError::new(error, true))
    }

    fn for_host(self, subject: &Subject) -> Error {
        let (reference, host) = (subject.reference.clone(), subject.host.clone());
        match self {
            Self::File(path, source) => Error::Certificate { reference, host, path, source },
            Self::Tls(source) => Error::Tls { reference, host, source },
        }
    }
}

fn setup(subject: &Subject, error: &(dyn std::error::Error + 'static)) -> Error {
    Setup::tls(error).for_host(subject)
}

fn build(options: &ClientOptions, kind: &Kind) -> Result<reqwest::Client, Setup> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(kind)?)
        .user_agent(&options.user_agent)
        // Redirects and referers are brig's own business: see `exchange`.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW);
    if !kind.proxy {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| Setup::tls(&error))
}

/// A TLS configuration that names its crypto provider, so that the process's default stays the host program's choice.
fn tls(kind: &Kind) -> Result<rustls::ClientConfig, Setup> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Setup::tls(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(kind, provider)?);
    let mut config = match client_certificate(kind)? {
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).map_err(|error| Setup::tls(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    kind: &Kind,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::client::danger::ServerCertVerifier>, Setup> {
    if !kind.verify {
        return Ok(Arc::new(Unverified::new(provider)));
    }
    let mut own = Vec::new();
    for path in files(kind, "crt")? {
        own.extend(certificates(&path)?);
    }
    let verifier = Pinned::new(provider, own).map_err(|error| Setup::tls(&error))?;
    Ok(Arc::new(verifier))
}

/// The first `NAME.cert` with its `NAME.key`.
fn client_certificate(
    kind: &Kind,
) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, Setup> {
    let Some(path) = files(kind, "cert")?.into_iter().next() else { return Ok(None) };
    let key = path.with_extension("key");
    let secret = PrivateKeyDer::from_pem_file(&key).map_err(|error| Setup::file(&key, &error))?;
    Ok(Some((certificates(&path)?, secret)))
}

/// The files with an extension in the host's directory, in the order of their names.
fn files(kind: &Kind, extension: &str) -> Result<Vec<PathBuf>, Setup> {
    let Some(directory) = &kind.certificates else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| Setup::file(directory, &error))? {
        let path = entry.map_err(|error| Setup::file(directory, &error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Setup> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| Setup::file(path, &error))
}
