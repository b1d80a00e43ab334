//! A layer's tar, unpacked: nothing outside of the layer, limits hold, and what is refused leaves nothing.
#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use brig_fuzz::sandbox::{Sandbox, names};
use brig_fuzz::{seeds, target, told};
use brig_oci::media_type::Compression;
use brig_oci::{Algorithm, Digest};
use brig_store::{Store, UnpackOptions};

const OPTIONS: UnpackOptions = UnpackOptions {
    max_bytes: 1 << 20,
    max_entries: 256,
    max_depth: 32,
    max_path: 512,
    max_directory_bytes: 16 << 10,
};
/// The directories above an entry that are made without being named count for nothing by themselves.
const MAX_NAMES: usize = 256 * 33;

static PLACE: OnceLock<(Sandbox, Store)> = OnceLock::new();

target!(start(), |data| {
    let Some((how, tar)) = data.split_first() else { return };
    let (sandbox, store) = PLACE.get_or_init(|| {
        let sandbox = Sandbox::new("unpack");
        let store = Store::open(&sandbox.inside()).expect("a store");
        (sandbox, store)
    });
    let (compression, expected) = match how % 4 {
        0 => (Compression::Gzip, Digest::sha256("")),
        1 => (Compression::Zstd, Digest::sha256("")),
        2 => (Compression::None, Digest::sha256(tar)),
        _ => {
            let mut hasher = Algorithm::Sha512.hasher();
            hasher.update(tar);
            (Compression::None, hasher.finish())
        }
    };
    match store.unpack_layer(&expected, compression, tar, &OPTIONS) {
        Ok(layer) => {
            let meta = layer.meta().expect("a record of a layer that is there");
            assert!(meta.bytes <= OPTIONS.max_bytes, "{meta:?}");
            layer.unmade().expect("what couldn't be made can be read");
            let mut left = MAX_NAMES;
            walk(&layer.fs(), 0, &mut left);
            let _ = fs::remove_dir_all(layer.fs().parent().expect("a layer's directory"));
        }
        Err(error) => {
            told(&error);
        }
    }
    if rustix::process::geteuid().is_root() {
        let left: Vec<_> = names(&sandbox.inside().join("layers"))
            .into_iter()
            .filter(|name| !name.starts_with("empty"))
            .collect();
        assert!(left.is_empty(), "left in the store: {left:?}");
    }
    sandbox.check();
});

fn walk(dir: &Path, depth: usize, left: &mut usize) {
    assert!(depth <= OPTIONS.max_depth + 1, "deeper than allowed: {}", dir.display());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        *left = left.checked_sub(1).expect("more entries than allowed");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), depth + 1, left);
        }
    }
}

fn start() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for tar in seeds::tars() {
        all.push(seeds::chosen(0, &seeds::gzip(&tar)));
        all.push(seeds::chosen(1, &seeds::zstd(&tar)));
        all.push(seeds::chosen(2, &tar));
        all.push(seeds::chosen(3, &tar));
    }
    all
}
