//! Limits of block devices.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde::{Deserialize, Serialize};

/// How a container may use block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// The weight beside others, 10 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Weights at single devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<BlockWeight>,
    /// Rates at single devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<BlockRate>,
}

/// A block device. Its number is found once: a limit of a device that has gone must not be lost in silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// As it was given.
    pub path: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl BlockDevice {
    /// The device of this path.
    ///
    /// # Errors
    /// There is no such file, or it isn't a block device.
    pub fn find(path: &str) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        if !file.file_type().is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a block device"));
        }
        let (major, minor) = (libc::major(file.rdev()), libc::minor(file.rdev()));
        Ok(Self { path: path.into(), major, minor })
    }
}

/// A weight at one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockWeight {
    /// Where.
    pub device: BlockDevice,
    /// 10 to 1000.
    pub weight: u16,
}

/// A rate at one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRate {
    /// Where.
    pub device: BlockDevice,
    /// Of what.
    pub kind: BlockRateKind,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockRateKind {
    /// Bytes that are read.
    ReadBytes,
    /// Bytes that are written.
    WriteBytes,
    /// Operations that read.
    ReadOperations,
    /// Operations that write.
    WriteOperations,
}

impl BlockIo {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
