//! Save: an OCI archive, with docker's `manifest.json` beside the layout, as docker itself writes it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use brig_oci::{Descriptor, Digest, Document, Index, Reference, media_type};
use serde_json::json;

use super::archive::blob_name;
use super::resolve::document_error;
use crate::blocking::Engine;
use crate::error::{Error, Result};

impl Engine {
    /// Writes images to an archive; to standard output without a path. All that the store has of each is saved, with
    /// its bytes and digests. A file appears when it is whole.
    pub fn save(&self, names: &[String], path: Option<&Path>) -> Result<()> {
        let mut images = Vec::new();
        for name in names {
            let found = self.find_image(name)?;
            images.push((found.reference, found.descriptor));
        }
        match path {
            Some(path) => write_whole(path, |file| self.write_archive(&images, file)),
            None => self.write_archive(&images, io::stdout().lock()),
        }
    }

    fn write_archive(&self, images: &[(Reference, Descriptor)], to: impl Write) -> Result<()> {
        let mut archive =
            Writer { engine: self, tar: tar::Builder::new(BufWriter::new(to)), written: BTreeSet::new() };
        let mut manifests = Vec::new();
        let mut docker = Vec::new();
        for (reference, target) in images {
            let document = self.store().load_document(target)?;
            for image in archive.tree(target, &document)? {
                docker.push(json!({
                    "Config": blob_name(&image.config.digest),
                    "RepoTags": docker_name(reference).map(|name| [name]),
                    "Layers": image.layers.iter().map(|layer| blob_name(&layer.digest)).collect::<Vec<_>>(),
                }));
            }
            let mut entry = target.clone();
            entry.annotations.insert("io.containerd.image.name".into(), reference.to_string());
            entry.annotations.insert("org.opencontainers.image.ref.name".into(), reference.to_string());
            manifests.push(entry);
        }
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            manifests,
            annotations: Default::default(),
        };
        archive.document("index.json", &index)?;
        archive.document("manifest.json", &docker)?;
        archive.document("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
        archive.finish()
    }
}

/// Writes a file that appears when it is whole.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(File) -> Result<()>) -> Result<()> {
    // A device or a pipe is written to: a rename would put a file in its place, of `/dev/null` too.
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return write(File::options().write(true).open(path).map_err(Error::io("write", path))?);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.part", std::process::id()));
    let temporary = Path::new(&temporary);
    let file = File::create(temporary).map_err(Error::io("write", temporary))?;
    let written =
        write(file).and_then(|()| std::fs::rename(temporary, path).map_err(Error::io("write", path)));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(temporary);
    }
    written
}

struct Writer<'a, W: Write> {
    engine: &'a Engine,
    tar: tar::Builder<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Writer<'_, W> {
    /// A document and all that the store has below it; gives the image manifests.
    fn tree(&mut self, descriptor: &Descriptor, document: &Document) -> Result<Vec<brig_oci::Manifest>> {
        self.blob(descriptor)?;
        let mut found = Vec::new();
        for image in self.engine.present_images(document, descriptor)? {
            self.blob(&image.descriptor)?;
            self.blob(&image.manifest.config)?;
            for layer in &image.manifest.layers {
                self.blob(layer)?;
            }
            found.push(image.manifest);
        }
        Ok(found)
    }

    fn blob(&mut self, descriptor: &Descriptor) -> Result<()> {
        if !self.written.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        let file = self.engine.store().open_blob(&descriptor.digest)?;
        self.entry(&blob_name(&descriptor.digest), descriptor.size, file)
    }

    fn document<T: serde::Serialize>(&mut self, name: &str, value: &T) -> Result<()> {
        let json = |source| document_error(name)(brig_oci::DocumentError::Json { what: "document", source });
        let bytes = serde_json::to_vec(value).map_err(json)?;
        self.entry(name, bytes.len() as u64, bytes.as_slice())
    }

    /// Times and owners are fixed: the same images give the same archive.
    fn entry(&mut self, name: &str, size: u64, content: impl Read) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(0);
        self.tar.append_data(&mut header, name, content).map_err(Error::io("write", name))
    }

    fn finish(self) -> Result<()> {
        self.tar.into_inner().and_then(|mut to| to.flush()).map_err(Error::io("write", "the archive"))
    }
}

/// The name as docker's `RepoTags` have it; none for an image that was pulled by digest, as docker does.
fn docker_name(reference: &Reference) -> Option<String> {
    Some(format!("{}:{}", reference.familiar_name(), reference.tag()?))
}
