//! PAX records: `<length> <key>=<value>\n`, the length being that of the whole record.

use super::{Entry, damaged};
use std::io;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// Appends a record.
pub(super) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // A space, an equals sign and the end of the line.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Appends the record of an extended attribute. One whose name would end the key early is left out.
pub(super) fn push_xattr(records: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    if !name.contains(&b'=') {
        push(records, &[XATTR, name].concat(), value);
    }
}

/// What records say beside what an entry has.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Format 1.0: the map comes before the data.
    pub(super) map_in_data: bool,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    pub(super) map: Option<Vec<(u64, u64)>>,
}

/// Reads a block of records into an entry, and says what it says of holes.
pub(super) fn apply(mut block: &[u8], entry: &mut Entry) -> io::Result<Sparse> {
    let mut sparse = Sparse::default();
    while !block.is_empty() {
        let (key, value, rest) = split(block).ok_or_else(|| damaged("a PAX record isn't one"))?;
        block = rest;
        match key {
            b"path" => entry.path = value.to_vec(),
            b"linkpath" => entry.link = value.to_vec(),
            b"size" => entry.size = number(value)?,
            b"uid" => entry.uid = number(value)?,
            b"gid" => entry.gid = number(value)?,
            b"mtime" => entry.mtime = time(value).ok_or_else(|| damaged("a time isn't one"))?,
            b"GNU.sparse.major" => sparse.map_in_data = value == b"1",
            b"GNU.sparse.name" => sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => sparse.real_size = Some(number(value)?),
            b"GNU.sparse.map" => sparse.map = Some(pieces(value)?),
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    entry.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(sparse)
}

fn split(block: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = block.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&block[..space]).ok()?.parse().ok()?;
    let (record, rest) = block.split_at_checked(length)?;
    let text = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((&text[..equals], &text[equals + 1..], rest))
}

fn number(value: &[u8]) -> io::Result<u64> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| damaged("a number isn't one"))
}

fn pieces(value: &[u8]) -> io::Result<Vec<(u64, u64)>> {
    let numbers: Vec<u64> = value.split(|byte| *byte == b',').map(number).collect::<Result<_, _>>()?;
    Ok(numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// Seconds with a fraction; before 1970 with a minus.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match whole.starts_with('-') && nanoseconds > 0 {
        true => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        false => Some((seconds, nanoseconds)),
    }
}

/// The other way round.
pub(super) fn time_text((seconds, nanoseconds): (i64, u32)) -> String {
    let trimmed = |nanoseconds: u32| format!("{nanoseconds:09}").trim_end_matches('0').to_owned();
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (0.., _) => format!("{seconds}.{}", trimmed(nanoseconds)),
        (-1, _) => format!("-0.{}", trimmed(1_000_000_000 - nanoseconds)),
        _ => format!("{}.{}", seconds + 1, trimmed(1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for length in [1, 5, 89, 90, 91, 92, 93, 980, 990, 995] {
            let mut records = Vec::new();
            push(&mut records, b"k", &vec![b'v'; length]);
            assert!(records.starts_with(format!("{} ", records.len()).as_bytes()), "{length}");
        }
    }

    #[test]
    fn times_before_and_after_1970() {
        for at in [(0, 0), (5, 0), (5, 120_000_000), (-1, 500_000_000), (-1, 0), (-7, 1)] {
            assert_eq!(time(time_text(at).as_bytes()), Some(at), "{at:?}");
        }
    }

    #[test]
    fn records_that_are_none_are_refused() {
        for text in ["x", "5 a=b", "999 a=b\n", "0 a=b\n", "6 abcd\n", "13 size=many\n"] {
            assert!(apply(text.as_bytes(), &mut Entry::default()).is_err(), "{text}");
        }
    }
}
