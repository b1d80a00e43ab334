//! Volumes on disk.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use brig_runtime::remove::remove_tree;
use brig_runtime::volumes::{self, HALF};
use brig_runtime::{Event, Timestamp};
use serde::{Deserialize, Serialize};

use super::{check_name, driver, generated_name};
use crate::blocking::Engine;
use crate::error::{Error, Result};

/// The version of the record. A reader refuses a greater one.
const VERSION: u32 = 1;
/// The record's name.
const RECORD: &str = "volume.json";
/// The name of the directory with the files.
pub(super) const DATA: &str = "_data";
/// The beginning of the name of a directory that a copy goes on in.
const FILLING: &str = "filling-";
/// There until the record of the container names it that it was made for.
const UNCLAIMED: &str = "unclaimed";
/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    version: u32,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// The driver's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) options: BTreeMap<String, String>,
    /// The container that it goes with, if that one goes when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) goes_with: Option<String>,
}

/// What a volume is made with, where it is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Labels.
    pub(super) labels: BTreeMap<String, String>,
    /// The driver's options.
    pub(super) options: BTreeMap<String, String>,
}

/// The container that an anonymous volume is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Whether it goes when it ends.
    pub(super) goes: bool,
}

/// A volume that nobody else makes, fills or removes while this is there.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: File,
    pub(super) name: String,
}

impl Engine {
    /// Where a volume's files are.
    pub(crate) fn volume_data(&self, name: &str) -> PathBuf {
        self.volume_dir(name).join(DATA)
    }

    pub(super) fn volume_dir(&self, name: &str) -> PathBuf {
        self.roots().volumes().join(name)
    }

    /// The names of all volumes, in no order.
    pub(super) fn volume_names(&self) -> Result<Vec<String>> {
        Ok(self.volume_entries()?.into_iter().filter(|name| check_name(name).is_ok()).collect())
    }

    fn volume_entries(&self) -> Result<Vec<String>> {
        crate::containers::names_in(&self.roots().volumes())
    }

    pub(super) fn volume_record(&self, name: &str) -> Result<VolumeRecord> {
        let missing = || Error::VolumeNotFound { name: name.into() };
        check_name(name).map_err(|_| missing())?;
        let dir = self.volume_dir(name);
        let path = dir.join(RECORD);
        let record = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<VolumeRecord>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        match record {
            Some(record) if record.version > VERSION => {
                let problem = format!("its format version is {}: use the brig that wrote it", record.version);
                Err(Error::invalid("volume", name, problem))
            }
            Some(record) => Ok(record),
            // A power cut may damage the record; the files are what counts.
            None => {
                let meta = fs::metadata(&dir).map_err(|_| missing())?;
                let created_at = meta.modified().map_err(Error::io("read", &dir))?.into();
                Ok(VolumeRecord {
                    version: VERSION,
                    created_at,
                    labels: BTreeMap::new(),
                    options: BTreeMap::new(),
                    goes_with: None,
                })
            }
        }
    }

    /// Locks a volume, which is made where it is missing; says whether it was.
    pub(super) fn take_volume(
        &self,
        name: &str,
        wanted: &Wanted,
        owner: Option<Owner<'_>>,
    ) -> Result<(Lock, bool)> {
        let mut made = false;
        loop {
            if let Some(lock) = self.lock_volume(name)? {
                return Ok((lock, made));
            }
            made = self.make_volume(name, wanted, owner)?;
        }
    }

    /// Makes a volume, whole; says whether nobody else did.
    fn make_volume(&self, name: &str, wanted: &Wanted, owner: Option<Owner<'_>>) -> Result<bool> {
        let all = self.roots().volumes();
        make_dir(&all, 0o700)?;
        let _halves = self.use_halves()?;
        let record = VolumeRecord {
            version: VERSION,
            created_at: Timestamp::now(),
            labels: wanted.labels.clone(),
            options: wanted.options.clone(),
            goes_with: owner.filter(|owner| owner.goes).map(|owner| owner.id.to_owned()),
        };
        let new = all.join(format!("{HALF}new-{}", generated_name()?));
        let made = write_volume(&new, &record, owner.is_some())
            .and_then(|()| fs::rename(&new, self.volume_dir(name)));
        match made {
            Ok(()) => {
                self.record_event(&Event::volume("create", name))?;
                Ok(true)
            }
            Err(error) => {
                // The error to tell is the first one; a half is swept later.
                let _ = remove_tree(&new, &[]);
                match error.kind() {
                    io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => Ok(false),
                    _ => Err(Error::io("make the volume", self.volume_dir(name))(error)),
                }
            }
        }
    }

    /// Whether no container's record names a volume yet that was made for one.
    pub(super) fn is_unclaimed(&self, name: &str) -> bool {
        self.volume_dir(name).join(UNCLAIMED).exists()
    }

    /// A container's record names the volume.
    pub(super) fn claim(&self, name: &str) -> Result<()> {
        let mark = self.volume_dir(name).join(UNCLAIMED);
        fs::remove_file(&mark).map_err(Error::io("remove", mark))
    }

    /// Locks a volume, waiting for who has it; `None` without such a volume.
    pub(super) fn lock_volume(&self, name: &str) -> Result<Option<Lock>> {
        self.lock_by(name, volumes::lock)
    }

    /// Locks a volume; `None` without such a volume, and if somebody else has it.
    pub(super) fn try_lock_volume(&self, name: &str) -> Result<Option<Lock>> {
        self.lock_by(name, volumes::try_lock)
    }

    fn lock_by(&self, name: &str, lock: fn(&Path) -> io::Result<Option<File>>) -> Result<Option<Lock>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let dir = self.volume_dir(name);
        let locked = lock(&dir).map_err(Error::io("lock", dir))?;
        Ok(locked.map(|directory| Lock { directory, name: name.to_owned() }))
    }

    /// Removes a volume, and all that is in it.
    pub(super) fn discard_volume(&self, lock: Lock) -> Result<()> {
        let dir = self.volume_dir(&lock.name);
        volumes::discard(&dir, lock.directory).map_err(Error::io("remove", dir))
    }

    /// Held while there is a half of somebody's.
    fn use_halves(&self) -> Result<File> {
        let all = self.roots().volumes();
        volumes::use_halves(&all).map_err(Error::io("lock", all))
    }

    /// Removes the halves that a kill has left.
    pub(super) fn sweep_halves(&self) -> Result<()> {
        let all = self.roots().volumes();
        let halves = self.volume_entries()?.into_iter().filter(|name| name.starts_with(HALF));
        let halves: Vec<_> = halves.collect();
        if halves.is_empty() {
            return Ok(());
        }
        let file = File::open(&all).map_err(Error::io("open", &all))?;
        if !volumes::try_lock_file(&file).map_err(Error::io("lock", &all))? {
            return Ok(());
        }
        for half in halves {
            let path = all.join(half);
            remove_tree(&path, &[]).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }
}

/// How the image's files get into a volume.
impl Lock {
    /// Whether a volume has no files yet, and may get some: a directory of the host stays as it is. What copies that were cut off have left goes.
    pub(super) fn is_empty(&self, dir: &Path) -> Result<bool> {
        if dir.join(DATA).is_symlink() {
            return Ok(false);
        }
        for name in crate::containers::names_in(dir)?.iter().filter(|name| name.starts_with(FILLING)) {
            // The helper of a process that was killed may be at its last file; then the next look removes it.
            let _ = remove_tree(&dir.join(name), &[]);
        }
        let data = dir.join(DATA);
        let mut entries = fs::read_dir(&data).map_err(Error::io("read", data))?;
        Ok(entries.next().is_none())
    }

    /// Does a copy that makes the directory with the files in another one: beside it, so that all of it is there or
    /// nothing; but where a container has the empty one mounted, it has to stay that one.
    pub(super) fn fill(
        &self,
        dir: &Path,
        is_used: bool,
        copy: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        if is_used {
            return copy(dir);
        }
        let beside = dir.join(format!("{FILLING}{}", generated_name()?));
        make_dir(&beside, 0o700)?;
        copy(&beside)?;
        let data = dir.join(DATA);
        move_directory(&beside.join(DATA), &data).map_err(Error::io("fill", &data))?;
        fs::remove_dir(&beside).map_err(Error::io("remove", beside))
    }
}

/// An ordinary user has to be able to write a directory that gets another parent.
fn move_directory(from: &Path, to: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(from)?.permissions().mode();
    let writable = mode | 0o200;
    if writable != mode {
        fs::set_permissions(from, Permissions::from_mode(writable))?;
    }
    fs::rename(from, to)?;
    if writable != mode {
        fs::set_permissions(to, Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn write_volume(dir: &Path, record: &VolumeRecord, unclaimed: bool) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(dir)?;
    fs::write(dir.join(RECORD), serde_json::to_vec(record)?)?;
    if unclaimed {
        fs::write(dir.join(UNCLAIMED), "")?;
    }
    let data = dir.join(DATA);
    if let Some(device) = driver::device(&record.options).map_err(io::Error::other)? {
        return symlink(device, data);
    }
    fs::create_dir(&data)?;
    // The umask took bits away.
    fs::set_permissions(data, Permissions::from_mode(0o755))
}

fn make_dir(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Err(error) => Err(error),
    }
    .map_err(Error::io("make the directory", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocking::EngineOptions;
    use crate::volumes::VolumeOptions;

    fn engine() -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let options = EngineOptions { root: Some(dir.path().join("root")), ..EngineOptions::default() };
        let engine = Engine::open(options).unwrap();
        (dir, engine)
    }

    fn named(name: &str) -> VolumeOptions {
        VolumeOptions { name: Some(name.into()), ..VolumeOptions::default() }
    }

    #[test]
    fn a_volume_is_made_once_and_stays_as_it_is() {
        let (_dir, engine) = engine();
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let first = engine.create_volume(&VolumeOptions { labels: labels.clone(), ..named("x") }).unwrap();
        fs::write(first.mountpoint.join("f"), "kept").unwrap();
        assert_eq!(engine.create_volume(&named("x")).unwrap(), first);
        assert_eq!(fs::read(first.mountpoint.join("f")).unwrap(), b"kept");
        engine.remove_volume("x").unwrap();
        assert!(matches!(engine.volume("x"), Err(Error::VolumeNotFound { .. })));
        assert!(matches!(engine.remove_volume("x"), Err(Error::VolumeNotFound { .. })));
        assert_eq!(engine.volume_entries().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn generated_names_are_64_hexadecimal_characters() {
        let (_dir, engine) = engine();
        let volume = engine.create_volume(&VolumeOptions::default()).unwrap();
        assert!(volume.name.len() == 64 && volume.name.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(volume.is_anonymous());
    }

    #[test]
    fn many_makers_of_one_name_make_one_volume() {
        let (_dir, engine) = engine();
        let make = || engine.take_volume("x", &Wanted::default(), None).unwrap().1;
        let made: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(made, 1);
        assert_eq!(engine.volume_entries().unwrap(), ["x"]);
    }

    #[test]
    fn who_waits_for_a_volume_that_is_removed_gets_a_new_one() {
        let (_dir, engine) = engine();
        let lock = engine.take_volume("x", &Wanted::default(), None).unwrap().0;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| engine.take_volume("x", &Wanted::default(), None).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(engine.try_lock_volume("x").unwrap().is_none());
            engine.discard_volume(lock).unwrap();
            let (_lock, made) = waiting.join().unwrap();
            assert!(made);
        });
        assert!(engine.volume("x").is_ok());
    }

    #[test]
    fn halves_are_swept_unless_somebody_is_at_it() {
        let (_dir, engine) = engine();
        engine.create_volume(&named("x")).unwrap();
        let half = engine.roots().volumes().join(".gone-1");
        fs::create_dir_all(half.join("_data/deep")).unwrap();
        let working = engine.use_halves().unwrap();
        assert_eq!(engine.volumes().unwrap().len(), 1);
        assert!(half.exists());
        drop(working);
        assert_eq!(engine.volumes().unwrap().len(), 1);
        assert!(!half.exists());
    }

    #[test]
    fn a_damaged_record_hides_nothing_and_a_newer_one_is_refused() {
        let (_dir, engine) = engine();
        engine.create_volume(&named("x")).unwrap();
        let record = engine.volume_dir("x").join(RECORD);
        fs::write(&record, "").unwrap();
        assert_eq!(engine.volumes().unwrap().len(), 1);
        fs::write(&record, r#"{"version":9,"created_at":"2024-01-01T00:00:00Z"}"#).unwrap();
        assert!(engine.volume("x").unwrap_err().to_string().contains("format version is 9"));
    }

    #[test]
    fn a_copy_is_there_or_not() {
        let (_dir, engine) = engine();
        engine.create_volume(&named("x")).unwrap();
        let (dir, data) = (engine.volume_dir("x"), engine.volume_data("x"));
        let lock = engine.lock_volume("x").unwrap().unwrap();
        let copy = |into: &Path| {
            fs::create_dir_all(into.join(DATA)).unwrap();
            fs::write(into.join(DATA).join("file"), "").unwrap();
            fs::set_permissions(into.join(DATA), Permissions::from_mode(0o555))
                .map_err(Error::io("set", into))
        };
        assert!(lock.fill(&dir, false, |into| copy(into).and(Err(Error::Cancelled))).is_err());
        assert_eq!(fs::read_dir(&data).unwrap().count(), 0);
        assert!(lock.is_empty(&dir).unwrap());
        lock.fill(&dir, false, copy).unwrap();
        assert!(data.join("file").exists() && !lock.is_empty(&dir).unwrap());
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o555);
        let mut left = crate::containers::names_in(&dir).unwrap();
        left.sort();
        assert_eq!(left, [DATA, RECORD]);
    }

    #[test]
    fn what_was_made_for_a_container_that_never_came_is_swept() {
        let (_dir, engine) = engine();
        let owner = Owner { id: &"c".repeat(64), goes: false };
        let take = |name| engine.take_volume(name, &Wanted::default(), Some(owner)).unwrap().0;
        let locks = [take("claimed"), take("lost"), take("made")];
        engine.claim("claimed").unwrap();
        let [claimed, lost, made] = locks;
        drop((claimed, lost));
        engine.sweep_volumes().unwrap();
        let mut names = engine.volume_names().unwrap();
        names.sort();
        assert_eq!(names, ["claimed", "made"]);
        drop(made);
    }

    #[test]
    fn a_volume_goes_with_its_container() {
        let (_dir, engine) = engine();
        let id = "c".repeat(64);
        fs::create_dir_all(engine.roots().container(&id).dir()).unwrap();
        let owner = Owner { id: &id, goes: true };
        drop(engine.take_volume("x", &Wanted::default(), Some(owner)).unwrap());
        engine.claim("x").unwrap();
        engine.sweep_volumes().unwrap();
        assert_eq!(engine.volume_names().unwrap(), ["x"]);
        fs::remove_dir_all(engine.roots().container(&id).dir()).unwrap();
        let held = engine.lock_volume("x").unwrap();
        engine.sweep_volumes().unwrap();
        assert_eq!(engine.volume_names().unwrap(), ["x"]);
        drop(held);
        engine.sweep_volumes().unwrap();
        assert_eq!(engine.volume_names().unwrap(), Vec::<String>::new());
    }
}
