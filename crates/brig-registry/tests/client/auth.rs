//! Challenges, tokens, and who never gets to see a credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Method, Response};
use brig_oci::Digest;
use brig_registry::{AuthStore, Client, Credential, Error};

use crate::fake::*;

const BASIC: &str = "Basic dXNlcjpwYXNz";

fn challenged(challenges: &[&str]) -> Response<Body> {
    let headers: Vec<_> = challenges.iter().map(|text| ("www-authenticate", *text)).collect();
    with(error(401, "UNAUTHORIZED"), &headers)
}

fn answered() -> Response<Body> {
    manifest_answer(&Digest::sha256(manifest()))
}

/// A registry whose token service is at `/token` of the same server.
async fn bearer(allow: impl Fn(&Seen) -> bool + Send + Sync + 'static, token: &'static str) -> Fake {
    Fake::start(move |seen| {
        let host = seen.header("host").unwrap();
        match seen.path.as_str() {
            "/token" => ok(token.replace("{n}", &seen.earlier.to_string())),
            _ if allow(seen) => answered(),
            _ => challenged(&[
                "Negotiate",
                &format!(r#"Basic realm="x", Bearer realm="http://{host}/token",service="the registry",scope="repository:a:pull""#),
            ]),
        }
    })
    .await
}

#[tokio::test]
async fn basic_is_sent_when_it_is_asked_for_and_not_before() {
    let fake = Fake::start(|seen| match seen.header("authorization") {
        Some(BASIC) => answered(),
        // The probe is open, so that the first real request meets the challenge.
        _ if seen.path == "/v2/" => ok(""),
        _ => challenged(&[r#"Basic realm="here""#]),
    })
    .await;
    let client = client_for(&fake.host, "pass");
    client.resolve(&fake.reference("a:t")).await.unwrap();
    client.resolve(&fake.reference("a:t")).await.unwrap();
    let sent: Vec<_> =
        fake.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some(BASIC.into()), Some(BASIC.into())]);
}

#[tokio::test]
async fn missing_and_wrong_credentials_are_told_apart() {
    let fake = Fake::start(|seen| match seen.header("authorization") {
        Some(BASIC) => answered(),
        _ => challenged(&[r#"Basic realm="here""#]),
    })
    .await;
    let reference = fake.reference("a:t");
    let error = client().resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: false, .. }), "{error}");
    let error = client_for(&fake.host, "wrong").resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: true, .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong"), "{error:?}");
    assert!(fake.seen().len() <= 3, "a wrong password is sent once, not until the account is locked");
    // Credentials of another registry are none.
    let error = client_for("127.0.0.1:1", "pass").resolve(&reference).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: false, .. }), "{error}");
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_for_many_requests() {
    let fake = bearer(
        |seen| seen.header("authorization") == Some("Bearer t0"),
        r#"{"token":"t{n}","expires_in":300}"#,
    )
    .await;
    let client = client();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (client, reference) = (client.clone(), fake.reference("a:t"));
            tokio::spawn(async move { client.resolve(&reference).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fake.count(Method::GET, "/token"), 1);
    let asked = fake.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(asked.query, "service=the+registry&scope=repository%3Aa%3Apull");
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn a_password_goes_to_the_token_service_and_the_token_to_the_registry() {
    let fake =
        bearer(|seen| seen.header("authorization") == Some("Bearer t0"), r#"{"access_token":"t{n}"}"#).await;
    client_for(&fake.host, "pass").resolve(&fake.reference("a:t")).await.unwrap();
    for seen in fake.seen() {
        let expected = if seen.path == "/token" { Some(BASIC) } else { None };
        assert!(
            seen.header("authorization") == expected || seen.header("authorization") == Some("Bearer t0")
        );
    }
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_replaced() {
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let fake = bearer(
        move |seen| match seen.header("authorization") {
            Some("Bearer t0") => counted.fetch_add(1, Ordering::Relaxed) == 0,
            Some("Bearer t1") => true,
            _ => false,
        },
        r#"{"token":"t{n}","expires_in":3600}"#,
    )
    .await;
    let client = client();
    client.resolve(&fake.reference("a:t")).await.unwrap();
    client.resolve(&fake.reference("a:t")).await.unwrap();
    assert_eq!(fake.count(Method::GET, "/token"), 2);
}

#[tokio::test]
async fn a_token_is_not_used_after_its_time() {
    let fake =
        bearer(|seen| seen.header("authorization").is_some(), r#"{"token":"t{n}","expires_in":1}"#).await;
    let client = client();
    client.resolve(&fake.reference("a:t")).await.unwrap();
    client.resolve(&fake.reference("a:t")).await.unwrap();
    assert_eq!(fake.count(Method::GET, "/token"), 2);
}

#[tokio::test]
async fn an_identity_token_is_posted() {
    let fake =
        bearer(|seen| seen.header("authorization") == Some("Bearer t0"), r#"{"access_token":"t{n}"}"#).await;
    let mut options = options();
    options.auth.insert(&fake.host, Credential::Identity("refresh".into()));
    Client::new(options).resolve(&fake.reference("a:t")).await.unwrap();
    let asked = fake.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(asked.method, Method::POST);
    assert!(asked.body.ends_with(b"&refresh_token=refresh"));
    assert_eq!(asked.query, "");
}

#[tokio::test]
async fn credentials_come_from_dockers_file() {
    let fake = Fake::start(|seen| match seen.header("authorization") {
        Some(BASIC) => answered(),
        _ => challenged(&[r#"Basic realm="here""#]),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    let text = format!(r#"{{"auths":{{"{}/a":{{"auth":"dXNlcjpwYXNz"}}}}}}"#, fake.host);
    std::fs::write(&path, text).unwrap();
    let mut options = options();
    options.auth = AuthStore::from_files(&[path]).unwrap();
    let client = Client::new(options);
    client.resolve(&fake.reference("a/x:t")).await.unwrap();
    let error = client.resolve(&fake.reference("b:t")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { tried: false, .. }), "{error}");
}

#[tokio::test]
async fn a_token_service_elsewhere_over_plain_http_gets_nothing() {
    let fake =
        Fake::start(|_| challenged(&[r#"Bearer realm="http://auth.invalid/token",service="x""#])).await;
    let error = client_for(&fake.host, "pass").resolve(&fake.reference("a:t")).await.unwrap_err();
    assert!(matches!(error, Error::Realm { .. }), "{error}");
}

#[tokio::test]
async fn a_token_service_that_redirects_or_floods_is_refused() {
    let elsewhere = Fake::start(|_| ok(r#"{"token":"t"}"#)).await;
    let target = format!("http://{}/", elsewhere.host);
    let fake = Fake::start(move |seen| {
        let host = seen.header("host").unwrap();
        match seen.path.as_str() {
            "/token" if seen.query.contains("service=away") => redirect(&target),
            "/token" if seen.query.contains("service=flood") => endless(std::time::Duration::ZERO, 10_000),
            "/token" => ok(r#"{"token":""}"#),
            "/v2/" => ok(""),
            path => {
                let service = path.split('/').nth(2).unwrap_or_default();
                challenged(&[&format!(r#"Bearer realm="http://{host}/token",service="{service}""#)])
            }
        }
    })
    .await;
    let client = client_for(&fake.host, "pass");
    let resolve = async |name: &str| {
        // One session remembers one challenge, so each gets its own client.
        client_for(&fake.host, "pass").resolve(&fake.reference(&format!("{name}:t"))).await.unwrap_err()
    };
    assert!(matches!(resolve("away").await, Error::Realm { .. }));
    assert!(elsewhere.seen().is_empty());
    assert!(matches!(resolve("flood").await, Error::TooLarge { .. }));
    assert!(matches!(client.resolve(&fake.reference("empty:t")).await, Err(Error::Protocol { .. })));
}

#[tokio::test]
async fn an_authentication_that_brig_does_not_know_is_named() {
    let fake = Fake::start(|_| challenged(&["Negotiate", "Digest realm=x, nonce=y"])).await;
    let error = client().resolve(&fake.reference("a:t")).await.unwrap_err();
    assert!(matches!(&error, Error::Challenge { schemes, .. } if schemes == "negotiate, digest"), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_credentials() {
    // CVE-2020-15157: the storage host asks for credentials, and must not get them.
    let blob = content(1000);
    let served = blob.clone();
    let storage = Fake::start(move |seen| match seen.path.as_str() {
        "/greedy" => challenged(&[r#"Basic realm="give me""#]),
        _ => ok(served.clone()),
    })
    .await;
    let target = storage.host.clone();
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        Some(BASIC) if seen.path.starts_with("/v2/greedy/") => {
            redirect(&format!("http://{target}/greedy?sig=secret"))
        }
        Some(BASIC) => redirect(&format!("http://{target}/blob?sig=secret")),
        _ => challenged(&[r#"Basic realm="here""#]),
    })
    .await;
    let client = client_for(&fake.host, "pass");
    let mut stream = client.blob(&fake.reference("a"), &descriptor(&blob), 0).await.unwrap();
    assert_eq!(drain(&mut stream).await.unwrap(), blob);
    let error = client.blob(&fake.reference("greedy"), &descriptor(&blob), 0).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    let seen = storage.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.header("authorization"), None);
        assert_eq!(seen.header("referer"), None);
    }
}

#[tokio::test]
async fn a_way_back_home_carries_none_either() {
    let home = Arc::new(std::sync::OnceLock::<String>::new());
    let back = Arc::clone(&home);
    let other =
        Fake::start(move |_| redirect(&format!("http://{}/v2/private/blobs/x", back.get().unwrap()))).await;
    let away = format!("http://{}/", other.host);
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        Some(BASIC) => redirect(&away),
        None if seen.path == "/v2/private/blobs/x" => error(403, "DENIED"),
        _ => challenged(&[r#"Basic realm="here""#]),
    })
    .await;
    home.set(fake.host.clone()).unwrap();
    let client = client_for(&fake.host, "pass");
    let error = client.blob(&fake.reference("a"), &descriptor(b"x"), 0).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error}");
    let last = fake.seen().pop().unwrap();
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/v2/private/blobs/x", None));
}

#[tokio::test]
async fn redirects_are_bounded_and_only_for_reading() {
    let fake = Fake::start(|seen| match seen.method {
        Method::GET => redirect(&format!("/v2/a/blobs/{}", seen.earlier)),
        _ => redirect("/elsewhere"),
    })
    .await;
    let error = client().blob(&fake.reference("a"), &descriptor(b"x"), 0).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(fake.seen().len() < 10);
    let document = brig_oci::Document::parse(manifest().to_vec(), None).unwrap();
    let error = client().push_manifest(&fake.reference("a:t"), &document).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    for to in ["ftp://x/", "http://user:pass@127.0.0.1:1/", "http://"] {
        let fake = Fake::start(move |_| redirect(to)).await;
        let error = client().resolve(&fake.reference("a:t")).await.unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }), "{to}: {error}");
        assert!(!error.to_string().contains("pass"), "{error}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_what_is_wanted_and_nothing_from_before() {
    let fake = Fake::start(|seen| {
        let host = seen.header("host").unwrap();
        let name = seen.path.split('/').nth(2).unwrap_or_default().to_owned();
        match (seen.path.as_str(), seen.header("authorization")) {
            ("/token", _) => ok(r#"{"token":"t","expires_in":300}"#),
            (_, Some("Bearer t")) => answered(),
            _ => challenged(&[&format!(
                r#"Bearer realm="http://{host}/token",scope="repository:proxy/{name}:pull""#
            )]),
        }
    })
    .await;
    let client = client();
    for name in ["one", "two"] {
        client.resolve(&fake.reference(&format!("{name}:t"))).await.unwrap();
    }
    let asked: Vec<_> =
        fake.seen().into_iter().filter(|seen| seen.path == "/token").map(|seen| seen.query).collect();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("two") && !asked[1].contains("one"), "{asked:?}");
}

#[tokio::test]
async fn a_refusal_without_a_challenge_is_still_one() {
    let fake = Fake::start(|_| error(401, "UNAUTHORIZED")).await;
    let error = client_for(&fake.host, "pass").resolve(&fake.reference("a:t")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}
