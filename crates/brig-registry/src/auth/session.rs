//! How one registry wants to be asked: its challenge, and the headers that answer it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use tokio::sync::Mutex;

use super::challenge::Challenge;
use super::scope::Scopes;
use super::secret::Secret;
use super::store::{AuthStore, Credential};
use super::token;
use crate::error::{Error, Subject};
use crate::exchange::Wire;

/// How long a header that doesn't expire by itself is kept, so that changed credentials are seen in a long-lived
/// process.
const KEEP: Duration = Duration::from_secs(300);
/// The most headers that are kept for one registry; a host that pulls from very many repositories starts over.
const MAX_HEADERS: usize = 1024;

/// What a client knows about the authentication of one registry. Nothing of it is ever used for another host.
#[derive(Debug, Default)]
pub(crate) struct Session {
    // Held while a token is fetched: many blobs in parallel need one token, not one each.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    headers: HashMap<Scopes, Header>,
}

#[derive(Debug, Clone)]
struct Header {
    value: HeaderValue,
    expires: Instant,
}

/// What a session needs from its surroundings to answer a challenge.
#[derive(Clone, Copy)]
pub(crate) struct Means<'a> {
    pub(crate) wire: &'a Wire,
    pub(crate) auth: &'a AuthStore,
    /// The registry's base URL.
    pub(crate) base: &'a Url,
    pub(crate) registry: &'a str,
    pub(crate) repository: &'a str,
}

impl Session {
    /// Takes note of the challenge in a 401 answer of the registry, and gives the scope that it asks for: that is of
    /// the one request, the rest is the registry's way for all of them.
    pub(crate) async fn learn(
        &self,
        subject: &Subject,
        response: &reqwest::Response,
    ) -> Result<Option<String>, Error> {
        let offered = Challenge::all(response.headers());
        let challenge = choose(subject, offered)?;
        let scope = challenge.parameter("scope").map(str::to_owned);
        self.state.lock().await.challenge = Some(challenge);
        Ok(scope)
    }

    /// Forgets a header that the registry no longer takes.
    pub(crate) async fn forget(&self, scopes: &Scopes, refused: &HeaderValue) {
        let mut state = self.state.lock().await;
        if state.headers.get(scopes).is_some_and(|header| header.value == *refused) {
            state.headers.remove(scopes);
        }
    }

    /// The `Authorization` header for a request; `None` where the registry hasn't asked for one. `challenged` is the
    /// scope that the registry itself asked for.
    pub(crate) async fn header(
        &self,
        subject: &Subject,
        means: Means<'_>,
        scopes: &Scopes,
        challenged: Option<&str>,
    ) -> Result<Option<HeaderValue>, Error> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        if let Some(header) = state.headers.get(scopes).filter(|header| header.expires > now) {
            return Ok(Some(header.value.clone()));
        }
        let Some(challenge) = state.challenge.clone() else { return Ok(None) };
        let header = answer(subject, means, &challenge, scopes, challenged).await?;
        let value = header.value.clone();
        if state.headers.len() >= MAX_HEADERS {
            state.headers.clear();
        }
        state.headers.insert(scopes.clone(), header);
        Ok(Some(value))
    }
}

/// Bearer before Basic: it doesn't show the password to the registry's storage and can be anonymous.
fn choose(subject: &Subject, offered: Vec<Challenge>) -> Result<Challenge, Error> {
    let schemes: Vec<_> = offered.iter().map(|challenge| challenge.scheme.clone()).collect();
    let usable = |challenge: &Challenge| match challenge.scheme.as_str() {
        "bearer" => challenge.parameter("realm").map(|_| 0),
        "basic" => Some(1),
        _ => None,
    };
    let best = offered.into_iter().filter(|challenge| usable(challenge).is_some()).min_by_key(usable);
    best.ok_or_else(|| {
        let schemes = if schemes.is_empty() { "none at all".to_owned() } else { schemes.join(", ") };
        Error::Challenge {
            reference: subject.reference.clone(),
            host: subject.host.clone(),
            schemes: crate::redact::line(&schemes, 100),
        }
    })
}

async fn answer(
    subject: &Subject,
    means: Means<'_>,
    challenge: &Challenge,
    scopes: &Scopes,
    challenged: Option<&str>,
) -> Result<Header, Error> {
    let credential = means.auth.get(means.registry, means.repository).await.map_err(|source| {
        Error::Credentials { reference: subject.reference.clone(), host: subject.host.clone(), source }
    })?;
    let kept = |value| Header { value, expires: Instant::now() + KEEP };
    match (challenge.scheme.as_str(), credential) {
        (_, Some(Credential::RegistryToken(secret))) => bearer(subject, &secret).map(kept),
        ("basic", Some(Credential::Basic { username, password })) => Ok(kept(basic(&username, &password))),
        ("basic", _) => Err(subject.unauthorized(false, String::new())),
        (_, credential) => {
            let mut wanted = scopes.clone();
            wanted.merge(challenged.unwrap_or_default());
            let token =
                token::fetch(means.wire, subject, means.base, challenge, &wanted, credential.as_ref())
                    .await?;
            Ok(Header { value: bearer(subject, &token.secret)?, expires: token.expires })
        }
    }
}

fn bearer(subject: &Subject, secret: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()))
        .map_err(|_| subject.protocol("the token holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The header of Basic authentication (RFC 7617).
pub(super) fn basic(username: &str, password: &Secret) -> HeaderValue {
    let text = STANDARD.encode(format!("{username}:{}", password.expose()));
    // Base64 has nothing that a header can't carry.
    let mut value = HeaderValue::from_str(&format!("Basic {text}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic Og=="));
    value.set_sensitive(true);
    value
}
