//! PAX extended header records (POSIX pax, "pax Extended Header"): `length key=value\n`.

use super::sparse::PaxSparse;

const XATTR: &str = "SCHILY.xattr.";

/// What the records before an entry say about it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

impl Pax {
    /// Reads a block of records; a later record of a key replaces an earlier one.
    pub(super) fn parse(&mut self, mut block: &[u8]) -> Result<(), &'static str> {
        while !block.is_empty() {
            let (key, value, rest) = record(block)?;
            self.set(key, value)?;
            block = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let Ok(key) = std::str::from_utf8(key) else { return Ok(()) };
        match key {
            "path" => self.path = some(value),
            "linkpath" => self.link = some(value),
            "size" => self.size = number(value)?,
            "uid" => self.uid = number(value)?,
            "gid" => self.gid = number(value)?,
            "mtime" => self.mtime = time(value)?,
            _ => match key.strip_prefix(XATTR) {
                Some(name) => self.xattr(name, value),
                None => return self.sparse.set(key, value),
            },
        }
        Ok(())
    }

    fn xattr(&mut self, name: &str, value: &[u8]) {
        self.xattrs.push((name.into(), value.into()));
    }
}

/// An empty value means that there is none.
fn some(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn record(block: &[u8]) -> Result<Record<'_>, &'static str> {
    const WRONG: &str = "a PAX record is malformed";
    let space = block.iter().take(20).position(|byte| *byte == b' ').ok_or(WRONG)?;
    let length = number(&block[..space])?.and_then(|length| usize::try_from(length).ok()).ok_or(WRONG)?;
    if length > block.len() || length < space + 3 || block[length - 1] != b'\n' {
        return Err(WRONG);
    }
    let body = &block[space + 1..length - 1];
    let equals = body.iter().position(|byte| *byte == b'=').ok_or(WRONG)?;
    Ok((&body[..equals], &body[equals + 1..], &block[length..]))
}

/// A decimal number; `None` for an empty value.
pub(super) fn number(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or("a PAX record holds no decimal number where one belongs")
}

/// Seconds with a fraction, which may be negative.
fn time(value: &[u8]) -> Result<Option<(i64, u32)>, &'static str> {
    const WRONG: &str = "a PAX record holds no time where one belongs";
    if value.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(value).map_err(|_| WRONG)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| WRONG)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(WRONG);
    }
    let nanoseconds: u32 =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    if whole.starts_with('-') && nanoseconds > 0 {
        return Ok(Some((seconds.checked_sub(1).ok_or(WRONG)?, 1_000_000_000 - nanoseconds)));
    }
    Ok(Some((seconds, nanoseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let mut pax = Pax::default();
        pax.parse(b"12 path=a/b\n20 mtime=12.0345678\n29 SCHILY.xattr.user.x=\0\n\xff=\0\n6 a=b\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(pax.mtime, Some((12, 34_567_800)));
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"\0\n\xff=\0".to_vec())]);
    }

    #[test]
    fn times_before_1970() {
        assert_eq!(time(b"-1.25").unwrap(), Some((-2, 750_000_000)));
        assert_eq!(time(b"-1").unwrap(), Some((-1, 0)));
        assert!(time(b"1.x").is_err());
        assert!(time(b"-9223372036854775808.5").is_err());
    }

    #[test]
    fn malformed_records_are_refused() {
        for block in [
            &b"5"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"18446744073709551615 a=b\n",
            b"0 \n",
            b"4 a\n",
            b"3 \n\n",
            b"-6 a=b\n",
            b"12 size=abc\n",
        ] {
            assert!(Pax::default().parse(block).is_err(), "{}", block.escape_ascii());
        }
    }
}
