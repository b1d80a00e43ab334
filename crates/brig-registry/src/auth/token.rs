//! Tokens from a registry's token service (distribution's token authentication and its OAuth2 variant).

use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::scope::Scopes;
use super::secret::Secret;
use super::session::basic;
use super::store::Credential;
use crate::endpoint::{is_loopback, same_host};
use crate::error::{Error, Subject};
use crate::exchange::Wire;
use crate::{redact, response};

/// The largest answer of a token service that is read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;
/// How long a token holds when the service doesn't say (token specification: 60 seconds), and at most.
const DEFAULT_LIFETIME: u64 = 60;
const MAX_LIFETIME: u64 = 24 * 3600;
/// A token is not used in its last moments, so that it doesn't expire on its way.
const MARGIN: Duration = Duration::from_secs(10);

/// A bearer token, and until when it is used.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) expires: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks the token service that `challenge` names. Redirects are not followed: a token service gets passwords.
pub(super) async fn fetch(
    wire: &Wire,
    subject: &Subject,
    registry: &Url,
    challenge: &Challenge,
    scopes: &Scopes,
    credential: Option<&Credential>,
) -> Result<Token, Error> {
    let realm = realm(subject, registry, challenge)?;
    let subject = subject.at(redact::authority(&realm));
    let request = request(&realm, challenge, scopes, credential);
    let response = wire.once(&subject, request).await?;
    if response.status().is_redirection() {
        return Err(subject.realm(redact::url(&realm), "it redirects, and credentials are not sent on"));
    }
    if response.status() != StatusCode::OK {
        return Err(refused(wire, &subject, response, credential.is_some()).await);
    }
    let body = response::body(wire, &subject, response, MAX_ANSWER, "token").await?;
    // The parser's message could quote the token.
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_| subject.protocol("the token is not valid JSON"))?;
    let text = answer
        .token
        .or(answer.access_token)
        .filter(|text| !text.is_empty())
        .ok_or_else(|| subject.protocol("the token service sends no token"))?;
    let lifetime = answer.expires_in.unwrap_or(DEFAULT_LIFETIME).min(MAX_LIFETIME);
    let lifetime = Duration::from_secs(lifetime).saturating_sub(MARGIN);
    Ok(Token { secret: text.into(), expires: Instant::now() + lifetime })
}

/// Where to ask. Only the registry itself can say, over its own connection, so the service is as trustworthy as that
/// connection; it must not be a weaker one, and plain HTTP must not carry credentials to another host.
pub(crate) fn realm(subject: &Subject, registry: &Url, challenge: &Challenge) -> Result<Url, Error> {
    let text = challenge.parameter("realm").unwrap_or_default();
    let realm = Url::parse(text).map_err(|_| {
        subject.protocol(format!("`{}` is not the URL of a token service", redact::line(text, 100)))
    })?;
    let refuse = |problem| Err(subject.realm(redact::url(&realm), problem));
    if !realm.username().is_empty() || realm.password().is_some() {
        return refuse("it carries a user name");
    }
    if is_loopback(&realm) && !is_loopback(registry) {
        return refuse("it is this machine, and the registry is not");
    }
    match (realm.scheme(), registry.scheme()) {
        ("https", _) => Ok(realm),
        ("http", "https") => refuse("it is plain HTTP, and the registry is not"),
        ("http", _) if same_host(&realm, registry) || (is_loopback(&realm) && is_loopback(registry)) => {
            Ok(realm)
        }
        ("http", _) => refuse("it is plain HTTP on another host"),
        _ => refuse("it is neither HTTPS nor HTTP"),
    }
}

fn request(
    realm: &Url,
    challenge: &Challenge,
    scopes: &Scopes,
    credential: Option<&Credential>,
) -> reqwest::Request {
    let service = challenge.parameter("service");
    if let Some(Credential::Identity(refresh)) = credential {
        return refresh_request(realm, service, scopes, refresh);
    }
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(service.map(|service| ("service", service)));
        query.extend_pairs(scopes.each().map(|scope| ("scope", scope)));
    }
    let mut request = reqwest::Request::new(reqwest::Method::GET, url);
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(Credential::Basic { username, password }) = credential {
        request.headers_mut().insert(AUTHORIZATION, basic(username, password));
    }
    request
}

/// OAuth2's way, for refresh tokens: everything is in the body.
fn refresh_request(
    realm: &Url,
    service: Option<&str>,
    scopes: &Scopes,
    refresh: &Secret,
) -> reqwest::Request {
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "brig")
        .append_pair("service", service.unwrap_or_default())
        .append_pair("scope", &scopes.to_string())
        .append_pair("refresh_token", refresh.expose());
    let mut request = reqwest::Request::new(reqwest::Method::POST, realm.clone());
    let headers = request.headers_mut();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    *request.body_mut() = Some(form.query().unwrap_or_default().to_owned().into());
    request
}

/// A token service that answers with 400 to 403 doesn't take the credentials, whichever it chose.
async fn refused(wire: &Wire, subject: &Subject, response: reqwest::Response, tried: bool) -> Error {
    let status = response.status();
    let error = response::error(wire, subject, response).await;
    match error {
        Error::Refused { message, .. } if status == StatusCode::BAD_REQUEST && tried => {
            subject.unauthorized(true, message)
        }
        Error::Unauthorized { message, .. } => subject.unauthorized(tried, message),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

    fn challenge(realm: &str) -> Challenge {
        let mut headers = HeaderMap::new();
        let value = format!(r#"Bearer realm="{realm}",service="s p""#);
        headers.insert(WWW_AUTHENTICATE, value.parse().unwrap());
        Challenge::all(&headers).remove(0)
    }

    fn allowed(registry: &str, realm_text: &str) -> bool {
        let subject = Subject { reference: "r".into(), host: "h".into() };
        realm(&subject, &Url::parse(registry).unwrap(), &challenge(realm_text)).is_ok()
    }

    #[test]
    fn a_realm_is_never_weaker_than_the_registry() {
        assert!(allowed("https://registry-1.docker.example/", "https://auth.docker.example/token"));
        assert!(allowed("http://registry.example:5000/", "https://auth.example/token"));
        assert!(allowed("http://registry.example:5000/", "http://registry.example:5001/token"));
        assert!(allowed("http://127.0.0.1:5000/", "http://localhost:5001/token"));
        assert!(!allowed("https://registry.example/", "http://registry.example/token"));
        assert!(!allowed("http://registry.example/", "http://evil.example/token"));
        assert!(!allowed("http://127.0.0.1:5000/", "http://evil.example/token"));
        assert!(!allowed("https://registry.example/", "https://user:pass@auth.example/token"));
        assert!(!allowed("https://registry.example/", "https://localhost/token"));
        assert!(!allowed("https://registry.example/", "file:///etc/passwd"));
        assert!(!allowed("https://registry.example/", "/token"));
    }

    #[test]
    fn a_password_gets_a_token_by_get_and_a_refresh_token_by_post() {
        let challenge = challenge("https://auth.example/token?account=x");
        let realm = Url::parse(challenge.parameter("realm").unwrap()).unwrap();
        let basic = Credential::Basic { username: "u".into(), password: "p".into() };
        let get = request(&realm, &challenge, &Scopes::pull("a/b"), Some(&basic));
        assert_eq!(
            get.url().as_str(),
            "https://auth.example/token?account=x&service=s+p&scope=repository%3Aa%2Fb%3Apull"
        );
        assert_eq!(get.headers()[AUTHORIZATION], "Basic dTpw");
        assert!(get.headers()[AUTHORIZATION].is_sensitive());
        let post = request(&realm, &challenge, &Scopes::pull("a"), Some(&Credential::Identity("t&".into())));
        let body = post.body().and_then(reqwest::Body::as_bytes).unwrap();
        assert_eq!(
            std::str::from_utf8(body).unwrap(),
            "grant_type=refresh_token&client_id=brig&service=s+p&scope=repository%3Aa%3Apull&refresh_token=t%26"
        );
        assert!(!post.headers().contains_key(AUTHORIZATION));
    }
}
