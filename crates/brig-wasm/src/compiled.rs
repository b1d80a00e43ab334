//! Looking at a compiled file from outside of the engine: whether it is worth starting the runner with it.
//!
//! ```text
//! 0     ELF header: magic, e_shoff at 40, e_shentsize at 58, e_shnum at 60
//! 64    section `.wasmtime.engine`: format 0, length, identity ([`crate::request::identity`]), settings
//! …     code, data, names
//! end   section table: where it ends the file ends
//! ```
//!
//! This is how the runner of this build writes it, so nothing else needs to be understood. The runner's wasmtime looks
//! at all of it again; this is only there so that a file that was cut, or that another brig left, is compiled anew
//! without a failed start.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The size of an ELF header for 64 bits; the first section follows it.
const HEADER: usize = 64;

/// Whether a file is whole and was compiled under this identity. A file that isn't there is an error.
pub fn is_current(path: &Path, identity: &str) -> io::Result<bool> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = Vec::with_capacity(HEADER + 2 + identity.len());
    let wanted = u64::try_from(head.capacity()).unwrap_or(u64::MAX);
    file.take(wanted).read_to_end(&mut head)?;
    Ok(end(&head) == Some(size) && is_identity(&head, identity))
}

/// Where the section table ends.
fn end(head: &[u8]) -> Option<u64> {
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let offset = u64::from_ne_bytes(head.get(40..48)?.try_into().ok()?);
    let entry = u16::from_ne_bytes(head.get(58..60)?.try_into().ok()?);
    let count = u16::from_ne_bytes(head.get(60..62)?.try_into().ok()?);
    offset.checked_add(u64::from(entry) * u64::from(count))
}

fn is_identity(head: &[u8], identity: &str) -> bool {
    let Some([0, length, found @ ..]) = head.get(HEADER..) else { return false };
    usize::from(*length) == identity.len() && found == identity.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_not_compiled_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(is_current(&path, "x").unwrap_err().kind(), io::ErrorKind::NotFound);
        let elf = std::fs::read("/proc/self/exe").unwrap();
        for bytes in [&b""[..], b"\0asm\x01\0\0\0", &elf[..64], &elf] {
            std::fs::write(&path, bytes).unwrap();
            assert!(!is_current(&path, "x").unwrap());
        }
    }
}
