//! Manifests, references, lists, errors.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use brig_oci::{Descriptor, Digest};
use brig_registry::{Client, Error};

use crate::fake::*;

#[tokio::test]
async fn a_tag_resolves_to_the_verified_bytes() {
    let digest = Digest::sha256(manifest());
    let expected = digest.clone();
    let fake = Fake::start(move |_| manifest_answer(&expected)).await;
    let document = client().resolve(&fake.reference("a/b:v1")).await.unwrap();
    assert_eq!(document.raw(), manifest());
    assert_eq!(document.descriptor().digest, digest);
    let seen = fake.seen();
    assert!(seen[0].is(Method::GET, "/v2/a/b/manifests/v1"));
    assert!(
        seen[0]
            .header("accept")
            .unwrap()
            .contains("application/vnd.docker.distribution.manifest.list.v2+json")
    );
    assert_eq!(seen[0].header("accept-encoding"), Some("identity"));
    assert!(seen[0].header("user-agent").unwrap().starts_with("brig/"));
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn another_digest_than_announced_or_asked_for_is_an_error() {
    let wrong = Digest::sha256("something else");
    let announced = wrong.clone();
    let fake = Fake::start(move |_| manifest_answer(&announced)).await;
    let error = client().resolve(&fake.reference("a:v1")).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");

    let fake = Fake::start(|_| with(ok(manifest()), &[("content-type", MANIFEST_TYPE)])).await;
    let reference = fake.reference(&format!("a@{wrong}"));
    let error = client().resolve(&reference).await.unwrap_err();
    match &error {
        Error::DigestMismatch { expected, actual, host, .. } => {
            assert_eq!((expected, actual), (&wrong, &Digest::sha256(manifest())));
            assert_eq!(host, &fake.host);
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains(&wrong.to_string()), "{error}");
    let descriptor = Descriptor { size: 7, ..Descriptor::of(MANIFEST_TYPE, &manifest()) };
    let error = client().manifest(&fake.reference("a"), &descriptor).await.unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { expected: 7, .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_is_bounded_while_it_is_read() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v2/a/manifests/declared" => ok(vec![b' '; 5 * 1024 * 1024]),
        "/v2/a/manifests/endless" => endless(Duration::ZERO, 60_000),
        _ => status(404),
    })
    .await;
    for tag in ["declared", "endless"] {
        let error = client().resolve(&fake.reference(&format!("a:{tag}"))).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{tag}: {error}");
    }
}

#[tokio::test]
async fn a_manifest_that_drips_is_given_up() {
    let fake = Fake::start(|_| endless(Duration::from_millis(50), 1)).await;
    let start = Instant::now();
    let error = Client::new(impatient()).resolve(&fake.reference("a")).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn encoded_and_unreadable_manifests_are_refused() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v2/a/manifests/gzip" => with(ok(manifest()), &[("content-encoding", "gzip")]),
        "/v2/a/manifests/html" => with(ok("<html>"), &[("content-type", "text/html")]),
        "/v2/a/manifests/digest" => with(ok(manifest()), &[("docker-content-digest", "md5:x")]),
        _ => ok("{}"),
    })
    .await;
    let resolve = async |tag: &str| client().resolve(&fake.reference(&format!("a:{tag}"))).await.unwrap_err();
    assert!(matches!(resolve("gzip").await, Error::Protocol { .. }));
    assert!(matches!(resolve("html").await, Error::Document { .. }));
    assert!(matches!(resolve("digest").await, Error::Protocol { .. }));
    assert!(matches!(resolve("other").await, Error::Document { .. }));
}

#[tokio::test]
async fn what_is_missing_or_refused_is_said() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v2/a/manifests/t" => error(404, "MANIFEST_UNKNOWN"),
        "/v2/b/manifests/t" => error(404, "NAME_UNKNOWN"),
        "/v2/c/manifests/t" => error(403, "DENIED"),
        "/v2/d/manifests/t" => error(400, "NAME_INVALID"),
        _ => status(418),
    })
    .await;
    let resolve =
        async |name: &str| client().resolve(&fake.reference(&format!("{name}:t"))).await.unwrap_err();
    assert!(matches!(resolve("a").await, Error::ManifestNotFound { .. }));
    assert!(matches!(resolve("b").await, Error::RepositoryNotFound { .. }));
    assert!(matches!(resolve("c").await, Error::Denied { .. }));
    let error = resolve("d").await;
    assert!(error.to_string().contains("words of the registry (NAME_INVALID)"), "{error}");
    assert!(error.to_string().contains(&format!("{}/d:t", fake.host)), "{error}");
    assert!(matches!(resolve("e").await, Error::Refused { status: 418, .. }));
    assert_eq!(fake.count(Method::GET, "/v2/a/manifests/t"), 1, "what isn't there isn't asked for again");
}

#[tokio::test]
async fn passing_failures_are_tried_again_and_lasting_ones_end() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), seen.earlier) {
        ("/v2/a/manifests/t", 0) => status(500),
        ("/v2/a/manifests/t", 1) => with(status(429), &[("retry-after", "1")]),
        ("/v2/a/manifests/t", _) => ok(manifest()),
        ("/v2/b/manifests/t", _) => error(503, "UNAVAILABLE"),
        ("/v2/c/manifests/t", _) => with(error(429, "TOOMANYREQUESTS"), &[("retry-after", "86400")]),
        _ => status(404),
    })
    .await;
    let start = Instant::now();
    client().resolve(&fake.reference("a:t")).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1), "Retry-After is honoured");
    let error = client().resolve(&fake.reference("b:t")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: 503, .. }), "{error}");
    assert_eq!(fake.count(Method::GET, "/v2/b/manifests/t"), 5);
    let error = client().resolve(&fake.reference("c:t")).await.unwrap_err();
    assert!(
        matches!(error, Error::TooManyRequests { retry_after: Some(after), .. } if after.as_secs() == 86400),
        "{error}"
    );
    assert_eq!(fake.count(Method::GET, "/v2/c/manifests/t"), 1);
}

#[tokio::test]
async fn head_describes_and_falls_back() {
    let digest = Digest::sha256(manifest());
    let announced = digest.clone();
    let fake = Fake::start(move |seen| match (&seen.method, seen.path.as_str()) {
        (_, "/v2/a/manifests/t") => manifest_answer(&announced),
        (&Method::HEAD, "/v2/b/manifests/t") => status(200),
        (&Method::HEAD, "/v2/c/manifests/t") => status(405),
        (_, "/v2/d/manifests/t") => status(404),
        _ => with(ok(manifest()), &[("content-type", MANIFEST_TYPE)]),
    })
    .await;
    for name in ["a", "b", "c"] {
        let found = client().head(&fake.reference(&format!("{name}:t"))).await.unwrap();
        assert_eq!(found, Descriptor::of(MANIFEST_TYPE, &manifest()), "{name}");
    }
    assert_eq!(fake.count(Method::GET, "/v2/a/manifests/t"), 0);
    assert!(matches!(client().head(&fake.reference("d:t")).await, Err(Error::ManifestNotFound { .. })));
}

#[tokio::test]
async fn nobody_there_is_said_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    drop(listener);
    let start = Instant::now();
    let error = client().resolve(&format!("{host}/a").parse().unwrap()).await.unwrap_err();
    match &error {
        Error::Network { source, .. } => {
            assert!(source.is_connect() && source.to_string().contains("refused"));
        }
        other => panic!("{other}"),
    }
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_server_that_accepts_and_is_silent_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let start = Instant::now();
    let error = Client::new(impatient()).resolve(&format!("{host}/a").parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(listener);
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), seen.query.contains("last")) {
        ("/v2/a/tags/list", false) => with(
            ok(r#"{"name":"a","tags":["v2","v1"]}"#),
            &[("link", r#"</v2/a/tags/list?last=v2>; rel="next""#)],
        ),
        ("/v2/a/tags/list", true) => ok(r#"{"name":"a","tags":["v3","v1"]}"#),
        ("/v2/null/tags/list", _) => ok(r#"{"name":"a","tags":null}"#),
        ("/v2/away/tags/list", _) => {
            with(ok(r#"{"tags":[]}"#), &[("link", "<http://127.0.0.1:1/x>; rel=next")])
        }
        ("/v2/loop/tags/list", _) => {
            with(ok(r#"{"tags":["x"]}"#), &[("link", "</v2/loop/tags/list>; rel=next")])
        }
        _ => error(404, "NAME_UNKNOWN"),
    })
    .await;
    let client = client();
    assert_eq!(client.tags(&fake.reference("a")).await.unwrap(), ["v1", "v2", "v3"]);
    assert!(client.tags(&fake.reference("null")).await.unwrap().is_empty());
    assert!(matches!(client.tags(&fake.reference("away")).await, Err(Error::Redirect { .. })));
    assert!(matches!(client.tags(&fake.reference("loop")).await, Err(Error::Protocol { .. })));
    assert!(matches!(client.tags(&fake.reference("none")).await, Err(Error::RepositoryNotFound { .. })));
}

#[tokio::test]
async fn referrers_come_from_the_list_or_from_the_fallback_tag() {
    let subject = Digest::sha256("subject");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"{MANIFEST_TYPE}","digest":"{subject}","size":1,"artifactType":"application/x"}},
            {{"mediaType":"{MANIFEST_TYPE}","digest":"{subject}","size":2,"artifactType":"application/y"}}]}}"#
    );
    let (listed, tagged) =
        (format!("/v2/a/referrers/{subject}"), format!("/v2/b/manifests/sha256-{}", subject.hex()));
    let fake =
        Fake::start(
            move |seen| {
                if seen.path == listed || seen.path == tagged { ok(index.clone()) } else { status(404) }
            },
        )
        .await;
    let client = client();
    for name in ["a", "b"] {
        let found = client.referrers(&fake.reference(name), &subject, Some("application/y")).await.unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].size, 2);
        assert_eq!(client.referrers(&fake.reference(name), &subject, None).await.unwrap().len(), 2);
    }
    assert!(client.referrers(&fake.reference("c"), &subject, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn pushing_a_manifest_wants_201_and_the_same_digest() {
    let fake = Fake::start(|seen| match (seen.path.as_str(), seen.earlier) {
        ("/v2/a/manifests/t", 0) => status(500),
        ("/v2/a/manifests/t", _) => status(201),
        ("/v2/b/manifests/t", _) => status(200),
        ("/v2/c/manifests/t", _) => {
            with(status(201), &[("docker-content-digest", &Digest::sha256("x").to_string())])
        }
        _ => ok(Body::empty()),
    })
    .await;
    let document = brig_oci::Document::parse(manifest().to_vec(), None).unwrap();
    let client = client();
    let stored = client.push_manifest(&fake.reference("a:t"), &document).await.unwrap();
    assert_eq!(stored, Descriptor::of(MANIFEST_TYPE, &manifest()));
    let put = fake.seen().into_iter().rfind(|seen| seen.method == Method::PUT).unwrap();
    assert_eq!((put.body, put.headers["content-type"].to_str().unwrap()), (manifest(), MANIFEST_TYPE));
    assert!(matches!(
        client.push_manifest(&fake.reference("b:t"), &document).await,
        Err(Error::Refused { .. })
    ));
    let error = client.push_manifest(&fake.reference("c:t"), &document).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    let other = fake.reference(&format!("a@{}", Digest::sha256("other")));
    assert!(matches!(client.push_manifest(&other, &document).await, Err(Error::PushedDigest { .. })));
}
