//! What was asked of a registry.

use http::HeaderMap;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`, …
    pub method: String,
    /// The path, `/v2/…`.
    pub path: String,
    /// What stood after the question mark; empty without one.
    pub query: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The size of the body in bytes.
    pub body_size: usize,
    /// The status of the answer; 0 while there is none.
    pub status: u16,
}

impl Request {
    /// A header's value, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
