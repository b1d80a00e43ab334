//! A whole Debian, and the tools that move images.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use brig_oci::media_type::Compression;

use crate::image::{ImageBuilder, Layer};
use crate::{Unavailable, cache_dir, need_root, need_tool};

/// Which Debian.
const SUITE: &str = "bookworm";

/// The minbase root file system of Debian as a tar, made by mmdebstrap from this machine's package sources: it takes a
/// minute, and is kept in the cache directory.
///
/// # Errors
/// When mmdebstrap isn't there, or can't reach a mirror.
pub fn debian_tar() -> Result<PathBuf, Unavailable> {
    let path = cache_dir().join(format!("debian-{SUITE}-minbase.tar"));
    if path.exists() {
        return Ok(path);
    }
    let program = need_tool("mmdebstrap")?;
    need_root()?;
    let dir = tempfile::tempdir_in(cache_dir()).expect("a directory for mmdebstrap");
    let made = dir.path().join("rootfs.tar");
    let mut command = Command::new(program);
    command.args(["--variant=minbase", "--mode=root", "--quiet", SUITE]).arg(&made);
    let sources = debian_sources();
    if !sources.is_empty() {
        command.args(sources);
    }
    let result = command.stdin(Stdio::null()).output().expect("start mmdebstrap");
    if !result.status.success() {
        let message = String::from_utf8_lossy(&result.stderr);
        let last = message.lines().last().unwrap_or_default();
        return Err(Unavailable::new(format!("mmdebstrap can't make a Debian here: {last}")));
    }
    // Two tests may have made one: the last wins, and both are good.
    fs::rename(&made, &path).expect("keep the root file system");
    Ok(path)
}

/// This machine's own sources, where it is a Debian of the same suite: its mirror can be reached.
fn debian_sources() -> Vec<PathBuf> {
    let list = Path::new("/etc/apt/sources.list");
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let files = [list.to_owned()].into_iter().chain(parts.map(|entry| entry.path()));
    files
        .filter(|path| {
            fs::read_to_string(path).is_ok_and(|text| text.contains(SUITE) && text.contains("debian"))
        })
        .collect()
}

/// The Debian of [`debian_tar`] as an image.
///
/// # Errors
/// As [`debian_tar`].
pub fn debian() -> Result<ImageBuilder, Unavailable> {
    let path = debian_tar()?;
    let tar = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Ok(ImageBuilder::linux()
        .layer(Layer::from_tar(&tar, Compression::Gzip))
        .env(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        .cmd(&["bash"]))
}

/// Copies an image with skopeo, between any of its transports, without TLS for registries.
///
/// # Errors
/// When skopeo isn't there.
///
/// # Panics
/// When it fails.
pub fn skopeo_copy(from: &str, to: &str) -> Result<(), Unavailable> {
    let program = need_tool("skopeo")?;
    let mut command = Command::new(program);
    command.args(["--insecure-policy", "copy", "--quiet", "--all"]);
    command.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    let result = command.stdin(Stdio::null()).output().expect("start skopeo");
    let message = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "skopeo copy {from} {to}: {message}");
    Ok(())
}

/// What `skopeo inspect` says of an image; `--raw` where the manifest itself is wanted.
///
/// # Errors
/// When skopeo isn't there.
///
/// # Panics
/// When it fails, or says something that isn't JSON.
pub fn skopeo_inspect(image: &str, raw: bool) -> Result<serde_json::Value, Unavailable> {
    let program = need_tool("skopeo")?;
    let mut command = Command::new(program);
    command.args(["inspect", "--tls-verify=false"]);
    if raw {
        command.arg("--raw");
    }
    let result = command.arg(image).stdin(Stdio::null()).output().expect("start skopeo");
    let message = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "skopeo inspect {image}: {message}");
    Ok(serde_json::from_slice(&result.stdout).expect("skopeo says JSON"))
}
