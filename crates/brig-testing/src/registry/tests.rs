//! The registry over real sockets, with the smallest of clients.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;

use super::{Auth, Fault, Registry, Rule};
use crate::image::{ImageBuilder, LayerBuilder};

/// An answer: the head, and the bytes after it.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn ask(registry: &Registry, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    // A stalled answer ends with the time limit of this client, an endless one with its patience.
    let _ = stream.take(1 << 20).read_to_end(&mut bytes);
    let split = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let body = bytes.split_off(split + 4);
    Answer { head: String::from_utf8(bytes).unwrap(), body }
}

fn get(registry: &Registry, target: &str) -> Answer {
    ask(registry, "GET", target, &[], &[])
}

fn with_blob(bytes: &'static [u8]) -> (Registry, String) {
    let registry = Registry::start();
    let digest = registry.put_blob("lib/a", bytes);
    (registry, format!("/v2/lib/a/blobs/{digest}"))
}

#[test]
fn blobs_come_whole_and_in_ranges() {
    let (registry, path) = with_blob(b"0123456789");
    let whole = get(&registry, &path);
    assert_eq!((whole.status(), whole.body.as_slice()), (200, &b"0123456789"[..]));
    let tail = ask(&registry, "GET", &path, &[("Range", "bytes=7-")], &[]);
    assert_eq!((tail.status(), tail.body.as_slice()), (206, &b"789"[..]));
    assert_eq!(tail.header("content-range"), Some("bytes 7-9/10"));
    let part = ask(&registry, "GET", &path, &[("Range", "bytes=2-3")], &[]);
    assert_eq!(part.body, b"23");
    assert_eq!(ask(&registry, "GET", &path, &[("Range", "bytes=10-")], &[]).status(), 416);
    let head = ask(&registry, "HEAD", &path, &[], &[]);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("10"), 0));
    assert_eq!(registry.count("GET", "/blobs/"), 4);
    assert_eq!(registry.requests()[1].header("range"), Some("bytes=7-"));
    assert_eq!(registry.requests()[1].status, 206);
}

#[test]
fn a_blob_belongs_to_its_repository_until_it_is_mounted() {
    let (registry, path) = with_blob(b"x");
    let digest = path.rsplit('/').next().unwrap();
    assert_eq!(get(&registry, &format!("/v2/b/blobs/{digest}")).status(), 404);
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=lib%2Fa");
    assert_eq!(ask(&registry, "POST", &mount, &[], &[]).status(), 201);
    assert_eq!(get(&registry, &format!("/v2/b/blobs/{digest}")).status(), 200);
    let elsewhere = format!("/v2/b/blobs/uploads/?mount={digest}&from=none");
    assert_eq!(ask(&registry, "POST", &elsewhere, &[], &[]).status(), 202);
}

#[test]
fn an_upload_in_portions_is_checked_at_its_end() {
    let registry = Registry::start();
    let started = ask(&registry, "POST", "/v2/a/blobs/uploads/", &[], &[]);
    let location = started.header("location").unwrap().to_owned();
    let patch = |range: &str, body: &[u8]| {
        ask(&registry, "PATCH", &location, &[("Content-Range", range)], body).status()
    };
    assert_eq!(patch("0-2", b"abc"), 202);
    assert_eq!(patch("7-9", b"xyz"), 416);
    let digest = brig_oci::Digest::sha256("abcdef");
    let done = ask(&registry, "PUT", &format!("{location}?digest={digest}"), &[], b"def");
    assert_eq!(done.status(), 201);
    assert_eq!(registry.blob(&digest).unwrap(), "abcdef");
    let wrong = format!("/v2/a/blobs/uploads/?digest={digest}");
    assert_eq!(ask(&registry, "POST", &wrong, &[], b"other").status(), 400);
}

#[test]
fn a_manifest_needs_what_it_names() {
    let registry = Registry::start();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    let put = |reference: &str| {
        let target = format!("/v2/a/manifests/{reference}");
        let headers = [("Content-Type", image.document.media_type.as_str())];
        ask(&registry, "PUT", &target, &headers, &image.document.bytes).status()
    };
    assert_eq!(put("v1"), 404);
    for blob in &image.blobs {
        registry.put_blob("a", blob.bytes.clone());
    }
    assert_eq!(put("v1"), 201);
    assert_eq!(put(&brig_oci::Digest::sha256("another").to_string()), 400);
    let got = get(&registry, "/v2/a/manifests/v1");
    assert_eq!(got.body, image.document.bytes);
    assert_eq!(got.header("content-type"), Some(image.document.media_type.as_str()));
    assert_eq!(got.header("docker-content-digest"), Some(image.digest().to_string().as_str()));
    assert_eq!(get(&registry, &format!("/v2/a/manifests/{}", image.digest())).status(), 200);
    assert_eq!(registry.tags("a"), ["v1"]);
}

#[test]
fn tags_come_in_pages() {
    let registry = Registry::start();
    for tag in ["a", "b", "c"] {
        registry.set_tag("r", tag, "sha256:0");
    }
    let page = get(&registry, "/v2/r/tags/list?n=2");
    assert_eq!(page.body, br#"{"name":"r","tags":["a","b"]}"#);
    assert_eq!(page.header("link"), Some("</v2/r/tags/list?n=2&last=b>; rel=\"next\""));
    assert_eq!(get(&registry, "/v2/r/tags/list?n=2&last=b").body, br#"{"name":"r","tags":["c"]}"#);
    assert_eq!(get(&registry, "/v2/none/tags/list").status(), 404);
}

#[test]
fn basic_credentials_are_asked_for() {
    let registry = Registry::with_auth(Auth::basic("user", "secret"));
    let refused = get(&registry, "/v2/");
    assert_eq!((refused.status(), refused.header("www-authenticate")), (401, Some("Basic realm=\"tests\"")));
    let encoded = base64::engine::general_purpose::STANDARD.encode("user:secret");
    let given = format!("Basic {encoded}");
    assert_eq!(ask(&registry, "GET", "/v2/", &[("Authorization", &given)], &[]).status(), 200);
}

#[test]
fn a_token_is_for_one_repository_and_action() {
    let registry = Registry::with_auth(Auth::bearer("user", "secret"));
    let digest = registry.put_blob("a", "x");
    let refused = get(&registry, &format!("/v2/a/blobs/{digest}"));
    assert_eq!(refused.status(), 401);
    assert!(refused.header("www-authenticate").unwrap().contains("scope=\"repository:a:pull\""));
    assert_eq!(get(&registry, "/token?scope=repository:a:pull").status(), 401);
    let form = b"grant_type=refresh_token&refresh_token=secret&scope=repository%3Aa%3Apull";
    let token = ask(&registry, "POST", "/token", &[], form);
    let token: serde_json::Value = serde_json::from_slice(&token.body).unwrap();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let with = |method: &str, target: &str| {
        ask(&registry, method, target, &[("Authorization", &bearer)], &[]).status()
    };
    assert_eq!(with("GET", &format!("/v2/a/blobs/{digest}")), 200);
    assert_eq!(with("POST", "/v2/a/blobs/uploads/"), 401);
    assert_eq!(with("GET", "/v2/b/tags/list"), 401);
}

#[test]
fn faults_break_the_body() {
    let (registry, path) = with_blob(&[7; 1000]);
    let broken = |fault: Fault| {
        registry.heal();
        registry.fault(Rule::always(fault).path("/blobs/"));
        get(&registry, &path)
    };
    let truncated = broken(Fault::Truncate(100));
    assert_eq!((truncated.header("content-length"), truncated.body.len()), (Some("1000"), 100));
    let longer = broken(Fault::Longer(5));
    assert_eq!((longer.header("content-length"), longer.body.len()), (Some("1005"), 1005));
    let corrupt = broken(Fault::Corrupt);
    assert_eq!(corrupt.body.iter().filter(|byte| **byte != 7).count(), 1);
    let stalled = broken(Fault::Stall(10));
    assert_eq!((stalled.header("content-length"), stalled.body.len()), (Some("1000"), 10));
    let endless = broken(Fault::Endless);
    assert_eq!(endless.header("content-length"), None);
    assert!(endless.body.len() > 100_000);
    let wrong = broken(Fault::WrongDigest);
    assert_eq!(wrong.body.len(), 1000);
    assert!(!path.ends_with(wrong.header("docker-content-digest").unwrap()));
}

#[test]
fn faults_come_in_place_of_the_answer_and_pass() {
    let (registry, path) = with_blob(b"x");
    registry.fault(Rule::always(Fault::Status(503)).times(2));
    registry.fault(Rule::always(Fault::Redirect("http://127.0.0.1:1/".into())).method("HEAD"));
    assert_eq!([get(&registry, &path).status(), get(&registry, &path).status()], [503, 503]);
    assert_eq!(get(&registry, &path).status(), 200);
    let redirected = ask(&registry, "HEAD", &path, &[], &[]);
    let target = format!("http://127.0.0.1:1{path}");
    assert_eq!((redirected.status(), redirected.header("location")), (307, Some(target.as_str())));
}

#[test]
fn a_slow_body_takes_its_time() {
    let (registry, path) = with_blob(&[7; 1000]);
    registry.fault(Rule::always(Fault::Slow(5000)));
    let start = Instant::now();
    assert_eq!(get(&registry, &path).body.len(), 1000);
    assert!(start.elapsed() >= Duration::from_millis(90), "{:?}", start.elapsed());
}

#[test]
fn dropping_it_closes_the_port() {
    let registry = Registry::start();
    let host = registry.host().to_owned();
    assert!(TcpStream::connect(&host).is_ok());
    drop(registry);
    assert!(TcpStream::connect(&host).is_err());
}
