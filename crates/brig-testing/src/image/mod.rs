//! Images made from nothing: layers, configs, manifests and indexes, pushed into a [`Registry`](crate::Registry) or
//! written as an OCI layout or archive.

mod builder;
mod docker_archive;
mod layer;
mod publish;
mod samples;

pub use brig_oci::media_type::Compression;
pub use brig_oci::{Digest, Platform};
pub use builder::{ImageBuilder, IndexBuilder};
pub use docker_archive::docker_archive;
pub use layer::{Layer, LayerBuilder};
pub use publish::{Blob, Image};
pub use samples::{
    BUSYBOX_APPLETS, busybox, busybox_binary, busybox_layer, linux_and_wasm, runwasi, wasm_artifact,
    wasm_compat,
};

#[cfg(test)]
mod tests {
    use brig_oci::{Document, Kind, KindChoice};

    use super::*;
    use crate::{Guest, Registry, need};

    fn kind(image: &Image) -> Kind {
        let document = Document::parse(image.document.bytes.clone(), None).unwrap();
        let manifest = document.manifest().unwrap();
        let config = brig_oci::media_type::is_image_config(&manifest.config.media_type)
            .then(|| brig_oci::ImageConfig::parse(&image.blobs[0].bytes).unwrap());
        KindChoice::from_image(manifest, config.as_ref()).kind
    }

    #[test]
    fn every_wasm_layout_is_seen_as_wasm() {
        let wasm = Guest::TINY.module().unwrap();
        assert_eq!(kind(&wasm_artifact(&wasm).build()), Kind::Wasm);
        assert_eq!(kind(&runwasi(&wasm).build()), Kind::Wasm);
        assert_eq!(kind(&wasm_compat(&wasm, Platform::wasi()).build()), Kind::Wasm);
        assert_eq!(kind(&wasm_compat(&wasm, Platform::host()).build()), Kind::Linux);
        assert_eq!(kind(&need!(busybox()).build()), Kind::Linux);
    }

    #[test]
    fn docker_types_are_written_throughout() {
        let layer = LayerBuilder::new().file("a", 0o644, "a");
        let image = ImageBuilder::linux().files(layer).docker_schema2().build();
        let list = IndexBuilder::new().image(image.clone()).docker_list().build();
        let text = String::from_utf8([image.document.bytes, list.document.bytes].concat()).unwrap();
        assert!(!text.contains("vnd.oci"), "{text}");
    }

    #[test]
    fn skopeo_reads_a_layout_that_we_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let layer = LayerBuilder::new().file("a", 0o644, "a").build(Compression::Zstd);
        let image = ImageBuilder::linux().layer(layer).build();
        image.write_layout(dir.path(), Some("one")).unwrap();
        image.write_layout(dir.path(), Some("two")).unwrap();
        let layout = format!("oci:{}:two", dir.path().display());
        let seen = need!(crate::debian::skopeo_inspect(&layout, false));
        assert_eq!(seen["Digest"], image.digest().to_string());
    }

    #[test]
    fn skopeo_pulls_from_our_registry_and_pushes_to_it() {
        let registry = Registry::start();
        let image = need!(busybox()).build();
        let pulled = image.push(&registry, "lib/busybox:v1");
        let pushed = registry.reference("copy/busybox:v2");
        need!(crate::debian::skopeo_copy(&format!("docker://{pulled}"), &format!("docker://{pushed}")));
        let (_, bytes) = registry.manifest("copy/busybox", "v2").unwrap();
        assert_eq!(bytes, image.document.bytes);
    }

    #[test]
    fn skopeo_reads_our_docker_archive() {
        let image = ImageBuilder::linux()
            .layer(LayerBuilder::new().file("a", 0o644, "a").build(Compression::None))
            .build();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image.tar");
        std::fs::write(&path, docker_archive(&image, &["example.com/a:v1"])).unwrap();
        let name = format!("docker-archive:{}", path.display());
        let seen = need!(crate::debian::skopeo_inspect(&name, false));
        assert_eq!(seen["Layers"][0], image.blobs[1].digest.to_string());
    }
}
