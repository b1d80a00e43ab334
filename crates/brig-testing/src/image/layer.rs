//! Layers: tar archives as image builders make them (image-spec `layer.md`).

use std::io::Write as _;

use brig_oci::media_type::Compression;
use brig_oci::{Digest, media_type};
use tar::{EntryType, Header};

/// Every entry's time of change, 2024-01-01: builds are reproducible.
const MTIME: u64 = 1_704_067_200;

/// Collects the entries of a layer.
///
/// Names go into the archive as they are given, so that hostile ones can be made too.
pub struct LayerBuilder {
    tar: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
    mtime: u64,
    xattrs: Vec<(String, Vec<u8>)>,
}

impl std::fmt::Debug for LayerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerBuilder").field("size", &self.tar.get_ref().len()).finish_non_exhaustive()
    }
}

impl Default for LayerBuilder {
    fn default() -> Self {
        Self { tar: tar::Builder::new(Vec::new()), owner: (0, 0), mtime: MTIME, xattrs: Vec::new() }
    }
}

impl LayerBuilder {
    /// An empty layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The owner of the entries that follow.
    #[must_use]
    pub fn owner(mut self, uid: u64, gid: u64) -> Self {
        self.owner = (uid, gid);
        self
    }

    /// The time of change of the entries that follow, in seconds since 1970.
    #[must_use]
    pub fn mtime(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    /// An extended attribute of the next entry.
    #[must_use]
    pub fn xattr(mut self, name: &str, value: &[u8]) -> Self {
        self.xattrs.push((format!("SCHILY.xattr.{name}"), value.to_vec()));
        self
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path, "", mode, &[], None)
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, contents: impl AsRef<[u8]>) -> Self {
        self.entry(EntryType::Regular, path, "", mode, contents.as_ref(), None)
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, 0o777, &[], None)
    }

    /// A hard link to an entry of this layer or of a lower one.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, 0o644, &[], None)
    }

    /// A named pipe.
    #[must_use]
    pub fn fifo(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Fifo, path, "", mode, &[], None)
    }

    /// A character device.
    #[must_use]
    pub fn char_device(self, path: &str, mode: u32, major: u32, minor: u32) -> Self {
        self.entry(EntryType::Char, path, "", mode, &[], Some((major, minor)))
    }

    /// Hides what lower layers have at this path.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let marked = match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(&marked, 0o644, "")
    }

    /// Hides what lower layers have in this directory.
    #[must_use]
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), 0o644, "")
    }

    /// Any entry.
    #[must_use]
    pub fn entry(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        mode: u32,
        contents: &[u8],
        device: Option<(u32, u32)>,
    ) -> Self {
        let mut records = std::mem::take(&mut self.xattrs);
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        if !write_field(&mut header.as_old_mut().name, path) {
            records.push(("path".into(), path.into()));
        }
        if !write_field(&mut header.as_old_mut().linkname, link) {
            records.push(("linkpath".into(), link.into()));
        }
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(self.mtime);
        header.set_size(contents.len() as u64);
        if let Some((major, minor)) = device {
            header.set_device_major(major).expect("a device's major number");
            header.set_device_minor(minor).expect("a device's minor number");
        }
        header.set_cksum();
        if !records.is_empty() {
            let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
            self.tar.append_pax_extensions(records).expect("write to memory");
        }
        self.tar.append(&header, contents).expect("write to memory");
        self
    }

    /// The layer as an uncompressed tar.
    pub fn tar(self) -> Vec<u8> {
        self.tar.into_inner().expect("write to memory")
    }

    /// The finished layer.
    pub fn build(self, compression: Compression) -> Layer {
        Layer::from_tar(&self.tar(), compression)
    }
}

/// Copies a name into its field of a header; whether it fits. The tar crate's own setters refuse hostile names.
fn write_field(field: &mut [u8; 100], name: &str) -> bool {
    let size = name.len().min(field.len());
    field[..size].copy_from_slice(&name.as_bytes()[..size]);
    name.len() <= field.len()
}

/// A blob of an image, as a manifest names it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The media type.
    pub media_type: String,
    /// The bytes as they are stored and sent.
    pub bytes: Vec<u8>,
    /// The digest of the uncompressed tar; of the bytes, where they aren't a tar.
    pub diff_id: Digest,
    /// Annotations of the layer's descriptor.
    pub annotations: Vec<(String, String)>,
}

impl Layer {
    /// Compresses a tar into a layer.
    pub fn from_tar(tar: &[u8], compression: Compression) -> Self {
        let media_type = match compression {
            Compression::None => media_type::OCI_LAYER,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        Self { diff_id: Digest::sha256(tar), ..Self::raw(media_type, compress(tar, compression)) }
    }

    /// A layer of any type and content.
    pub fn raw(media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let diff_id = Digest::sha256(&bytes);
        Self { media_type: media_type.into(), bytes, diff_id, annotations: Vec::new() }
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        Digest::sha256(&self.bytes)
    }
}

fn compress(tar: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => tar.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).expect("write to memory");
            encoder.finish().expect("write to memory")
        }
        Compression::Zstd => zstd::encode_all(tar, 1).expect("compress in memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_in_as_they_are() {
        let long = "d/".repeat(80) + "f";
        let tar = LayerBuilder::new()
            .file("../../etc/passwd", 0o644, "x")
            .file("/abs", 0o644, "y")
            .xattr("user.a", b"1")
            .file(&long, 0o600, "z")
            .tar();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap())
            .collect();
        assert_eq!(names, ["../../etc/passwd", "/abs", long.as_str()]);
    }

    #[test]
    fn a_layer_names_its_uncompressed_tar() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let layer = LayerBuilder::new().file("a", 0o644, "hello").build(compression);
            let plain = match compression {
                Compression::None => layer.bytes.clone(),
                Compression::Gzip => {
                    let mut plain = Vec::new();
                    let mut decoder = flate2::read::GzDecoder::new(layer.bytes.as_slice());
                    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
                    plain
                }
                Compression::Zstd => zstd::decode_all(layer.bytes.as_slice()).unwrap(),
            };
            assert_eq!(Digest::sha256(plain), layer.diff_id);
            assert_eq!(media_type::tar_compression(&layer.media_type), Some(compression));
        }
    }
}
