//! Lists: tags, and what refers to a manifest.

use std::collections::BTreeSet;

use brig_oci::{Descriptor, Digest, Index, MAX_DOCUMENT_SIZE, Reference, media_type};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::auth::Scopes;
use crate::client::Client;
use crate::endpoint::follow;
use crate::error::Error;
use crate::exchange::{Call, Exchange};
use crate::redact;

/// The most pages of one list, and the most entries of all of them.
const MAX_PAGES: usize = 1000;
const MAX_ENTRIES: usize = 100_000;
/// How many entries a page should have.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Tags {
    // Registries written in Go send `null` for an empty list.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, sorted, each once.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 100,000 tags, and any that concerns reading.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        let exchange = self.exchange(reference);
        let mut next = Some(exchange.url(&format!("tags/list?n={PAGE}")).await?);
        let mut tags = BTreeSet::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (headers, body) = page(&exchange, url.clone(), "application/json").await?;
            let read: Tags = serde_json::from_slice(&body)
                .map_err(|_| exchange.subject.protocol("the list of tags is not the JSON it should be"))?;
            tags.extend(read.tags.unwrap_or_default());
            if tags.len() > MAX_ENTRIES {
                return Err(exchange.subject.too_large("list of tags", MAX_ENTRIES as u64));
            }
            next = following(&exchange, &url, &headers).await?;
        }
        if next.is_some() {
            return Err(exchange.subject.protocol("the list of tags has no end"));
        }
        Ok(tags.into_iter().collect())
    }

    /// What refers to a manifest as its subject (signatures, attestations), from the repository of `reference`: by the
    /// registry's own list, or where it has none by the tag that stands for it. `artifact_type` narrows the list.
    ///
    /// # Errors
    /// Any of [`Error`] that concerns reading.
    pub async fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, Error> {
        let exchange = self.exchange(reference);
        let mut first = exchange.url(&format!("referrers/{subject}")).await?;
        if let Some(wanted) = artifact_type {
            first.query_pairs_mut().append_pair("artifactType", wanted);
        }
        let mut found = match self.listed(&exchange, first).await {
            // A registry without the list, or without the repository.
            Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => {
                tagged(&exchange, &fallback_tag(subject)).await?
            }
            other => other?,
        };
        found.retain(|found| {
            artifact_type.is_none_or(|wanted| found.artifact_type.as_deref() == Some(wanted))
        });
        Ok(found)
    }

    async fn listed(&self, exchange: &Exchange, first: Url) -> Result<Vec<Descriptor>, Error> {
        let (mut found, mut next) = (Vec::new(), Some(first));
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { break };
            let (headers, body) = page(exchange, url.clone(), media_type::OCI_INDEX).await?;
            found.extend(index(exchange, &body)?.manifests);
            if found.len() > MAX_ENTRIES {
                return Err(exchange.subject.too_large("list of referrers", MAX_ENTRIES as u64));
            }
            next = following(exchange, &url, &headers).await?;
        }
        if next.is_some() {
            return Err(exchange.subject.protocol("the list of referrers has no end"));
        }
        Ok(found)
    }
}

async fn page(exchange: &Exchange, url: Url, accept: &'static str) -> Result<(HeaderMap, Vec<u8>), Error> {
    let call = Call::new(Method::GET, url, Scopes::pull(&exchange.repository))
        .header(ACCEPT, HeaderValue::from_static(accept));
    exchange.document(&call, MAX_DOCUMENT_SIZE, "list").await
}

fn index(exchange: &Exchange, body: &[u8]) -> Result<Index, Error> {
    serde_json::from_slice(body)
        .map_err(|_| exchange.subject.protocol("the list of referrers is not the index it should be"))
}

/// The index under the fallback tag (distribution-spec, "Referrers Tag Schema"); none is an empty list.
async fn tagged(exchange: &Exchange, tag: &str) -> Result<Vec<Descriptor>, Error> {
    let url = exchange.url(&format!("manifests/{tag}")).await?;
    match page(exchange, url, media_type::OCI_INDEX).await {
        Ok((_, body)) => Ok(index(exchange, &body)?.manifests),
        Err(Error::ManifestNotFound { .. } | Error::RepositoryNotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn fallback_tag(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{}-{}", digest.algorithm().as_str(), &hex[..hex.len().min(64)])
}

/// The next page by `Link: <…>; rel="next"` (RFC 8288). It must be of the registry itself.
async fn following(exchange: &Exchange, from: &Url, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    let links = headers.get_all(LINK).into_iter().filter_map(|value| value.to_str().ok());
    let Some(target) = links.flat_map(|text| text.split(',')).find_map(next_link) else { return Ok(None) };
    let url = follow(&exchange.subject, from, target)?;
    if !exchange.is_home(&url).await? {
        return Err(exchange.subject.redirect(redact::url(&url), "a list does not go on at another host"));
    }
    Ok(Some(url))
}

/// The target of a link, if it is the next page.
pub(crate) fn next_link(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return false };
        name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
    });
    next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page() {
        assert_eq!(
            next_link(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_link(" <x>; foo=bar; REL=next"), Some("x"));
        for other in ["", "<x>", "<x>; rel=prev", "x; rel=next", "<x; rel=next"] {
            assert_eq!(next_link(other), None, "{other}");
        }
    }

    #[test]
    fn the_fallback_tag_is_short_enough_for_a_tag() {
        let digest = Digest::sha256("x");
        assert_eq!(fallback_tag(&digest), format!("sha256-{}", digest.hex()));
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(fallback_tag(&long).len(), "sha512-".len() + 64);
    }
}
