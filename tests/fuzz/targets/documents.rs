//! Manifests, indexes and configs: what was read can be written and is the same when it is read again.
#![no_main]

use std::fmt::Debug;

use brig_fuzz::{seeds, target, told};
use brig_oci::{Document, Image, ImageConfig, KindChoice, Manifest, media_type};
use serde::Serialize;
use serde::de::DeserializeOwned;

target!(start(), |data| {
    let Some((how, bytes)) = data.split_first() else { return };
    let announced = match how % 4 {
        0 => None,
        1 => Some(media_type::OCI_INDEX),
        2 => Some(media_type::OCI_MANIFEST),
        _ => Some("application/octet-stream"),
    };
    match Document::parse(bytes, announced) {
        Ok(document) => read(&document, bytes),
        Err(error) => drop(told(&error)),
    }
    match ImageConfig::parse(bytes) {
        Ok(config) => {
            stable(&config);
            drop(config.platform().normalized());
        }
        Err(error) => drop(told(&error)),
    }
});

fn read(document: &Document, bytes: &[u8]) {
    assert!(document.descriptor().digest.matches(bytes));
    assert_eq!(document.raw(), bytes);
    assert_eq!(document.index().is_some(), document.manifest().is_none());
    document.children();
    if let Some(index) = document.index() {
        stable(index);
    }
    if let Some(manifest) = document.manifest() {
        stable(manifest);
        with_config(document, manifest, bytes);
    }
}

/// The manifest with itself as its config: what an image of a hostile registry may be.
fn with_config(document: &Document, manifest: &Manifest, bytes: &[u8]) {
    let image =
        Image { descriptor: document.descriptor(), manifest: manifest.clone(), config: bytes.to_vec() };
    let config = image.image_config().ok().flatten();
    KindChoice::from_image(manifest, config.as_ref());
}

fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&text).expect("what was written can be read");
    assert_eq!(&again, value);
}

fn start() -> Vec<Vec<u8>> {
    let image = seeds::image();
    let all = seeds::documents(&[image.config, image.manifest, image.index]);
    all.iter().flat_map(|bytes| [0, 1, 2].map(|how| seeds::chosen(how, bytes))).collect()
}
