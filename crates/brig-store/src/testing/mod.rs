//! What the tests of this crate share.

pub(crate) mod tar_builder;

use brig_oci::{Descriptor, Digest, Reference, media_type};

use crate::{BlobWriter, Ingest, Store};

pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

pub(crate) fn needed(store: &Store, descriptor: &Descriptor) -> Box<BlobWriter> {
    match store.ingest(descriptor).unwrap() {
        Ingest::Needed(writer) => writer,
        Ingest::Present => panic!("{} is already there", descriptor.digest),
    }
}

pub(crate) fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// A small image.
pub(crate) struct Sample {
    pub(crate) manifest: Descriptor,
    pub(crate) config: Descriptor,
}

impl Sample {
    /// An image whose config says `name`, of uncompressed layers.
    pub(crate) fn new(store: &Store, name: &str, layers: &[&[u8]]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(Digest::sha256).collect();
        let layers: Vec<_> =
            layers.iter().map(|bytes| store.put(media_type::OCI_LAYER, bytes).unwrap()).collect();
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "author": name,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = store.put(media_type::OCI_CONFIG, config.to_string().as_bytes()).unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": config,
            "layers": layers,
        });
        let manifest = store.put(media_type::OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap();
        Self { manifest, config }
    }
}

/// A tar with one file, whose content is `text`.
pub(crate) fn small_tar(text: &str) -> Vec<u8> {
    tar_builder::Tar::new().file("dir/file", text).done()
}

/// Runs one test of this binary as another user, with `dir` in the environment; it sees [`child_dir`].
pub(crate) fn as_ordinary_user(test: &str, dir: &std::path::Path) {
    use std::os::unix::process::CommandExt;
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir)
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Where the test that was started by [`as_ordinary_user`] works.
pub(crate) fn child_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD).map(Into::into)
}

/// Whether this is root, who can become others.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory that an ordinary user owns.
pub(crate) fn ordinary_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(ORDINARY), Some(ORDINARY)).unwrap();
    dir
}

/// Says on stderr why a test does nothing.
pub(crate) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

pub(crate) const ORDINARY: u32 = 54321;
const CHILD: &str = "BRIG_STORE_TEST_CHILD";
