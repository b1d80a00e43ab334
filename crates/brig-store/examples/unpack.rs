//! Takes a layer's tar into a store and says how long it took: `unpack ROOT LAYER.tar[.gz|.zst]`.

#![allow(clippy::print_stderr, reason = "a program for people")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use brig_oci::media_type::Compression;
use brig_oci::{Algorithm, Digest};
use brig_store::{LayerStack, Store, UnpackOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(tar)) = (arguments.next(), arguments.next()) else {
        return Err("usage: unpack ROOT LAYER.tar[.gz|.zst]".into());
    };
    let compression = match Path::new(&tar).extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Compression::Gzip,
        Some("zst") => Compression::Zstd,
        _ => Compression::None,
    };
    // A registry's config would say this; here the first attempt is told.
    let expected = match arguments.next() {
        Some(diff_id) => diff_id.parse()?,
        None => diff_id(&tar)?,
    };
    let store = Store::open(Path::new(&root))?;
    let start = Instant::now();
    let layer = store.unpack_layer(&expected, compression, File::open(&tar)?, &UnpackOptions::default())?;
    let unpacked = start.elapsed();
    store.sync()?;
    let meta = layer.meta()?;
    eprintln!("{expected}: {} names, {} bytes, {} unmade", meta.names, meta.bytes, meta.unmade);
    eprintln!("unpacked in {unpacked:?}, on the disk after {:?}", start.elapsed());
    let start = Instant::now();
    let stack = LayerStack::new(&[layer.fs()], None)?;
    let passwd = stack.read("/etc/passwd", 1 << 20)?.map(|bytes| bytes.len());
    let shell = stack.which("sh", "/usr/bin:/bin", "/")?;
    eprintln!("passwd {passwd:?} and {shell:?} found in {:?}", start.elapsed());
    Ok(())
}

fn diff_id(tar: &str) -> io::Result<Digest> {
    let mut hasher = Algorithm::Sha256.hasher();
    hasher.update(&std::fs::read(tar)?);
    Ok(hasher.finish())
}
