//! Images that many tests want.

use std::fs;

use brig_oci::{Platform, media_type};
use serde_json::json;

use super::builder::{ImageBuilder, IndexBuilder};
use super::layer::{Layer, LayerBuilder};
use super::publish::Image;
use crate::Unavailable;

/// The programs of the busybox image, as links to `/bin/busybox`.
pub const BUSYBOX_APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "chown", "cp", "date", "dd", "df", "echo", "env", "false", "find", "grep", "head",
    "hostname", "id", "ip", "kill", "ln", "ls", "md5sum", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc",
    "nproc", "printf", "ps", "pwd", "readlink", "rm", "sed", "seq", "sleep", "sort", "stat", "stty", "tail",
    "test", "touch", "tr", "true", "tty", "umount", "uname", "wc", "wget", "whoami", "yes",
];

/// The statically linked busybox of this machine.
///
/// # Errors
/// When there is none, or it needs a dynamic linker, which an image of it alone doesn't have.
pub fn busybox_binary() -> Result<Vec<u8>, Unavailable> {
    let path = crate::need_tool("busybox")?;
    let bytes = fs::read(&path).map_err(|error| Unavailable::new(format!("{}: {error}", path.display())))?;
    // The name of the linker stands in the first pages of a dynamic program, in its PT_INTERP segment.
    let start = &bytes[..bytes.len().min(16 * 1024)];
    if start.windows(6).any(|window| window == b"/ld-li" || window == b"ld-mus") {
        return Err(Unavailable::new("needs a static busybox (Debian's busybox-static)"));
    }
    Ok(bytes)
}

/// A small root file system around busybox: `/bin`, `/etc` with users root (0), nobody (65534) and `app` (1000, in
/// group `staff`, 50), `/tmp`, `/root`, `/home/app`.
pub fn busybox_layer() -> Result<LayerBuilder, Unavailable> {
    let binary = busybox_binary()?;
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  app:x:1000:1000:app:/home/app:/bin/sh\n\
                  nobody:x:65534:65534:nobody:/:/bin/false\n";
    let group = "root:x:0:\nstaff:x:50:app\napp:x:1000:\nnogroup:x:65534:\n";
    let mut layer = LayerBuilder::new();
    for dir in ["bin/", "etc/", "dev/", "proc/", "sys/", "usr/", "usr/bin/", "var/", "home/"] {
        layer = layer.dir(dir, 0o755);
    }
    layer = layer
        .dir("tmp/", 0o1777)
        .dir("root/", 0o700)
        .file("etc/passwd", 0o644, passwd)
        .file("etc/group", 0o644, group)
        .file("etc/os-release", 0o644, "ID=brig-test\nPRETTY_NAME=\"brig test image\"\n")
        .file("bin/busybox", 0o755, binary);
    for applet in BUSYBOX_APPLETS {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(layer.owner(1000, 1000).dir("home/app/", 0o755).owner(0, 0))
}

/// An image of [`busybox_layer`] whose command is a shell.
pub fn busybox() -> Result<ImageBuilder, Unavailable> {
    Ok(ImageBuilder::linux()
        .files(busybox_layer()?)
        .env(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        .cmd(&["sh"]))
}

/// A wasm binary as a CNCF artifact (wasm-oci, config `application/vnd.wasm.config.v0+json`).
pub fn wasm_artifact(wasm: &[u8]) -> ImageBuilder {
    let layer = Layer::raw(media_type::WASM, wasm);
    let mut config = json!({
        "created": "2024-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": if is_component(wasm) { "wasip2" } else { "wasip1" },
        "layerDigests": [layer.digest()],
    });
    if is_component(wasm) {
        config["component"] = json!({ "exports": ["wasi:cli/run@0.2.0"], "imports": [], "target": null });
    }
    ImageBuilder::wasi().layer(layer).config_blob(media_type::WASM_CONFIG, config.to_string())
}

/// A wasm binary in the layout of runwasi's tools: an image config of `wasi/wasm`, and the binary as a layer.
pub fn runwasi(wasm: &[u8]) -> ImageBuilder {
    ImageBuilder::wasi().layer(Layer::raw(media_type::RUNWASI_LAYER, wasm)).entrypoint(&["/guest.wasm"])
}

/// A wasm binary as a compat image: `FROM scratch`, `COPY guest.wasm /`, `ENTRYPOINT ["/guest.wasm"]`.
pub fn wasm_compat(wasm: &[u8], platform: Platform) -> ImageBuilder {
    let layer = LayerBuilder::new().file("guest.wasm", 0o755, wasm).dir("data/", 0o755).file(
        "data/greeting",
        0o644,
        "hello from the image\n",
    );
    ImageBuilder::new(platform).files(layer).entrypoint(&["/guest.wasm"])
}

/// One index with a busybox for Linux and a compat image for `wasi/wasm`.
pub fn linux_and_wasm(wasm: &[u8]) -> Result<Image, Unavailable> {
    let linux = busybox()?.cmd(&["echo", "hello from linux"]).build();
    let wasi = wasm_compat(wasm, Platform::wasi()).build();
    Ok(IndexBuilder::new().image(linux).image(wasi).build())
}

/// Whether a wasm binary is a component: its layer field, bytes 6 and 7, is 1.
fn is_component(wasm: &[u8]) -> bool {
    wasm.get(4..8) == Some(&[0x0d, 0, 1, 0])
}
