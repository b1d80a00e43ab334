//! Answers, and how faults break them.

use axum::body::Body;
use brig_oci::Digest;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{End, FaultyBody};
use super::fault::Fault;

/// Says which content an answer is about.
pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// An answer before faults.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// The length to announce: a `HEAD` has no body, but its length.
    length: usize,
}

impl Answer {
    pub(super) fn status(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), length: 0 }
    }

    pub(super) fn json(value: &Value) -> Self {
        Self::status(StatusCode::OK)
            .header(header::CONTENT_TYPE, "application/json")
            .body(value.to_string().into())
    }

    /// "Error Codes".
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        let mut answer = Self::json(&json!({ "errors": [{ "code": code, "message": message }] }));
        answer.status = status;
        answer
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the registry's own headers are text");
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.length = body.len();
        self.body = body;
        self
    }

    /// Without its body where the method wants none.
    pub(super) fn for_method(mut self, method: &Method) -> Self {
        if *method == Method::HEAD {
            self.body = Bytes::new();
        }
        self
    }

    /// The response, broken by the faults.
    pub(super) fn into_response(self, faults: &[Fault]) -> Response<Body> {
        let Self { status, mut headers, mut body, length } = self;
        let mut end = End::Clean;
        let mut speed = None;
        let mut announced = Some(length);
        for fault in faults {
            match fault {
                Fault::Truncate(size) => (body, end) = (body.slice(..body.len().min(*size)), End::Abort),
                Fault::Stall(size) => (body, end) = (body.slice(..body.len().min(*size)), End::Hang),
                Fault::Slow(bytes_per_second) => speed = Some(*bytes_per_second),
                Fault::Corrupt => body = flip(&body),
                Fault::Endless => (end, announced) = (End::Zeros, None),
                Fault::Longer(size) => {
                    body = lengthen(&body, *size);
                    announced = Some(body.len());
                }
                Fault::WrongDigest => {
                    let other = HeaderValue::from_str(&Digest::sha256("another").to_string());
                    headers.insert(DIGEST_HEADER, other.expect("a digest is text"));
                }
                Fault::ContentType(media_type) => {
                    let media_type = HeaderValue::from_str(media_type).expect("a media type is text");
                    headers.insert(header::CONTENT_TYPE, media_type);
                }
                Fault::Status(_) | Fault::Delay(_) | Fault::Redirect(_) | Fault::NoRange => {}
            }
        }
        if let Some(length) = announced.filter(|_| status != StatusCode::NO_CONTENT) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut response = Response::new(Body::new(FaultyBody::new(body, end, speed)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

fn flip(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    bytes.into()
}

fn lengthen(body: &Bytes, more: usize) -> Bytes {
    let mut bytes = body.to_vec();
    bytes.resize(body.len() + more, 0);
    bytes.into()
}
