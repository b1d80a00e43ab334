//! Compiled wasm: files that this store keeps for an engine, by what they were compiled from and for.
//!
//! What is loaded from here is executed as it is, so that it must be what was written: a file is on the disk before it
//! has its name, and only the owner of the store may enter the directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use brig_oci::Digest;

use crate::error::{IoContext, Result, StoreError};
use crate::fsutil::{self, TempFile};
use crate::store::{MAX_SMALL_FILE, Store, file_name};

/// How exactly the last use of a compiled module is known.
const USE_RESOLUTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A compiled module on its way into the store.
#[derive(Debug)]
pub struct CompiledWriter {
    temp: TempFile,
    path: PathBuf,
}

impl CompiledWriter {
    /// The file to write to.
    pub fn file(&mut self) -> &mut File {
        self.temp.file()
    }

    /// Makes it visible, once it is on the disk. Returns where it is.
    pub fn commit(self) -> Result<PathBuf> {
        self.temp.sync()?;
        self.temp.persist(&self.path)?;
        Ok(self.path)
    }
}

impl Store {
    /// Where the module with the digest `module`, compiled for `engine_key`, is or would be.
    pub fn compiled_path(&self, engine_key: &str, module: &Digest) -> Result<PathBuf> {
        Ok(self.compiled_dir(engine_key)?.join(format!("{}.cwasm", file_name(module))))
    }

    /// The compiled module, if it is there.
    pub fn compiled(&self, engine_key: &str, module: &Digest) -> Result<Option<File>> {
        let path = self.compiled_path(engine_key, module)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context("open", &path),
        };
        let used = file.metadata().and_then(|metadata| metadata.modified()).context("look at", &path)?;
        if used.elapsed().is_ok_and(|age| age > USE_RESOLUTION) {
            file.set_modified(SystemTime::now()).context("touch", &path)?;
        }
        Ok(Some(file))
    }

    /// Begins to keep the compiled form of `module`. `origin` is the blob it comes from (a manifest, or a layer): with
    /// it the compiled form goes. Without one (a file outside of any image) it goes when it wasn't used for long.
    pub fn publish_compiled(
        &self,
        engine_key: &str,
        module: &Digest,
        origin: Option<&Digest>,
    ) -> Result<CompiledWriter> {
        let path = self.compiled_path(engine_key, module)?;
        fsutil::make_dir(&self.compiled_dir(engine_key)?)?;
        if let Some(origin) = origin {
            add_origin(&origins_path(&path), origin)?;
        }
        Ok(CompiledWriter { temp: TempFile::new(&self.ingest_dir())?, path })
    }

    /// Removes what was compiled from `module`, for all engines.
    pub fn remove_compiled(&self, module: &Digest) -> Result<()> {
        let compiled = self.dir("compiled");
        for engine_key in fsutil::names(&compiled)? {
            let path = compiled.join(engine_key).join(format!("{}.cwasm", file_name(module)));
            fsutil::remove_file(&path)?;
            fsutil::remove_file(&origins_path(&path))?;
        }
        Ok(())
    }

    fn compiled_dir(&self, engine_key: &str) -> Result<PathBuf> {
        if !fsutil::is_safe_name(engine_key) {
            return Err(StoreError::InvalidName { what: "engine key", name: engine_key.into() });
        }
        Ok(self.root().join("compiled").join(engine_key))
    }
}

/// Where the origins of the compiled file at `path` are listed, one digest a line.
pub(crate) fn origins_path(path: &Path) -> PathBuf {
    path.with_extension("origins")
}

/// The origins of the compiled file at `path`; empty where none are known.
pub(crate) fn origins(path: &Path) -> Result<Vec<Digest>> {
    let bytes = fsutil::read_small(&origins_path(path), MAX_SMALL_FILE)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // A torn last line names nothing.
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

fn add_origin(path: &Path, origin: &Digest) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).context("open", path)?;
    file.write_all(format!("\n{origin}\n").as_bytes()).context("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;

    #[test]
    fn compiled_modules_are_there_when_they_are_complete() {
        let (_dir, store) = store();
        let module = Digest::sha256("module");
        let mut writer = store.publish_compiled("wasmtime-48-x", &module, None).unwrap();
        writer.file().write_all(b"code").unwrap();
        assert!(store.compiled("wasmtime-48-x", &module).unwrap().is_none());
        let path = writer.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"code");
        assert!(store.compiled("wasmtime-48-x", &module).unwrap().is_some());
        assert!(store.compiled("wasmtime-49-x", &module).unwrap().is_none());
        store.remove_compiled(&module).unwrap();
        assert!(store.compiled("wasmtime-48-x", &module).unwrap().is_none());
    }

    #[test]
    fn an_engine_key_is_no_path() {
        let (_dir, store) = store();
        for key in ["", "..", "a/b", ".x", "a b"] {
            assert!(store.compiled(key, &Digest::sha256("x")).is_err(), "{key}");
        }
    }
}
