//! Blobs from a registry that cuts, stretches and delays them.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Response};
use brig_oci::Descriptor;
use brig_registry::{Client, Error};
use bytes::Bytes;

use crate::fake::*;

/// Serves `content` whole or, where a range is asked for, from there on.
fn ranged(seen: &Seen, content: &Bytes) -> Response<Body> {
    let Some(range) = seen.header("range") else { return ok(content.clone()) };
    let start: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    let header = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
    let mut response = with(ok(content.slice(start..)), &[("content-range", &header)]);
    *response.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
    response
}

/// A body with the right length in its header that breaks off after `length` bytes.
fn broken(content: &Bytes, length: usize) -> Response<Body> {
    let body = content.slice(..length);
    // The pause lets the piece out before the server notices that nothing follows.
    with(
        dripping(std::iter::once(body), Duration::from_millis(50)),
        &[("content-length", &content.len().to_string())],
    )
}

async fn fetch(fake: &Fake, descriptor: &Descriptor, offset: u64) -> Result<Vec<u8>, Error> {
    let mut stream = client().blob(&fake.reference("a"), descriptor, offset).await?;
    drain(&mut stream).await
}

#[tokio::test]
async fn a_blob_comes_whole_or_from_an_offset() {
    let blob = content(300_000);
    let served = blob.clone();
    let fake = Fake::start(move |seen| ranged(seen, &served)).await;
    assert_eq!(fetch(&fake, &descriptor(&blob), 0).await.unwrap(), blob);
    let mut stream = client().blob(&fake.reference("a"), &descriptor(&blob), 123_456).await.unwrap();
    assert!(stream.resumed());
    assert_eq!(drain(&mut stream).await.unwrap(), blob[123_456..]);
    assert_eq!(stream.offset(), 300_000);
    assert!(fetch(&fake, &descriptor(&blob), 300_000).await.unwrap().is_empty());
    assert!(fetch(&fake, &descriptor(b""), 0).await.unwrap().is_empty());
    assert!(matches!(fetch(&fake, &descriptor(&blob), 300_001).await, Err(Error::SizeMismatch { .. })));
}

#[tokio::test]
async fn a_registry_that_ignores_ranges_costs_time_only() {
    let blob = content(300_000);
    let served = blob.clone();
    let fake = Fake::start(move |_| ok(served.clone())).await;
    let mut stream = client().blob(&fake.reference("a"), &descriptor(&blob), 123_456).await.unwrap();
    assert!(!stream.resumed());
    assert_eq!(drain(&mut stream).await.unwrap(), blob[123_456..]);
}

#[tokio::test]
async fn a_part_that_is_not_the_one_asked_for_is_refused() {
    let blob = content(1000);
    for range in [
        "bytes 11-999/1000",
        "bytes 9-999/1000",
        "bytes 0-999/1000",
        "bytes 10-998/1000",
        "bytes */1000",
        "nonsense",
        "bytes 10-999/2000",
    ] {
        let served = blob.clone();
        let fake = Fake::start(move |_| {
            // Without a length, which would give it away already.
            let body = dripping(std::iter::once(served.slice(10..)), Duration::ZERO);
            let mut response = with(body, &[("content-range", range)]);
            *response.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
            response
        })
        .await;
        let error = fetch(&fake, &descriptor(&blob), 10).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. } | Error::SizeMismatch { .. }), "{range}: {error}");
        assert!(error.to_string().contains(&descriptor(&blob).digest.to_string()), "{error}");
    }
}

#[tokio::test]
async fn another_size_is_an_error_that_names_the_digest() {
    let blob = content(1000);
    for served in [content(999), content(1001), Bytes::new()] {
        let fake = Fake::start(move |_| ok(served.clone())).await;
        let error = fetch(&fake, &descriptor(&blob), 0).await.unwrap_err();
        assert!(matches!(error, Error::SizeMismatch { expected: 1000, .. }), "{error}");
        assert!(error.to_string().contains(&descriptor(&blob).digest.to_string()), "{error}");
    }
}

#[tokio::test]
async fn one_byte_more_without_a_length_is_an_error_too() {
    let blob = content(1000);
    let served = content(1001);
    let fake = Fake::start(move |_| {
        dripping(
            served.chunks(100).map(Bytes::copy_from_slice).collect::<Vec<_>>().into_iter(),
            Duration::ZERO,
        )
    })
    .await;
    let mut stream = client().blob(&fake.reference("a"), &descriptor(&blob), 0).await.unwrap();
    let mut received = 0;
    let error = loop {
        match stream.next().await {
            Ok(Some(bytes)) => received += bytes.len(),
            Ok(None) => panic!("too much was not noticed"),
            Err(error) => break error,
        }
    };
    assert!(received <= 1000);
    assert!(matches!(error, Error::Overlong { size: 1000, .. }), "{error}");
}

#[tokio::test]
async fn an_endless_body_ends() {
    let fake = Fake::start(|_| endless(Duration::ZERO, 10_000)).await;
    let error = fetch(&fake, &descriptor(&content(1_000_000)), 0).await.unwrap_err();
    assert!(matches!(error, Error::Overlong { .. }), "{error}");
}

#[tokio::test]
async fn a_broken_connection_is_made_again_from_where_it_broke() {
    let blob = content(200_000);
    let served = blob.clone();
    let fake = Fake::start(move |seen| match seen.earlier {
        0 => broken(&served, 50_000),
        1 => status(503),
        _ => ranged(seen, &served),
    })
    .await;
    assert_eq!(fetch(&fake, &descriptor(&blob), 0).await.unwrap(), blob);
    let ranges: Vec<_> = fake.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=50000-".into()), Some("bytes=50000-".into())]);
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_after_a_few_attempts() {
    let blob = content(1000);
    let path = format!("/v2/a/blobs/{}", descriptor(&blob).digest);
    for declared in [true, false] {
        let served = blob.clone();
        let fake = Fake::start(move |_| match declared {
            true => broken(&served, 500),
            false => dripping(std::iter::once(served.slice(..500)), Duration::ZERO),
        })
        .await;
        let error = fetch(&fake, &descriptor(&blob), 0).await.unwrap_err();
        assert!(matches!(error, Error::Truncated { size: 1000, received: 500, .. }), "{error:?}");
        assert_eq!(fake.count(Method::GET, &path), 5);
    }
}

#[tokio::test]
async fn a_blob_that_drips_is_given_up() {
    let fake = Fake::start(|_| endless(Duration::from_millis(40), 1)).await;
    let start = Instant::now();
    let client = Client::new(impatient());
    let mut stream = client.blob(&fake.reference("a"), &descriptor(&content(100_000)), 0).await.unwrap();
    let error = drain(&mut stream).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_reader_is_not_a_slow_registry() {
    let blob = content(400_000);
    let served = blob.clone();
    let fake = Fake::start(move |seen| ranged(seen, &served)).await;
    let mut stream =
        Client::new(impatient()).blob(&fake.reference("a"), &descriptor(&blob), 0).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let rest = drain(&mut stream).await.unwrap();
    assert_eq!([&first[..], &rest].concat(), blob);
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let blob = content(60_000);
    let served = blob.clone();
    let fake = Fake::start(move |seen| match seen.earlier {
        0 => broken(&served, 10_000),
        _ if seen.header("range").is_none() => status(500),
        _ => {
            let start = 10_000;
            let pieces: Vec<_> = served.slice(start..).chunks(2000).map(Bytes::copy_from_slice).collect();
            let header = format!("bytes {start}-{}/{}", served.len() - 1, served.len());
            let mut response =
                with(dripping(pieces.into_iter(), Duration::from_millis(9)), &[("content-range", &header)]);
            *response.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
            response
        }
    })
    .await;
    let mut stream = client().blob(&fake.reference("a"), &descriptor(&blob), 0).await.unwrap();
    let (mut all, mut dropped) = (Vec::new(), 0);
    loop {
        match tokio::time::timeout(Duration::from_millis(4), stream.next()).await {
            Ok(Ok(Some(bytes))) => all.extend_from_slice(&bytes),
            Ok(Ok(None)) => break,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => dropped += 1,
        }
    }
    assert_eq!(all, blob);
    assert!(dropped > 0);
}

#[tokio::test]
async fn a_missing_blob_is_named() {
    let fake = Fake::start(|_| error(404, "BLOB_UNKNOWN")).await;
    let blob = descriptor(b"x");
    match fetch(&fake, &blob, 0).await.unwrap_err() {
        Error::BlobNotFound { digest, .. } => assert_eq!(digest, blob.digest),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn blobs_come_in_parallel() {
    let blob = content(500_000);
    let served = blob.clone();
    let fake = Fake::start(move |seen| ranged(seen, &served)).await;
    let client = client();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (client, reference, blob) = (client.clone(), fake.reference("a"), blob.clone());
            tokio::spawn(async move {
                let mut stream = client.blob(&reference, &descriptor(&blob), 0).await.unwrap();
                assert_eq!(drain(&mut stream).await.unwrap(), blob);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
