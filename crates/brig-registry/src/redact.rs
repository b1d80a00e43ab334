//! Remote text and URLs, made safe to print.

use reqwest::Url;

/// `text` as one line of at most `limit` characters, without control characters: what a registry sends ends up on a
/// terminal.
pub(crate) fn line(text: &str, limit: usize) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit.saturating_add(1)).collect();
    let trimmed = clean.trim();
    if trimmed.chars().count() <= limit {
        return trimmed.to_owned();
    }
    trimmed.chars().take(limit).chain(['…']).collect()
}

/// A URL without user, password, query and fragment: signed storage URLs carry their secret in the query.
pub(crate) fn url(url: &Url) -> String {
    let mut text = format!("{}://{}", url.scheme(), authority(url));
    text.push_str(&line(url.path(), 200));
    if url.query().is_some() {
        text.push_str("?…");
    }
    text
}

/// `host` or `host:port` of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_carries_no_secret() {
        let shown =
            url(&Url::parse("https://me:secret@host.example:8443/a/b?X-Signature=secret#secret").unwrap());
        assert_eq!(shown, "https://host.example:8443/a/b?…");
    }

    #[test]
    fn remote_text_becomes_one_bounded_line() {
        assert_eq!(line("a\x1b[31mb\nc\r\n", 100), "a [31mb c");
        assert_eq!(line(&"x".repeat(1000), 3), "xxx…");
        assert_eq!(line("", 3), "");
    }
}
