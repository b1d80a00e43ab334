//! Pull: a pipeline from the registry's streams into the store (design, "Speed").
//!
//! ```text
//! registry ──chunks──▶ [async task] ──bounded channel──▶ [thread: ingest, hash] ──▶ blob
//!                                                                 └──chunks──▶ [thread: decompress, untar, hash] ──▶ layer
//! ```
//!
//! Layers go side by side; within one, receiving, hashing, decompressing and unpacking do. No layer is ever whole in
//! memory: the channels hold a bounded number of chunks. A transfer that is cut off leaves its partial file, and the
//! next pull continues there; then the layer is unpacked from the finished blob.

use std::io::{self, Read};
use std::sync::{Arc, mpsc as sync_mpsc};

use brig_oci::{Descriptor, Document, Image, Reference};
use brig_registry::Client;
use brig_runtime::Event;
use brig_store::{BlobWriter, Ingest, Lease};
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::choose::Wanted;
use super::resolve::{ResolvedImage, document_error, pick};
use super::unpack::{Unpack, layers_of};
use crate::blocking::Engine;
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressSink};
use crate::threads::blocking;

/// How many blobs are transferred at a time, as docker does.
const PARALLEL: usize = 3;
/// Chunks (of some 16 KiB) between two stages.
const CHUNKS: usize = 64;

/// How to pull.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// Which of an index's images.
    pub wanted: Wanted,
    /// Whether to take every platform of an index.
    pub all_platforms: bool,
    /// Where progress goes.
    pub progress: ProgressSink,
}

impl Engine {
    /// Pulls an image: its documents, then its layers, and only then the reference.
    pub async fn pull(&self, name: &Reference, options: &PullOptions) -> Result<ResolvedImage> {
        let transfer = self.transfer(name, options).await?;
        let document = transfer.client.resolve(name).await?;
        let target = document.descriptor();
        transfer.keep(&target, document.raw()).await?;
        let (chosen, reason) = pick(&name.to_string(), &document, &target, &options.wanted)?;
        let mut manifests = vec![chosen.clone()];
        if let Some(index) = document.index().filter(|_| options.all_platforms) {
            manifests.extend(index.manifests.iter().filter(|d| d.digest != chosen.digest).cloned());
        }
        let mut images = Vec::new();
        for descriptor in manifests {
            images.push(transfer.manifest(descriptor, &document).await?);
        }
        let wanted = transfer.protect_layers(&images).await?;
        transfer.blobs(wanted).await?;
        let image = images
            .into_iter()
            .next()
            .ok_or_else(|| Error::ImageNotFound { name: name.to_string(), root: None })?;
        let resolved = ResolvedImage::new(name.to_string(), target.clone(), image, reason, &options.wanted)?;
        transfer.finish(target).await?;
        Ok(resolved)
    }

    /// The client reads the configuration of credentials, and a lease is a file.
    async fn transfer(&self, name: &Reference, options: &PullOptions) -> Result<Transfer> {
        let (engine, name, progress) = (self.clone(), name.clone(), options.progress.clone());
        blocking(move || {
            let client = engine.registry_client()?.clone();
            let lease = Arc::new(engine.store().lease("pull")?);
            Ok(Transfer { engine, client, name, lease, progress })
        })
        .await
    }
}

/// Everything that the transfer of one image needs. Whoever works for it on another thread has the lease too: dropping
/// the pull doesn't stop what a thread has begun.
#[derive(Clone)]
struct Transfer {
    engine: Engine,
    client: Client,
    name: Reference,
    lease: Arc<Lease>,
    progress: ProgressSink,
}

impl Transfer {
    /// Blocking work on the store.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = self.clone();
        blocking(move || work(&this)).await
    }

    /// Puts a small blob into the store, verified against its descriptor.
    async fn keep(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        let (descriptor, bytes) = (descriptor.clone(), bytes.to_vec());
        self.on_thread(move |this| {
            this.lease.protect(std::slice::from_ref(&descriptor.digest), &[])?;
            Ok(this.engine.store().ingest_from(&descriptor, bytes.as_slice())?)
        })
        .await
    }

    /// A manifest and its config.
    async fn manifest(&self, descriptor: Descriptor, top: &Document) -> Result<Image> {
        let document = if top.index().is_some() {
            self.client.manifest(&self.name, &descriptor).await?
        } else {
            top.clone()
        };
        self.keep(&descriptor, document.raw()).await?;
        let manifest = document.manifest().cloned().ok_or_else(|| Error::Unsupported {
            what: format!("`{}`", self.name),
            reason: "its index leads to another index: pull the inner one by digest".into(),
        })?;
        let config = self.config(&manifest.config).await?;
        Ok(Image { descriptor, manifest, config })
    }

    /// A small blob, whole in memory: a config.
    async fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        if descriptor.size > brig_oci::MAX_DOCUMENT_SIZE {
            let source = brig_oci::DocumentError::TooLarge { size: descriptor.size };
            return Err(document_error(format!("{}, config {}", self.name, descriptor.digest))(source));
        }
        if let Some(bytes) = self.kept_document(descriptor).await? {
            return Ok(bytes);
        }
        let mut stream = self.client.blob(&self.name, descriptor, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        self.keep(descriptor, &bytes).await?;
        Ok(bytes)
    }

    /// A document that is in the store already.
    async fn kept_document(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let digest = descriptor.digest.clone();
        self.on_thread(move |this| {
            this.lease.protect(std::slice::from_ref(&digest), &[])?;
            if !this.engine.store().has(&digest)? {
                return Ok(None);
            }
            Ok(Some(this.engine.store().read_blob(&digest, brig_oci::MAX_DOCUMENT_SIZE)?))
        })
        .await
    }

    /// The layers of all images, each blob once. From here on nobody takes them for garbage.
    async fn protect_layers(&self, images: &[Image]) -> Result<Vec<(Descriptor, Option<Unpack>)>> {
        let mut wanted: Vec<(Descriptor, Option<Unpack>)> = Vec::new();
        let (mut digests, mut diff_ids) = (Vec::new(), Vec::new());
        for image in images {
            for (layer, unpack) in layers_of(image)? {
                digests.push(layer.digest.clone());
                diff_ids.extend(unpack.iter().map(|unpack| unpack.diff_id.clone()));
                if !wanted.iter().any(|(have, _)| have.digest == layer.digest) {
                    wanted.push((layer, unpack));
                }
            }
        }
        self.on_thread(move |this| Ok(this.lease.protect(&digests, &diff_ids)?)).await?;
        Ok(wanted)
    }

    async fn blobs(&self, wanted: Vec<(Descriptor, Option<Unpack>)>) -> Result<()> {
        let mut running = JoinSet::new();
        let mut queue = wanted.into_iter();
        loop {
            while running.len() < PARALLEL
                && let Some((layer, unpack)) = queue.next()
            {
                let this = self.clone();
                running.spawn(async move { this.blob(layer, unpack).await });
            }
            match running.join_next().await {
                // Dropping the set on an error stops the others; their partial files stay for the next pull.
                Some(done) => done.map_err(|_| Error::Cancelled)??,
                None => return Ok(()),
            }
        }
    }

    /// Names the image. The lease isn't needed any more then.
    async fn finish(self, target: Descriptor) -> Result<()> {
        blocking(move || {
            self.engine.store().set_ref(&self.name.without_digest(), &target)?;
            self.engine.record_event(&Event::image("pull", &self.name.to_string()))
        })
        .await
    }

    async fn blob(&self, layer: Descriptor, unpack: Option<Unpack>) -> Result<()> {
        let (needed, unpack) = self.look(layer.clone(), unpack).await?;
        let Some(ingest) = needed else {
            self.progress.send(Progress::Present { digest: layer.digest.clone() });
            return self.unpack_blob(layer, unpack).await;
        };
        let offset = ingest.offset();
        let total = layer.size;
        self.progress.send(Progress::Started { digest: layer.digest.clone(), total, done: offset });
        // A continued blob's first bytes are in the file already: unpack it when it is whole.
        let (now, later) = if offset == 0 { (unpack, None) } else { (None, unpack) };
        self.receive(&layer, ingest, offset, now).await?;
        if later.is_some() {
            self.unpack_blob(layer.clone(), later).await?;
        }
        self.progress.send(Progress::Finished { digest: layer.digest });
        Ok(())
    }

    /// What is missing of a layer: the blob, with its partial file open (`None`: it is there, or another pull that was
    /// waited for has finished it), and the unpacking.
    async fn look(
        &self,
        layer: Descriptor,
        unpack: Option<Unpack>,
    ) -> Result<(Option<Box<BlobWriter>>, Option<Unpack>)> {
        self.on_thread(move |this| {
            let store = this.engine.store();
            let unpack = match unpack {
                Some(unpack) if store.layer(&unpack.diff_id)?.is_some() => None,
                unpack => unpack,
            };
            if store.has(&layer.digest)? {
                return Ok((None, unpack));
            }
            match store.ingest(&layer)? {
                Ingest::Present => Ok((None, unpack)),
                Ingest::Needed(writer) => Ok((Some(writer), unpack)),
            }
        })
        .await
    }

    async fn receive(
        &self,
        layer: &Descriptor,
        ingest: Box<BlobWriter>,
        offset: u64,
        unpack: Option<Unpack>,
    ) -> Result<()> {
        let mut stream = self.client.blob(&self.name, layer, offset).await?;
        let (send, receive) = mpsc::channel::<Bytes>(CHUNKS);
        let this = self.clone();
        let writer = spawn_blocking(move || write_and_unpack(&this.engine, ingest, receive, unpack));
        let mut failure = None;
        loop {
            match stream.next().await {
                Ok(Some(chunk)) => {
                    let bytes = chunk.len() as u64;
                    if send.send(chunk).await.is_err() {
                        break; // The writer failed, and says why below.
                    }
                    self.progress.send(Progress::Advanced { digest: layer.digest.clone(), bytes });
                }
                Ok(None) => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(send);
        let written = writer.await.map_err(|_| Error::Cancelled)?;
        match failure {
            Some(error) => Err(error.into()),
            None => written,
        }
    }

    async fn unpack_blob(&self, layer: Descriptor, unpack: Option<Unpack>) -> Result<()> {
        let Some(unpack) = unpack else { return Ok(()) };
        self.on_thread(move |this| this.engine.unpack_from_blob(&layer, &unpack)).await
    }
}

/// The writer's thread: into the store, and on to the unpacker's thread.
fn write_and_unpack(
    engine: &Engine,
    mut ingest: Box<BlobWriter>,
    mut chunks: mpsc::Receiver<Bytes>,
    unpack: Option<Unpack>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let mut forward = None;
        let unpacker = unpack.map(|unpack| {
            let (send, receive) = sync_mpsc::sync_channel(CHUNKS);
            forward = Some(send);
            scope.spawn(move || {
                let mut reader = ChunkReader { chunks: receive, current: Bytes::new() };
                engine.store().unpack_layer(
                    &unpack.diff_id,
                    unpack.compression,
                    &mut reader,
                    &engine.unpack_options(),
                )
            })
        });
        while let Some(chunk) = chunks.blocking_recv() {
            ingest.write(&chunk)?;
            if let Some(to) = &forward
                && to.send(chunk).is_err()
            {
                forward = None; // The unpacker failed; the blob is kept all the same, and its error told below.
            }
        }
        drop(forward);
        // A stream that was cut off leaves the partial file; the caller has the reason.
        let committed = if ingest.offset() == ingest.size() { ingest.commit() } else { Ok(()) };
        let unpacked = unpacker.map(|thread| thread.join().map_err(|_| Error::Cancelled));
        committed?;
        if let Some(unpacked) = unpacked {
            unpacked??;
        }
        Ok(())
    })
}

/// The chunks of a channel as a reader. Its end is the end of the stream.
struct ChunkReader {
    chunks: sync_mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.chunks.recv() {
                Ok(chunk) => self.current = chunk,
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current[..count]);
        self.current.advance(count);
        Ok(count)
    }
}
