//! The exact media types of OCI, docker schema 2 and wasm artifacts (image-spec `media-types.md`).

/// An OCI descriptor.
pub const OCI_DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// An uncompressed layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer compressed with gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The empty object, `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A docker schema 2 manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// A docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// A docker layer, compressed with gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// A docker schema 1 manifest, which brig refuses.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// A signed docker schema 1 manifest, which brig refuses.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// The config of a CNCF wasm artifact.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The config that wasm-to-oci writes.
pub const WASM_TO_OCI_CONFIG: &str = "application/vnd.wasm.config.v1+json";
/// The config that solo.io's tools write.
pub const SOLO_CONFIG: &str = "application/vnd.module.wasm.config.v1+json";
/// A wasm module or component.
pub const WASM: &str = "application/wasm";
/// What runwasi calls a component layer.
pub const RUNWASI_LAYER: &str = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm";
/// What wasm-to-oci and Spin call wasm content.
pub const WASM_CONTENT_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// What solo.io's tools call wasm content.
pub const SOLO_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

/// What brig asks a registry for when it resolves a reference, in order of preference.
pub const ACCEPT_MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// Whether a document of this type is an index (a list of manifests).
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Whether a document of this type is a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Whether a config of this type is an image configuration, with `rootfs.diff_ids`.
pub fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Whether a config of this type marks a wasm artifact.
pub fn is_wasm_config(media_type: &str) -> bool {
    matches!(media_type, WASM_CONFIG | WASM_TO_OCI_CONFIG | SOLO_CONFIG)
}

/// Whether a layer of this type is itself a wasm binary.
pub fn is_wasm_layer(media_type: &str) -> bool {
    matches!(media_type, WASM | RUNWASI_LAYER | WASM_CONTENT_LAYER | SOLO_LAYER)
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// zstd (RFC 8878).
    Zstd,
}

/// The compression of a layer that is a tar archive; `None` where the type isn't one of a tar layer.
///
/// Non-distributable and foreign layers are tar layers too.
pub fn tar_compression(media_type: &str) -> Option<Compression> {
    let rest = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar")
        .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1.tar"))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"))
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff.tar"))?;
    match rest {
        "" => Some(Compression::None),
        "+gzip" | ".gzip" => Some(Compression::Gzip),
        "+zstd" | ".zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_layers_of_every_spelling() {
        assert_eq!(tar_compression(OCI_LAYER), Some(Compression::None));
        assert_eq!(tar_compression(OCI_LAYER_ZSTD), Some(Compression::Zstd));
        assert_eq!(tar_compression(DOCKER_LAYER_GZIP), Some(Compression::Gzip));
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        assert_eq!(tar_compression(foreign), Some(Compression::Gzip));
        assert_eq!(tar_compression(WASM), None);
        assert_eq!(tar_compression("application/vnd.oci.image.layer.v1.tar+xz"), None);
    }
}
