//! A registry in this process whose every answer the test decides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use brig_oci::{Descriptor, Digest, Reference};
use brig_registry::{AuthStore, BlobStream, Client, ClientOptions, Credential, Error};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How many requests for the same method and path came before.
    pub(crate) earlier: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is(&self, method: Method, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// A running server; it ends when it is dropped.
pub(crate) struct Fake {
    pub(crate) host: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// A server on a free port. `/v2/` is answered with 200 unless `answer` knows better (it gives `None` for that).
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let app = axum::Router::new().fallback(move |request: Request<Body>| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let request = note(&log, request).await;
                answer(&request)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { host, seen, task }
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }

    /// What came so far, without the probe for HTTP.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path != "/v2/").cloned().collect()
    }

    pub(crate) fn count(&self, method: Method, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method.clone(), path)).count()
    }
}

async fn note(log: &Mutex<Vec<Seen>>, request: Request<Body>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut log = log.lock().unwrap();
    let path = parts.uri.path().to_owned();
    let earlier = log.iter().filter(|seen: &&Seen| seen.is(parts.method.clone(), &path)).count();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let seen = Seen { method: parts.method, path, query, headers: parts.headers, body, earlier };
    log.push(seen.clone());
    seen
}

/// Options for servers that answer late only because the machine is busy.
pub(crate) fn options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.backoff = Duration::from_millis(2);
    options.idle_timeout = Duration::from_secs(20);
    options.certs_dirs = Vec::new();
    options
}

/// Options for servers that are slow on purpose: few attempts, short waits.
pub(crate) fn impatient() -> ClientOptions {
    let mut options = options();
    options.idle_timeout = Duration::from_millis(500);
    options.connect_timeout = Duration::from_millis(700);
    options.retries = 1;
    options
}

pub(crate) fn client() -> Client {
    Client::new(options())
}

/// A client with a user and a password for one registry.
pub(crate) fn client_for(host: &str, password: &str) -> Client {
    let mut options = options();
    options.auth = AuthStore::empty();
    options.auth.insert(host, Credential::Basic { username: "user".into(), password: password.into() });
    Client::new(options)
}

pub(crate) fn status(status: u16) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

pub(crate) fn ok(body: impl Into<Body>) -> Response<Body> {
    Response::new(body.into())
}

pub(crate) fn with(mut response: Response<Body>, headers: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in headers {
        response.headers_mut().append(*name, value.parse().unwrap());
    }
    response
}

pub(crate) fn error(code: u16, name: &str) -> Response<Body> {
    let text = format!(r#"{{"errors":[{{"code":"{name}","message":"words of the registry"}}]}}"#);
    let mut response = ok(text);
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

pub(crate) fn redirect(to: &str) -> Response<Body> {
    with(status(307), &[("location", to)])
}

/// A body that is written piece by piece, with a pause after each.
pub(crate) fn dripping(
    pieces: impl Iterator<Item = Bytes> + Send + 'static,
    pause: Duration,
) -> Response<Body> {
    let (reader, mut writer) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        for piece in pieces {
            // The client may have had enough.
            if writer.write_all(&piece).await.is_err() {
                return;
            }
            if pause > Duration::ZERO {
                tokio::time::sleep(pause).await;
            }
        }
    });
    ok(Body::from_stream(ReaderStream::new(reader)))
}

/// A body that never ends.
pub(crate) fn endless(pause: Duration, piece: usize) -> Response<Body> {
    dripping(std::iter::repeat_with(move || Bytes::from(vec![b'x'; piece])), pause)
}

pub(crate) fn manifest() -> Bytes {
    let config = Digest::sha256("{}");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[]}}"#
    );
    text.into()
}

pub(crate) fn manifest_answer(digest: &Digest) -> Response<Body> {
    with(ok(manifest()), &[("content-type", MANIFEST_TYPE), ("docker-content-digest", &digest.to_string())])
}

/// Bytes that don't repeat soon.
pub(crate) fn content(length: usize) -> Bytes {
    (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 251).unwrap()).collect::<Vec<_>>().into()
}

pub(crate) fn descriptor(content: &[u8]) -> Descriptor {
    Descriptor::of("application/octet-stream", content)
}

pub(crate) async fn drain(stream: &mut BlobStream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}
