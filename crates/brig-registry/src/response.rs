//! Answers: bodies read with a bound in size and time, and statuses turned into errors.

use std::time::Duration;

use brig_oci::Digest;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tokio::time::Instant;

use crate::error::{Error, Subject};
use crate::exchange::Wire;
use crate::redact;

/// The largest error document that is read, in bytes.
const MAX_ERROR: u64 = 64 * 1024;
/// How long to wait for the rest of an error document: what it says is only for the message.
const ERROR_WAIT: Duration = Duration::from_secs(5);
/// The longest text of a registry in a message, in characters.
const MAX_MESSAGE: usize = 300;
/// What a registry says that the digest of its content is.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// What must come within the idle timeout, in bytes, for a connection to count as alive: one byte now and then would
/// hold it open for ever.
const MIN_PROGRESS: usize = 1024;

/// Watches that an answer keeps coming. Only the time spent waiting for it counts, not the caller's own.
#[derive(Debug)]
pub(crate) struct Pace {
    waited: Duration,
    received: usize,
    limit: Duration,
}

impl Pace {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { waited: Duration::ZERO, received: 0, limit }
    }

    /// The next piece of a body, `None` at its end. Dropping the future loses nothing.
    pub(crate) async fn chunk(
        &mut self,
        wire: &Wire,
        subject: &Subject,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, Error> {
        let start = Instant::now();
        let read = tokio::time::timeout(self.limit.saturating_sub(self.waited), response.chunk()).await;
        self.waited += start.elapsed();
        let chunk = read
            .map_err(|_| subject.timeout("send the rest of its answer", self.limit))?
            .map_err(|error| wire.failed(subject, error))?;
        self.received = self.received.saturating_add(chunk.as_ref().map_or(0, bytes::Bytes::len));
        if self.received >= MIN_PROGRESS {
            *self = Self::new(self.limit);
        }
        Ok(chunk)
    }
}

/// A whole body of at most `limit` bytes, counted while it arrives.
pub(crate) async fn body(
    wire: &Wire,
    subject: &Subject,
    mut response: Response,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>, Error> {
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(subject.too_large(what, limit));
    }
    let mut body = Vec::new();
    let mut pace = Pace::new(wire.idle_timeout());
    while let Some(chunk) = pace.chunk(wire, subject, &mut response).await? {
        if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
            return Err(subject.too_large(what, limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Refuses an encoded body: nobody asked for one, and digests are of the bytes as they are.
pub(crate) fn plain(subject: &Subject, headers: &HeaderMap) -> Result<(), Error> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let shown = redact::line(&String::from_utf8_lossy(encoding.as_bytes()), 50);
            Err(subject.protocol(format!("the body is encoded with `{shown}`, which was not asked for")))
        }
        _ => Ok(()),
    }
}

/// The digest that the registry announces.
pub(crate) fn announced(subject: &Subject, headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get(CONTENT_DIGEST) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    match text.parse() {
        Ok(digest) => Ok(Some(digest)),
        Err(_) => {
            Err(subject
                .protocol(format!("`{}` is not a digest that brig can verify", redact::line(&text, 150))))
        }
    }
}

/// The error that an unsuccessful answer stands for.
pub(crate) async fn error(wire: &Wire, subject: &Subject, response: Response) -> Error {
    let (status, after) = (response.status(), retry_after(&response));
    let read = tokio::time::timeout(ERROR_WAIT, body(wire, subject, response, MAX_ERROR, "message")).await;
    // A status without a readable text is still the registry's answer.
    let text = match read {
        Ok(Ok(text)) => text,
        _ => Vec::new(),
    };
    sort(subject, status, after, &Report::parse(&text))
}

/// The error that this status and report stand for.
pub(crate) fn sort(
    subject: &Subject,
    status: StatusCode,
    retry_after: Option<Duration>,
    report: &Report,
) -> Error {
    let (reference, host) = (subject.reference.clone(), subject.host.clone());
    let message = report.message.clone();
    match (status, report.code.as_str()) {
        (StatusCode::NOT_FOUND, "NAME_UNKNOWN") => Error::RepositoryNotFound { reference, host },
        (StatusCode::NOT_FOUND, _) => Error::ManifestNotFound { reference, host },
        (StatusCode::UNAUTHORIZED, _) => Error::Unauthorized { reference, host, tried: false, message },
        (StatusCode::FORBIDDEN, _) | (_, "DENIED") => Error::Denied { reference, host, message },
        (StatusCode::TOO_MANY_REQUESTS, _) | (_, "TOOMANYREQUESTS") => {
            Error::TooManyRequests { reference, host, retry_after, message }
        }
        (status, _) if status.is_server_error() => {
            Error::Unavailable { reference, host, status: status.as_u16(), retry_after, message }
        }
        (status, _) => Error::Refused { reference, host, status: status.as_u16(), message },
    }
}

/// `Retry-After` in seconds; a date is left to the back-off.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The first error of a registry's error document (distribution-spec, "Error Codes").
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<Entry>,
    // Token services have a form of their own.
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Report {
    /// Reads an error document; what isn't one is an empty report.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let Ok(document) = serde_json::from_slice::<Errors>(body) else { return Self::default() };
        let (code, message) = match document.errors.into_iter().next() {
            Some(entry) => (entry.code.unwrap_or_default(), entry.message),
            None => (String::new(), document.details.or(document.error_description)),
        };
        let code = redact::line(&code, 40);
        let message = redact::line(&message.unwrap_or_default(), MAX_MESSAGE);
        let message = match (code.is_empty(), message.is_empty()) {
            (true, _) => message,
            (false, true) => code.clone(),
            (false, false) => format!("{message} ({code})"),
        };
        Self { code, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_own_words_are_kept_and_bounded() {
        let report =
            Report::parse(br#"{"errors":[{"code":"DENIED","message":"no \u001b[31mway","detail":{}}]}"#);
        assert_eq!(report.code, "DENIED");
        assert_eq!(report.message, "no  [31mway (DENIED)");
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(10_000));
        assert!(Report::parse(long.as_bytes()).message.chars().count() <= MAX_MESSAGE + 1);
        assert_eq!(Report::parse(br#"{"details":"incorrect password"}"#).message, "incorrect password");
        for nonsense in [&b""[..], b"<html>", b"[]", b"{\"errors\":{}}", b"{\"errors\":[1]}"] {
            assert_eq!(Report::parse(nonsense), Report::default());
        }
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let subject = Subject { reference: "r".into(), host: "h".into() };
        let sorted = |status, code: &str| {
            let report = Report { code: code.into(), message: String::new() };
            sort(&subject, status, None, &report)
        };
        assert!(matches!(sorted(StatusCode::NOT_FOUND, "NAME_UNKNOWN"), Error::RepositoryNotFound { .. }));
        assert!(matches!(sorted(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"), Error::ManifestNotFound { .. }));
        assert!(matches!(sorted(StatusCode::FORBIDDEN, ""), Error::Denied { .. }));
        assert!(matches!(sorted(StatusCode::BAD_GATEWAY, ""), Error::Unavailable { status: 502, .. }));
        assert!(matches!(sorted(StatusCode::BAD_REQUEST, "X"), Error::Refused { status: 400, .. }));
        assert!(sorted(StatusCode::TOO_MANY_REQUESTS, "").is_transient());
        assert!(!sorted(StatusCode::NOT_IMPLEMENTED, "").is_transient());
    }
}
