//! What is on disk, and what of it could go: `system df`.

use std::collections::{BTreeMap, BTreeSet};

use brig_oci::Digest;

use crate::blocking::Engine;
use crate::containers::{ContainerInfo, disk_use};
use crate::error::Result;
use crate::volumes::VolumeInfo;

/// One kind of things.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub total: u64,
    /// How many of them are used.
    pub active: u64,
    /// What they take on disk, in bytes; what several share counts once.
    pub size: u64,
    /// What would be free without those that aren't used, in bytes.
    pub reclaimable: u64,
}

/// Everything that takes space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images: their blobs, and their unpacked layers.
    pub images: Usage,
    /// Containers: their writable layers, logs and records.
    pub containers: Usage,
    /// Volumes.
    pub volumes: Usage,
    /// Compiled WebAssembly.
    pub compiled: Usage,
    /// Each container with its size, the newest first.
    pub per_container: Vec<(ContainerInfo, u64)>,
    /// Each volume with its size, by name.
    pub per_volume: Vec<(VolumeInfo, u64)>,
}

/// A blob or an unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Blob(Digest),
    Layer(Digest),
}

impl Engine {
    /// Whether this is root's engine, with the whole machine to work on.
    pub fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    /// What is on disk, and what of it could go.
    pub fn disk_usage(&self) -> Result<DiskUsage> {
        let containers = self.containers()?;
        let mut usage = DiskUsage { images: self.image_usage(&containers)?, ..DiskUsage::default() };
        for container in containers {
            let size = disk_use(self.roots().container(&container.spec.id).dir());
            let active = container.state.state.is_active();
            usage.containers.total += 1;
            usage.containers.active += u64::from(active);
            usage.containers.size += size;
            usage.containers.reclaimable += if active { 0 } else { size };
            usage.per_container.push((container, size));
        }
        for volume in self.volumes()? {
            let size = volume.disk_use();
            let active = !volume.users.is_empty();
            usage.volumes.total += 1;
            usage.volumes.active += u64::from(active);
            usage.volumes.size += size;
            usage.volumes.reclaimable += if active { 0 } else { size };
            usage.per_volume.push((volume, size));
        }
        let compiled = self.roots().root.join("compiled");
        usage.compiled.size = disk_use(&compiled);
        usage.compiled.total = std::fs::read_dir(compiled).map_or(0, |entries| entries.count() as u64);
        usage.compiled.active = usage.compiled.total;
        Ok(usage)
    }

    fn image_usage(&self, containers: &[ContainerInfo]) -> Result<Usage> {
        let used: BTreeSet<&str> = containers
            .iter()
            .flat_map(|container| container.spec.images())
            .map(|image| image.manifest.as_str())
            .collect();
        let mut usage = Usage::default();
        let (mut all, mut needed) = (BTreeMap::new(), BTreeMap::new());
        for record in self.store().refs()? {
            let document = self.store().load_document(&record.descriptor)?;
            let images = self.present_images(&document, &record.descriptor)?;
            let active =
                images.iter().any(|image| used.contains(image.descriptor.digest.to_string().as_str()));
            usage.total += 1;
            usage.active += u64::from(active);
            for image in &images {
                let parts = self.parts(image)?;
                if active {
                    needed.extend(parts.clone());
                }
                all.extend(parts);
            }
        }
        usage.size = all.values().sum();
        usage.reclaimable = usage.size - needed.values().sum::<u64>();
        Ok(usage)
    }

    fn parts(&self, image: &brig_oci::Image) -> Result<BTreeMap<Part, u64>> {
        let mut parts = BTreeMap::new();
        for blob in image.manifest.layers.iter().chain([&image.manifest.config]) {
            if let Some(size) = self.store().blob_size(&blob.digest)? {
                parts.insert(Part::Blob(blob.digest.clone()), size);
            }
        }
        let config = image.image_config().ok().flatten();
        for diff_id in config.iter().flat_map(|config| &config.rootfs.diff_ids) {
            if let Some(layer) = self.store().layer(diff_id)? {
                parts.insert(Part::Layer(diff_id.clone()), layer.meta()?.bytes);
            }
        }
        Ok(parts)
    }
}
