//! Images as volumes: their files in a container that is another image's; and parts of volumes.
//!
//! ```text
//! containers/<id>/images/<number of the mount>/view         where it is mounted on the way to a part of it
//!                                             /upper, work  of one that can be written
//! ```
//!
//! The container's record names the layers, so that they stay as long as it does; what is written goes with it.

use std::fs;
use std::path::Path;

use brig_runtime::ContainerPaths;
use brig_runtime::plan::{MountKind, RootFs};
use brig_runtime::record::{ImageRecord, MountRecord, MountedImage, MountsBelow};
use brig_store::{Lease, MountOptions};

use super::Planned;
use crate::blocking::Engine;
use crate::containers::make_dir;
use crate::error::{Error, Result};
use crate::images::{ResolvedImage, Wanted};

/// Where an image is mounted on the way to a part of it.
const VIEW: &str = "view";

impl Engine {
    /// An image that is to be mounted. It has to have files.
    pub(super) fn image_to_mount(&self, name: &str) -> Result<MountedImage> {
        let resolved = self.resolve(name, &Wanted::default())?;
        let layers = resolved.root_layers();
        if layers.is_empty() {
            return Err(no_files(&resolved));
        }
        let image = ImageRecord {
            reference: resolved.name.clone(),
            manifest: resolved.image.descriptor.digest.to_string(),
            id: resolved.id().to_string(),
            platform: resolved.platform.to_string(),
        };
        Ok(MountedImage { image, layers: layers.iter().map(ToString::to_string).collect() })
    }

    /// Keeps the images that are to be mounted from garbage collection until the container's record does, and gives
    /// them their places in its directory.
    pub(crate) fn keep_images(
        &self,
        paths: &ContainerPaths,
        planned: &mut [Planned],
    ) -> Result<Option<Lease>> {
        let mut lease = None;
        for (number, plan) in planned.iter_mut().enumerate() {
            let record = &mut plan.record;
            let is_whole = record.below != MountsBelow::Hidden;
            if is_whole && record.mounted_image.is_none() && record.subpath.is_none() {
                continue;
            }
            self.need_namespaces(record)?;
            let Some(mounted) = &record.mounted_image else { continue };
            record.source = paths.mounted_image(number);
            let lease = match &mut lease {
                Some(lease) => lease,
                none => none.insert(self.store().lease("create")?),
            };
            self.keep_mounted(lease, mounted)?;
        }
        Ok(lease)
    }

    /// First the lease, then the look at what is there: in between it may have been collected.
    fn keep_mounted(&self, lease: &Lease, mounted: &MountedImage) -> Result<()> {
        let name = &mounted.image.reference;
        let layers = crate::layers::read(&mounted.layers)?;
        let manifest = crate::layers::read(std::slice::from_ref(&mounted.image.manifest))?;
        lease.protect(&manifest, &layers)?;
        for digest in layers {
            if self.store().layer(&digest)?.is_none() {
                return Err(Error::Incomplete { name: name.clone(), digest });
            }
        }
        Ok(())
    }

    /// What is seen of an ordinary user's wasm container may be the host's own directories, and nothing else.
    fn need_namespaces(&self, record: &MountRecord) -> Result<()> {
        if self.can_make_namespaces() {
            return Ok(());
        }
        let what = match &record.mounted_image {
            Some(mounted) => format!("the image `{}` as a volume", mounted.image.reference),
            None if record.subpath.is_some() => "a part of a volume".into(),
            None => "a directory without what is mounted below it".into(),
        };
        let reason = "it takes namespaces, which this user can't make here: `brig doctor` says why";
        Err(Error::Unsupported { what, reason: reason.into() })
    }

    /// How the helper mounts what isn't a directory or file of the host as it is.
    pub(crate) fn special_mount(&self, mount: &MountRecord) -> Result<Option<MountKind>> {
        let root = match (&mount.mounted_image, &mount.subpath) {
            (Some(mounted), _) => self.image_fs(mounted, mount)?,
            (None, Some(_)) => RootFs::Path { path: mount.source.clone() },
            (None, None) if mount.below == MountsBelow::Hidden => {
                return Ok(Some(MountKind::Bind { source: mount.source.clone(), recursive: false }));
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(match &mount.subpath {
            None => MountKind::Root(root),
            Some(path) => MountKind::Part { root, place: mount.source.join(VIEW), path: path.clone() },
        }))
    }

    /// The image's layers, under a writable top where one is asked for. An overlay even of one layer: a layer may say
    /// that files aren't there.
    fn image_fs(&self, mounted: &MountedImage, mount: &MountRecord) -> Result<RootFs> {
        let own = &mount.source;
        let (upper, work) = (own.join("upper"), own.join("work"));
        if let Some(all) = own.parent() {
            make_dir(all)?;
        }
        make_dir(own)?;
        make_dir(&own.join(VIEW))?;
        let layers = self.store().stack(&crate::layers::read(&mounted.layers)?)?;
        if !mount.read_only {
            self.make_top(&upper, &work, layers.last().map(|layer| layer.fs()).as_deref())?;
        }
        let top = (!mount.read_only).then_some((upper.as_path(), work.as_path()));
        let options = MountOptions { user_xattr: self.host().rootless, volatile: false };
        let plan = self.store().mount_plan(&layers, top, options);
        Ok(RootFs::Overlay {
            lowers: plan.lowers,
            upper: plan.upper,
            work: plan.work,
            options: plan.options.iter().map(|option| (*option).to_owned()).collect(),
        })
    }

    /// The directory that is mounted has the mode of the image's own.
    fn make_top(&self, upper: &Path, work: &Path, like: Option<&Path>) -> Result<()> {
        let is_new = !upper.exists();
        make_dir(upper)?;
        make_dir(work)?;
        if let Some(like) = like.filter(|_| is_new) {
            let mode = fs::metadata(like).map_err(Error::io("look at", like))?.permissions();
            fs::set_permissions(upper, mode).map_err(Error::io("set the mode of", upper))?;
        }
        Ok(())
    }
}

fn no_files(resolved: &ResolvedImage) -> Error {
    let what = format!("the image `{}` as a volume", resolved.name);
    let reason = match resolved.image.manifest.layers.is_empty() {
        true => "it has no layers",
        false => "its layers are no file systems: it is a WebAssembly module, or an artifact, without files",
    };
    Error::Unsupported { what, reason: reason.into() }
}
