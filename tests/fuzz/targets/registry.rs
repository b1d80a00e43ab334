//! What a registry says: challenges, errors, links, redirects, ranges.
#![no_main]

use std::net::IpAddr;

use brig_fuzz::{seeds, target, text, told};
use brig_registry::fuzzing;
use reqwest::Url;

const HTTPS: &str = "https://registry.example/v2/a/";

target!(start(), |data| {
    let Some((how, rest)) = data.split_first() else { return };
    let https = Url::parse(HTTPS).expect("a URL");
    let here = Url::parse("http://127.0.0.1:5000/v2/a/").expect("a URL");
    match how % 3 {
        0 => {
            for registry in [&https, &here] {
                challenges(rest, registry);
            }
        }
        1 => failure(rest),
        _ => {
            let Some(text) = text(rest) else { return };
            headers(text, &https);
            headers(text, &here);
        }
    }
});

fn challenges(header: &[u8], registry: &Url) {
    let all = fuzzing::challenges(header, registry);
    assert!(all.len() <= 16);
    for (scheme, realm) in all {
        assert!(!scheme.is_empty());
        match realm {
            Ok(realm) => weaker(registry, &realm),
            Err(error) => printable(&told(&error)),
        }
    }
}

fn failure(rest: &[u8]) {
    let Some((status, body)) = rest.split_first_chunk() else { return };
    if let Some(error) = fuzzing::failure(u16::from_be_bytes(*status), body) {
        printable(&told(&error));
    }
}

fn headers(text: &str, from: &Url) {
    fuzzing::content_range(text);
    let target = fuzzing::next_page(text).unwrap_or(text);
    match fuzzing::redirect(from, target) {
        Ok(url) => weaker(from, &url),
        Err(error) => printable(&told(&error)),
    }
    let line = fuzzing::line(text, 40);
    assert!(line.chars().count() <= 41);
    printable(&line);
}

/// Nothing that is followed is less safe than where it came from.
fn weaker(from: &Url, to: &Url) {
    assert!(matches!(to.scheme(), "http" | "https"), "{to}");
    assert!(from.scheme() == "http" || to.scheme() == "https", "{to}");
    assert!(to.username().is_empty() && to.password().is_none(), "{to}");
    let loopback = |url: &Url| {
        url.host_str().is_some_and(|host| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            let local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
            host.trim_end_matches('.') == "localhost"
                || address.is_ok_and(|address| local(address.to_canonical()))
        })
    };
    assert!(loopback(from) || !loopback(to), "{to}");
}

/// What ends up on a terminal controls nothing there.
fn printable(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}

fn start() -> Vec<Vec<u8>> {
    let mut all: Vec<_> = seeds::lines(
        r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull"
        Basic realm="a \"b\"", Negotiate abc==, Bearer realm=http://localhost:5001/token"#,
    )
    .iter()
    .map(|line| seeds::chosen(0, line))
    .collect();
    for (status, body) in [
        (401u16, r#"{"errors":[{"code":"UNAUTHORIZED","message":"no","detail":{}}]}"#),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"\u001b[31mno"}]}"#),
        (429, r#"{"details":"slowly"}"#),
        (503, r#"{"error_description":"down"}"#),
    ] {
        all.push(seeds::chosen(1, &[&status.to_be_bytes()[..], body.as_bytes()].concat()));
    }
    let headers = seeds::lines(
        r#"</v2/a/tags/list?n=2&last=b>; rel="next"
        <https://other.example/x>; rel=prev, <y>; rel=next
        http://registry.example/x
        //user:password@other.example/x
        http://127.0.0.1:1/x
        http://[::ffff:127.0.0.1]/x
        http://0/x
        http://localhost./x
        bytes 5-9/10
        bytes */10"#,
    );
    all.extend(headers.iter().map(|line| seeds::chosen(2, line)));
    all
}
