//! Other programs, and a disk that is full.

#![allow(clippy::unwrap_used, reason = "all of it is test")]

use std::path::PathBuf;
use std::process::Command;

use brig_oci::media_type::{self, Compression};
use brig_oci::{Descriptor, Digest, Reference};
use brig_store::{Ingest, Store, UnpackOptions};

fn tar_with(bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", bytes).unwrap();
    builder.into_inner().unwrap()
}

fn put_image(store: &Store, tar: &[u8]) -> Descriptor {
    let layer = store.put(media_type::OCI_LAYER, tar).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": { "Cmd": ["/file"] },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    });
    let config = store.put(media_type::OCI_CONFIG, config.to_string().as_bytes()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer],
    });
    store.put(media_type::OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap()
}

#[test]
fn skopeo_reads_the_store_by_canonical_names() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: skopeo isn't installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let (one, two) = (put_image(&store, &tar_with(b"one")), put_image(&store, &tar_with(b"two")));
    let names =
        ["busybox", "registry.example:5000/team/app:v1.2"].map(|name| name.parse::<Reference>().unwrap());
    store.set_ref(&names[0], &one).unwrap();
    store.set_ref(&names[1], &two).unwrap();
    for (name, manifest) in names.iter().zip([one, two]) {
        let source = format!("oci:{}:{}", store.root().display(), name.canonical());
        let output = Command::new("skopeo").args(["inspect", &source]).output().unwrap();
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(shown["Digest"], manifest.digest.to_string());
        let target = format!("dir:{}", dir.path().join("copy").display());
        let copied =
            Command::new("skopeo").args(["--insecure-policy", "copy", &source, &target]).output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
}

const CHILD: &str = "BRIG_STORE_FULL_CHILD";

/// On a file system of 3 MiB, in a mount namespace of its own.
#[test]
fn a_full_disk_is_said_and_left_usable() {
    if let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) {
        return on_a_full_disk(&dir);
    }
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=3m none {} || exit 99; exec {} --exact a_full_disk_is_said_and_left_usable",
        dir.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let unshared = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .env(CHILD, dir.path())
        .output();
    let Ok(output) = unshared else {
        eprintln!("skipped: unshare isn't installed");
        return;
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if matches!(output.status.code(), Some(1 | 99)) && !text.contains("test result") {
        eprintln!("skipped: can't mount: {text}");
        return;
    }
    assert!(output.status.success(), "{text}");
}

fn on_a_full_disk(dir: &std::path::Path) {
    let store = Store::open(dir).unwrap();
    let big = vec![7_u8; 8 << 20];
    let descriptor = Descriptor::of(media_type::OCI_LAYER, &big);
    let Ingest::Needed(mut writer) = store.ingest(&descriptor).unwrap() else { panic!("it isn't there") };
    let error = big.chunks(1 << 16).find_map(|chunk| writer.write(chunk).err()).unwrap();
    assert!(error.is_full(), "{error}");
    drop(writer);

    let tar = tar_with(&big);
    let options = UnpackOptions::default();
    let error =
        store.unpack_layer(&Digest::sha256(&tar), Compression::None, tar.as_slice(), &options).unwrap_err();
    assert!(error.is_full(), "{error}");

    // What was written is gone, and smaller things fit.
    let image = put_image(&store, &tar_with(b"small"));
    store.set_ref(&"small".parse().unwrap(), &image).unwrap();
    let report = store.fsck(false).unwrap();
    assert_eq!(report.problems, []);
    let Ingest::Needed(writer) = store.ingest(&descriptor).unwrap() else { panic!("it isn't there") };
    assert_eq!(writer.offset(), 0);
}
