//! Doors for `tests/fuzz`, which calls what reads a registry's words directly: through a client, a challenge could lead
//! the fuzzer to other hosts. Not in an ordinary build.

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};

use crate::auth::challenge::Challenge;
use crate::auth::token;
use crate::blob::Range;
use crate::endpoint::follow;
use crate::error::{Error, Subject};
use crate::list::next_link;
use crate::redact;
use crate::response::{self, Report};

fn subject() -> Subject {
    Subject { reference: "registry.example/a:b".into(), host: "registry.example".into() }
}

/// Reads challenges; gives the schemes with the token services that would be asked from `registry`.
pub fn challenges(header: &[u8], registry: &Url) -> Vec<(String, Result<Url, Error>)> {
    let Ok(value) = HeaderValue::from_bytes(header) else { return Vec::new() };
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]);
    let of = |challenge: Challenge| {
        let realm = token::realm(&subject(), registry, &challenge);
        (challenge.scheme, realm)
    };
    Challenge::all(&headers).into_iter().map(of).collect()
}

/// The error that an unsuccessful answer stands for.
pub fn failure(status: u16, body: &[u8]) -> Option<Error> {
    let status = StatusCode::from_u16(status).ok()?;
    Some(response::sort(&subject(), status, None, &Report::parse(body)))
}

/// Where `location` leads from `from`.
pub fn redirect(from: &Url, location: &str) -> Result<Url, Error> {
    follow(&subject(), from, location)
}

/// The next page that `Link` names.
pub fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(next_link)
}

/// Whether it is a `Content-Range`.
pub fn content_range(header: &str) -> bool {
    Range::parse(header).is_some()
}

/// Remote text as one line.
pub fn line(text: &str, limit: usize) -> String {
    redact::line(text, limit)
}
