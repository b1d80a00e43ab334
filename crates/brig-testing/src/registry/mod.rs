//! An OCI distribution registry inside the test's process (distribution-spec v1.1): real HTTP on a loopback port,
//! with a log of what was asked and with faults on demand.

mod answer;
mod auth;
mod body;
mod fault;
mod log;
mod route;
mod serve;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use brig_oci::Digest;
use bytes::Bytes;
use tokio::sync::oneshot;

pub use auth::Auth;
pub use fault::{Fault, Rule};
pub use log::Request;

use state::Contents;

/// A running registry. It stops when it is dropped.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the handlers and the test share.
#[derive(Debug)]
struct Shared {
    /// `127.0.0.1:port`.
    host: String,
    auth: Auth,
    contents: Mutex<Contents>,
    rules: Mutex<Vec<Rule>>,
    log: Mutex<Vec<Request>>,
    tokens: Mutex<auth::Tokens>,
}

impl Registry {
    /// A registry that lets anybody in.
    pub fn start() -> Self {
        Self::with_auth(Auth::Anonymous)
    }

    /// A registry on a free port of 127.0.0.1.
    pub fn with_auth(auth: Auth) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a loopback port");
        listener.set_nonblocking(true).expect("make the listener non-blocking");
        let shared = Arc::new(Shared {
            host: listener.local_addr().expect("the listener's address").to_string(),
            auth,
            contents: Mutex::default(),
            rules: Mutex::default(),
            log: Mutex::default(),
            tokens: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("registry".into())
            .spawn(move || serve::run(listener, served, stopped))
            .expect("start the registry's thread");
        Self { shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// A full reference: `host/name`, where `name` is `repository[:tag][@digest]`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.shared.host)
    }

    /// Puts a blob into a repository.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        self.contents().put_blob(repository, &digest.to_string(), bytes);
        digest
    }

    /// Puts a blob into a repository under a digest that is taken as given, perhaps a lie.
    pub fn put_blob_as(&self, repository: &str, digest: &Digest, bytes: impl Into<Bytes>) {
        self.contents().put_blob(repository, &digest.to_string(), bytes.into());
    }

    /// Puts a manifest or an index into a repository, under a tag if one is given. Nothing is checked.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::sha256(&bytes);
        self.contents().put_manifest(repository, tag, media_type, &digest.to_string(), bytes);
        digest
    }

    /// Lets a tag name another digest, whether there is such a manifest or not.
    pub fn set_tag(&self, repository: &str, tag: &str, digest: &str) {
        self.contents().set_tag(repository, tag, digest);
    }

    /// Replaces a blob's bytes and keeps its name: what a broken or hostile registry has.
    pub fn tamper(&self, digest: &Digest, bytes: impl Into<Bytes>) {
        self.contents().tamper(&digest.to_string(), bytes.into());
    }

    /// Removes a blob from all repositories.
    pub fn forget(&self, digest: &Digest) {
        self.contents().forget(&digest.to_string());
    }

    /// The media type and the bytes of a manifest, by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Bytes)> {
        let contents = self.contents();
        let (_, manifest) = contents.manifest(repository, reference)?;
        Some((manifest.media_type.clone(), manifest.bytes.clone()))
    }

    /// The bytes of a blob.
    pub fn blob(&self, digest: &Digest) -> Option<Bytes> {
        self.contents().blob(&digest.to_string())
    }

    /// The tags of a repository, sorted.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.contents().tags(repository)
    }

    /// Breaks the requests that a rule matches, until it is used up or [`Self::heal`] is called.
    pub fn fault(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// What was asked so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// Empties the log of requests.
    pub fn clear_requests(&self) {
        lock(&self.shared.log).clear();
    }

    /// How many requests had this method and this text in their path.
    pub fn count(&self, method: &str, in_path: &str) -> usize {
        let log = lock(&self.shared.log);
        log.iter().filter(|request| request.method == method && request.path.contains(in_path)).count()
    }

    fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        lock(&self.shared.contents)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only when the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in the registry was seen by the test as a failed request.
            let _ = thread.join();
        }
    }
}

/// A lock that a panicking handler doesn't take from the test.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
