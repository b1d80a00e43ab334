//! Tar streams: ustar with PAX records for what it can't hold, and on the way in also what GNU tar writes.

mod pax;
mod read;
mod write;

pub(super) use read::Reader;
pub(super) use write::Writer;

use std::io;

/// The unit of the format, in bytes.
const BLOCK: usize = 512;
/// The longest block of PAX records, and the longest name: 1 MiB, as Go's archive/tar.
const MAX_RECORD: u64 = 1024 * 1024;

/// The type of an entry, as its byte.
pub(super) const FILE: u8 = b'0';
pub(super) const HARD_LINK: u8 = b'1';
pub(super) const SYMLINK: u8 = b'2';
pub(super) const CHAR_DEVICE: u8 = b'3';
pub(super) const BLOCK_DEVICE: u8 = b'4';
pub(super) const DIRECTORY: u8 = b'5';
pub(super) const FIFO: u8 = b'6';

/// An entry without its data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The type's byte.
    pub(super) kind: u8,
    /// Its name, as the stream has it.
    pub(super) path: Vec<u8>,
    /// What a link points to.
    pub(super) link: Vec<u8>,
    /// Permissions and set-id bits.
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// The file's size, with its holes.
    pub(super) size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the data is, of a file with holes: offsets and lengths.
    pub(super) pieces: Option<Vec<(u64, u64)>>,
}

impl Entry {
    /// How many bytes of data the stream has.
    fn stored(&self) -> u64 {
        match &self.pieces {
            Some(pieces) => pieces.iter().map(|(_, length)| length).sum(),
            None => self.size,
        }
    }
}

/// How much follows so many bytes of data, to a whole number of blocks.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the tar is damaged: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(entries: &[(Entry, &[u8])]) -> Vec<(Entry, Vec<u8>)> {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries {
            writer.begin(entry).unwrap();
            writer.data(data).unwrap();
            writer.end().unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut reader = Reader::new(bytes.as_slice());
        let mut read = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            let mut data = Vec::new();
            reader
                .each(|chunk| {
                    data.extend_from_slice(chunk);
                    Ok(())
                })
                .unwrap();
            read.push((entry, data));
        }
        read
    }

    #[test]
    fn entries_come_back_as_they_went() {
        let plain = Entry {
            kind: FILE,
            path: b"a/b".to_vec(),
            mode: 0o4755,
            size: 5,
            uid: 1,
            gid: 2,
            mtime: (7, 0),
            ..Entry::default()
        };
        let odd = Entry {
            path: vec![b'n'; 300],
            uid: 3_000_000,
            gid: u64::from(u32::MAX) - 1,
            mtime: (-5, 123_456_789),
            xattrs: vec![
                (b"user.a".to_vec(), b"\0x\n=1".to_vec()),
                (b"security.capability".to_vec(), vec![1, 0, 0, 2]),
            ],
            ..plain.clone()
        };
        let link = Entry {
            kind: SYMLINK,
            path: b"l".to_vec(),
            link: vec![b't'; 200],
            mode: 0o777,
            ..Entry::default()
        };
        let device =
            Entry { kind: CHAR_DEVICE, path: b"d".to_vec(), device: (259, 1_000_000), ..Entry::default() };
        let sparse = Entry {
            path: b"holes".to_vec(),
            size: 1 << 40,
            pieces: Some(vec![(0, 3), (1 << 39, 2)]),
            ..plain.clone()
        };
        let entries =
            [(plain, &b"12345"[..]), (odd, b"54321"), (link, b""), (device, b""), (sparse, b"abcde")];
        let read = there_and_back(&entries);
        for ((entry, data), (found, stored)) in entries.iter().zip(&read) {
            assert_eq!((entry, *data), (found, stored.as_slice()));
        }
        assert_eq!(read.len(), entries.len());
    }

    #[test]
    fn a_prefix_holds_directories_without_a_record() {
        let path = [vec![b'd'; 120], b"/".to_vec(), vec![b'f'; 90]].concat();
        let entry = Entry { kind: FILE, path, ..Entry::default() };
        let mut writer = Writer::new(Vec::new());
        writer.begin(&entry).unwrap();
        writer.end().unwrap();
        assert_eq!(writer.finish().unwrap().len(), 3 * BLOCK);
        assert_eq!(there_and_back(&[(entry.clone(), b"")])[0].0, entry);
    }

    #[test]
    fn what_gnu_tar_writes_is_understood() {
        let Ok(made) = std::process::Command::new("sh")
            .args(["-c", "d=$(mktemp -d) && cd $d && n=$(printf 'x%.0s' $(seq 200)) && echo hi > $n && \
                   truncate -s 10M s && printf end | dd of=s bs=1 seek=5000000 conv=notrunc 2>/dev/null && \
                   for f in gnu posix; do for p in 0.1 1.0; do \
                   if [ $f = posix ]; then o=--sparse-version=$p; fi; tar cS --format=$f $o $n s; done; done; rm -r $d"])
            .output()
        else { return };
        // Four archives in a row: each ends with zeros, so read them one by one.
        let bytes = made.stdout;
        let mut reader = Reader::new(bytes.as_slice());
        let name = reader.next_entry().unwrap().unwrap();
        assert_eq!((name.path.len(), name.size), (200, 3));
        let sparse = reader.next_entry().unwrap().unwrap();
        assert_eq!((sparse.path.as_slice(), sparse.size), (&b"s"[..], 10 << 20));
        assert!(sparse.stored() < 1 << 20, "{:?}", sparse.pieces);
        let mut data = Vec::new();
        reader
            .each(|chunk| {
                data.extend_from_slice(chunk);
                Ok(())
            })
            .unwrap();
        assert!(data.windows(3).any(|window| window == b"end"));
        assert!(reader.next_entry().unwrap().is_none());
    }

    #[test]
    fn damage_is_an_error() {
        let entry = Entry { kind: FILE, path: b"a".to_vec(), size: 1000, ..Entry::default() };
        let mut writer = Writer::new(Vec::new());
        writer.begin(&entry).unwrap();
        writer.data(&[7; 1000]).unwrap();
        writer.end().unwrap();
        let bytes = writer.finish().unwrap();
        let mut flipped = bytes.clone();
        flipped[0] = b'b';
        assert!(Reader::new(flipped.as_slice()).next_entry().is_err());
        let mut cut = Reader::new(&bytes[..700]);
        cut.next_entry().unwrap().unwrap();
        assert!(cut.each(|_| Ok(())).is_err());
        assert!(Reader::new(&b"no tar at all"[..]).next_entry().is_err());
        assert!(Reader::new(&b""[..]).next_entry().unwrap().is_none());
    }

    #[test]
    fn records_that_would_take_much_memory_are_refused() {
        let entry = Entry { kind: b'L', path: b"././@LongLink".to_vec(), size: 1 << 30, ..Entry::default() };
        let mut writer = Writer::new(Vec::new());
        writer.begin(&entry).unwrap();
        let bytes = writer.into_inner();
        assert!(Reader::new(bytes.as_slice()).next_entry().unwrap_err().to_string().contains("long"));
    }

    /// Whatever bytes a header has: an entry or an error, and an end.
    #[test]
    fn no_header_is_too_much() {
        let entry = Entry { kind: FILE, path: b"a/b".to_vec(), size: 600, mtime: (1, 5), ..Entry::default() };
        let sparse = Entry { pieces: Some(vec![(0, 300), (400, 200)]), ..entry.clone() };
        let mut writer = Writer::new(Vec::new());
        for entry in [entry, sparse] {
            writer.begin(&entry).unwrap();
            writer.end().unwrap();
        }
        let whole = writer.finish().unwrap();
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let mut entries = 0;
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                bytes[at] = [0, b'S', b'x', b'L', b'7', b' ', 0x80, 0xff][random(8)];
            }
            for block in bytes.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
                block[148..156].copy_from_slice(b"        ");
                let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let mut reader = Reader::new(bytes.as_slice());
            while let Ok(Some(_)) = reader.next_entry() {
                entries += 1;
            }
        }
        assert!(entries > 1000, "{entries}");
    }

    #[test]
    fn a_size_beyond_all_files_is_damage() {
        let mut writer = Writer::new(Vec::new());
        writer.begin(&Entry { kind: FILE, path: b"a".to_vec(), size: 1 << 63, ..Entry::default() }).unwrap();
        let bytes = writer.into_inner();
        assert!(Reader::new(bytes.as_slice()).next_entry().unwrap_err().to_string().contains("size"));
    }
}
