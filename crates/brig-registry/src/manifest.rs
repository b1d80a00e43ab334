//! Manifests and indexes: bounded while they are read, verified before anybody sees them.

use brig_oci::{Descriptor, Digest, Document, MAX_DOCUMENT_SIZE, Reference, media_type};
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};

use crate::auth::Scopes;
use crate::client::Client;
use crate::error::{Error, Subject};
use crate::exchange::{Call, Exchange};
use crate::response::announced;

impl Client {
    /// Fetches the manifest or index that a reference names.
    ///
    /// Its bytes have the reference's digest, where that has one, and the one that the registry announces, and are at
    /// most [`MAX_DOCUMENT_SIZE`].
    ///
    /// # Errors
    /// Any of [`Error`] that concerns reading.
    pub async fn resolve(&self, reference: &Reference) -> Result<Document, Error> {
        let exchange = self.exchange(reference);
        let call = get(&exchange, Method::GET, &reference.manifest_key()).await?;
        let (headers, body) = exchange.document(&call, MAX_DOCUMENT_SIZE, "manifest").await?;
        for expected in reference.digest().into_iter().chain(announced(&exchange.subject, &headers)?.as_ref())
        {
            verify(&exchange.subject, expected, &body)?;
        }
        parse(&exchange.subject, body, content_type(&headers))
    }

    /// Describes the manifest or index that a reference names, without fetching it where the registry allows that.
    ///
    /// # Errors
    /// As for [`Client::resolve`].
    pub async fn head(&self, reference: &Reference) -> Result<Descriptor, Error> {
        let exchange = self.exchange(reference);
        let call = get(&exchange, Method::HEAD, &reference.manifest_key()).await?;
        let wanted = [StatusCode::OK, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        let response = exchange.fetch(&call, &wanted).await?;
        let described = described(&exchange.subject, reference, response.headers())?;
        match described.filter(|_| response.status() == StatusCode::OK) {
            Some(descriptor) => Ok(descriptor),
            // Not every registry sends the digest, and then only the content tells.
            None => {
                let document = self.resolve(reference).await?;
                let mut descriptor = document.descriptor();
                descriptor.digest = reference.digest().cloned().unwrap_or(descriptor.digest);
                Ok(descriptor)
            }
        }
    }

    /// Fetches a manifest or index by its descriptor, from the repository of `reference`: its bytes have the
    /// descriptor's digest and size.
    ///
    /// # Errors
    /// As for [`Client::resolve`].
    pub async fn manifest(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Document, Error> {
        let exchange = self.exchange(reference);
        if descriptor.size > MAX_DOCUMENT_SIZE {
            return Err(exchange.subject.too_large("manifest", MAX_DOCUMENT_SIZE));
        }
        let call = get(&exchange, Method::GET, &descriptor.digest.to_string()).await?;
        let (_, body) = exchange.document(&call, MAX_DOCUMENT_SIZE, "manifest").await?;
        if body.len() as u64 != descriptor.size {
            return Err(exchange.subject.size_mismatch(descriptor, body.len() as u64));
        }
        verify(&exchange.subject, &descriptor.digest, &body)?;
        parse(&exchange.subject, body, Some(&descriptor.media_type))
    }

    /// Stores a manifest or index under a reference's tag or digest, and gives its descriptor. What it refers to must
    /// be there already.
    ///
    /// # Errors
    /// [`Error::PushedDigest`] where the reference has another digest, and any that concerns writing.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        document: &Document,
    ) -> Result<Descriptor, Error> {
        let exchange = self.exchange(reference);
        let descriptor = pushed(&exchange.subject, reference, document)?;
        let content_type = HeaderValue::from_str(document.media_type()).map_err(|_| {
            exchange.subject.protocol("the media type holds characters that no header can carry")
        })?;
        let url = exchange.url(&format!("manifests/{}", push_key(reference, &descriptor))).await?;
        let call = Call::new(Method::PUT, url, Scopes::push(reference.repository()))
            .header(CONTENT_TYPE, content_type);
        let call = Call { body: Some(document.raw().to_vec().into()), ..call };
        let response = exchange.fetch(&call, &[StatusCode::CREATED]).await?;
        if let Some(actual) = announced(&exchange.subject, response.headers())?
            && !actual.matches(document.raw())
        {
            return Err(exchange.subject.digest_mismatch(&descriptor.digest, actual));
        }
        Ok(descriptor)
    }
}

/// A tag where there is one: a reference with both names what the tag shall point to.
fn push_key(reference: &Reference, descriptor: &Descriptor) -> String {
    reference.tag().map_or_else(|| descriptor.digest.to_string(), str::to_owned)
}

fn pushed(subject: &Subject, reference: &Reference, document: &Document) -> Result<Descriptor, Error> {
    let mut descriptor = document.descriptor();
    if let Some(expected) = reference.digest() {
        if !expected.matches(document.raw()) {
            return Err(Error::PushedDigest {
                reference: subject.reference.clone(),
                host: subject.host.clone(),
                actual: descriptor.digest,
            });
        }
        descriptor.digest = expected.clone();
    }
    Ok(descriptor)
}

async fn get(exchange: &Exchange, method: Method, key: &str) -> Result<Call, Error> {
    let url = exchange.url(&format!("manifests/{key}")).await?;
    let accept = HeaderValue::from_str(&media_type::ACCEPT_MANIFESTS.join(", "));
    let accept = accept.unwrap_or_else(|_| HeaderValue::from_static("*/*"));
    Ok(Call::new(method, url, Scopes::pull(&exchange.repository)).header(ACCEPT, accept))
}

/// What a HEAD answer says about the content, if it says all of it.
fn described(
    subject: &Subject,
    reference: &Reference,
    headers: &HeaderMap,
) -> Result<Option<Descriptor>, Error> {
    let length =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let (Some(digest), Some(media_type), Some(size)) =
        (announced(subject, headers)?, content_type(headers), length)
    else {
        return Ok(None);
    };
    if size > MAX_DOCUMENT_SIZE {
        return Err(subject.too_large("manifest", MAX_DOCUMENT_SIZE));
    }
    if let Some(expected) = reference.digest()
        && expected.algorithm() == digest.algorithm()
        && *expected != digest
    {
        return Err(subject.digest_mismatch(expected, digest));
    }
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    Ok(Some(Descriptor::new(media_type, reference.digest().cloned().unwrap_or(digest), size)))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

fn verify(subject: &Subject, expected: &Digest, body: &[u8]) -> Result<(), Error> {
    if expected.matches(body) {
        return Ok(());
    }
    let mut hasher = expected.algorithm().hasher();
    hasher.update(body);
    Err(subject.digest_mismatch(expected, hasher.finish()))
}

fn parse(subject: &Subject, body: Vec<u8>, announced: Option<&str>) -> Result<Document, Error> {
    Document::parse(body, announced).map_err(|source| Error::Document {
        reference: subject.reference.clone(),
        host: subject.host.clone(),
        source,
    })
}
