//! What a registry holds, in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;

/// A stored manifest or index.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// Blobs, manifests, tags and unfinished uploads.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By digest: the same in all repositories.
    blobs: HashMap<String, Bytes>,
    /// Which repository has which blob: a blob of another repository must be mounted or pushed.
    members: HashSet<(String, String)>,
    manifests: HashMap<(String, String), Stored>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    uploads: HashMap<String, Vec<u8>>,
    next_upload: u64,
}

impl Contents {
    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: Bytes) {
        self.members.insert((repository.into(), digest.into()));
        self.blobs.insert(digest.into(), bytes);
    }

    /// Lets `to` have a blob of `from`; whether `from` had it.
    pub(super) fn mount(&mut self, from: &str, to: &str, digest: &str) -> bool {
        if !self.has_blob(from, digest) {
            return false;
        }
        self.members.insert((to.into(), digest.into()))
            || self.members.contains(&(to.to_owned(), digest.to_owned()))
    }

    pub(super) fn has_blob(&self, repository: &str, digest: &str) -> bool {
        self.members.contains(&(repository.to_owned(), digest.to_owned())) && self.blobs.contains_key(digest)
    }

    pub(super) fn blob(&self, digest: &str) -> Option<Bytes> {
        self.blobs.get(digest).cloned()
    }

    pub(super) fn tamper(&mut self, digest: &str, bytes: Bytes) {
        self.blobs.insert(digest.into(), bytes);
    }

    pub(super) fn forget(&mut self, digest: &str) {
        self.blobs.remove(digest);
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        media_type: &str,
        digest: &str,
        bytes: Bytes,
    ) {
        let stored = Stored { media_type: media_type.into(), bytes };
        self.manifests.insert((repository.into(), digest.into()), stored);
        if let Some(tag) = tag {
            self.set_tag(repository, tag, digest);
        }
    }

    pub(super) fn set_tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.tags.entry(repository.into()).or_default().insert(tag.into(), digest.into());
    }

    /// A manifest by tag or digest, with its digest.
    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<(String, &Stored)> {
        let tagged = self.tags.get(repository).and_then(|tags| tags.get(reference));
        let digest = tagged.cloned().unwrap_or_else(|| reference.to_owned());
        let stored = self.manifests.get(&(repository.to_owned(), digest.clone()))?;
        Some((digest, stored))
    }

    pub(super) fn tags(&self, repository: &str) -> Vec<String> {
        self.tags.get(repository).map(|tags| tags.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn start_upload(&mut self) -> String {
        self.next_upload += 1;
        let id = format!("upload-{}", self.next_upload);
        self.uploads.insert(id.clone(), Vec::new());
        id
    }

    pub(super) fn upload(&mut self, id: &str) -> Option<&mut Vec<u8>> {
        self.uploads.get_mut(id)
    }

    pub(super) fn finish_upload(&mut self, id: &str) -> Option<Vec<u8>> {
        self.uploads.remove(id)
    }
}
