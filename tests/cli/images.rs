//! Pull, push, load, save, tag, rmi, inspect: what happens to images.

use std::fs;

use brig_testing::image::{self, Compression, ImageBuilder, IndexBuilder, LayerBuilder, Platform};
use brig_testing::{Guest, need};

use super::{env, load, nothing_is_left};

/// An image of one small file; each `text` makes another image.
fn small(text: &str) -> ImageBuilder {
    ImageBuilder::linux().files(LayerBuilder::new().file("text", 0o644, text)).cmd(&["/text"])
}

#[test]
fn a_pulled_image_is_listed_and_inspected() {
    let env = env();
    let registry = env.registry();
    let image = small("a").label("colour", "blue").build();
    let name = image.push(&registry, "lib/app:v1");
    let _ = env.brig(&["pull", &name]).success().shows(&image.digest().to_string());

    let listed = env.brig(&["images", "--format", "json"]).success().json_lines();
    assert_eq!(listed[0]["Tag"], "v1", "{listed:?}");
    assert_eq!(listed[0]["Digest"], image.digest().to_string());
    let table = env.brig(&["image", "ls"]).success();
    assert!(table.stdout.contains("lib/app") && table.stdout.contains("v1"), "{}", table.stdout);

    let inspected = env.brig(&["inspect", &name]).success().json();
    let text = inspected[0].to_string();
    assert!(text.contains("blue") && text.contains(&image.digest().to_string()), "{text}");
    assert!(text.contains("linux/amd64") || text.contains("linux/arm64"), "{text}");
}

#[test]
fn a_second_pull_asks_for_no_layer() {
    let env = env();
    let registry = env.registry();
    let name = small("a").build().push(&registry, "app");
    let _ = env.brig(&["pull", "-q", &name]).success();
    registry.clear_requests();
    let _ = env.brig(&["pull", "-q", &name]).success();
    assert_eq!(registry.count("GET", "/blobs/"), 0, "{:#?}", registry.requests());
}

#[test]
fn a_digest_names_an_image_for_ever() {
    let env = env();
    let registry = env.registry();
    let old = small("old").build();
    old.push(&registry, "app:v1");
    small("new").build().push(&registry, "app:v1");
    let by_digest = registry.reference(&format!("app@{}", old.digest()));
    let _ = env.brig(&["pull", &by_digest]).success().shows(&old.digest().to_string());
    let _ = env.brig(&["inspect", &by_digest]).success().shows(&old.digest().to_string());
}

#[test]
fn a_push_sends_the_bytes_that_were_pulled() {
    let env = env();
    let registry = env.registry();
    // Fields that brig doesn't know, and white space of somebody's own, must survive.
    let image = small("a").config("Healthcheck", serde_json::json!({ "Test": ["NONE"] })).build();
    let name = image.push(&registry, "one:v1");
    let copy = registry.reference("two:v2");
    let _ = env.brig(&["pull", "-q", &name]).success();
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", &copy]).success().shows(&image.digest().to_string());
    // The registry has the blobs in the other repository, so they were mounted and not sent.
    assert_eq!(registry.count("POST", "/v2/two/blobs/uploads/"), image.blobs.len());
    assert_eq!(registry.count("PUT", "/blobs/uploads/") + registry.count("PATCH", "/blobs/uploads/"), 0);
    let (media_type, bytes) = registry.manifest("two", "v2").unwrap();
    assert_eq!(bytes, image.document.bytes);
    assert_eq!(media_type, image.document.media_type);
}

#[test]
fn an_index_is_pushed_with_all_that_was_pulled() {
    let env = env();
    let registry = env.registry();
    let wasm = Guest::TINY.module().unwrap();
    let wasi = image::wasm_compat(&wasm, Platform::wasi()).build();
    let index = IndexBuilder::new().image(small("a").build()).image(wasi).build();
    let name = index.push(&registry, "one:v1");
    let copy = registry.reference("two:v1");
    let _ = env.brig(&["pull", "-q", "--all-platforms", &name]).success();
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", "-q", &copy]).success();
    assert_eq!(registry.manifest("two", "v1").unwrap().1, index.document.bytes);
    for blob in &index.blobs {
        assert_eq!(registry.blob(&blob.digest).unwrap(), blob.bytes);
    }
}

#[test]
fn docker_types_are_pulled_and_pushed_as_they_are() {
    let env = env();
    let registry = env.registry();
    let image = small("a").docker_schema2().build();
    let list = IndexBuilder::new().image(image).docker_list().build();
    let name = list.push(&registry, "one:v1");
    let copy = registry.reference("two:v1");
    let _ = env.brig(&["pull", "-q", &name]).success();
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", "-q", &copy]).success();
    assert_eq!(registry.manifest("two", "v1").unwrap().0, list.document.media_type);
}

#[test]
fn archives_and_layouts_of_every_kind_are_loaded() {
    let image = small("a").build();
    let env = env();
    let oci = env.write("oci.tar", image.oci_archive(Some("example.com/oci:v1")));
    let docker = env.write("docker.tar", image::docker_archive(&image, &["example.com/docker:v1"]));
    let layout = env.work().join("layout");
    image.write_layout(&layout, Some("example.com/layout:v1")).unwrap();
    for (path, name) in [(&oci, "oci"), (&docker, "docker"), (&layout, "layout")] {
        let name = format!("example.com/{name}:v1");
        let _ = env.brig(&["load", "-i", path.to_str().unwrap()]).success().shows(&name);
        let _ = env.brig(&["inspect", &name]).success();
    }
    let nameless = env.write("nameless.tar", image.oci_archive(None));
    let _ = env
        .command(&["load", "--tag", "example.com/stdin:v1"])
        .stdin(fs::read(nameless).unwrap())
        .run()
        .success()
        .shows("example.com/stdin:v1");
}

#[test]
fn a_compressed_archive_is_loaded() {
    let env = env();
    let archive = env.write("oci.tar", small("a").build().oci_archive(Some("example.com/a:v1")));
    let gzip = std::process::Command::new("gzip").arg("-k").arg(&archive).status().unwrap();
    assert!(gzip.success());
    let archive = archive.with_extension("tar.gz");
    let _ = env.brig(&["load", "-i", archive.to_str().unwrap()]).success().shows("example.com/a:v1");
    let bytes = fs::read(archive).unwrap();
    let _ = env.command(&["load"]).stdin(bytes).run().success().shows("example.com/a:v1");
}

#[test]
fn an_image_without_a_full_name_wants_one() {
    let env = env();
    let image = small("a").build();
    let word = env.write("word.tar", image.oci_archive(Some("latest")));
    let load = ["load", "-i", word.to_str().unwrap()];
    let _ = env.brig(&load).fails().says("the archive calls it `latest` only");
    let _ =
        env.brig(&[&load[..], &["--tag", "app"]].concat()).success().shows("docker.io/library/app:latest");
    let other = "sha256:".to_owned() + &"0".repeat(64);
    let lie = env.write("lie.tar", image.oci_archive(Some(&format!("example.com/app@{other}"))));
    let _ = env.brig(&["load", "-i", lie.to_str().unwrap()]).fails().says("the image has the digest");
}

#[test]
fn what_was_pulled_by_digest_is_saved_without_a_tag() {
    let (here, there) = (env(), env());
    let registry = here.registry();
    let image = small("a").build();
    image.push(&registry, "app:v1");
    let name = registry.reference(&format!("app@{}", image.digest()));
    let archive = here.work().join("saved.tar");
    let archive = archive.to_str().unwrap();
    let _ = here.brig(&["pull", "-q", &name]).success();
    let _ = here.brig(&["save", "-o", archive, &name]).success();
    let _ = there.brig(&["load", "-i", archive]).success().shows(&name);
    let mut docker = tar::Archive::new(fs::File::open(archive).unwrap());
    let mut manifest = docker.entries().unwrap().map(Result::unwrap);
    let manifest = manifest.find(|entry| entry.path().unwrap().as_os_str() == "manifest.json").unwrap();
    let manifest: serde_json::Value = serde_json::from_reader(manifest).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::Value::Null);
}

#[test]
fn what_is_saved_can_be_loaded_elsewhere() {
    let (here, there) = (env(), env());
    let image = small("a").build();
    load(&here, &image, "example.com/app:v1");
    let archive = here.work().join("saved.tar");
    let archive = archive.to_str().unwrap();
    let _ = here.brig(&["save", "-o", archive, "example.com/app:v1"]).success();
    let _ = there.brig(&["load", "-i", archive]).success().shows("example.com/app:v1");
    let _ = there.brig(&["inspect", "example.com/app:v1"]).success().shows(&image.digest().to_string());
    let seen = need!(brig_testing::debian::skopeo_inspect(&format!("oci-archive:{archive}"), false));
    assert_eq!(seen["Digest"], image.digest().to_string());
}

#[test]
fn removing_an_image_keeps_what_another_uses() {
    let env = env();
    let shared = LayerBuilder::new().file("shared", 0o644, "x".repeat(5000)).build(Compression::Gzip);
    let one = ImageBuilder::linux().layer(shared.clone()).cmd(&["/one"]).build();
    let two = ImageBuilder::linux().layer(shared).cmd(&["/two"]).build();
    load(&env, &one, "example.com/one:v1");
    load(&env, &two, "example.com/two:v1");
    let _ = env.brig(&["rmi", "example.com/one:v1"]).success();
    let _ = env.brig(&["inspect", "example.com/one:v1"]).fails();
    let archive = env.work().join("two.tar");
    let _ = env.brig(&["save", "-o", archive.to_str().unwrap(), "example.com/two:v1"]).success();
    let _ = env.brig(&["fsck"]).success();
    let _ = env.brig(&["image", "rm", "example.com/two:v1"]).success();
    nothing_is_left(&env);
    let blobs = fs::read_dir(env.root().join("blobs/sha256")).into_iter().flatten().count();
    assert_eq!(blobs, 0, "blobs that nothing uses stay");
}

#[test]
fn two_names_of_one_image_go_one_by_one() {
    let env = env();
    load(&env, &small("a").build(), "example.com/app:v1");
    let _ = env.brig(&["tag", "example.com/app:v1", "example.com/app:v2"]).success();
    let _ = env.brig(&["rmi", "example.com/app:v1"]).success();
    let _ = env.brig(&["inspect", "example.com/app:v2"]).success();
}

#[test]
fn names_are_docker_names() {
    let env = env();
    load(&env, &small("a").build(), "busybox");
    for name in ["busybox", "busybox:latest", "library/busybox", "docker.io/library/busybox:latest"] {
        let _ = env.brig(&["inspect", name]).success();
    }
    let _ = env.brig(&["inspect", "Upper/Case"]).fails();
    let _ = env.brig(&["inspect", "busybox:none"]).fails().says("busybox:none");
}

#[test]
fn a_changed_blob_is_found_by_fsck() {
    let env = env();
    let image = small("a").build();
    load(&env, &image, "example.com/app:v1");
    let _ = env.brig(&["fsck"]).success();
    let blob = env.root().join("blobs/sha256").join(image.blobs[1].digest.hex());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let _ = env.brig(&["fsck"]).fails().shows(image.blobs[1].digest.hex());
}

#[test]
fn an_image_in_use_is_refused_under_each_of_its_names() {
    let env = env();
    load(&env, &small("a").build(), "example.com/app:v1");
    let _ = env.brig(&["tag", "example.com/app:v1", "example.com/app:v2"]).success();
    let _ = env.brig(&["create", "--name", "user", "example.com/app:v1"]).success();
    let _ = env.brig(&["rmi", "example.com/app:v1"]).success();
    let _ = env.brig(&["rmi", "example.com/app:v2"]).fails().says("user");
    let _ = env.brig(&["rmi", "-f", "example.com/app:v2"]).success();
}

#[test]
fn what_is_no_file_is_not_replaced_by_an_archive() {
    let env = env();
    load(&env, &small("a").build(), "example.com/app:v1");
    let path = env.work().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _ = env.brig(&["save", "-o", path.to_str().unwrap(), "example.com/app:v1"]).fails();
    assert!(!fs::metadata(&path).unwrap().is_file());
}

#[test]
fn an_id_or_a_digest_stands_for_all_names() {
    let env = env();
    let image = ImageBuilder::linux().cmd(&["/a"]).build();
    for name in ["example.com/app:v1", "example.com/app:v2", "example.com/other:v1"] {
        load(&env, &image, name);
    }
    let names = || env.brig(&["images", "-q"]).success().stdout.lines().count();
    let id = env.brig(&["images", "-q"]).success().stdout.lines().next().unwrap().to_owned();
    let digest = format!("example.com/app@{}", image.digest());
    for name in [&id, &digest] {
        let _ = env.brig(&["rmi", name]).exits(1).says("must be forced");
    }
    assert_eq!(names(), 3);
    let _ = env.brig(&["rmi", "example.com/app:v1"]).success().prints("Untagged: example.com/app:v1\n");
    let forced = env.brig(&["rmi", "-f", &id]).success();
    assert_eq!(forced.stdout.matches("Untagged: ").count(), 2, "{}", forced.transcript());
    assert_eq!(forced.stdout.matches("Deleted: ").count(), 1, "{}", forced.transcript());
    nothing_is_left(&env);
    load(&env, &image, "example.com/app:v1");
    let _ = env.brig(&["rmi", &digest]).success();
    load(&env, &image, "example.com/app:v1");
    let _ = env.brig(&["rmi", &id]).success();
    nothing_is_left(&env);
}
