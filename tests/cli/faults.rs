//! Wrong input: a clear error each, and nothing left behind.

use std::fs;

use brig_testing::image::{
    self, Blob, Compression, Digest, Image, ImageBuilder, IndexBuilder, Layer, LayerBuilder, Platform,
};
use brig_testing::{Fault, Guest, Registry, Rule, TestEnv, need, need_containers, need_root, need_tool};

use super::{env, eventually, nothing_is_left, with_busybox};

/// Pulls an image that can't be had; the error says each of `words`.
#[track_caller]
fn refused(env: &TestEnv, name: &str, words: &[&str]) {
    let mut output = env.brig(&["pull", name]).exits(1);
    for word in words {
        output = output.says(word);
    }
    nothing_is_left(env);
}

/// An image with one layer of the given bytes, of the type of a tar compressed with gzip.
fn with_layer(bytes: impl Into<Vec<u8>>) -> Image {
    let layer = Layer::raw("application/vnd.oci.image.layer.v1.tar+gzip", bytes);
    ImageBuilder::linux().layer(layer).cmd(&["/a"]).build()
}

fn gzip(tar: LayerBuilder) -> Layer {
    tar.build(Compression::Gzip)
}

#[test]
fn an_unknown_tag() {
    let env = env();
    let registry = env.registry();
    refused(&env, &registry.reference("none:v1"), &["none:v1"]);
    let output = env.brig(&["--format", "json", "pull", &registry.reference("none:v1")]).exits(1);
    assert!(output.stderr.contains("\"not_found\""), "{}", output.stderr);
}

#[test]
fn no_matching_platform() {
    let env = env();
    let registry = env.registry();
    let foreign = ImageBuilder::new(Platform::new("linux", "s390x"))
        .files(LayerBuilder::new().file("a", 0o644, "a"))
        .build();
    let name = IndexBuilder::new().image(foreign).build().push(&registry, "foreign");
    refused(&env, &name, &["linux/s390x"]);
    let _ = env.brig(&["run", "--rm", &name]).exits(125);
}

#[test]
fn a_layer_that_is_not_what_the_manifest_says() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    let name = image.push(&registry, "app");
    let layer = &image.blobs[1];
    let other = vec![b'x'; layer.bytes.len()];
    registry.tamper(&layer.digest, other);
    refused(&env, &name, &[layer.digest.hex()]);
}

#[test]
fn a_truncated_layer() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    let name = image.push(&registry, "app");
    registry.fault(Rule::always(Fault::Truncate(10)).path(image.blobs[1].digest.to_string()));
    let _ = env.brig(&["pull", &name]).exits(1);
    let _ = env.brig(&["images", "-q"]).success().prints("");
    registry.heal();
    let _ = env.brig(&["pull", "-q", &name]).success();
    let _ = env.brig(&["fsck"]).success();
}

#[test]
fn a_layer_that_is_not_a_tar() {
    let env = env();
    let registry = env.registry();
    refused(&env, &with_layer("this is not gzip").push(&registry, "a"), &[]);
    let random = Layer::from_tar(&[7; 4096], Compression::Gzip);
    refused(&env, &ImageBuilder::linux().layer(random).build().push(&registry, "b"), &[]);
}

#[test]
fn a_layer_with_another_diff_id() {
    let env = env();
    let registry = env.registry();
    let mut layer = gzip(LayerBuilder::new().file("a", 0o644, "a"));
    layer.diff_id = gzip(LayerBuilder::new().file("b", 0o644, "b")).diff_id;
    let name = ImageBuilder::linux().layer(layer).cmd(&["/a"]).build().push(&registry, "a");
    refused(&env, &name, &[]);
}

#[test]
fn a_layer_that_leaves_its_root() {
    let env = env();
    let registry = env.registry();
    let outside = env.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let up = format!("{}{target}/up", "../".repeat(20));
    let attacks = [
        LayerBuilder::new().file(&up, 0o644, "x"),
        LayerBuilder::new().symlink("link", target).file("link/through", 0o644, "x"),
        LayerBuilder::new()
            .symlink("link", &format!("{}{target}", "../".repeat(20)))
            .file("link/x", 0o644, "x"),
        LayerBuilder::new().file(&format!("{target}/absolute"), 0o644, "x"),
        LayerBuilder::new().hardlink("hard", "/etc/hostname").hardlink("hard2", "../../../../etc/hostname"),
        LayerBuilder::new().symlink("a", "/").symlink("a/b", target).file("a/b/x", 0o644, "x"),
    ];
    for (i, attack) in attacks.into_iter().enumerate() {
        let name = ImageBuilder::linux().layer(gzip(attack)).cmd(&["/a"]).build();
        // Refused, or kept inside: both are right. Outside nothing may change.
        let _ = env.brig(&["pull", "-q", &name.push(&registry, &format!("attack{i}"))]);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "attack {i} reached the outside");
    }
    let _ = env.brig(&["fsck"]).success();
}

#[test]
fn a_document_that_is_two_things() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    image.push(&registry, "app");
    let text = String::from_utf8(image.document.bytes).unwrap();
    let both = text.replacen("\"schemaVersion\":2", "\"schemaVersion\":2,\"manifests\":[]", 1);
    assert_ne!(both, text);
    registry.put_manifest("app", Some("both"), &image.document.media_type, both);
    refused(&env, &registry.reference("app:both"), &[]);
    registry.put_manifest("app", Some("junk"), &image.document.media_type, "{]");
    refused(&env, &registry.reference("app:junk"), &[]);
    let schema1 =
        r#"{"schemaVersion":1,"name":"a","tag":"b","architecture":"amd64","fsLayers":[],"history":[]}"#;
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    registry.put_manifest("app", Some("v1"), media_type, schema1);
    refused(&env, &registry.reference("app:v1"), &["schema"]);
}

#[test]
fn a_manifest_without_bounds() {
    let env = env();
    let registry = env.registry();
    let huge = format!("{{\"schemaVersion\":2,\"x\":\"{}\"}}", "x".repeat(5 << 20));
    registry.put_manifest("app", Some("huge"), "application/vnd.oci.image.manifest.v1+json", huge);
    refused(&env, &registry.reference("app:huge"), &[]);
}

#[test]
fn a_missing_blob() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    let name = image.push(&registry, "app");
    registry.forget(&image.blobs[1].digest);
    refused(&env, &name, &[image.blobs[1].digest.hex()]);
}

#[test]
fn corrupt_wasm_in_every_layout() {
    let env = env();
    let corrupt = b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff";
    for (name, image) in [
        ("artifact", image::wasm_artifact(corrupt).build()),
        ("runwasi", image::runwasi(corrupt).build()),
        ("compat", image::wasm_compat(corrupt, Platform::wasi()).build()),
    ] {
        super::load(&env, &image, name);
        let _ = env.brig(&["run", "--rm", name]).exits(126);
    }
    assert_eq!(env.containers(), Vec::<String>::new());
    let missing = Guest::MISSING_IMPORT.module().unwrap();
    super::load(&env, &image::wasm_artifact(&missing).build(), "missing");
    let _ = env.brig(&["run", "--rm", "missing"]).exits(126).says("has_this");
}

#[test]
fn an_archive_that_is_none() {
    let env = env();
    let junk = env.write("junk.tar", [1; 3000]);
    let _ = env.brig(&["load", "-i", junk.to_str().unwrap()]).exits(1).says("junk.tar");
    let _ = env.brig(&["load", "-i", "/nowhere.tar"]).exits(1).says("/nowhere.tar");
    let _ = env.command(&["load"]).stdin("").run().exits(1);
    let lie = Blob {
        digest: Digest::sha256("another"),
        ..Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", "content")
    };
    let mut image = ImageBuilder::linux().files(LayerBuilder::new().file("a", 0o644, "a")).build();
    image.blobs[1] = Blob { digest: image.blobs[1].digest.clone(), ..lie };
    let path = env.write("lie.tar", image.oci_archive(None));
    let _ = env.brig(&["load", "-i", path.to_str().unwrap(), "--tag", "lie"]).exits(1);
    nothing_is_left(&env);
}

#[test]
fn wrong_usage_is_2_and_for_run_125() {
    let env = env();
    let _ = env.brig(&["no-such-verb"]).exits(2);
    let _ = env.brig(&["pull"]).exits(2);
    let _ = env.brig(&["run"]).exits(125);
    let _ = env.brig(&["run", "--memory", "lots", "busybox"]).exits(125);
    let _ = env.brig(&["pull", "UPPER/case"]).exits(1).says("UPPER/case");
    for verb in ["start", "stop", "kill", "wait", "rm", "logs", "inspect"] {
        let _ = env.brig(&[verb, "nobody"]).exits(1).says("nobody");
    }
    let usage = |args: &[&str], code| {
        let output = env.brig(args).exits(code);
        let document: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
        assert_eq!(document["error"]["code"], "usage", "{document}");
        document["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(usage(&["--format", "json", "ps", "--nope"], 2), "unexpected argument '--nope' found");
    assert_eq!(
        usage(&["--format=json", "run"], 125),
        "the following required arguments were not provided: <IMAGE>"
    );
    assert_eq!(usage(&["--format", "json"], 2), "a command is missing");
    for file in ["./missing.wasm", "/missing.wasm"] {
        let _ = env.brig(&["run", "--rm", file]).exits(127).says("there is no file");
    }
    // Its other codes are the payload's, as run's are.
    let _ = env.brig(&["attach", "nobody"]).exits(125).says("nobody");
    let _ = env.brig(&["rm", "-f", "nobody"]).success();
    nothing_is_left(&env);
}

#[test]
fn a_full_disk() {
    need!(need_root());
    let unshare = need!(need_tool("unshare"));
    let env = env();
    let registry = Registry::start();
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(6 << 20)
    .collect();
    let layer = gzip(LayerBuilder::new().file("noise", 0o644, noise));
    let name = ImageBuilder::linux().layer(layer).cmd(&["/noise"]).build().push(&registry, "big");
    // The store on a tmpfs of 4 MiB, in a mount namespace of its own.
    let script = "mount -t tmpfs -o size=4m none \"$BRIG_ROOT\" && \"$0\" pull \"$1\"; echo code $?; \
                  \"$0\" images -q; \"$0\" fsck >/dev/null; echo fsck $?; df -k \"$BRIG_ROOT\" | tail -n 1";
    let brig = env!("CARGO_BIN_EXE_brig");
    let args = ["-m", "--propagation", "private", "sh", "-c", script, brig, &name];
    let root = env.root();
    let run_root = env.run_root();
    let output =
        env.program(unshare, &args).env("BRIG_ROOT", root).env("BRIG_RUN_ROOT", run_root).run().success();
    assert!(output.stdout.starts_with("code 1\nfsck 0\n"), "{}", output.transcript());
    assert!(output.stderr.contains("No space left"), "{}", output.transcript());
}

#[test]
fn no_permission_to_make_a_user_namespace() {
    need!(brig_testing::need_rootless());
    let env = env();
    let uid = brig_testing::ORDINARY_USER;
    let archive = need!(image::busybox()).build().oci_archive(None);
    env.write_for_user(uid, "busybox.tar", archive);
    let _ = env.brig_as_user(uid, &["load", "-q", "-i", "busybox.tar", "--tag", "busybox"]).success();
    let brig = env.path().join("bin/brig");
    let unshare = need!(need_tool("unshare"));
    let within_limit = |args: &str| {
        // A namespace that may hold one more, in it an ordinary user without privileges: the one more is his.
        let script = format!(
            "echo 1 > /proc/sys/user/max_user_namespaces && \
             exec unshare --user --map-user=1000 --map-group=1000 {} {args}",
            brig.display()
        );
        env.program_as_user(uid, &unshare, &["-Ur", "sh", "-c", &script]).run()
    };
    let _ = within_limit("run --rm busybox true").exits(125).says("namespace");
    let doctor = within_limit("doctor");
    assert!(doctor.stdout.contains("user namespace"), "{}", doctor.transcript());
}

#[test]
fn ctrl_c_in_the_middle_of_a_pull() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux()
        .files(LayerBuilder::new().file("a", 0o644, "a".repeat(100)))
        .cmd(&["/a"])
        .build();
    let name = image.push(&registry, "app");
    let layer = image.blobs[1].digest.to_string();
    registry.fault(Rule::always(Fault::Stall(30)).path(&layer));
    let running = env.command(&["pull", &name]).spawn();
    eventually("the layer is asked for", || registry.count("GET", &layer) > 0);
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal_group(brig_testing::Signal::INT);
    let output = running.wait();
    assert_ne!(output.code(), 0, "{}", output.transcript());
    nothing_is_left(&env);
    registry.heal();
    let _ = env.brig(&["pull", "-q", &name]).success();
}

#[test]
fn two_pulls_of_one_image_at_once() {
    let env = env();
    let registry = env.registry();
    let image = ImageBuilder::linux()
        .files(LayerBuilder::new().file("a", 0o644, "a".repeat(200_000)))
        .cmd(&["/a"])
        .build();
    let name = image.push(&registry, "app");
    registry.fault(Rule::always(Fault::Slow(20_000)).path("/blobs/"));
    let running: Vec<_> = (0..4).map(|_| env.command(&["pull", "-q", &name]).spawn()).collect();
    for running in running {
        let _ = running.wait().success();
    }
    let _ = env.brig(&["fsck"]).success();
    let _ = env.brig(&["inspect", &name]).success();
}

#[test]
fn two_runs_of_a_name_that_is_not_there_yet() {
    need!(need_containers());
    let env = env();
    let registry = env.registry();
    let name = need!(image::busybox()).cmd(&["echo", "hi"]).build().push(&registry, "busybox");
    let running: Vec<_> = (0..3).map(|_| env.command(&["run", "--rm", &name]).spawn()).collect();
    for running in running {
        let _ = running.wait().success().prints("hi\n");
    }
    assert_eq!(env.containers(), Vec::<String>::new());
}

#[test]
fn a_damaged_record_hides_no_other_container_and_can_be_removed() {
    let env = need!(super::with_busybox());
    let _ = env.brig(&["create", "--name", "whole", "busybox", "true"]).success();
    let created = env.brig(&["create", "--name", "torn", "busybox", "true"]).success();
    let record = env.root().join("containers").join(created.line()).join("spec.json");
    fs::write(record, "").unwrap();
    let listed = env.brig(&["ps", "-a"]).success();
    assert!(listed.stdout.contains("whole") && listed.stdout.contains("Dead"), "{}", listed.stdout);
    let _ = env.brig(&["rm", "torn"]).fails().says("damaged");
    let _ = env.brig(&["rm", "-f", "torn"]).success();
    let _ = env.brig(&["inspect", "torn"]).fails().says("no such container");
    let _ = env.brig(&["create", "--name", "torn", "busybox", "true"]).success();
}

#[test]
fn a_layer_name_that_is_damaged_is_an_error_and_not_a_layer_less() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "damaged", "busybox", "true"]).success();
    let id = env.brig(&["ps", "-a", "-q", "--no-trunc"]).success().stdout;
    let path = env.root().join("containers").join(id.trim()).join("spec.json");
    let record = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, record.replace("\"layers\":[\"sha256:", "\"layers\":[\"sha256:x")).unwrap();
    let _ = env.brig(&["start", "damaged"]).exits(1).says("sha256:x");
    let _ = env.brig(&["rm", "-f", "damaged"]).success();
}
