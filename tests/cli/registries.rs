//! Registries that want credentials, redirect, or fail for a while.

use std::time::{Duration, Instant};

use brig_testing::image::{Compression, Image, ImageBuilder, LayerBuilder};
use brig_testing::{Auth, Fault, Registry, Rule};
use serde_json::json;

use super::{env, nothing_is_left};

/// An image with a layer of some hundred kilobytes that doesn't compress.
fn image() -> Image {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(300_000)
    .collect();
    let layer = LayerBuilder::new().file("noise", 0o644, noise).build(Compression::Gzip);
    ImageBuilder::linux().layer(layer).cmd(&["/noise"]).build()
}

#[test]
fn a_password_is_taken_from_dockers_configuration() {
    let env = env();
    let registry = Registry::with_auth(Auth::basic("user", "secret"));
    let name = image().push(&registry, "app");
    let _ = env.brig(&["pull", &name]).fails();
    env.log_in(registry.host(), json!({ "auth": "dXNlcjpzZWNyZXQ=" }));
    let _ = env.brig(&["pull", "-q", &name]).success();
    let copy = registry.reference("copy:v1");
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", "-q", &copy]).success();
}

#[test]
fn a_wrong_password_is_an_error_that_says_so() {
    let env = env();
    let registry = Registry::with_auth(Auth::bearer("user", "secret"));
    let name = image().push(&registry, "app");
    env.log_in(registry.host(), json!({ "auth": "dXNlcjp3cm9uZw==" }));
    let output = env.brig(&["--format", "json", "pull", &name]).exits(1);
    assert!(output.stderr.contains("\"unauthorized\""), "{}", output.stderr);
    assert!(!output.stderr.contains("wrong") && !output.stderr.contains("dXNlcj"), "{}", output.stderr);
}

#[test]
fn tokens_are_fetched_for_pull_and_push() {
    let env = env();
    let registry = Registry::with_auth(Auth::bearer("user", "secret"));
    env.log_in(registry.host(), json!({ "auth": "dXNlcjpzZWNyZXQ=" }));
    let name = image().push(&registry, "app");
    let _ = env.brig(&["pull", "-q", &name]).success();
    let copy = registry.reference("copy:v1");
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", "-q", &copy]).success();
    assert_eq!(registry.tags("copy"), ["v1"]);
}

#[test]
fn anybody_may_have_a_token_of_a_public_registry() {
    let env = env();
    let registry = Registry::with_auth(Auth::bearer_for_anybody());
    let name = image().push(&registry, "app");
    let _ = env.brig(&["pull", "-q", &name]).success();
}

#[test]
fn credentials_are_not_sent_where_a_redirect_leads() {
    let env = env();
    let image = image();
    let elsewhere = Registry::start();
    image.push(&elsewhere, "app");
    let registry = Registry::with_auth(Auth::basic("user", "secret"));
    env.log_in(registry.host(), json!({ "auth": "dXNlcjpzZWNyZXQ=" }));
    let name = image.push(&registry, "app");
    let target = format!("http://{}", elsewhere.host());
    registry.fault(Rule::always(Fault::Redirect(target)).path("/blobs/").method("GET"));
    let _ = env.brig(&["pull", "-q", &name]).success();
    let requests = elsewhere.requests();
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.header("authorization"), None, "{request:#?}");
    }
}

#[test]
fn a_moment_of_trouble_is_waited_out() {
    let env = env();
    let registry = Registry::start();
    let name = image().push(&registry, "app");
    registry.fault(Rule::always(Fault::Status(503)).path("/manifests/").times(1));
    registry.fault(Rule::always(Fault::Status(500)).path("/blobs/").method("GET").times(1));
    let _ = env.brig(&["pull", "-q", &name]).success();
}

#[test]
fn a_layer_that_breaks_off_is_continued() {
    let env = env();
    let registry = Registry::start();
    let image = image();
    let name = image.push(&registry, "app");
    let layer = image.blobs[1].digest.to_string();
    registry.fault(Rule::always(Fault::Truncate(200_000)).path(&layer).method("GET").times(1));
    // It may be continued by the same pull or by the next: never from the beginning.
    let first = env.brig(&["pull", "-q", &name]);
    if first.code() != 0 {
        let _ = env.brig(&["pull", "-q", &name]).success();
    }
    let requests = registry.requests();
    let of_layer: Vec<_> = requests.iter().filter(|request| request.path.contains(&layer)).collect();
    let resumed =
        of_layer.iter().filter_map(|request| request.header("range")).any(|range| range != "bytes=0-");
    assert!(resumed, "{of_layer:#?}");
}

#[test]
fn a_registry_without_ranges_is_read_from_the_beginning() {
    let env = env();
    let registry = Registry::start();
    let image = image();
    let name = image.push(&registry, "app");
    let layer = image.blobs[1].digest.to_string();
    registry.fault(Rule::always(Fault::NoRange));
    registry.fault(Rule::always(Fault::Truncate(100_000)).path(&layer).method("GET").times(1));
    if env.brig(&["pull", "-q", &name]).code() != 0 {
        let _ = env.brig(&["pull", "-q", &name]).success();
    }
    let _ = env.brig(&["fsck"]).success();
}

#[test]
fn a_lie_about_the_content_is_found() {
    for (fault, path) in [
        (Fault::Corrupt, "/blobs/"),
        (Fault::Corrupt, "/manifests/"),
        (Fault::Longer(10), "/blobs/"),
        (Fault::Endless, "/blobs/"),
        (Fault::Endless, "/manifests/"),
    ] {
        let env = env();
        let registry = Registry::start();
        let image = image();
        image.push(&registry, "app");
        let name = registry.reference(&format!("app@{}", image.digest()));
        registry.fault(Rule::always(fault.clone()).path(path).method("GET"));
        let start = Instant::now();
        let output = env.brig(&["pull", &name]).fails();
        assert!(start.elapsed() < Duration::from_secs(60), "{fault:?}: {}", output.transcript());
        nothing_is_left(&env);
    }
}

#[test]
fn a_stalled_or_dead_registry_is_given_up() {
    let env = env();
    let registry = Registry::start();
    let name = image().push(&registry, "app");
    drop(registry);
    let output = env.brig(&["--format", "json", "pull", &name]).exits(1);
    assert!(output.stderr.contains("\"unavailable\""), "{}", output.stderr);
    nothing_is_left(&env);
}
