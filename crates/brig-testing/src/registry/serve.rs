//! From a request to an answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use brig_oci::{Digest, Document};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;

use super::answer::{Answer, DIGEST_HEADER};
use super::fault::Fault;
use super::log::Request;
use super::route::{Route, parameter};
use super::state::Contents;
use super::{Shared, auth, lock};

/// The largest body of a request, in bytes: tests push images of some hundred MB at most.
const MAX_BODY: usize = 1 << 30;
const UPLOAD_HEADER: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Serves until told to stop. Connections that are still open are dropped.
pub(super) fn run(listener: std::net::TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .expect("a runtime for the registry");
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("register the listener");
        let router = Router::new().fallback(handle).with_state(shared);
        tokio::select! {
            result = axum::serve(listener, router) => result.expect("serve"),
            _ = stopped => {}
        }
    });
}

/// Takes one request: logs it, asks the faults, asks for credentials, answers.
async fn handle(State(shared): State<Arc<Shared>>, request: http::Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let index = log(&shared, &parts);
    let body = match axum::body::to_bytes(body, MAX_BODY).await {
        Ok(body) => body,
        Err(_) => return Answer::status(StatusCode::BAD_REQUEST).into_response(&[]),
    };
    let faults: Vec<Fault> =
        lock(&shared.rules).iter_mut().filter_map(|rule| rule.apply(parts.method.as_str(), &path)).collect();
    for fault in &faults {
        if let Fault::Delay(time) = fault {
            tokio::time::sleep(*time).await;
        }
    }
    let mut headers = parts.headers;
    if faults.contains(&Fault::NoRange) {
        headers.remove(header::RANGE);
    }
    let query = parts.uri.query().unwrap_or_default();
    let answer = match faults.iter().find_map(|fault| instead(fault, &path)) {
        Some(answer) => answer,
        None => answer(&shared, &parts.method, &path, query, &headers, &body),
    };
    if let Some(entry) = lock(&shared.log).get_mut(index) {
        entry.status = answer.status.as_u16();
        entry.body_size = body.len();
    }
    answer.for_method(&parts.method).into_response(&faults)
}

/// Enters a request into the log; its place there.
fn log(shared: &Shared, parts: &http::request::Parts) -> usize {
    let mut log = lock(&shared.log);
    log.push(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().into(),
        query: parts.uri.query().unwrap_or_default().into(),
        headers: parts.headers.clone(),
        body_size: 0,
        status: 0,
    });
    log.len() - 1
}

/// The answer of a fault that replaces the real one.
fn instead(fault: &Fault, path: &str) -> Option<Answer> {
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(*status).expect("a fault's status is one of HTTP");
            Some(Answer::error(status, "UNAVAILABLE", "a fault"))
        }
        Fault::Redirect(base) => {
            let target = format!("{}{path}", base.trim_end_matches('/'));
            Some(Answer::status(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, &target))
        }
        _ => None,
    }
}

fn answer(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let Some(route) = Route::parse(path) else {
        return Answer::error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such endpoint");
    };
    if let Some(refusal) = auth::refuse(shared, method, &route, headers) {
        return refusal;
    }
    let mut contents = lock(&shared.contents);
    match (method, &route) {
        (_, Route::Token) => auth::token(shared, headers, query, body),
        (&Method::GET | &Method::HEAD, Route::Base) => Answer::json(&json!({})),
        (&Method::GET, Route::Tags(name)) => tags(&contents, name, query),
        (&Method::GET | &Method::HEAD, Route::Manifest(name, reference)) => {
            get_manifest(&contents, name, reference)
        }
        (&Method::PUT, Route::Manifest(name, reference)) => {
            put_manifest(&mut contents, name, reference, headers, body)
        }
        (&Method::GET | &Method::HEAD, Route::Blob(name, digest)) => {
            get_blob(&contents, name, digest, headers)
        }
        (&Method::POST, Route::Uploads(name)) => start_upload(&mut contents, name, query, body),
        (&Method::GET, Route::Upload(name, id)) => upload_status(&mut contents, name, id),
        (&Method::PATCH, Route::Upload(name, id)) => patch_upload(&mut contents, name, id, headers, body),
        (&Method::PUT, Route::Upload(name, id)) => finish_upload(&mut contents, name, id, query, body),
        _ => Answer::error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "no such operation"),
    }
}

/// "Listing Tags", with `n` and `last`.
fn tags(contents: &Contents, name: &str, query: &str) -> Answer {
    let all = contents.tags(name);
    if all.is_empty() {
        return Answer::error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    let last = parameter(query, "last").unwrap_or_default();
    let limit = parameter(query, "n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let rest: Vec<String> = all.into_iter().filter(|tag| *tag > last).collect();
    let page: Vec<&String> = rest.iter().take(limit).collect();
    let answer = Answer::json(&json!({ "name": name, "tags": page }));
    match page.last() {
        Some(last) if page.len() < rest.len() => {
            let link = format!("</v2/{name}/tags/list?n={limit}&last={last}>; rel=\"next\"");
            answer.header(header::LINK, &link)
        }
        _ => answer,
    }
}

/// "Pulling manifests".
fn get_manifest(contents: &Contents, name: &str, reference: &str) -> Answer {
    match contents.manifest(name, reference) {
        Some((digest, stored)) => Answer::status(StatusCode::OK)
            .header(header::CONTENT_TYPE, &stored.media_type)
            .header(DIGEST_HEADER, &digest)
            .body(stored.bytes.clone()),
        None => Answer::error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

/// "Pushing manifests": what the manifest names has to be there first.
fn put_manifest(
    contents: &mut Contents,
    name: &str,
    reference: &str,
    headers: &HeaderMap,
    body: &Bytes,
) -> Answer {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = match Document::parse(body.to_vec(), media_type) {
        Ok(document) => document,
        Err(error) => {
            return Answer::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", &error.to_string());
        }
    };
    let missing = document
        .children()
        .into_iter()
        .map(|child| child.digest.to_string())
        .find(|digest| !contents.has_blob(name, digest) && contents.manifest(name, digest).is_none());
    if let Some(missing) = missing {
        return Answer::error(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", &missing);
    }
    let (tag, digest) = match reference.parse::<Digest>() {
        Ok(digest) if digest.matches(body) => (None, digest),
        Ok(_) => return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "not its digest"),
        Err(_) => (Some(reference), Digest::sha256(body)),
    };
    let digest = digest.to_string();
    contents.put_manifest(name, tag, document.media_type(), &digest, body.clone());
    Answer::status(StatusCode::CREATED)
        .header(header::LOCATION, &format!("/v2/{name}/manifests/{digest}"))
        .header(DIGEST_HEADER, &digest)
}

/// "Pulling blobs", with one range.
fn get_blob(contents: &Contents, name: &str, digest: &str, headers: &HeaderMap) -> Answer {
    let blob = contents.blob(digest).filter(|_| contents.has_blob(name, digest));
    let Some(blob) = blob else {
        return Answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown");
    };
    let answer = Answer::status(StatusCode::OK)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::ACCEPT_RANGES, "bytes")
        .header(DIGEST_HEADER, digest);
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(parse_range);
    let Some((start, end)) = range else { return answer.body(blob) };
    let total = blob.len();
    let end = end.map_or(total, |end| total.min(end.saturating_add(1)));
    if start >= end {
        let answer =
            Answer::error(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "beyond the blob's end");
        return answer.header(header::CONTENT_RANGE, &format!("bytes */{total}"));
    }
    let mut answer = answer
        .header(header::CONTENT_RANGE, &format!("bytes {start}-{}/{total}", end - 1))
        .body(blob.slice(start..end));
    answer.status = StatusCode::PARTIAL_CONTENT;
    answer
}

/// `bytes=first-[last]`.
fn parse_range(text: &str) -> Option<(usize, Option<usize>)> {
    let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, end.parse().ok()))
}

/// "Pushing blobs": a mount, all in one request, or a session.
fn start_upload(contents: &mut Contents, name: &str, query: &str, body: &Bytes) -> Answer {
    if let (Some(digest), Some(from)) = (parameter(query, "mount"), parameter(query, "from"))
        && contents.mount(&from, name, &digest)
    {
        return created(name, &digest);
    }
    if let Some(digest) = parameter(query, "digest") {
        return commit(contents, name, &digest, body.clone());
    }
    let id = contents.start_upload();
    in_progress(StatusCode::ACCEPTED, name, &id, 0)
}

fn upload_status(contents: &mut Contents, name: &str, id: &str) -> Answer {
    match contents.upload(id) {
        Some(data) => in_progress(StatusCode::NO_CONTENT, name, id, data.len()),
        None => unknown_upload(),
    }
}

fn patch_upload(contents: &mut Contents, name: &str, id: &str, headers: &HeaderMap, body: &Bytes) -> Answer {
    let Some(data) = contents.upload(id) else { return unknown_upload() };
    let start = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = start.and_then(|range| range.split('-').next()).and_then(|start| start.parse::<usize>().ok());
    if start.is_some_and(|start| start != data.len()) {
        return in_progress(StatusCode::RANGE_NOT_SATISFIABLE, name, id, data.len());
    }
    data.extend_from_slice(body);
    in_progress(StatusCode::ACCEPTED, name, id, data.len())
}

fn finish_upload(contents: &mut Contents, name: &str, id: &str, query: &str, body: &Bytes) -> Answer {
    let Some(digest) = parameter(query, "digest") else {
        return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the digest is missing");
    };
    let Some(mut data) = contents.finish_upload(id) else { return unknown_upload() };
    data.extend_from_slice(body);
    commit(contents, name, &digest, data.into())
}

fn commit(contents: &mut Contents, name: &str, digest: &str, data: Bytes) -> Answer {
    if !digest.parse::<Digest>().is_ok_and(|digest| digest.matches(&data)) {
        return Answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the content has another digest");
    }
    contents.put_blob(name, digest, data);
    created(name, digest)
}

fn created(name: &str, digest: &str) -> Answer {
    Answer::status(StatusCode::CREATED)
        .header(header::LOCATION, &format!("/v2/{name}/blobs/{digest}"))
        .header(DIGEST_HEADER, digest)
}

fn in_progress(status: StatusCode, name: &str, id: &str, size: usize) -> Answer {
    Answer::status(status)
        .header(header::LOCATION, &format!("/v2/{name}/blobs/uploads/{id}"))
        .header(header::RANGE, &format!("0-{}", size.saturating_sub(1)))
        .header(UPLOAD_HEADER, id)
}

fn unknown_upload() -> Answer {
    Answer::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload")
}
