//! Blobs that are there: content by digest.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use brig_oci::{Descriptor, Digest, Document, Image, MAX_DOCUMENT_SIZE};

use crate::error::{IoContext, Result, StoreError};
use crate::store::Store;

impl Store {
    /// Whether a blob is there.
    pub fn has(&self, digest: &Digest) -> Result<bool> {
        Ok(self.blob_size(digest)?.is_some())
    }

    /// The size of a blob in bytes, if it is there.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let path = self.blob_path(digest);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("look at", &path),
        }
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let mut path = self.root().join("blobs");
        path.push(digest.algorithm().as_str());
        path.push(digest.hex());
        path
    }

    /// Opens a blob. What is read isn't verified again.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.blob_path(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::BlobNotFound { digest: digest.clone() })
            }
            other => other.context("open", &path),
        }
    }

    /// The content of a small blob of at most `limit` bytes, verified.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let path = self.blob_path(digest);
        let size = file.metadata().context("look at", &path)?.len();
        if size > limit {
            return Err(StoreError::BlobTooLarge { digest: digest.clone(), size, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes).context("read", &path)?;
        verify(digest, &bytes)?;
        Ok(bytes)
    }

    /// A manifest or an index.
    pub fn load_document(&self, descriptor: &Descriptor) -> Result<Document> {
        let digest = &descriptor.digest;
        let bytes = self.read_blob(digest, MAX_DOCUMENT_SIZE)?;
        Document::parse(bytes, Some(&descriptor.media_type))
            .map_err(|source| StoreError::Document { digest: digest.clone(), source })
    }

    /// An image's manifest and config.
    pub fn load_image(&self, descriptor: &Descriptor) -> Result<Image> {
        let document = self.load_document(descriptor)?;
        let Some(manifest) = document.manifest() else {
            return Err(StoreError::NotAnImage { digest: descriptor.digest.clone() });
        };
        let config = self.read_blob(&manifest.config.digest, MAX_DOCUMENT_SIZE)?;
        Ok(Image { descriptor: descriptor.clone(), manifest: manifest.clone(), config })
    }
}

fn verify(digest: &Digest, bytes: &[u8]) -> Result<()> {
    let mut hasher = digest.algorithm().hasher();
    hasher.update(bytes);
    let found = hasher.finish();
    if found != *digest {
        return Err(StoreError::DigestMismatch { expected: digest.clone(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sample, store};

    #[test]
    fn what_is_not_there_is_named() {
        let (_dir, store) = store();
        let digest = Digest::sha256("nothing");
        let error = store.read_blob(&digest, 10).unwrap_err();
        assert!(matches!(error, StoreError::BlobNotFound { .. }));
        assert!(error.to_string().contains(&digest.to_string()));
    }

    #[test]
    fn damage_and_size_are_noticed() {
        let (_dir, store) = store();
        let descriptor = store.put("text/plain", b"hello").unwrap();
        assert!(matches!(
            store.read_blob(&descriptor.digest, 4),
            Err(StoreError::BlobTooLarge { size: 5, .. })
        ));
        std::fs::write(store.blob_path(&descriptor.digest), b"jello").unwrap();
        assert!(matches!(store.read_blob(&descriptor.digest, 5), Err(StoreError::DigestMismatch { .. })));
    }

    #[test]
    fn images_are_read_with_their_bytes_as_they_came() {
        let (_dir, store) = store();
        let sample = Sample::new(&store, "one", &[]);
        let image = store.load_image(&sample.manifest).unwrap();
        assert_eq!(Digest::sha256(&image.config), image.manifest.config.digest);
        assert_eq!(
            store.load_document(&sample.manifest).unwrap().descriptor().digest,
            sample.manifest.digest
        );
    }
}
