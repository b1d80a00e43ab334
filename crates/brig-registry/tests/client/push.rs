//! Blobs to a registry: in one piece, in chunks, mounted, and what goes wrong on the way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Response};
use brig_oci::Digest;
use brig_registry::{BlobSource, Client, Error};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::fake::*;

const UPLOADS: &str = "/v2/a/blobs/uploads/";

fn accepted(location: &str, headers: &[(&'static str, &str)]) -> Response<Body> {
    with(with(status(202), &[("location", location)]), headers)
}

#[tokio::test]
async fn a_blob_goes_in_one_piece() {
    let fake = Fake::start(|seen| match seen.method {
        Method::POST => accepted("/upload/1?state=a%2Fb", &[]),
        Method::PUT => status(201),
        Method::HEAD if seen.earlier > 0 => with(status(200), &[("content-length", "100000")]),
        _ => status(404),
    })
    .await;
    let (client, reference, blob) = (client(), fake.reference("a"), content(100_000));
    assert!(!client.has_blob(&reference, &descriptor(&blob)).await.unwrap());
    client.push_blob(&reference, &descriptor(&blob), &blob).await.unwrap();
    assert!(client.has_blob(&reference, &descriptor(&blob)).await.unwrap());
    let put = fake.seen().into_iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert_eq!(put.body, blob);
    assert_eq!(put.header("content-length"), Some("100000"));
    assert_eq!(put.header("transfer-encoding"), None);
    let digest = descriptor(&blob).digest.to_string().replace(':', "%3A");
    assert_eq!(put.query, format!("state=a%2Fb&digest={digest}"));
    let error = client.has_blob(&reference, &descriptor(b"other")).await.unwrap();
    assert!(!error);
}

#[tokio::test]
async fn a_file_is_a_source() {
    let fake =
        Fake::start(|seen| if seen.method == Method::POST { accepted("/u", &[]) } else { status(201) }).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let blob = content(3_000_000);
    std::fs::write(file.path(), &blob).unwrap();
    client().push_blob(&fake.reference("a"), &descriptor(&blob), &file.path().to_owned()).await.unwrap();
    assert_eq!(fake.seen().pop().unwrap().body, blob);
}

#[tokio::test]
async fn an_answer_that_is_not_201_or_has_another_digest_is_an_error() {
    let blob = content(10);
    for (answer, expected) in [(200, "Refused"), (202, "Refused"), (400, "Refused"), (201, "DigestMismatch")]
    {
        let fake = Fake::start(move |seen| match seen.method {
            Method::POST => accepted("/u", &[]),
            _ => with(status(answer), &[("docker-content-digest", &Digest::sha256("other").to_string())]),
        })
        .await;
        let error = client().push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_failure_that_passes_begins_the_upload_again() {
    let fake = Fake::start(|seen| match (&seen.method, seen.earlier) {
        (&Method::POST, 0) => status(503),
        (&Method::POST, _) => accepted("/u", &[]),
        (_, 0) => status(502),
        _ => status(201),
    })
    .await;
    let blob = content(1000);
    client().push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap();
    assert_eq!(fake.count(Method::POST, UPLOADS), 3);
    assert_eq!(fake.seen().pop().unwrap().body, blob);
}

/// Takes chunks, wants them to be large enough, and loses one.
fn chunked(received: &Mutex<Vec<u8>>, seen: &Seen, min: &'static str) -> Response<Body> {
    let mut received = received.lock().unwrap();
    let range = |length: usize| format!("0-{}", length.saturating_sub(1));
    match (seen.method.clone(), seen.path.as_str()) {
        (Method::POST, _) => accepted("/u?n=0", &[("oci-chunk-min-length", min)]),
        (Method::PATCH, _) if seen.earlier == 1 => status(500),
        (Method::PATCH, _) => {
            let start: usize =
                seen.header("content-range").unwrap().split('-').next().unwrap().parse().unwrap();
            if start != received.len() {
                return status(416);
            }
            // One chunk arrives in part only.
            let body =
                if seen.earlier == 2 { seen.body.slice(..seen.body.len() / 2) } else { seen.body.clone() };
            received.extend_from_slice(&body);
            accepted(&format!("/u?n={}", seen.earlier + 1), &[("range", &range(received.len()))])
        }
        (Method::GET, _) => {
            let mut response = with(accepted("/u?n=status", &[]), &[("range", &range(received.len()))]);
            *response.status_mut() = axum::http::StatusCode::NO_CONTENT;
            response
        }
        (Method::PUT, _) if seen.query.contains("digest=") && seen.body.is_empty() => status(201),
        _ => status(404),
    }
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants_and_resume() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let stored = Arc::clone(&received);
    let fake = Fake::start(move |seen| chunked(&stored, seen, "30000")).await;
    let mut options = options();
    options.chunk_size = Some(10_000);
    let blob = content(100_001);
    Client::new(options).push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap();
    assert_eq!(*received.lock().unwrap(), blob);
    let first = fake.seen().into_iter().find(|seen| seen.method == Method::PATCH).unwrap();
    assert_eq!(first.header("content-range"), Some("0-29999"));
    assert_eq!(first.header("content-length"), Some("30000"));
}

#[tokio::test]
async fn a_blob_too_large_for_one_request_goes_in_chunks() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let stored = Arc::clone(&received);
    let fake = Fake::start(move |seen| match seen.method {
        Method::PUT if !seen.body.is_empty() => status(413),
        _ => chunked(&stored, seen, "0"),
    })
    .await;
    let blob = content(17 * 1024 * 1024);
    client().push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap();
    assert!(*received.lock().unwrap() == blob);
}

#[tokio::test]
async fn a_registry_that_makes_up_ranges_is_refused() {
    for range in ["0-99", "5-10", "0-", "bytes=0-99999999999999999999"] {
        let fake = Fake::start(move |seen| match seen.method {
            Method::POST => accepted("/u", &[]),
            _ => accepted("/u", &[("range", range)]),
        })
        .await;
        let mut options = options();
        options.chunk_size = Some(10);
        let blob = content(50);
        let error = Client::new(options)
            .push_blob(&fake.reference("a"), &descriptor(&blob), &blob)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{range}: {error}");
    }
}

#[tokio::test]
async fn content_that_is_too_short_or_unreadable_is_the_sources_fault() {
    let fake =
        Fake::start(|seen| if seen.method == Method::POST { accepted("/u", &[]) } else { status(201) }).await;
    let (whole, part) = (content(500_000), content(400_000));
    let error = client().push_blob(&fake.reference("a"), &descriptor(&whole), &part).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    let missing = std::path::PathBuf::from("/nonexistent/blob");
    let error = client().push_blob(&fake.reference("a"), &descriptor(&whole), &missing).await.unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert_eq!(fake.count(Method::POST, UPLOADS), 2, "reading again would give the same");
}

#[tokio::test]
async fn an_upload_location_on_another_host_gets_no_credentials() {
    let storage = Fake::start(|_| status(201)).await;
    let location = format!("http://{}/store?sig=x", storage.host);
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        Some(_) => accepted(&location, &[]),
        None => with(status(401), &[("www-authenticate", "Basic realm=x")]),
    })
    .await;
    let blob = content(1000);
    client_for(&fake.host, "pass").push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap();
    let seen = storage.seen();
    assert_eq!((seen.len(), seen[0].header("authorization"), &seen[0].body), (1, None, &blob));
}

#[tokio::test]
async fn a_token_that_runs_out_during_an_upload_is_replaced() {
    let fake = Fake::start(|seen| {
        let host = seen.header("host").unwrap();
        let unauthorized =
            with(status(401), &[("www-authenticate", &format!(r#"Bearer realm="http://{host}/token""#))]);
        match (seen.path.as_str(), seen.header("authorization"), &seen.method) {
            ("/token", _, _) => ok(format!(r#"{{"token":"t{}","expires_in":3600}}"#, seen.earlier)),
            (_, Some("Bearer t0"), &Method::PUT) | (_, None, _) => unauthorized,
            (_, _, &Method::POST) => accepted("/u", &[]),
            _ => status(201),
        }
    })
    .await;
    let blob = content(1000);
    client().push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap();
    let token = fake.seen().into_iter().find(|seen| seen.path == "/token").unwrap();
    assert_eq!(token.query, "scope=repository%3Aa%3Apull%2Cpush");
    assert_eq!(fake.count(Method::GET, "/token"), 2);
}

#[tokio::test]
async fn mounting_is_a_question() {
    let fake = Fake::start(|seen| match (&seen.method, seen.query.contains("from=yes")) {
        (&Method::POST, true) => status(201),
        (&Method::POST, false) => accepted("/u", &[]),
        _ => status(204),
    })
    .await;
    let (client, blob) = (client(), descriptor(b"x"));
    assert!(client.mount_blob(&fake.reference("a"), &blob, &fake.reference("yes")).await.unwrap());
    assert!(!client.mount_blob(&fake.reference("a"), &blob, &fake.reference("no")).await.unwrap());
    assert_eq!(fake.count(Method::DELETE, "/u"), 1, "the upload that nobody wants is ended");
    let elsewhere = "other.invalid/a".parse().unwrap();
    assert!(!client.mount_blob(&fake.reference("a"), &blob, &elsewhere).await.unwrap());
}

/// A reader that stops after its first bytes.
struct Stuck(bool);

impl AsyncRead for Stuck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Pending;
        }
        buffer.put_slice(b"some");
        Poll::Ready(Ok(()))
    }
}

struct StuckSource;

impl BlobSource for StuckSource {
    type Reader = Stuck;

    async fn open(&self, _: u64) -> io::Result<Stuck> {
        Ok(Stuck(false))
    }
}

#[tokio::test]
async fn an_upload_that_stops_moving_is_given_up() {
    let fake =
        Fake::start(|seen| if seen.method == Method::POST { accepted("/u", &[]) } else { status(201) }).await;
    let start = Instant::now();
    let blob = content(1000);
    let error = Client::new(impatient())
        .push_blob(&fake.reference("a"), &descriptor(&blob), &StuckSource)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn an_empty_blob_can_be_pushed() {
    let fake =
        Fake::start(|seen| if seen.method == Method::POST { accepted("/u", &[]) } else { status(201) }).await;
    let empty = Bytes::new();
    client().push_blob(&fake.reference("a"), &descriptor(&empty), &empty).await.unwrap();
    assert_eq!(fake.seen().pop().unwrap().header("content-length"), Some("0"));
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_seen() {
    // As proxies do it: 413 after the headers, and the connection is closed without reading the body.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            // The request's head is all that is looked at.
            let _ = stream.read(&mut buffer).await;
            let answer = "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let location = format!("http://{proxy}/u");
    let fake = Fake::start(move |_| accepted(&location, &[])).await;
    let blob = content(8 * 1024 * 1024);
    let error = client().push_blob(&fake.reference("a"), &descriptor(&blob), &blob).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 413, .. }), "{error:?}");
    task.abort();
}

#[test]
fn every_future_can_move_between_threads() {
    fn check<T: Send>(_: T) {}
    let (client, reference) = (Client::default(), "a".parse().unwrap());
    let (blob, path) = (descriptor(b"x"), std::path::PathBuf::from("x"));
    check(client.resolve(&reference));
    check(client.head(&reference));
    check(client.manifest(&reference, &blob));
    check(client.blob(&reference, &blob, 0));
    check(client.has_blob(&reference, &blob));
    check(client.mount_blob(&reference, &blob, &reference));
    check(client.push_blob(&reference, &blob, &path));
    check(client.tags(&reference));
    check(client.referrers(&reference, &blob.digest, None));
    check(async { client.blob(&reference, &blob, 0).await.unwrap().next().await });
}
