//! Garbage collection: what nobody needs goes.
//!
//! Needed is what refs name, what leases list, and what the caller says that containers use, with all that these refer
//! to. Marking and sweeping happen under the exclusive lock that [`Lease::protect`](crate::Lease::protect) and
//! [`Store::set_ref`] take shared, so that nobody can begin to need something in between.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use brig_oci::{Descriptor, Digest, ImageConfig, MAX_DOCUMENT_SIZE, media_type};

use crate::compiled;
use crate::error::{IoContext, Result, StoreError};
use crate::fsutil;
use crate::layer::{PARTIAL, TRASH};
use crate::lock::Lock;
use crate::store::{ALGORITHMS, Store, from_file_name};

/// After this time nobody still writes a temporary file.
const TEMPORARY_AGE: Duration = Duration::from_secs(60 * 60);

/// What containers need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Manifests or indexes, which keep all that they refer to.
    pub manifests: Vec<Descriptor>,
    /// Unpacked layers, by diffID.
    pub layers: Vec<Digest>,
    /// Other blobs, and modules whose compiled form is to stay.
    pub blobs: Vec<Digest>,
}

/// What garbage collection takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcOptions {
    /// Partial downloads that were last written to this long ago.
    pub partial_age: Duration,
    /// Compiled modules of no image that were last used this long ago.
    pub compiled_age: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { partial_age: DAY, compiled_age: DAY * 30 }
    }
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Their size, in bytes.
    pub blob_bytes: u64,
    /// Layers, by diffID.
    pub layers: Vec<Digest>,
    /// How many compiled modules.
    pub compiled: usize,
    /// How many partial downloads, unpackings and temporary files.
    pub leftovers: usize,
}

type AskInUse<'a> = &'a dyn Fn() -> std::result::Result<InUse, Box<dyn std::error::Error + Send + Sync>>;

/// What is needed.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) blobs: HashSet<Digest>,
    pub(crate) layers: HashSet<Digest>,
}

impl Store {
    /// Removes what no ref, lease or container needs. `in_use` is asked when nobody can begin to need anything: it
    /// must list all containers' images and layers, those of half-made containers too, unless a lease has them.
    pub fn gc(&self, in_use: AskInUse<'_>, options: &GcOptions) -> Result<GcReport> {
        let mut report = GcReport::default();
        let mut trash = Vec::new();
        {
            let _lock = Lock::exclusive(&self.gc_lock_path())?;
            self.remove_void_leases()?;
            let live = self.mark(in_use)?;
            self.sweep_blobs(&live, &mut report)?;
            self.sweep_layers(&live, &mut report, &mut trash)?;
            self.sweep_compiled(&live, options, &mut report)?;
            self.sweep_ingest(&live, options, &mut report)?;
        }
        // Out of sight already; nobody has to wait for this.
        trash.iter().try_for_each(|path| fsutil::remove_tree(path))?;
        Ok(report)
    }

    /// Leases first: whoever drops one has a ref or a container's record by then, which is read later.
    fn mark(&self, in_use: AskInUse<'_>) -> Result<Live> {
        let mut live = Live::default();
        for lease in self.leases()? {
            live.blobs.extend(lease.blobs);
            live.layers.extend(lease.layers);
        }
        let in_use = in_use().map_err(|source| StoreError::InUse { source })?;
        let mut reached = Live::default();
        let (refs, damaged) = self.readable_refs()?;
        if let Some(name) = damaged.into_iter().next() {
            // What it names can't be told from garbage.
            return Err(StoreError::DamagedRef { path: self.dir("refs").join(name) });
        }
        for record in &refs {
            self.mark_descriptor(&record.descriptor, &mut reached)?;
        }
        for descriptor in &in_use.manifests {
            self.mark_descriptor(descriptor, &mut reached)?;
        }
        live.blobs.extend(reached.blobs.into_iter().chain(in_use.blobs));
        live.layers.extend(reached.layers.into_iter().chain(in_use.layers));
        Ok(live)
    }

    /// Marks a blob and all that it refers to, and the layers of images. What isn't here refers to nothing.
    pub(crate) fn mark_descriptor(&self, descriptor: &Descriptor, live: &mut Live) -> Result<()> {
        if !live.blobs.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        let kind = descriptor.media_type.as_str();
        let is_document = media_type::is_index(kind) || media_type::is_manifest(kind);
        if !is_document || !self.has(&descriptor.digest)? {
            return Ok(());
        }
        let document = self.load_document(descriptor)?;
        for child in document.children() {
            self.mark_descriptor(child, live)?;
        }
        if let Some(manifest) = document.manifest() {
            live.layers.extend(self.diff_ids(&manifest.config)?);
        }
        Ok(())
    }

    /// The layers of an image by its config; none where the config isn't here or isn't an image's.
    pub(crate) fn diff_ids(&self, config: &Descriptor) -> Result<Vec<Digest>> {
        if !media_type::is_image_config(&config.media_type) || !self.has(&config.digest)? {
            return Ok(Vec::new());
        }
        let bytes = self.read_blob(&config.digest, MAX_DOCUMENT_SIZE)?;
        let config = ImageConfig::parse(&bytes)
            .map_err(|source| StoreError::Document { digest: config.digest.clone(), source })?;
        Ok(config.rootfs.diff_ids)
    }

    fn sweep_blobs(&self, live: &Live, report: &mut GcReport) -> Result<()> {
        for digest in self.blobs()? {
            if live.blobs.contains(&digest) {
                continue;
            }
            let size = self.blob_size(&digest)?.unwrap_or(0);
            if fsutil::remove_file(&self.blob_path(&digest))? {
                report.blob_bytes += size;
                report.blobs.push(digest);
            }
        }
        Ok(())
    }

    fn sweep_layers(&self, live: &Live, report: &mut GcReport, trash: &mut Vec<PathBuf>) -> Result<()> {
        for diff_id in self.visible_layers()? {
            if !live.layers.contains(&diff_id) {
                trash.push(self.trash_layer(&diff_id)?);
                report.layers.push(diff_id);
            }
        }
        for name in fsutil::names(&self.layers_dir())? {
            let path = self.layers_dir().join(&name);
            if name.ends_with(TRASH) && !trash.contains(&path) {
                report.leftovers += 1;
                trash.push(path);
            } else if let Some(diff_id) = name.strip_suffix(PARTIAL).and_then(from_file_name)
                && let Some(lock) = Lock::try_exclusive(&self.layer_lock_path(&diff_id))?
            {
                report.leftovers += 1;
                fsutil::remove_tree(&path)?;
                lock.remove()?;
            }
        }
        Ok(())
    }

    fn sweep_compiled(&self, live: &Live, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        let compiled = self.dir("compiled");
        for engine_key in fsutil::names(&compiled)? {
            let dir = compiled.join(engine_key);
            for name in fsutil::names(&dir)? {
                let path = dir.join(&name);
                let Some(module) = name.strip_suffix(".cwasm").and_then(from_file_name) else { continue };
                if is_needed(&path, &module, live, options)? {
                    continue;
                }
                fsutil::remove_file(&path)?;
                fsutil::remove_file(&compiled::origins_path(&path))?;
                report.compiled += 1;
            }
        }
        Ok(())
    }

    fn sweep_ingest(&self, live: &Live, options: &GcOptions, report: &mut GcReport) -> Result<()> {
        for name in fsutil::names(&self.ingest_dir())? {
            let path = self.ingest_dir().join(&name);
            let age = match name.strip_suffix(".part").and_then(from_file_name) {
                // Somebody is about to go on with it.
                Some(digest) if live.blobs.contains(&digest) && !self.has(&digest)? => continue,
                Some(_) => options.partial_age,
                None if name.ends_with(".layer") => Duration::ZERO,
                None if name.starts_with("tmp-") => TEMPORARY_AGE,
                None => continue,
            };
            if is_older(&path, age)?
                && let Some(lock) = Lock::try_exclusive(&path)?
            {
                lock.remove()?;
                report.leftovers += 1;
            }
        }
        Ok(())
    }

    /// Every blob that has its name.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        let mut blobs = Vec::new();
        for algorithm in ALGORITHMS {
            let algorithm = algorithm.as_str();
            let names = fsutil::names(&self.dir("blobs").join(algorithm))?;
            blobs.extend(names.iter().filter_map(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok()));
        }
        Ok(blobs)
    }
}

fn is_needed(path: &Path, module: &Digest, live: &Live, options: &GcOptions) -> Result<bool> {
    if live.blobs.contains(module) {
        return Ok(true);
    }
    let origins = compiled::origins(path)?;
    if origins.is_empty() {
        return Ok(!is_older(path, options.compiled_age)?);
    }
    Ok(origins.iter().any(|origin| live.blobs.contains(origin) || live.layers.contains(origin)))
}

/// Whether a file was last written to at least `age` ago; not if it isn't there.
fn is_older(path: &Path, age: Duration) -> Result<bool> {
    let modified = match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(modified) => modified,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).context("look at", path),
    };
    // A time in the future counts as now.
    Ok(SystemTime::now().duration_since(modified).unwrap_or_default() >= age)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::UnpackOptions;
    use crate::testing::{Sample, reference, small_tar, store};

    const AT_ONCE: GcOptions = GcOptions { partial_age: Duration::ZERO, compiled_age: Duration::ZERO };

    fn unpack(store: &Store, tar: &[u8]) -> Digest {
        let diff_id = Digest::sha256(tar);
        let none = media_type::Compression::None;
        store.unpack_layer(&diff_id, none, tar, &UnpackOptions::default()).unwrap();
        diff_id
    }

    fn collect(store: &Store) -> GcReport {
        store.gc(&|| Ok(InUse::default()), &AT_ONCE).unwrap()
    }

    #[test]
    fn what_two_images_share_stays_when_one_goes() {
        let (_dir, store) = store();
        let (shared, own) = (small_tar("shared"), small_tar("own"));
        let one = Sample::new(&store, "one", &[&shared, &own]);
        let two = Sample::new(&store, "two", &[&shared]);
        let (shared_id, own_id) = (unpack(&store, &shared), unpack(&store, &own));
        store.set_ref(&reference("one"), &one.manifest).unwrap();
        store.set_ref(&reference("two"), &two.manifest).unwrap();
        assert_eq!(collect(&store), GcReport::default());

        store.remove_ref(&reference("one")).unwrap();
        let report = collect(&store);
        assert_eq!(report.layers, [own_id]);
        assert_eq!(report.blobs.len(), 3, "manifest, config, own layer");
        assert!(store.layer(&shared_id).unwrap().is_some());
        assert!(store.has(&Digest::sha256(&shared)).unwrap());
        store.load_image(&two.manifest).unwrap();

        store.remove_ref(&reference("two")).unwrap();
        collect(&store);
        assert!(store.blobs().unwrap().is_empty());
        assert!(store.visible_layers().unwrap().is_empty());
    }

    #[test]
    fn two_names_of_one_image() {
        let (_dir, store) = store();
        let sample = Sample::new(&store, "one", &[]);
        store.set_ref(&reference("a"), &sample.manifest).unwrap();
        store.set_ref(&reference("b"), &sample.manifest).unwrap();
        store.remove_ref(&reference("a")).unwrap();
        assert_eq!(collect(&store), GcReport::default());
    }

    #[test]
    fn an_index_keeps_what_is_here_of_it() {
        let (_dir, store) = store();
        let sample = Sample::new(&store, "one", &[]);
        let elsewhere = Descriptor::of(media_type::OCI_MANIFEST, b"never pulled");
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": [sample.manifest, elsewhere],
        });
        let index = store.put(media_type::OCI_INDEX, index.to_string().as_bytes()).unwrap();
        store.set_ref(&reference("multi"), &index).unwrap();
        assert_eq!(collect(&store), GcReport::default());
    }

    #[test]
    fn containers_and_leases_keep_what_they_need() {
        let (_dir, store) = store();
        let tar = small_tar("x");
        let sample = Sample::new(&store, "one", &[&tar]);
        let layer = unpack(&store, &tar);
        let used = InUse { manifests: vec![sample.manifest.clone()], ..InUse::default() };
        assert_eq!(store.gc(&|| Ok(used.clone()), &AT_ONCE).unwrap(), GcReport::default());

        let lease = store.lease("pull").unwrap();
        lease.protect(std::slice::from_ref(&sample.manifest.digest), std::slice::from_ref(&layer)).unwrap();
        let report = collect(&store);
        assert_eq!((report.blobs.len(), report.layers.len()), (2, 0));
        drop(lease);
        let report = collect(&store);
        assert_eq!((report.blobs.len(), report.layers.len()), (1, 1));
    }

    #[test]
    fn compiled_modules_go_with_what_they_come_from() {
        let (_dir, store) = store();
        let module = store.put(media_type::WASM, b"module").unwrap();
        let sample = Sample::new(&store, "one", &[]);
        store.set_ref(&reference("one"), &sample.manifest).unwrap();
        let publish = |module: &Digest, origin| {
            store.publish_compiled("key", module, origin).unwrap().commit().unwrap();
        };
        let inside = Digest::sha256("a file of a layer");
        publish(&inside, Some(&sample.manifest.digest));
        publish(&module.digest, None);
        let report = collect(&store);
        assert_eq!((report.compiled, report.blobs.as_slice()), (1, &[module.digest][..]));
        assert!(store.compiled("key", &inside).unwrap().is_some());
        store.remove_ref(&reference("one")).unwrap();
        assert_eq!(collect(&store).compiled, 1);
    }

    #[test]
    fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
        let (_dir, store) = store();
        let (dead, living) = (Descriptor::of("x", b"dead"), Descriptor::of("x", b"living"));
        crate::testing::needed(&store, &dead).write(b"de").unwrap();
        let mut writer = crate::testing::needed(&store, &living);
        writer.write(b"liv").unwrap();
        let partial = store.layers_dir().join(format!("{}{PARTIAL}", crate::store::file_name(&dead.digest)));
        fs::create_dir_all(partial.join("fs/a")).unwrap();
        assert_eq!(store.gc(&|| Ok(InUse::default()), &GcOptions::default()).unwrap().leftovers, 1);
        assert_eq!(collect(&store).leftovers, 1);
        writer.write(b"ing").unwrap();
        writer.commit().unwrap();
        assert!(!partial.exists());
    }

    #[test]
    fn a_damaged_ref_stops_it() {
        let (dir, store) = store();
        fs::write(dir.path().join("refs/0000"), "").unwrap();
        let result = store.gc(&|| Ok(InUse::default()), &AT_ONCE);
        assert!(matches!(result, Err(StoreError::DamagedRef { .. })));
    }

    #[test]
    fn pulls_and_collections_at_once_lose_nothing() {
        let (_dir, store) = store();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let collector = scope.spawn(|| {
                let mut rounds = 0;
                while !done.load(Ordering::Relaxed) {
                    collect(&store);
                    rounds += 1;
                }
                rounds
            });
            let pullers: Vec<_> = (0..3)
                .map(|thread| {
                    let store = &store;
                    scope.spawn(move || {
                        for round in 0..15 {
                            pull_and_remove(store, thread, round);
                        }
                    })
                })
                .collect();
            let results: Vec<_> = pullers.into_iter().map(|puller| puller.join()).collect();
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(|result| result.is_ok()), "a pull lost something");
            assert!(collector.join().unwrap() > 0);
        });
        collect(&store);
        assert!(store.blobs().unwrap().is_empty());
    }

    /// As the engine pulls: a lease first, then content, then the ref. The tar is the same for all threads.
    fn pull_and_remove(store: &Store, thread: u32, round: u32) {
        let tar = small_tar(&(round % 3).to_string());
        let name = reference(&format!("image{thread}"));
        let lease = store.lease("pull").unwrap();
        let (planned, _elsewhere) = {
            let (dir, other) = crate::testing::store();
            (Sample::new(&other, "x", &[&tar]), dir)
        };
        let layer = Digest::sha256(&tar);
        let blobs = [planned.manifest.digest.clone(), planned.config.digest.clone(), layer.clone()];
        lease.protect(&blobs, std::slice::from_ref(&layer)).unwrap();
        let sample = Sample::new(store, "x", &[&tar]);
        assert_eq!(sample.manifest, planned.manifest);
        unpack(store, &tar);
        store.set_ref(&name, &sample.manifest).unwrap();
        drop(lease);
        store.load_image(&sample.manifest).unwrap();
        assert!(store.has(&layer).unwrap());
        assert!(store.layer(&layer).unwrap().is_some());
        store.remove_ref(&name).unwrap();
    }
}
