//! What is to be mounted for a container, as data: a driver mounts it.

use std::path::{Path, PathBuf};

use crate::layer::Layer;
use crate::store::Store;

/// How a root file system is to be mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// In a user namespace: overlayfs keeps its marks in `user.overlay.*`.
    pub user_xattr: bool,
    /// Without writing back when it is unmounted. Quicker to end, but never to be mounted again.
    pub volatile: bool,
}

/// A container's root file system: one overlay of layers, with or without a writable top.
///
/// # Long lists of layers
/// mount(2) takes a page of options, and fsconfig(2) 256 bytes for each. A layer's path relative to [`MountPlan::base`]
/// has at most 138 bytes, so the mounter should enter that directory and either give each layer by fsconfig's
/// `lowerdir+` (since Linux 6.8, up to 500 layers), or join [`MountPlan::relative_lowers`] for mount(2) (about 50
/// layers), or, for more, open each layer and join `/proc/self/fd/N` (about 230). These paths have no characters that
/// are special in mount options; those of the top and of `base` may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPlan {
    /// The directory that all of [`MountPlan::lowers`] are in.
    pub base: PathBuf,
    /// The roots of the layers, highest first as overlayfs wants them; at least one, and two without a top.
    pub lowers: Vec<PathBuf>,
    /// The writable top.
    pub upper: Option<PathBuf>,
    /// The directory that overlayfs works in, beside the top and empty.
    pub work: Option<PathBuf>,
    /// More options, without those for the directories.
    pub options: Vec<&'static str>,
}

impl MountPlan {
    /// The lower directories relative to [`MountPlan::base`].
    pub fn relative_lowers(&self) -> Vec<&Path> {
        self.lowers.iter().map(|path| path.strip_prefix(&self.base).unwrap_or(path)).collect()
    }
}

impl Store {
    /// The plan for a stack from [`Store::stack`] with a writable `top` (upper and work directory), or without.
    pub fn mount_plan(
        &self,
        stack: &[Layer],
        top: Option<(&Path, &Path)>,
        options: MountOptions,
    ) -> MountPlan {
        let mut lowers: Vec<_> = stack.iter().rev().map(Layer::fs).collect();
        // Overlayfs wants one lower layer, and two if there is nothing above them.
        let least = if top.is_some() { 1 } else { 2 };
        if lowers.len() < least {
            lowers.push(self.empty_layer());
        }
        if lowers.len() < least {
            lowers.push(self.second_empty_layer());
        }
        let (upper, work) = top.map(|(upper, work)| (upper.to_owned(), work.to_owned())).unzip();
        // The kernel's configuration may turn these features on, and then a writable top isn't what other programs
        // and `LayerStack` read in it. `userxattr` turns off the last two, and refuses to be told.
        let mut list = match options.user_xattr {
            true => vec!["index=off", "userxattr"],
            false => vec!["index=off", "metacopy=off", "redirect_dir=off"],
        };
        if options.volatile && upper.is_some() {
            list.push("volatile");
        }
        MountPlan { base: self.layers_dir(), lowers, upper, work, options: list }
    }
}
