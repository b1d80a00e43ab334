//! Tars made by hand, so that they can be wrong.

/// A tar in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tar {
    bytes: Vec<u8>,
}

/// One header, with defaults that make a regular file of root's.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: u64,
    pub(crate) device: (u32, u32),
}

impl Head {
    pub(crate) fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        let (name, link) = (name.as_ref().to_vec(), Vec::new());
        Self { name, kind, link, size: 0, mode, owner: (0, 0), mtime: 1_700_000_000, device: (0, 0) }
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.owner.0).as_bytes());
        put(116, format!("{:07o}\0", self.owner.1).as_bytes());
        if self.size < 1 << 33 {
            put(124, format!("{:011o}\0", self.size).as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        checksummed(block)
    }
}

/// The block with the right checksum.
pub(crate) fn checksummed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let mut length = key.len() + value.len() + 3;
    while length != key.len() + value.len() + 3 + length.to_string().len() {
        length = key.len() + value.len() + 3 + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

impl Tar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Any bytes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A header and its data, padded.
    pub(crate) fn entry(self, mut head: Head, data: &[u8]) -> Self {
        head.size = data.len() as u64;
        let mut tar = self.raw(&head.block()).raw(data);
        tar.bytes.resize(tar.bytes.len().next_multiple_of(512), 0);
        tar
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Self {
        self.entry(Head::new(name, b'0'), data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(Head::new(name, b'5'), b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(Head { link: target.into(), ..Head::new(name, b'2') }, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(Head { link: target.into(), ..Head::new(name, b'1') }, b"")
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.entry(Head::new("PaxHeaders/x", b'x'), &data)
    }

    /// With the two empty blocks at the end.
    pub(crate) fn done(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }
}
