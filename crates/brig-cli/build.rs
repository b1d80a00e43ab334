//! Builds the demo's image: an OCI archive that holds one index with a Linux and a wasm image, each of one layer.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use brig_oci::{Descriptor, Digest, Platform, media_type};
use serde_json::json;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const SOURCES: &str = "crates/brig-cli/demo";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={SOURCES}");
    // At a fixed address nothing has to be relocated before `main`: some 0.1 ms of every start (docs/performance.md).
    println!("cargo::rustc-link-arg-bin=brig=-no-pie");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let linux = linux_program(&out)?;
    let wasm = wat::parse_file(Path::new(SOURCES).join("hello.wat"))?;
    let mut archive = Archive { tar: tar::Builder::new(Vec::new()) };
    let architecture = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(format!("the demo has no Linux program for {other}").into()),
    };
    let images = [
        archive.image(&Platform::new("linux", architecture), "hello", &linux)?,
        archive.image(&Platform::wasi(), "hello.wasm", &wasm)?,
    ];
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": images });
    let mut descriptor = archive.blob(media_type::OCI_INDEX, &serde_json::to_vec(&index)?)?;
    descriptor.annotations.insert("io.containerd.image.name".into(), "localhost/demo:latest".into());
    let top = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [descriptor] });
    archive.file("index.json", &serde_json::to_vec(&top)?, 0o644)?;
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644)?;
    fs::write(out.join("demo.tar"), archive.tar.into_inner()?)?;
    Ok(())
}

/// The C compiler of the target, as the cc crate's users set it, or `cc`.
fn linux_program(out: &Path) -> Result<Vec<u8>> {
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let program = out.join("hello");
    let status = Command::new(&compiler)
        .args([
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Os",
            "-fno-stack-protector",
            "-fno-asynchronous-unwind-tables",
        ])
        .args(["-Wl,--build-id=none", "-s", "-o"])
        .arg(&program)
        .arg(Path::new(SOURCES).join("hello.c"))
        .status()
        .map_err(|error| {
            format!("can't run the C compiler `{compiler}` (install gcc, or set CC): {error}")
        })?;
    if !status.success() {
        return Err(format!("the C compiler `{compiler}` can't build {SOURCES}/hello.c").into());
    }
    Ok(fs::read(program)?)
}

struct Archive {
    tar: tar::Builder<Vec<u8>>,
}

impl Archive {
    /// An image of one layer with one program, which is its entry point.
    fn image(&mut self, platform: &Platform, name: &str, program: &[u8]) -> Result<Descriptor> {
        let mut layer = Self { tar: tar::Builder::new(Vec::new()) };
        layer.file(name, program, 0o755)?;
        let layer = layer.tar.into_inner()?;
        let config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "config": { "Entrypoint": [format!("/{name}")] },
            "rootfs": { "type": "layers", "diff_ids": [Digest::sha256(&layer)] },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "config": self.blob(media_type::OCI_CONFIG, &serde_json::to_vec(&config)?)?,
            "layers": [self.blob(media_type::OCI_LAYER, &layer)?],
        });
        let mut descriptor = self.blob(media_type::OCI_MANIFEST, &serde_json::to_vec(&manifest)?)?;
        descriptor.platform = Some(platform.clone());
        Ok(descriptor)
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.file(&format!("blobs/sha256/{}", descriptor.digest.hex()), bytes, 0o644)?;
        Ok(descriptor)
    }

    /// Times and owners are fixed, so that the same sources give the same image.
    fn file(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_mtime(0);
        self.tar.append_data(&mut header, name, bytes)?;
        Ok(())
    }
}
