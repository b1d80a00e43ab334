//! What targets begin with: made here, so that no binary files are kept.

use std::io::Write;

use brig_oci::{Descriptor, Digest, media_type};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// Lines of text, each a seed.
pub fn lines(text: &str) -> Vec<Vec<u8>> {
    text.lines().map(|line| line.trim().as_bytes().to_vec()).filter(|line| !line.is_empty()).collect()
}

/// Documents, each a seed.
pub fn documents(all: &[Value]) -> Vec<Vec<u8>> {
    all.iter().map(|document| document.to_string().into_bytes()).collect()
}

/// The seed behind a byte that chooses.
pub fn chosen(how: u8, seed: &[u8]) -> Vec<u8> {
    [&[how], seed].concat()
}

/// Tars of layers: plain, and with what a hostile one would try.
pub fn tars() -> Vec<Vec<u8>> {
    let plain = |builder: &mut Tar| {
        builder.entry(EntryType::Directory, "dir/", "", b"");
        builder.entry(EntryType::Regular, "dir/file", "", b"content");
        builder.entry(EntryType::Symlink, "link", "dir/file", b"");
        builder.entry(EntryType::Link, "hard", "dir/file", b"");
        builder.entry(EntryType::Fifo, "fifo", "", b"");
        builder.entry(EntryType::Char, "null", "", b"");
        builder.entry(EntryType::Regular, "dir/.wh.gone", "", b"");
        builder.entry(EntryType::Regular, "dir/.wh..wh..opq", "", b"");
    };
    let hostile = |builder: &mut Tar| {
        builder.entry(EntryType::Symlink, "up", "../canary", b"");
        builder.entry(EntryType::Regular, "up/file", "", b"x");
        builder.entry(EntryType::Symlink, "far", "../../../../canary", b"");
        builder.entry(EntryType::Regular, "far/file", "", b"x");
        builder.entry(EntryType::Symlink, "all", "/tmp", b"");
        builder.entry(EntryType::Regular, "all/brig-canary", "", b"x");
    };
    let links = |builder: &mut Tar| {
        builder.entry(EntryType::Link, "hard", "../canary/file", b"");
        builder.entry(EntryType::Regular, "/brig-canary", "", b"x");
        builder.entry(EntryType::Symlink, "a", "../canary/file", b"");
        builder.entry(EntryType::Regular, "a", "", b"x");
        builder.entry(EntryType::Link, "b", "a", b"");
    };
    let pax = |builder: &mut Tar| {
        let records =
            ["path=dir/pax", "mtime=1700000000.123456789", "SCHILY.xattr.user.a=b", "uid=1000", "size=3"];
        builder.entry(EntryType::XHeader, "pax", "", records_of(&records).as_bytes());
        builder.entry(EntryType::Regular, "short", "", b"abc");
        let sparse = [
            "GNU.sparse.major=1",
            "GNU.sparse.minor=0",
            "GNU.sparse.name=sparse",
            "GNU.sparse.realsize=4096",
        ];
        builder.entry(EntryType::XHeader, "pax", "", records_of(&sparse).as_bytes());
        let mut map = b"1\n1024\n3\n".to_vec();
        map.resize(512, 0);
        map.extend(b"abc");
        builder.entry(EntryType::Regular, "GNUSparseFile.0/sparse", "", &map);
        builder.entry(EntryType::GNULongName, "././@LongLink", "", b"a/rather/long/name\0");
        builder.entry(EntryType::Regular, "cut", "", b"x");
    };
    [plain, hostile, links, pax].map(tar).to_vec()
}

fn records_of(records: &[&str]) -> String {
    let record = |text: &&str| {
        let length = text.len() + 3;
        let digits = if length + 1 > 99 { 3 } else { usize::from(length > 9) + 1 };
        format!("{} {text}\n", text.len() + 2 + digits)
    };
    records.iter().map(record).collect()
}

struct Tar(Builder<Vec<u8>>);

impl Tar {
    /// Names are written as they are: the builder would refuse some.
    fn entry(&mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o4755);
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).expect("a tar in memory");
    }
}

fn tar(fill: fn(&mut Tar)) -> Vec<u8> {
    let mut tar = Tar(Builder::new(Vec::new()));
    fill(&mut tar);
    tar.0.into_inner().expect("a tar in memory")
}

/// The bytes, compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// The bytes, compressed.
pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory")
}

/// A config, a manifest and an index of a small image, with its layer.
pub struct Image {
    pub layer: Vec<u8>,
    pub config: Value,
    pub manifest: Value,
    pub index: Value,
}

/// A small image.
pub fn image() -> Image {
    let layer = tars().remove(0);
    let config = json!({
        "created": "2026-01-02T03:04:05Z", "architecture": "amd64", "os": "linux", "variant": "v2",
        "config": {
            "User": "1000:1000", "Env": ["PATH=/bin", "A=b"], "Entrypoint": ["/bin/sh"], "Cmd": ["-c", "true"],
            "WorkingDir": "/tmp", "Labels": { "a": "b" }, "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/v": {} },
            "StopSignal": "SIGTERM",
            "Healthcheck": { "Test": ["CMD-SHELL", "true"], "Interval": 1_000_000_000, "Retries": 3 },
        },
        "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&layer)] },
        "history": [{ "created": "2026-01-02T03:04:05Z", "created_by": "sh", "empty_layer": true }],
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "config": Descriptor::of(media_type::OCI_CONFIG, config.to_string().as_bytes()),
        "layers": [Descriptor::of(media_type::OCI_LAYER, &layer)],
        "annotations": { "a": "b" },
    });
    let mut child = Descriptor::of(media_type::OCI_MANIFEST, manifest.to_string().as_bytes());
    child.annotations.insert("org.opencontainers.image.ref.name".into(), "localhost/a:b".into());
    child.annotations.insert("io.containerd.image.name".into(), "localhost/a:b".into());
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [child] });
    Image { layer, config, manifest, index }
}

/// The image as an OCI archive and as docker's.
pub fn archives() -> Vec<Vec<u8>> {
    let image = image();
    let file = |tar: &mut Tar, name: &str, bytes: &[u8]| tar.entry(EntryType::Regular, name, "", bytes);
    let blob = |tar: &mut Tar, bytes: &[u8]| {
        let digest = Digest::sha256(bytes);
        file(tar, &format!("blobs/sha256/{}", digest.hex()), bytes);
    };
    let mut oci = Tar(Builder::new(Vec::new()));
    file(&mut oci, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    file(&mut oci, "index.json", image.index.to_string().as_bytes());
    blob(&mut oci, image.manifest.to_string().as_bytes());
    blob(&mut oci, image.config.to_string().as_bytes());
    blob(&mut oci, &image.layer);
    let mut docker = Tar(Builder::new(Vec::new()));
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": ["a:b"], "Layers": ["1/layer.tar", "2/layer.tar"] }]);
    file(&mut docker, "manifest.json", manifest.to_string().as_bytes());
    let mut config = image.config;
    let diff_id = Digest::sha256(&image.layer);
    config["rootfs"]["diff_ids"] = json!([diff_id, diff_id]);
    file(&mut docker, "c.json", config.to_string().as_bytes());
    file(&mut docker, "1/layer.tar", &image.layer);
    docker.entry(EntryType::Symlink, "2/layer.tar", "../1/layer.tar", b"");
    [oci, docker].map(|tar| tar.0.into_inner().expect("a tar in memory")).to_vec()
}
