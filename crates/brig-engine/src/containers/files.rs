//! A container's files: where they are, and the helper's operations on them.
//!
//! This process opens nothing in a container. The helper does, once the container's file tree is its own root: it
//! enters a container that runs, and mounts one that doesn't, while nobody can start it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use brig_linux::{Files, Piece};
use brig_oci::Digest;
use brig_runtime::ContainerPaths;
use brig_runtime::files::{
    Change, FILES_VERSION, FilesEnd, FilesFailure, FilesPlan, Operation, Owner, PathStat, Place, STEP_ENTER,
};
use brig_runtime::liveness::{LivenessError, retire};
use brig_runtime::lock::ChangeLock;
use brig_runtime::plan::{IdMap, IdMaps, MountKind, PayloadPlan, RootFs};
use brig_runtime::record::MountRecord;
use brig_store::MountOptions;

use super::find::ContainerInfo;
use super::remove::PATIENCE;
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// Where the engine process of a wasm container finds the image's own files.
pub(super) const ENGINE_ROOT: &str = "/rootfs";
/// How often a container is looked at that starts or ends while its files are asked for.
const ATTEMPTS: usize = 3;
/// How much of a source is read at once.
const CHUNK: usize = 128 * 1024;

/// Where the engine process of a wasm container finds a mount.
pub(super) fn engine_volume(number: usize) -> String {
    format!("/volumes/{number}")
}

/// A path in a file tree. While this is there, a container that didn't run can't be started.
#[derive(Debug)]
pub(super) struct Located {
    place: Place,
    path: String,
    _lock: Option<ChangeLock>,
}

/// The files of one side of a copy.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side<'a> {
    Container(&'a ContainerInfo),
    Host,
}

impl Engine {
    /// What is at a path of a container. A symbolic link is one.
    pub fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        self.stat_in(&self.container(name)?, path)
    }

    pub(super) fn stat_in(&self, container: &ContainerInfo, path: &str) -> Result<PathStat> {
        again(|| {
            let located = self.locate(container, path)?;
            let operation = Operation::Stat { path: located.path.clone() };
            match self.operate(Side::Container(container), &located, operation, |_| Ok(()))? {
                FilesEnd::Found(stat) => Ok(stat),
                _ => Err(unexpected(&container.spec.name)),
            }
        })
    }

    /// Writes all of a container's own files as a tar, without what is mounted in it.
    pub fn export(&self, name: &str, to: &mut dyn Write) -> Result<()> {
        let container = self.container(name)?;
        again(|| {
            let located = self.locate_root(&container)?;
            let write = |bytes: &[u8]| to.write_all(bytes).map_err(written);
            self.operate(Side::Container(&container), &located, Operation::Tree, write)
        })?;
        to.flush().map_err(written)
    }

    /// Writes all of a container's own files to a file, which appears when it is whole.
    pub fn export_to_file(&self, name: &str, path: &Path) -> Result<()> {
        crate::images::write_whole(path, |file| self.export(name, &mut io::BufWriter::new(file)))
    }

    /// What a container has changed in its image's files, by path.
    pub fn changes(&self, name: &str) -> Result<Vec<Change>> {
        let container = self.container(name)?;
        let located = self.layers_of(&container)?;
        let mut lines = Vec::new();
        let collect = |bytes: &[u8]| {
            lines.extend_from_slice(bytes);
            Ok(())
        };
        self.operate(Side::Container(&container), &located, Operation::Changes, collect)?;
        let changes = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let changes = changes.map(serde_json::from_slice::<Change>).collect::<Result<Vec<_>, _>>();
        let mut changes = changes.map_err(|_| unexpected(&container.spec.name))?;
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    /// Writes what a container has changed in its image's files, as the tar of a layer.
    pub(crate) fn write_layer(&self, container: &ContainerInfo, to: &mut dyn Write) -> Result<()> {
        let located = self.layers_of(container)?;
        let write = |bytes: &[u8]| to.write_all(bytes).map_err(written);
        self.operate(Side::Container(container), &located, Operation::Layer, write).map(drop)
    }

    /// Runs an operation, and hands on what comes out of it.
    pub(super) fn operate(
        &self,
        side: Side<'_>,
        located: &Located,
        operation: Operation,
        mut sink: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<FilesEnd> {
        let mut files = self.begin(located, operation)?;
        loop {
            match files.next_piece().map_err(lost)? {
                Piece::Bytes(bytes) => sink(&bytes)?,
                Piece::End(end) => return ended(side, end),
            }
        }
    }

    fn begin(&self, located: &Located, operation: Operation) -> Result<Files> {
        let plan = FilesPlan { version: FILES_VERSION, place: located.place.clone(), operation };
        Ok(self.helper()?.files(&plan).map_err(brig_linux::Error::from)?)
    }

    /// Writes a tar into a directory; gives its size and how many attributes couldn't be set.
    pub(super) fn write_from(
        &self,
        side: Side<'_>,
        located: &Located,
        owner: Owner,
        from: &mut dyn Read,
    ) -> Result<(u64, u64)> {
        let mut files = self.begin(located, located.write(owner, side))?;
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let count = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(|source| Error::Io { action: "read the tar", path: None, source })?,
            };
            if count == 0 {
                break;
            }
            total += count as u64;
            if files.send(&buffer[..count]).is_err() {
                // It has given up, and says why.
                break;
            }
        }
        Ok((total, end_of_write(side, &mut files)?))
    }

    /// From one side to the other, byte by byte; gives the size of the tar and how many attributes couldn't be set.
    pub(super) fn carry(
        &self,
        (from_side, from, name): (Side<'_>, &Located, String),
        (to_side, to, owner): (Side<'_>, &Located, Owner),
    ) -> Result<(u64, u64)> {
        let mut source = self.begin(from, Operation::Read { path: from.path.clone(), name })?;
        let mut target = self.begin(to, to.write(owner, to_side))?;
        let mut total = 0;
        loop {
            match source.next_piece().map_err(lost)? {
                Piece::Bytes(bytes) => {
                    total += bytes.len() as u64;
                    if target.send(&bytes).is_err() {
                        break;
                    }
                }
                Piece::End(end) => {
                    // Half of what was to be copied is an error of the source, and the target must not wait for more.
                    ended(from_side, end)?;
                    break;
                }
            }
        }
        Ok((total, end_of_write(to_side, &mut target)?))
    }
}

impl Located {
    /// A path of the host.
    pub(super) fn on_host(directory: PathBuf, path: String) -> Self {
        Self { place: Place::Directory { path: directory }, path, _lock: None }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Links in a container lead to its own files; on the host they may lead anywhere.
    fn write(&self, owner: Owner, side: Side<'_>) -> Operation {
        Operation::Write { path: self.path.clone(), owner, follow: matches!(side, Side::Container(_)) }
    }
}

/// Where the files are.
impl Engine {
    /// Copies a directory of an image's layers into a directory of the host, under a name, with its own attributes.
    pub(crate) fn copy_of_image(&self, layers: &[Digest], path: &str, into: &Path, name: &str) -> Result<()> {
        let layers = self.store().stack(layers)?;
        let options = MountOptions { user_xattr: self.host().rootless, volatile: false };
        let plan = self.store().mount_plan(&layers, None, options);
        let options = plan.options.iter().map(|option| (*option).to_owned()).collect();
        let place = Place::Stopped {
            user_namespace: self.own_ids(),
            root: RootFs::Overlay { lowers: plan.lowers, upper: None, work: None, options },
            read_only: true,
            mounts: Vec::new(),
        };
        // Behind a slash, a link is followed.
        let from = Located { place, path: format!("{path}/"), _lock: None };
        let to = Located::on_host(into.to_owned(), "/".into());
        let source = (Side::Host, &from, name.to_owned());
        self.carry(source, (Side::Host, &to, Owner::Tar)).map(drop)
    }

    /// The file tree that a path of a container is in, and the path in that tree.
    pub(super) fn locate(&self, container: &ContainerInfo, path: &str) -> Result<Located> {
        if container.spec.kind == "wasm"
            && let Some((number, rest)) = wasm_volume(container, path)
        {
            return self.locate_in_volume(container, number, rest);
        }
        self.attempt(container, |container| match container.spec.kind.as_str() {
            "wasm" => self.wasm_place(container, false),
            _ => self.linux_place(container, false),
        })
        .map(|(place, lock)| Located { place, path: path.to_owned(), _lock: lock })
    }

    /// A volume of a wasm container is a directory of the host, unless it is an image or a part of something.
    fn locate_in_volume(&self, container: &ContainerInfo, number: usize, rest: String) -> Result<Located> {
        let mount = &container.spec.mounts[number];
        let (root, part) = match self.special_mount(mount)? {
            None => return on_host(mount, rest),
            Some(MountKind::Part { root, path, .. }) => (root, path),
            Some(MountKind::Root(root)) => (root, String::new()),
            Some(_) => return on_host(mount, rest),
        };
        let place = |container: &ContainerInfo| {
            if container.state.state.is_active() {
                return running(container, &engine_volume(number), false);
            }
            Ok(Place::Stopped {
                user_namespace: self.own_ids(),
                root: root.clone(),
                read_only: mount.read_only,
                mounts: Vec::new(),
            })
        };
        let (place, lock) = self.attempt(container, place)?;
        let path = match &place {
            Place::Stopped { .. } => format!("{part}/{rest}"),
            _ => rest,
        };
        Ok(Located { place, path, _lock: lock })
    }

    /// The root of a container's own files, without what is mounted in it.
    fn locate_root(&self, container: &ContainerInfo) -> Result<Located> {
        self.attempt(container, |container| match container.spec.kind.as_str() {
            "wasm" => self.wasm_place(container, true),
            _ => self.linux_place(container, true),
        })
        .map(|(place, lock)| Located { place, path: "/".into(), _lock: lock })
    }

    /// Finds the place as the container is now: running, or not and locked.
    fn attempt(
        &self,
        container: &ContainerInfo,
        place: impl Fn(&ContainerInfo) -> Result<Place>,
    ) -> Result<(Place, Option<ChangeLock>)> {
        let paths = self.roots().container(&container.spec.id);
        let mut now = self.container_by_id(&container.spec.id)?;
        for _ in 0..ATTEMPTS {
            if now.state.state.is_active() {
                return place(&now).map(|place| (place, None));
            }
            if !matches!(now.state.state, brig_runtime::State::Created | brig_runtime::State::Stopped) {
                break;
            }
            match retire(&paths, PATIENCE) {
                Ok(lock) => return place(&now).map(|place| (place, Some(lock))),
                // Somebody has started it.
                Err(LivenessError::Lock { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            now = self.container_by_id(&container.spec.id)?;
        }
        Err(now.wrong_state("use the files of"))
    }

    fn linux_place(&self, container: &ContainerInfo, bare: bool) -> Result<Place> {
        if container.state.state.is_active() {
            return running(container, "/", bare);
        }
        let paths = self.roots().container(&container.spec.id);
        let plan: PayloadPlan = self.linux_payload(container, &paths)?;
        let binds = plan.mounts.into_iter().filter(|mount| !matches!(mount.what, MountKind::New { .. }));
        Ok(Place::Stopped {
            user_namespace: plan.user_namespace,
            root: to_be_mounted_again(plan.root),
            read_only: container.spec.read_only,
            mounts: if bare { Vec::new() } else { binds.collect() },
        })
    }

    fn wasm_place(&self, container: &ContainerInfo, bare: bool) -> Result<Place> {
        self.need_own_files(container)?;
        if container.state.state.is_active() {
            return running(container, ENGINE_ROOT, bare);
        }
        let paths = self.roots().container(&container.spec.id);
        Ok(Place::Stopped {
            user_namespace: self.own_ids(),
            root: to_be_mounted_again(self.root_fs(container, &paths)?),
            read_only: container.spec.read_only,
            mounts: Vec::new(),
        })
    }

    /// The writable layer of a container, and what lies below it.
    pub(super) fn layers_of(&self, container: &ContainerInfo) -> Result<Located> {
        if container.spec.kind == "wasm" {
            self.need_own_files(container)?;
        }
        let paths = self.roots().container(&container.spec.id);
        let (upper, lowers) = match self.root_fs(container, &paths)? {
            RootFs::Overlay { lowers, .. } => (paths.upper(), lowers),
            _ => (paths.upper(), Vec::new()),
        };
        let place = Place::Layers {
            user_namespace: self.own_ids(),
            upper,
            lowers,
            mount_points: self.mount_points(container, &paths)?,
        };
        Ok(Located { place, path: "/".into(), _lock: None })
    }

    /// What a start makes in the writable layer, to mount on it.
    fn mount_points(&self, container: &ContainerInfo, paths: &ContainerPaths) -> Result<Vec<String>> {
        if container.spec.kind == "wasm" {
            return Ok(Vec::new());
        }
        let plan = self.linux_payload(container, paths)?;
        let clean = |target: &str| {
            let parts: PathBuf = Path::new("/").join(target).components().collect();
            parts.to_string_lossy().into_owned()
        };
        Ok(plan.mounts.iter().map(|mount| clean(&mount.target)).collect())
    }

    /// The user namespace of an ordinary user's containers: root in it is that user.
    fn own_ids(&self) -> Option<IdMaps> {
        let host = self.host();
        let one = |id| vec![IdMap { container: 0, host: id, count: 1 }];
        host.rootless.then(|| IdMaps { uids: one(host.uid), gids: one(host.gid) })
    }

    fn need_own_files(&self, container: &ContainerInfo) -> Result<()> {
        let reason = if container.spec.layers.is_empty() {
            "its image is a wasm module alone: only paths in its volumes are files"
        } else if !self.can_make_namespaces() {
            "an ordinary user's wasm container has its image's files only where user namespaces can be made"
        } else {
            return Ok(());
        };
        let what = format!("a file tree in container `{}`", container.spec.name);
        Err(Error::Unsupported { what, reason: reason.into() })
    }
}

/// Tries again while the container ends in the moment in which it is entered. Nothing has come out of it or gone into it
/// then.
pub(super) fn again<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match work() {
            Err(Error::Files { source, .. }) if source.step == STEP_ENTER && source.errno == libc::ESRCH => {}
            done => return done,
        }
    }
    work()
}

/// The number of the volume of a wasm container that the guest finds by the beginning of a path, and the rest of it.
fn wasm_volume(container: &ContainerInfo, path: &str) -> Option<(usize, String)> {
    let absolute = Path::new("/").join(path);
    let below = |target: &str| absolute.strip_prefix(target).ok().map(Path::to_path_buf);
    let mounts = container.spec.mounts.iter().enumerate();
    let found = mounts.filter_map(|(number, mount)| Some((number, mount, below(&mount.target)?)));
    let (number, _, rest) = found.max_by_key(|(_, mount, _)| mount.target.len())?;
    // A path with `..` may lead out of it, and then isn't one in it.
    if absolute.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    let mut rest = rest.to_str()?.to_owned();
    if path.ends_with('/') || path.ends_with("/.") {
        rest.push('/');
    }
    Some((number, rest))
}

fn on_host(mount: &MountRecord, rest: String) -> Result<Located> {
    let source = &mount.source;
    let (Some(parent), Some(name)) = (source.parent(), source.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Located::on_host(source.clone(), rest));
    };
    Ok(match source.is_dir() {
        true => Located::on_host(source.clone(), rest),
        false => Located::on_host(parent.to_owned(), name.to_owned()),
    })
}

fn running(container: &ContainerInfo, root: &str, bare: bool) -> Result<Place> {
    let process = container.state.payload.ok_or_else(|| container.wrong_state("use the files of"))?;
    Ok(Place::Running { process, root: root.into(), bare })
}

/// An overlay that was mounted as volatile can't be mounted again, and the start is still to come.
fn to_be_mounted_again(mut root: RootFs) -> RootFs {
    if let RootFs::Overlay { options, .. } = &mut root {
        options.retain(|option| option != "volatile");
    }
    root
}

fn end_of_write(side: Side<'_>, files: &mut Files) -> Result<u64> {
    // One that has given up doesn't listen, and says why.
    let _ = files.end_input();
    loop {
        match files.next_piece().map_err(lost)? {
            Piece::Bytes(_) => {}
            Piece::End(end) => match ended(side, end)? {
                FilesEnd::Done { unset } => return Ok(unset),
                _ => return Ok(0),
            },
        }
    }
}

fn ended(side: Side<'_>, end: FilesEnd) -> Result<FilesEnd> {
    match end {
        FilesEnd::Failed(failure) => Err(failed(side, failure)),
        end => Ok(end),
    }
}

fn failed(side: Side<'_>, failure: FilesFailure) -> Error {
    let missing = failure.step == "find" && failure.errno == libc::ENOENT;
    match (side, &failure.subject) {
        (Side::Container(container), Some(path)) if missing => {
            Error::PathNotFound { path: path.clone(), container: container.spec.name.clone() }
        }
        (Side::Container(container), _) => {
            Error::Files { place: format!("container `{}`", container.spec.name), source: failure }
        }
        (Side::Host, Some(path)) if missing => Error::FileNotFound { path: path.into() },
        (Side::Host, _) => Error::Files { place: "the host".into(), source: failure },
    }
}

fn lost(source: io::Error) -> Error {
    Error::Io { action: "hear the helper", path: None, source }
}

pub(super) fn written(source: io::Error) -> Error {
    Error::Io { action: "write the tar", path: None, source }
}

fn unexpected(name: &str) -> Error {
    let source = FilesFailure {
        step: "understand the helper".into(),
        subject: None,
        errno: 0,
        problem: Some("it said something else".into()),
    };
    Error::Files { place: format!("container `{name}`"), source }
}
