//! A process that pulls, removes and collects garbage is killed at any moment: the store is sound afterwards, and the
//! next process goes on.

#![allow(clippy::unwrap_used, reason = "all of it is test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use brig_oci::{Descriptor, Digest, Reference, media_type};
use brig_store::{GcOptions, InUse, Ingest, Store, UnpackOptions};

const CHILD: &str = "BRIG_STORE_KILL_CHILD";
const ROUNDS: u32 = 50;

/// An image as files, from which a child pulls again and again.
struct Source {
    dir: PathBuf,
    layers: Vec<(Descriptor, Digest)>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Source {
    /// Two layers of a hundred files and a few MiB, which don't compress well.
    fn make(dir: &Path) {
        for number in 0..2_u32 {
            let tar = tar_of(number);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&tar).unwrap();
            let compressed = encoder.finish().unwrap();
            let descriptor = Descriptor::of(media_type::OCI_LAYER_GZIP, &compressed);
            let about = serde_json::json!({ "descriptor": descriptor, "diff_id": Digest::sha256(&tar) });
            fs::write(dir.join(format!("layer{number}")), &compressed).unwrap();
            fs::write(dir.join(format!("layer{number}.json")), about.to_string()).unwrap();
        }
    }

    fn open(dir: &Path) -> Self {
        let mut layers = Vec::new();
        for number in 0..2 {
            let bytes = fs::read(dir.join(format!("layer{number}.json"))).unwrap();
            let about: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let descriptor = serde_json::from_value(about["descriptor"].clone()).unwrap();
            layers.push((descriptor, serde_json::from_value(about["diff_id"].clone()).unwrap()));
        }
        let diff_ids: Vec<_> = layers.iter().map(|(_, diff_id)| diff_id).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = config.to_string().into_bytes();
        let descriptors: Vec<_> = layers.iter().map(|(descriptor, _)| descriptor).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": Descriptor::of(media_type::OCI_CONFIG, &config),
            "layers": descriptors,
        });
        let manifest = manifest.to_string().into_bytes();
        Self { dir: dir.to_owned(), layers, config, manifest }
    }

    /// As an engine pulls: a lease, the content, the name.
    fn pull(&self, store: &Store, name: &Reference) {
        let lease = store.lease("pull").unwrap();
        let mut blobs = vec![Digest::sha256(&self.config), Digest::sha256(&self.manifest)];
        blobs.extend(self.layers.iter().map(|(descriptor, _)| descriptor.digest.clone()));
        let diff_ids: Vec<_> = self.layers.iter().map(|(_, diff_id)| diff_id.clone()).collect();
        lease.protect(&blobs, &diff_ids).unwrap();
        for (number, (descriptor, diff_id)) in self.layers.iter().enumerate() {
            self.download(store, number, descriptor);
            let blob = store.open_blob(&descriptor.digest).unwrap();
            let gzip = media_type::Compression::Gzip;
            store.unpack_layer(diff_id, gzip, blob, &UnpackOptions::default()).unwrap();
        }
        store.put(media_type::OCI_CONFIG, &self.config).unwrap();
        let manifest = store.put(media_type::OCI_MANIFEST, &self.manifest).unwrap();
        store.set_ref(name, &manifest).unwrap();
    }

    fn download(&self, store: &Store, number: usize, descriptor: &Descriptor) {
        let Ingest::Needed(mut writer) = store.ingest(descriptor).unwrap() else { return };
        if writer.resumed() > 0 {
            File::create(self.dir.join("resumed")).unwrap();
        }
        let content = fs::read(self.dir.join(format!("layer{number}"))).unwrap();
        let rest = &content[usize::try_from(writer.offset()).unwrap()..];
        for chunk in rest.chunks(16 * 1024) {
            writer.write(chunk).unwrap();
            // As from a network, so that the kill hits downloads too.
            std::thread::sleep(Duration::from_micros(400));
        }
        writer.commit().unwrap();
    }
}

fn tar_of(number: u32) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut state = number.wrapping_add(1);
    for file in 0..150_u32 {
        let size = if file % 50 == 0 { 1 << 20 } else { 700 };
        let content: Vec<u8> = std::iter::repeat_with(|| next(&mut state)).take(size).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("d{}/e{}/f{file}", file % 7, file % 50);
        builder.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Marsaglia's xorshift: the same bytes on every run.
fn next(state: &mut u32) -> u8 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    state.to_le_bytes()[1]
}

fn collect(store: &Store) {
    store.gc(&|| Ok(InUse::default()), &GcOptions::default()).unwrap();
}

/// What is killed: pulls one image under two names, removes them, collects.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = Store::open(&dir.join("store")).unwrap();
    let source = Source::open(&dir);
    let (a, b): (Reference, Reference) = ("a".parse().unwrap(), "b".parse().unwrap());
    // Ended from outside, or by this when the parent died.
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        source.pull(&store, &a);
        source.pull(&store, &b);
        store.remove_ref(&a).unwrap();
        collect(&store);
        store.remove_ref(&b).unwrap();
        collect(&store);
    }
}

#[test]
fn a_killed_process_leaves_a_sound_store() {
    let dir = tempfile::tempdir().unwrap();
    Source::make(dir.path());
    let mut state = 0x2545_f491;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Often early, so that pulls are hit, and now and then late, so that removals are.
        let wait = u64::from(next(&mut state)) * if round % 3 == 0 { 2 } else { 1 };
        std::thread::sleep(Duration::from_millis(wait));
        let early = child.try_wait().unwrap();
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(early, None, "the child failed: {}", String::from_utf8_lossy(&output.stderr));

        let store = Store::open(&dir.path().join("store")).unwrap();
        let report = store.fsck(false).unwrap();
        assert_eq!(report.problems, [], "round {round}, killed after {wait} ms");
        assert_eq!(store.leases().unwrap(), [], "leases of the dead are void");
        if round % 10 == 9 {
            collect(&store);
        }
    }
    finish(dir.path());
}

/// After all that a pull succeeds, and garbage collection leaves nothing behind.
fn finish(dir: &Path) {
    let store = Store::open(&dir.join("store")).unwrap();
    let (source, name): (_, Reference) = (Source::open(dir), "a".parse().unwrap());
    assert!(
        dir.join("resumed").exists(),
        "no download was ever continued: the test is too slow or too quick"
    );
    source.pull(&store, &name);
    let mut names = Vec::new();
    for (_, diff_id) in &source.layers {
        let fs = store.layer(diff_id).unwrap().unwrap().fs();
        names.extend(fs::read_dir(fs).unwrap().map(|entry| entry.unwrap().file_name()));
    }
    assert_eq!(names.len(), 14);
    let at_once = GcOptions { partial_age: Duration::ZERO, compiled_age: Duration::ZERO };
    store.remove_ref(&name).unwrap();
    store.remove_ref(&"b".parse().unwrap()).unwrap();
    store.gc(&|| Ok(InUse::default()), &at_once).unwrap();
    let report = store.fsck(false).unwrap();
    assert_eq!((report.problems, report.blobs, report.layers), (vec![], 0, 0));
    // Temporary files of a moment ago might still be written by somebody.
    let others: Vec<_> =
        report.leftovers.iter().filter(|path| !path.to_str().unwrap().contains("/ingest/tmp-")).collect();
    assert!(others.is_empty(), "{others:?}");
    let mut text = String::new();
    File::open(store.root().join("index.json")).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("\"manifests\":[]"), "{text}");
}
