//! Import: a tar of a root file system becomes an image of one layer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use brig_oci::{Digest, Platform, media_type};
use brig_runtime::Timestamp;
use serde_json::json;

use super::archive::decompressed;
use super::change;
use super::made::{NewImage, manifest_of, new_name};
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// What an imported image is like.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Dockerfile instructions for its config: `CMD ["sh"]`, `ENV A=b`.
    pub changes: Vec<String>,
    /// What its history says.
    pub message: Option<String>,
    /// Its platform; this machine's where there is none.
    pub platform: Option<Platform>,
}

impl Engine {
    /// Makes an image of a tar, compressed or not; from standard input without a path. Gives its name and its id.
    pub fn import(
        &self,
        path: Option<&Path>,
        name: Option<&str>,
        options: &ImportOptions,
    ) -> Result<(String, Digest)> {
        match path {
            Some(path) => {
                let file = File::open(path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Error::FileNotFound { path: path.into() },
                    _ => Error::io("read", path)(error),
                })?;
                self.import_from(file, &path.display().to_string(), name, options)
            }
            None => self.import_from(io::stdin().lock(), "-", name, options),
        }
    }

    fn import_from(
        &self,
        mut from: impl Read,
        source: &str,
        name: Option<&str>,
        options: &ImportOptions,
    ) -> Result<(String, Digest)> {
        let name = new_name(name)?;
        let mut run = json!({});
        change::apply_all(&mut run, &options.changes)?;
        let lease = self.store().lease("import")?;
        let limit = self.unpack_options().max_bytes;
        let layer = self.new_layer(&lease, media_type::OCI_LAYER_GZIP, |to| {
            let tar = decompressed(source.as_ref(), &mut from)?;
            copy(tar, to, limit, source)
        })?;
        let created = Timestamp::now().to_string();
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let mut config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "created": created,
            "config": run,
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
            "history": [{
                "created": created,
                "comment": options.message.clone().unwrap_or_else(|| format!("Imported from {source}")),
            }],
        });
        if let Some(variant) = platform.variant {
            config["variant"] = json!(variant);
        }
        let image = NewImage {
            config,
            config_type: media_type::OCI_CONFIG.into(),
            manifest: manifest_of(media_type::OCI_MANIFEST, vec![layer.blob]),
            media_type: media_type::OCI_MANIFEST.into(),
        };
        self.keep_image(&lease, image, name.as_ref(), "import")
    }
}

fn copy(mut from: impl Read, to: &mut dyn Write, limit: u64, source: &str) -> Result<()> {
    let copied = io::copy(&mut from.by_ref().take(limit + 1), to).map_err(Error::io("read", source))?;
    if copied > limit {
        let problem = format!("it has more than {limit} bytes when it is decompressed");
        return Err(Error::Archive { path: source.into(), problem });
    }
    Ok(())
}
