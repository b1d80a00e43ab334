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
use std::sync::mpsc as sync_mpsc;

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
        let client = self.registry_client()?.clone();
        let lease = self.store().lease("pull")?;
        let document = client.resolve(name).await?;
        let target = document.descriptor();
        self.keep(&lease, &target, document.raw())?;
        let (chosen, reason) = pick(&name.to_string(), &document, &target, &options.wanted)?;
        let mut manifests = vec![chosen.clone()];
        if let Some(index) = document.index().filter(|_| options.all_platforms) {
            manifests.extend(index.manifests.iter().filter(|d| d.digest != chosen.digest).cloned());
        }
        let mut images = Vec::new();
        for descriptor in manifests {
            images.push(self.pull_manifest(&client, name, &lease, descriptor, &document).await?);
        }
        let transfer =
            Transfer { engine: self.clone(), client, name: name.clone(), progress: options.progress.clone() };
        transfer.blobs(&lease, &images).await?;
        self.store().set_ref(&name.without_digest(), &target)?;
        self.record_event(&Event::image("pull", &name.to_string()))?;
        let image =
            images.into_iter().next().ok_or_else(|| Error::ImageNotFound { name: name.to_string() })?;
        ResolvedImage::new(name.to_string(), target, image, reason, &options.wanted)
    }

    /// A manifest and its config.
    async fn pull_manifest(
        &self,
        client: &Client,
        name: &Reference,
        lease: &Lease,
        descriptor: Descriptor,
        top: &Document,
    ) -> Result<Image> {
        let document =
            if top.index().is_some() { client.manifest(name, &descriptor).await? } else { top.clone() };
        self.keep(lease, &descriptor, document.raw())?;
        let manifest = document.manifest().cloned().ok_or_else(|| Error::Unsupported {
            what: format!("`{name}`"),
            reason: "its index leads to another index: pull the inner one by digest".into(),
        })?;
        let config = self.pull_document(client, name, lease, &manifest.config).await?;
        Ok(Image { descriptor, manifest, config })
    }

    /// A small blob, whole in memory: a config.
    async fn pull_document(
        &self,
        client: &Client,
        name: &Reference,
        lease: &Lease,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>> {
        if descriptor.size > brig_oci::MAX_DOCUMENT_SIZE {
            let source = brig_oci::DocumentError::TooLarge { size: descriptor.size };
            return Err(document_error(format!("{name}, config {}", descriptor.digest))(source));
        }
        lease.protect(std::slice::from_ref(&descriptor.digest), &[])?;
        if self.store().has(&descriptor.digest)? {
            return Ok(self.store().read_blob(&descriptor.digest, brig_oci::MAX_DOCUMENT_SIZE)?);
        }
        let mut stream = client.blob(name, descriptor, 0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        self.keep(lease, descriptor, &bytes)?;
        Ok(bytes)
    }

    /// Puts a small blob into the store, verified against its descriptor.
    fn keep(&self, lease: &Lease, descriptor: &Descriptor, bytes: &[u8]) -> Result<()> {
        lease.protect(std::slice::from_ref(&descriptor.digest), &[])?;
        Ok(self.store().ingest_from(descriptor, bytes)?)
    }
}

/// Everything that the transfer of one blob needs.
#[derive(Clone)]
struct Transfer {
    engine: Engine,
    client: Client,
    name: Reference,
    progress: ProgressSink,
}

impl Transfer {
    /// All layers of all images, each blob once.
    async fn blobs(&self, lease: &Lease, images: &[Image]) -> Result<()> {
        let mut wanted: Vec<(Descriptor, Option<Unpack>)> = Vec::new();
        for image in images {
            for (layer, unpack) in layers_of(image)? {
                let diff_ids: Vec<_> = unpack.iter().map(|unpack| unpack.diff_id.clone()).collect();
                lease.protect(std::slice::from_ref(&layer.digest), &diff_ids)?;
                if !wanted.iter().any(|(have, _)| have.digest == layer.digest) {
                    wanted.push((layer, unpack));
                }
            }
        }
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

    async fn blob(&self, layer: Descriptor, unpack: Option<Unpack>) -> Result<()> {
        let unpack = match unpack {
            Some(unpack) if self.engine.store().layer(&unpack.diff_id)?.is_some() => None,
            unpack => unpack,
        };
        if self.engine.store().has(&layer.digest)? {
            self.progress.send(Progress::Present { digest: layer.digest.clone() });
            return self.unpack_blob(layer, unpack).await;
        }
        let (ingest, offset) = self.open_ingest(&layer).await?;
        let Some(ingest) = ingest else {
            self.progress.send(Progress::Present { digest: layer.digest.clone() });
            return self.unpack_blob(layer, unpack).await;
        };
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

    /// Opens the partial file; waits where another pull writes it. `None`: the other one finished it.
    async fn open_ingest(&self, layer: &Descriptor) -> Result<(Option<Box<BlobWriter>>, u64)> {
        let (engine, layer) = (self.engine.clone(), layer.clone());
        blocking(move || match engine.store().ingest(&layer)? {
            Ingest::Present => Ok((None, 0)),
            Ingest::Needed(writer) => {
                let offset = writer.offset();
                Ok((Some(writer), offset))
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
        let engine = self.engine.clone();
        let writer = spawn_blocking(move || write_and_unpack(&engine, ingest, receive, unpack));
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
        let engine = self.engine.clone();
        blocking(move || engine.unpack_from_blob(&layer, &unpack)).await
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
