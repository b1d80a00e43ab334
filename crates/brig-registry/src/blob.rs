//! Blobs: streams that never yield more than their descriptor says, and go on where a connection broke.

use brig_oci::{Descriptor, Reference};
use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};

use crate::auth::Scopes;
use crate::client::Client;
use crate::error::{Error, TransportError};
use crate::exchange::{Call, Exchange};
use crate::response::{self, Pace};
use crate::retry::Retry;

impl Client {
    /// Opens a blob of the repository of `reference`, from `offset` (in bytes) on.
    ///
    /// # Errors
    /// Any of [`Error`] that concerns reading.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream, Error> {
        let exchange = self.exchange(reference);
        if offset > descriptor.size {
            return Err(exchange.subject.size_mismatch(descriptor, offset));
        }
        let url = exchange.url(&format!("blobs/{}", descriptor.digest)).await?;
        let call = Call::new(Method::GET, url, Scopes::pull(&exchange.repository));
        let retry = Retry::new(exchange.wire.options());
        let mut stream = BlobStream {
            exchange,
            call,
            descriptor: descriptor.clone(),
            offset,
            resumed: false,
            open: None,
            retry,
            wait_until: None,
        };
        if offset < descriptor.size {
            stream.ensure_open().await?;
        }
        Ok(stream)
    }
}

/// The bytes of a blob, in order, from the offset that was asked for.
///
/// They are counted, not verified: whoever stores them hashes them. A broken connection is made again, a limited number
/// of times, from where it broke. Dropping the future of [`BlobStream::next`] loses nothing; dropping the stream ends
/// the transfer.
#[derive(Debug)]
pub struct BlobStream {
    exchange: Exchange,
    call: Call,
    descriptor: Descriptor,
    /// Where the next byte to yield stands in the blob.
    offset: u64,
    resumed: bool,
    open: Option<Open>,
    retry: Retry,
    /// A pause after a failure, kept here so that it survives a dropped future.
    wait_until: Option<tokio::time::Instant>,
}

/// One connection's answer.
#[derive(Debug)]
struct Open {
    response: Response,
    pace: Pace,
    /// How many bytes come first that are known already.
    skip: u64,
}

impl BlobStream {
    /// Whether the registry continues where it is asked to, rather than at the beginning. (In that case the stream
    /// leaves out what comes before the offset, so that the caller sees no difference, but pays for it.)
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Where the next byte stands in the blob: what was yielded so far, plus the offset at the beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, never empty; `None` when the blob is complete.
    ///
    /// # Errors
    /// [`Error::Overlong`] when there is more than the descriptor's size, [`Error::Truncated`] when there is less, and
    /// what else ends a transfer for good.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.is_complete() {
                return self.finish().await.map(|()| None);
            }
            self.ensure_open().await?;
            match self.read().await {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => {}
                Err(error) => self.postpone(error)?,
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.offset == self.descriptor.size
    }

    /// One piece; `None` when all of it was known already.
    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let exchange = &self.exchange;
        let Some(open) = self.open.as_mut() else { return Ok(None) };
        let mut bytes = match open.pace.chunk(&exchange.wire, &exchange.subject, &mut open.response).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(self.truncated(None)),
            Err(Error::Network { source, .. }) => return Err(self.truncated(Some(source))),
            Err(error) => return Err(error),
        };
        let Some(open) = self.open.as_mut() else { return Ok(None) };
        let known = usize::try_from(open.skip).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(known);
        open.skip -= known as u64;
        let length = bytes.len() as u64;
        if length > self.descriptor.size - self.offset {
            self.open = None;
            return Err(self.overlong());
        }
        self.offset += length;
        self.retry.progress(length);
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    /// Makes sure that nothing comes after the last byte.
    async fn finish(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let exchange = &self.exchange;
        match open.pace.chunk(&exchange.wire, &exchange.subject, &mut open.response).await {
            Ok(Some(more)) if !more.is_empty() => Err(self.overlong()),
            // All bytes are here; how the connection ends doesn't matter any more.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn ensure_open(&mut self) -> Result<(), Error> {
        while self.open.is_none() {
            if let Some(deadline) = self.wait_until {
                tokio::time::sleep_until(deadline).await;
                self.wait_until = None;
            }
            match self.connect().await {
                Ok(open) => self.open = Some(open),
                Err(error) => self.postpone(error)?,
            }
        }
        Ok(())
    }

    /// Plans another attempt after a failure.
    fn postpone(&mut self, error: Error) -> Result<(), Error> {
        self.open = None;
        let Some(wait) = self.retry.after(&error, self.exchange.endpoint.has_answered()) else {
            return Err(error);
        };
        self.wait_until = Some(tokio::time::Instant::now() + wait);
        Ok(())
    }

    async fn connect(&mut self) -> Result<Open, Error> {
        let mut call = self.call.clone();
        if self.offset > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", self.offset));
            call.headers.extend(range.ok().map(|range| (RANGE, range)));
        }
        let wanted = [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE];
        let response = self.exchange.attempt(&call, &wanted).await.map_err(|error| self.named(error))?;
        response::plain(&self.exchange.subject, response.headers())?;
        let start = self.start(&response)?;
        self.resumed = self.offset > 0 && start == self.offset;
        let expected = self.descriptor.size - start;
        if let Some(length) = response.content_length().filter(|length| *length != expected) {
            return Err(self.exchange.subject.size_mismatch(&self.descriptor, start.saturating_add(length)));
        }
        let pace = Pace::new(self.exchange.wire.idle_timeout());
        Ok(Open { response, pace, skip: self.offset - start })
    }

    /// Where in the blob an answer begins.
    fn start(&self, response: &Response) -> Result<u64, Error> {
        let subject = &self.exchange.subject;
        if response.status() == StatusCode::OK {
            return Ok(0);
        }
        let range = Range::of(response.headers());
        let total = range.as_ref().and_then(|range| range.total);
        if let Some(total) = total.filter(|total| *total != self.descriptor.size) {
            return Err(subject.size_mismatch(&self.descriptor, total));
        }
        match range.and_then(|range| range.bounds) {
            Some((first, last)) if first == self.offset && last == self.descriptor.size - 1 => Ok(first),
            _ => Err(subject.protocol(format!(
                "the part of {} that it sends is not the one from byte {} on",
                self.descriptor.digest, self.offset
            ))),
        }
    }

    fn named(&self, error: Error) -> Error {
        match error {
            Error::ManifestNotFound { reference, host } => {
                Error::BlobNotFound { reference, host, digest: self.descriptor.digest.clone() }
            }
            other => other,
        }
    }

    fn truncated(&self, source: Option<TransportError>) -> Error {
        Error::Truncated {
            reference: self.exchange.subject.reference.clone(),
            host: self.exchange.subject.host.clone(),
            digest: self.descriptor.digest.clone(),
            size: self.descriptor.size,
            received: self.offset,
            source,
        }
    }

    fn overlong(&self) -> Error {
        Error::Overlong {
            reference: self.exchange.subject.reference.clone(),
            host: self.exchange.subject.host.clone(),
            digest: self.descriptor.digest.clone(),
            size: self.descriptor.size,
        }
    }
}

/// `Content-Range` (RFC 9110, section 14.4): `bytes 5-9/10`, `bytes 5-9/*`, `bytes */10`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Range {
    bounds: Option<(u64, u64)>,
    total: Option<u64>,
}

impl Range {
    fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(CONTENT_RANGE)?.to_str().ok()?)
    }

    /// Reads the header's value.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (bounds, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let bounds = match bounds.trim() {
            "*" => None,
            bounds => {
                let (first, last) = bounds.split_once('-')?;
                Some((first.parse().ok()?, last.parse().ok()?))
            }
        };
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        Some(Self { bounds, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let parsed = |text| Range::parse(text).map(|range| (range.bounds, range.total));
        assert_eq!(parsed("bytes 5-9/10"), Some((Some((5, 9)), Some(10))));
        assert_eq!(parsed("bytes 5-9/*"), Some((Some((5, 9)), None)));
        assert_eq!(parsed("bytes */10"), Some((None, Some(10))));
        for text in ["", "bytes", "bytes 5-9", "bytes 5-/10", "bytes -9/10", "items 5-9/10", "bytes x-y/z"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
