//! Files with holes, in all forms that GNU tar writes (GNU tar manual, "Storing Sparse Files").

use super::pax::number;
use super::stream::{BLOCK, Stream};
use super::{MAX_RECORD, Result, UnpackError};

/// Pieces of data, offset and length, in order and without overlap, and the size of the whole file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SparseMap {
    pub(super) pieces: Vec<(u64, u64)>,
    pub(super) size: u64,
}

/// The most pieces: as many as a map of [`MAX_RECORD`] bytes holds in its densest form.
const MAX_PIECES: usize = 256 * 1024;

/// What PAX records say about a sparse file.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    /// Versions 0.0 and 0.1 have the map in the records.
    numbers: Vec<u64>,
    present: bool,
}

impl PaxSparse {
    pub(super) fn set(&mut self, key: &str, value: &[u8]) -> std::result::Result<(), &'static str> {
        let Some(key) = key.strip_prefix("GNU.sparse.") else { return Ok(()) };
        self.present = true;
        match key {
            "major" => self.major = number(value)?,
            "minor" => self.minor = number(value)?,
            "name" => self.name = Some(value.to_vec()),
            "size" | "realsize" => self.size = number(value)?,
            "offset" | "numbytes" => self.push(value)?,
            "map" => value.split(|byte| *byte == b',').try_for_each(|value| self.push(value))?,
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, value: &[u8]) -> std::result::Result<(), &'static str> {
        if self.numbers.len() >= 2 * MAX_PIECES {
            return Err("a sparse map has too many pieces");
        }
        self.numbers.extend(number(value)?);
        Ok(())
    }

    /// The map of the file whose `stored` bytes of data come next; version 1.0 has it in front of the data, and
    /// `stored` shrinks by it.
    pub(super) fn map(&self, stream: &mut Stream<'_>, stored: &mut u64) -> Result<Option<SparseMap>> {
        if !self.present {
            return Ok(None);
        }
        let offset = stream.offset();
        let wrong = |problem| UnpackError::Header { offset, problem };
        let size = self.size.ok_or_else(|| wrong("a sparse file has no size"))?;
        let numbers = match (self.major, self.minor) {
            (Some(1), Some(0)) => read_map(stream, stored)?,
            (None | Some(0), _) => self.numbers.clone(),
            _ => return Err(wrong("a sparse file is of an unknown version")),
        };
        SparseMap::new(&numbers, size, *stored).map(Some).map_err(wrong)
    }
}

impl SparseMap {
    fn new(numbers: &[u64], size: u64, stored: u64) -> std::result::Result<Self, &'static str> {
        const WRONG: &str = "a sparse map is inconsistent";
        if !numbers.len().is_multiple_of(2) {
            return Err(WRONG);
        }
        let pieces: Vec<_> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (offset, length) in &pieces {
            if *offset < end {
                return Err(WRONG);
            }
            end = offset.checked_add(*length).ok_or(WRONG)?;
            sum = sum.checked_add(*length).ok_or(WRONG)?;
        }
        if end > size || sum != stored {
            return Err(WRONG);
        }
        Ok(Self { pieces, size })
    }

    /// The map of GNU tar's old form: four pieces in the header, and 21 in each block that follows.
    pub(super) fn old_gnu(header: &[u8; BLOCK], stream: &mut Stream<'_>, stored: u64) -> Result<Self> {
        let offset = stream.offset();
        let wrong = |problem| UnpackError::Header { offset, problem };
        let size = super::header::numeric(&header[483..495]).map_err(wrong)?;
        let mut numbers = Vec::new();
        pieces(&header[386..482], &mut numbers).map_err(wrong)?;
        let mut more = header[482] != 0;
        while more {
            if numbers.len() >= 2 * MAX_PIECES {
                return Err(wrong("a sparse map has too many pieces"));
            }
            let Some(block) = stream.block()? else {
                return Err(UnpackError::Truncated { offset: stream.offset() });
            };
            pieces(&block[..504], &mut numbers).map_err(wrong)?;
            more = block[504] != 0;
        }
        Self::new(&numbers, size, stored).map_err(wrong)
    }
}

/// Pairs of twelve bytes each; an empty one ends them.
fn pieces(fields: &[u8], numbers: &mut Vec<u64>) -> std::result::Result<(), &'static str> {
    for pair in fields.chunks_exact(24) {
        if pair[0] == 0 || pair[12] == 0 {
            break;
        }
        numbers.push(super::header::numeric(&pair[..12])?);
        numbers.push(super::header::numeric(&pair[12..])?);
    }
    Ok(())
}

/// Decimal lines in whole blocks: the number of pieces, then offset and length of each.
fn read_map(stream: &mut Stream<'_>, stored: &mut u64) -> Result<Vec<u64>> {
    let offset = stream.offset();
    let wrong = || UnpackError::Header { offset, problem: "a sparse map is malformed" };
    let (mut numbers, mut expected) = (Vec::new(), None);
    let (mut line, mut read) = (Vec::new(), 0);
    while expected.is_none_or(|count: u64| (numbers.len() as u64) < count) {
        read += BLOCK as u64;
        if read > MAX_RECORD || read > *stored {
            return Err(wrong());
        }
        for byte in stream.read(BLOCK as u64)? {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if expected.is_some_and(|count| numbers.len() as u64 == count) {
                break;
            }
            let value = number(&line).ok().flatten().ok_or_else(wrong)?;
            line.clear();
            match expected {
                None => expected = Some(value.checked_mul(2).ok_or_else(wrong)?),
                Some(_) => numbers.push(value),
            }
        }
    }
    *stored -= read;
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inconsistent_maps_are_refused() {
        assert!(SparseMap::new(&[0, 10, 20, 5], 30, 15).is_ok());
        for (numbers, size, stored) in [
            (&[0, 10, 5, 5][..], 30, 15),
            (&[0, 10], 9, 10),
            (&[0, 10], 30, 11),
            (&[0], 30, 0),
            (&[u64::MAX, 2], 30, 2),
            (&[0, u64::MAX, u64::MAX, 2], u64::MAX, 1),
        ] {
            assert!(SparseMap::new(numbers, size, stored).is_err(), "{numbers:?}");
        }
    }
}
