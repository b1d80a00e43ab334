//! Limits of single block devices, of `run` and `create`.

use brig_engine::{BlockDevice, BlockIo, BlockRate, BlockRateKind, BlockWeight};
use clap::Args;

use crate::commands::values::parse_size;

/// docker's flags, each `PATH:VALUE` and as often as there are devices.
#[derive(Args, Debug)]
pub(crate) struct BlockFlags {
    /// Block I/O weight at a device, as PATH:WEIGHT
    #[arg(long, value_name = "DEVICE", value_parser = parse_weight)]
    blkio_weight_device: Vec<(BlockDevice, u16)>,
    /// Most bytes a second that are read from a device, as /dev/sda:1mb
    #[arg(long, value_name = "DEVICE", value_parser = parse_bytes)]
    device_read_bps: Vec<(BlockDevice, u64)>,
    /// Most bytes a second that are written to a device, as /dev/sda:1mb
    #[arg(long, value_name = "DEVICE", value_parser = parse_bytes)]
    device_write_bps: Vec<(BlockDevice, u64)>,
    /// Most reads a second from a device, as /dev/sda:1000
    #[arg(long, value_name = "DEVICE", value_parser = parse_operations)]
    device_read_iops: Vec<(BlockDevice, u64)>,
    /// Most writes a second to a device, as /dev/sda:1000
    #[arg(long, value_name = "DEVICE", value_parser = parse_operations)]
    device_write_iops: Vec<(BlockDevice, u64)>,
}

impl BlockFlags {
    /// With the weight that `update` can change.
    pub(crate) fn block_io(&self, weight: Option<u16>) -> BlockIo {
        let weights = self.blkio_weight_device.iter();
        let rates = [
            (BlockRateKind::ReadBytes, &self.device_read_bps),
            (BlockRateKind::WriteBytes, &self.device_write_bps),
            (BlockRateKind::ReadOperations, &self.device_read_iops),
            (BlockRateKind::WriteOperations, &self.device_write_iops),
        ];
        BlockIo {
            weight,
            weights: weights
                .map(|(device, weight)| BlockWeight { device: device.clone(), weight: *weight })
                .collect(),
            rates: rates
                .iter()
                .flat_map(|(kind, rates)| {
                    rates.iter().map(|(device, rate)| BlockRate {
                        device: device.clone(),
                        kind: *kind,
                        rate: *rate,
                    })
                })
                .collect(),
        }
    }
}

/// A path and what comes behind its last colon.
fn parse_device<T>(
    text: &str,
    example: &str,
    value: impl FnOnce(&str) -> Option<T>,
) -> Result<(String, T), String> {
    let parts = text.rsplit_once(':').filter(|(path, _)| path.starts_with("/dev/"));
    let parsed = parts.and_then(|(path, rest)| Some((path.to_owned(), value(rest)?)));
    parsed.ok_or_else(|| format!("expected a device and a value, such as `{example}`"))
}

fn found<T>((path, value): (String, T)) -> Result<(BlockDevice, T), String> {
    let device = BlockDevice::find(&path).map_err(|error| format!("`{path}`: {error}"))?;
    Ok((device, value))
}

fn parse_weight(text: &str) -> Result<(BlockDevice, u16), String> {
    found(parse_device(text, "/dev/sda:500", |weight| weight.parse().ok())?)
}

fn parse_bytes(text: &str) -> Result<(BlockDevice, u64), String> {
    found(parse_device(text, "/dev/sda:1mb", |rate| parse_size(rate).ok())?)
}

fn parse_operations(text: &str) -> Result<(BlockDevice, u64), String> {
    found(parse_device(text, "/dev/sda:1000", |rate| rate.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_values() {
        let parse = |text| parse_device(text, "", |rate| parse_size(rate).ok());
        assert_eq!(parse("/dev/sda:1mb").unwrap(), ("/dev/sda".to_owned(), 1 << 20));
        assert_eq!(parse("/dev/disk/by-id/a:b:7").unwrap(), ("/dev/disk/by-id/a:b".to_owned(), 7));
        for text in ["", "/dev/sda", "/dev/sda:", "sda:1", "/tmp/x:1", "/dev/sda:-1", "/dev/sda:1x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_block_device_is_named() {
        for (text, says) in [("/dev/null:1", "isn't a block device"), ("/dev/missing:1", "No such file")] {
            let error = parse_weight(text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
