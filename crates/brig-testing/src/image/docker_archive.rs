//! docker's archive, as `docker save` wrote it before version 25.

use brig_oci::media_type;
use serde_json::json;

use super::layer::LayerBuilder;
use super::publish::Image;

/// An image of one platform as a docker archive. `tags` are full names, `repository:tag`.
///
/// docker's archives hold uncompressed layers; readers take compressed ones too, and these stay as they are.
pub fn docker_archive(image: &Image, tags: &[&str]) -> Vec<u8> {
    let is_config = |media_type: &str| media_type::is_image_config(media_type);
    let config = image.blobs.iter().find(|blob| is_config(&blob.media_type));
    let config = config.expect("a docker archive holds an image with an image config");
    let config_name = format!("{}.json", config.digest.hex());
    let mut tar = LayerBuilder::new().file(&config_name, 0o644, &config.bytes);
    let mut layers = Vec::new();
    for blob in image.blobs.iter().filter(|blob| !is_config(&blob.media_type)) {
        let name = format!("{}/layer.tar", blob.digest.hex());
        tar = tar.dir(&format!("{}/", blob.digest.hex()), 0o755).file(&name, 0o644, &blob.bytes);
        layers.push(name);
    }
    let manifest = json!([{ "Config": config_name, "RepoTags": tags, "Layers": layers }]);
    tar.file("manifest.json", 0o644, manifest.to_string()).tar()
}
