//! Blobs on their way to a registry (distribution-spec, "Pushing blobs"): mounted, in one piece, or in chunks.

use brig_oci::{Descriptor, Reference};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use reqwest::{Method, Response, StatusCode, Url};
use tokio_util::io::ReaderStream;

use crate::auth::Scopes;
use crate::client::Client;
use crate::error::Error;
use crate::exchange::{Call, Exchange};
use crate::response::announced;
use crate::retry::Retry;
use crate::source::{BlobSource, Metered, Progress};

/// The smallest chunk that a registry takes.
const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The size of chunks, in bytes, where the registry refused a blob in one piece: below what proxies let through.
const FALLBACK_CHUNK: u64 = 16 * 1024 * 1024;
/// The largest chunk that a registry may insist on, in bytes.
const MAX_CHUNK: u64 = 1024 * 1024 * 1024;
/// How much is read at a time, in bytes.
const READ_SIZE: usize = 128 * 1024;
/// How often an upload is looked after.
const TICK: std::time::Duration = std::time::Duration::from_millis(250);

/// An upload that the registry has begun.
struct Upload {
    location: Url,
    min_chunk: u64,
}

/// What became of a blob sent in one piece.
enum Sent {
    Stored,
    /// 413: the registry, or a proxy before it, takes smaller pieces only.
    TooLarge,
}

impl Client {
    /// Whether the repository of `reference` has a blob.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] where it has another size, and what keeps brig from asking.
    pub async fn has_blob(&self, reference: &Reference, descriptor: &Descriptor) -> Result<bool, Error> {
        let exchange = self.exchange(reference);
        let url = exchange.url(&format!("blobs/{}", descriptor.digest)).await?;
        // With the scope of the push that this is a part of: one token serves both.
        let call = Call::new(Method::HEAD, url, Scopes::push(&exchange.repository));
        let response = exchange.fetch(&call, &[StatusCode::OK, StatusCode::NOT_FOUND]).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        match header(response.headers(), &CONTENT_LENGTH).and_then(|text| text.parse().ok()) {
            Some(size) if size != descriptor.size => Err(exchange.subject.size_mismatch(descriptor, size)),
            _ => Ok(true),
        }
    }

    /// Makes a blob of the repository of `from` one of the repository of `reference` too, without sending it. `false`
    /// where the registry doesn't, or the two are of different registries: then the blob has to be pushed.
    ///
    /// # Errors
    /// Any of [`Error`] that concerns writing.
    pub async fn mount_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        from: &Reference,
    ) -> Result<bool, Error> {
        if reference.registry() != from.registry() {
            return Ok(false);
        }
        let exchange = self.exchange(reference);
        let mut url = exchange.url("blobs/uploads/").await?;
        url.query_pairs_mut()
            .append_pair("mount", &descriptor.digest.to_string())
            .append_pair("from", from.repository());
        let scopes = Scopes::mount(reference.repository(), from.repository());
        let call = Call::new(Method::POST, url, scopes).header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = exchange.fetch(&call, &[StatusCode::CREATED, StatusCode::ACCEPTED]).await?;
        if response.status() == StatusCode::CREATED {
            exchange.check_digest(descriptor, response.headers())?;
            return Ok(true);
        }
        exchange.cancel(&call, &response).await;
        Ok(false)
    }

    /// Stores a blob in the repository of `reference`. Its content is read from `source`, once for each attempt.
    ///
    /// # Errors
    /// [`Error::Source`] where the content can't be read or is shorter than its descriptor says, and any that concerns
    /// writing.
    pub async fn push_blob<S: BlobSource>(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: &S,
    ) -> Result<(), Error> {
        let push = Push { exchange: self.exchange(reference), descriptor, source };
        let options = push.exchange.wire.options();
        let mut chunk = options.chunk_size.filter(|size| descriptor.size > *size);
        let mut retry = Retry::new(options);
        let mut fresh_token = false;
        loop {
            let error = match push.attempt(chunk).await {
                Ok(Sent::Stored) => return Ok(()),
                Ok(Sent::TooLarge) => {
                    chunk = Some(FALLBACK_CHUNK);
                    continue;
                }
                Err(error) => error,
            };
            // A token that ran out under way was forgotten, so the next attempt begins with another one.
            if matches!(error, Error::Unauthorized { .. }) && !fresh_token {
                fresh_token = true;
                continue;
            }
            retry.pause(error, &push.exchange.endpoint).await?;
        }
    }
}

struct Push<'a, S> {
    exchange: Exchange,
    descriptor: &'a Descriptor,
    source: &'a S,
}

impl<S: BlobSource> Push<'_, S> {
    async fn attempt(&self, chunk: Option<u64>) -> Result<Sent, Error> {
        let upload = self.begin().await?;
        match chunk {
            Some(size) => self.in_chunks(upload, size).await.map(|()| Sent::Stored),
            None => self.in_one_piece(upload).await,
        }
    }

    fn scopes(&self) -> Scopes {
        Scopes::push(&self.exchange.repository)
    }

    async fn begin(&self) -> Result<Upload, Error> {
        let url = self.exchange.url("blobs/uploads/").await?;
        let call =
            Call::new(Method::POST, url, self.scopes()).header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.exchange.fetch(&call, &[StatusCode::ACCEPTED]).await?;
        let location = self.exchange.location(&call.url, &response)?;
        let min_chunk =
            header(response.headers(), &CHUNK_MIN_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
        Ok(Upload { location, min_chunk })
    }

    async fn in_one_piece(&self, upload: Upload) -> Result<Sent, Error> {
        let call = Call::new(Method::PUT, self.closing(&upload.location), self.scopes());
        let response = self.stream(&call, 0, self.descriptor.size).await?;
        match response.status() {
            StatusCode::CREATED => {
                self.exchange.check_digest(self.descriptor, response.headers())?;
                Ok(Sent::Stored)
            }
            StatusCode::PAYLOAD_TOO_LARGE if self.descriptor.size > FALLBACK_CHUNK => Ok(Sent::TooLarge),
            _ => Err(self.exchange.failure(response).await),
        }
    }

    async fn in_chunks(&self, mut upload: Upload, wanted: u64) -> Result<(), Error> {
        if upload.min_chunk > MAX_CHUNK {
            return Err(self.exchange.subject.protocol(format!(
                "it takes chunks of at least {} bytes only, which brig doesn't send",
                upload.min_chunk
            )));
        }
        let size = wanted.max(upload.min_chunk).max(1);
        let mut retry = Retry::new(self.exchange.wire.options());
        let mut offset = 0;
        while offset < self.descriptor.size {
            let before = offset;
            offset = match self.chunk(&mut upload, offset, size).await {
                Ok(next) => next,
                Err(error) => {
                    retry.pause(error, &self.exchange.endpoint).await?;
                    self.status(&mut upload).await?
                }
            };
            retry.progress(offset.saturating_sub(before));
        }
        let call = Call::new(Method::PUT, self.closing(&upload.location), self.scopes())
            .header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.exchange.fetch(&call, &[StatusCode::CREATED]).await?;
        self.exchange.check_digest(self.descriptor, response.headers())
    }

    /// Sends one chunk and gives the offset of the next.
    async fn chunk(&self, upload: &mut Upload, offset: u64, size: u64) -> Result<u64, Error> {
        let end = offset.saturating_add(size).min(self.descriptor.size);
        let range = HeaderValue::from_str(&format!("{offset}-{}", end - 1));
        let mut call = Call::new(Method::PATCH, upload.location.clone(), self.scopes());
        call.headers.extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        let response = self.stream(&call, offset, end - offset).await?;
        match response.status() {
            StatusCode::ACCEPTED => {
                upload.location = self.exchange.location(&upload.location, &response)?;
                self.stored(&response, offset, end)
            }
            // The registry has other bytes than brig thinks.
            StatusCode::RANGE_NOT_SATISFIABLE => match self.status(upload).await? {
                next if next == offset => Err(self.exchange.failure(response).await),
                next => Ok(next),
            },
            _ => Err(self.exchange.failure(response).await),
        }
    }

    /// Asks how much the registry has.
    async fn status(&self, upload: &mut Upload) -> Result<u64, Error> {
        let call = Call::new(Method::GET, upload.location.clone(), self.scopes());
        let response = self.exchange.fetch(&call, &[StatusCode::NO_CONTENT]).await?;
        if response.headers().contains_key(reqwest::header::LOCATION) {
            upload.location = self.exchange.location(&upload.location, &response)?;
        }
        self.stored(&response, 0, 0)
    }

    /// How much the registry has by `Range: 0-<last>`; `otherwise` where it doesn't say.
    fn stored(&self, response: &Response, from: u64, otherwise: u64) -> Result<u64, Error> {
        let Some(text) = header(response.headers(), &RANGE) else { return Ok(otherwise) };
        let last =
            text.trim_start_matches("bytes=").strip_prefix("0-").and_then(|last| last.parse::<u64>().ok());
        let known = |next: u64| next <= self.descriptor.size && (otherwise == 0 || next > from);
        match last.map(|last| last.saturating_add(1)).filter(|next| known(*next)) {
            // An empty upload is `0-0` as well: a registry can't say it otherwise.
            Some(1) if otherwise == 0 => Ok(0),
            Some(next) => Ok(next),
            None => {
                Err(self.exchange.subject.protocol("the range that it says to have is not one that was sent"))
            }
        }
    }

    /// The URL that ends an upload.
    fn closing(&self, location: &Url) -> Url {
        let mut url = location.clone();
        url.query_pairs_mut().append_pair("digest", &self.descriptor.digest.to_string());
        url
    }

    /// Sends a part of the content as the body of a request.
    async fn stream(&self, call: &Call, offset: u64, length: u64) -> Result<Response, Error> {
        let reader = self.source.open(offset).await.map_err(|source| self.unreadable(source))?;
        let (metered, progress) = Metered::new(reader, length);
        let header = self.exchange.authorization(call, &call.url).await?;
        let mut request = call.request(call.url.clone(), header.as_ref());
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(metered, READ_SIZE));
        *request.body_mut() = Some(body);
        let sent = self.watched(request, &progress).await;
        if let Some(source) = progress.failure() {
            return Err(self.unreadable(source));
        }
        let response = sent?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(refused) = &header
        {
            self.exchange.session().forget(&call.scopes, refused).await;
        }
        Ok(response)
    }

    /// Waits for the answer for as long as the upload moves.
    async fn watched(&self, request: reqwest::Request, progress: &Progress) -> Result<Response, Error> {
        let (wire, subject) = (&self.exchange.wire, &self.exchange.subject);
        let (idle, commit) = (wire.options().idle_timeout, wire.options().commit_timeout);
        let mut sending = std::pin::pin!(wire.send(subject, request));
        loop {
            tokio::select! {
                answer = &mut sending => return answer,
                () = tokio::time::sleep(TICK) => {}
            }
            match progress.idle() {
                (still, true) if still > commit => return Err(subject.timeout("confirm the upload", commit)),
                (still, false) if still > idle => {
                    return Err(subject.timeout("take more of the upload", idle));
                }
                _ => {}
            }
        }
    }

    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::Source {
            reference: self.exchange.subject.reference.clone(),
            host: self.exchange.subject.host.clone(),
            digest: self.descriptor.digest.clone(),
            source,
        }
    }
}

impl Exchange {
    /// Compares what the registry says that it stored with what was sent.
    fn check_digest(&self, descriptor: &Descriptor, headers: &HeaderMap) -> Result<(), Error> {
        match announced(&self.subject, headers)? {
            Some(actual)
                if actual.algorithm() == descriptor.digest.algorithm() && actual != descriptor.digest =>
            {
                Err(self.subject.digest_mismatch(&descriptor.digest, actual))
            }
            _ => Ok(()),
        }
    }

    /// Ends an upload that a refused mount began.
    async fn cancel(&self, call: &Call, response: &Response) {
        if let Ok(location) = self.location(&call.url, response) {
            let call = Call::new(Method::DELETE, location, call.scopes.clone());
            // A courtesy: registries forget such uploads by themselves.
            let _ = self.send(&call).await;
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
