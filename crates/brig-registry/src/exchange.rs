//! One request and its answer: authentication, redirects, time limits.
//!
//! Credentials are bound to an origin (scheme, host and port). A request that a redirect leads to another origin goes
//! there without `Authorization` (CVE-2020-15157), and a challenge from there is not answered. Redirects are followed
//! for requests without a body only.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode, Url};

use crate::auth::{AuthStore, Means, Scopes, Session};
use crate::client::ClientOptions;
use crate::endpoint::{Endpoint, follow, same_origin};
use crate::error::{Error, Subject};
use crate::retry::Retry;
use crate::transport::Transports;
use crate::{redact, response};

/// The most redirects that are followed for one request.
const MAX_REDIRECTS: usize = 5;

/// Sends requests as they are: no credentials of its own, no redirects, no second attempt.
#[derive(Debug)]
pub(crate) struct Wire {
    transports: Transports,
    options: Arc<ClientOptions>,
}

impl Wire {
    pub(crate) fn new(options: Arc<ClientOptions>) -> Self {
        Self { transports: Transports::new(Arc::clone(&options)), options }
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        self.options.idle_timeout
    }

    /// Sends a request with a short body or none; its answer must begin within the idle timeout, or where it stores
    /// something, within the commit timeout.
    pub(crate) async fn once(&self, subject: &Subject, request: Request) -> Result<Response, Error> {
        let limit = match *request.method() {
            Method::PUT => self.options.connect_timeout + self.options.commit_timeout,
            _ => self.options.connect_timeout + self.options.idle_timeout,
        };
        match tokio::time::timeout(limit, self.send(subject, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(subject.timeout("answer", limit)),
        }
    }

    /// Sends a request with no limit on the time that its body takes.
    pub(crate) async fn send(&self, subject: &Subject, mut request: Request) -> Result<Response, Error> {
        // Digests are of the bytes as they are.
        request.headers_mut().entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        let client = self.transports.of(subject, request.url()).await?;
        client.execute(request).await.map_err(|error| self.failed(subject, error))
    }

    /// Whether a host has certificates of its own.
    pub(crate) fn has_certificates(&self, host: &str) -> bool {
        self.transports.certificates(host).is_some()
    }

    pub(crate) fn failed(&self, subject: &Subject, error: reqwest::Error) -> Error {
        subject.transport(error, self.options.connect_timeout)
    }
}

/// A request to a registry, without what authentication adds.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) scopes: Scopes,
    /// A short body that may be sent again; streams are the business of `upload`.
    pub(crate) body: Option<bytes::Bytes>,
}

impl Call {
    pub(crate) fn new(method: Method, url: Url, scopes: Scopes) -> Self {
        Self { method, url, headers: HeaderMap::new(), scopes, body: None }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: reqwest::header::HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn request(&self, url: Url, authorization: Option<&HeaderValue>) -> Request {
        let mut request = Request::new(self.method.clone(), url);
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = self.body.clone().map(Into::into);
        if let Some(value) = authorization {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        request
    }
}

/// Everything that an exchange with one repository of one registry needs.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) wire: Arc<Wire>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) subject: Subject,
    pub(crate) repository: String,
}

impl Exchange {
    /// The registry's base URL.
    pub(crate) async fn base(&self) -> Result<&Url, Error> {
        self.endpoint.base(&self.wire, &self.subject).await
    }

    /// A URL of the repository: `/v2/<name>/<path>`.
    pub(crate) async fn url(&self, path: &str) -> Result<Url, Error> {
        let full = format!("v2/{}/{path}", self.repository);
        let joined = self.base().await?.join(&full);
        joined.map_err(|_| self.subject.protocol("its address is not a base URL"))
    }

    /// Sends a request without a body: answers a challenge, follows redirects. The answer may be of any other status.
    pub(crate) async fn send(&self, call: &Call) -> Result<Response, Error> {
        let answer = self.authorized(call).await?;
        self.redirected(call, answer).await
    }

    /// Sends a request without a body until its answer has one of the wanted statuses, or fails for good.
    pub(crate) async fn fetch(&self, call: &Call, wanted: &[StatusCode]) -> Result<Response, Error> {
        let mut retry = Retry::new(self.wire.options());
        loop {
            match self.attempt(call, wanted).await {
                Ok(response) => return Ok(response),
                Err(error) => retry.pause(error, &self.endpoint).await?,
            }
        }
    }

    /// Fetches a whole document of at most `limit` bytes.
    pub(crate) async fn document(
        &self,
        call: &Call,
        limit: u64,
        what: &'static str,
    ) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut retry = Retry::new(self.wire.options());
        loop {
            match self.read(call, limit, what).await {
                Ok(document) => return Ok(document),
                Err(error) => retry.pause(error, &self.endpoint).await?,
            }
        }
    }

    async fn read(&self, call: &Call, limit: u64, what: &'static str) -> Result<(HeaderMap, Vec<u8>), Error> {
        let mut response = self.attempt(call, &[StatusCode::OK]).await?;
        let headers = std::mem::take(response.headers_mut());
        response::plain(&self.subject, &headers)?;
        let body = response::body(&self.wire, &self.subject, response, limit, what).await?;
        Ok((headers, body))
    }

    /// One attempt, whose answer has one of the wanted statuses.
    pub(crate) async fn attempt(&self, call: &Call, wanted: &[StatusCode]) -> Result<Response, Error> {
        let response = self.send(call).await?;
        if wanted.contains(&response.status()) {
            return Ok(response);
        }
        Err(self.failure(response).await)
    }

    /// The error that an answer of an unwanted status stands for.
    pub(crate) async fn failure(&self, response: Response) -> Error {
        match response::error(&self.wire, &self.subject, response).await {
            Error::Unauthorized { message, .. } => {
                let known = self.wire.options().auth.get(self.endpoint.registry(), &self.repository).await;
                // What kept credentials from being found was an error of the request already.
                self.subject.unauthorized(matches!(known, Ok(Some(_))), message)
            }
            other => other,
        }
    }

    async fn authorized(&self, call: &Call) -> Result<Response, Error> {
        let header = self.authorization(call, &call.url).await?;
        let response = self.to_registry(call.request(call.url.clone(), header.as_ref())).await?;
        let challenged = response.headers().contains_key(WWW_AUTHENTICATE);
        if response.status() != StatusCode::UNAUTHORIZED || !challenged || !self.is_home(&call.url).await? {
            return Ok(response);
        }
        // Nothing was sent before the registry asked, or what was sent has run out: once more with something fresh.
        if let Some(refused) = &header {
            self.endpoint.session.forget(&call.scopes, refused).await;
        }
        let scope = self.endpoint.session.learn(&self.subject, &response).await?;
        let fresh = self.header(call, scope.as_deref()).await?;
        if fresh.is_some() && fresh == header {
            return Ok(response);
        }
        self.to_registry(call.request(call.url.clone(), fresh.as_ref())).await
    }

    async fn to_registry(&self, request: Request) -> Result<Response, Error> {
        let response = self.wire.once(&self.subject, request).await?;
        self.endpoint.note_answer();
        Ok(response)
    }

    async fn redirected(&self, call: &Call, mut response: Response) -> Result<Response, Error> {
        let mut from = call.url.clone();
        // A way back home through somebody else's host is that host's choice, so it stays without credentials.
        let mut home = self.is_home(&from).await?;
        for _ in 0..MAX_REDIRECTS {
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let to = self.location(&from, &response)?;
            if !matches!(call.method, Method::GET | Method::HEAD) {
                return Err(self
                    .subject
                    .redirect(redact::url(&to), "only what is read may be somewhere else"));
            }
            home = home && self.is_home(&to).await?;
            let header = if home { self.authorization(call, &to).await? } else { None };
            let subject = self.subject.at(redact::authority(&to));
            response = self.wire.once(&subject, call.request(to.clone(), header.as_ref())).await?;
            from = to;
        }
        if !is_redirect(response.status()) {
            return Ok(response);
        }
        Err(self.subject.redirect(redact::url(&from), "there are too many redirects"))
    }

    /// Where an answer leads.
    pub(crate) fn location(&self, from: &Url, response: &Response) -> Result<Url, Error> {
        let location =
            response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(|| {
                self.subject.protocol(format!("status {} without a Location", response.status().as_u16()))
            })?;
        follow(&self.subject, from, location)
    }

    /// The header for a call, where it goes to the registry itself.
    pub(crate) async fn authorization(&self, call: &Call, url: &Url) -> Result<Option<HeaderValue>, Error> {
        if !self.is_home(url).await? {
            return Ok(None);
        }
        self.header(call, None).await
    }

    async fn header(&self, call: &Call, challenged: Option<&str>) -> Result<Option<HeaderValue>, Error> {
        self.session().header(&self.subject, self.means().await?, &call.scopes, challenged).await
    }

    pub(crate) fn session(&self) -> &Session {
        &self.endpoint.session
    }

    async fn means(&self) -> Result<Means<'_>, Error> {
        let auth: &AuthStore = &self.wire.options().auth;
        Ok(Means {
            wire: &self.wire,
            auth,
            base: self.base().await?,
            registry: self.endpoint.registry(),
            repository: &self.repository,
        })
    }

    /// Whether a URL is of the origin that the registry's credentials are for.
    pub(crate) async fn is_home(&self, url: &Url) -> Result<bool, Error> {
        Ok(same_origin(url, self.base().await?))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
