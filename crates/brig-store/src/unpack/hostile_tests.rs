//! Tars that were made to do harm.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use brig_oci::Digest;
use brig_oci::media_type::Compression;

use super::*;
use crate::fsutil;
use crate::testing::tar_builder::{Head, Tar, checksummed, record};
use crate::testing::{self, skip, store};
use crate::{Layer, Store, StoreError};

/// A store with a file beside it that must not change.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

const VICTIM: &str = "as it was";

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        fs::write(dir.path().join("victim"), VICTIM).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        Self { dir, store }
    }

    fn victim(&self) -> PathBuf {
        self.dir.path().join("victim")
    }

    fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    fn unpack(&self, tar: &[u8]) -> crate::Result<Layer> {
        let options = UnpackOptions::default();
        let result = self.store.unpack_layer(&Digest::sha256(tar), Compression::None, tar, &options);
        let victim = fs::metadata(self.victim()).unwrap();
        assert_eq!(fs::read_to_string(self.victim()).unwrap(), VICTIM);
        assert_eq!((victim.nlink(), victim.mode() & 0o777), (1, 0o644));
        assert_eq!(fs::read_dir(self.outside()).unwrap().count(), 0);
        result
    }

    fn refused(&self, tar: &[u8]) -> String {
        let error = self.unpack(tar).unwrap_err();
        assert_eq!(fs::read_dir(self.store.layers_dir()).unwrap().count(), 2, "{error}");
        let StoreError::Unpack { source, .. } = error else { panic!("{error}") };
        source.to_string()
    }
}

fn up(path: &Path) -> String {
    format!("../../../../../../../../../../../../../../..{}", path.display())
}

#[test]
fn names_that_go_up_are_refused() {
    let place = Place::new();
    let victim = up(&place.victim());
    for name in [victim.as_str(), "../../../victim", "a/../../../../victim", "..", "a/..", ".wh.../x"] {
        let error = place.refused(
            &Tar::new().file("first", "x").pax(&[("path", name.as_bytes())]).file("x", "bad").done(),
        );
        assert!(error.contains("..") || error.contains("whiteout"), "{error}");
    }
    let error =
        place.refused(&Tar::new().entry(Head::new("L", b'L'), victim.as_bytes()).file("x", "bad").done());
    assert!(error.contains("`..`"), "{error}");
    place.refused(&Tar::new().file(".wh...", "").done());
    place.refused(&Tar::new().file("a/.wh..", "").done());
}

#[test]
fn absolute_names_stay_inside() {
    let place = Place::new();
    let name = place.victim().to_str().unwrap().to_owned();
    let layer =
        place.unpack(&Tar::new().pax(&[("path", name.as_bytes())]).file("x", "inside").done()).unwrap();
    assert_eq!(fs::read_to_string(layer.fs().join(&name[1..])).unwrap(), "inside");
}

#[test]
fn parents_that_are_links_out_of_the_root() {
    let place = Place::new();
    let outside = place.outside();
    for target in [
        outside.to_str().unwrap().to_owned(),
        up(&outside),
        "/proc/self/root".into(),
        "/proc/self/cwd".into(),
    ] {
        // Within the layer these lead nowhere.
        let tar = Tar::new().symlink("link", &target).file("link/x", "bad").done();
        place.refused(&tar);
        let tar = Tar::new().symlink("link", &target).dir("link/sub").done();
        place.refused(&tar);
        let tar = Tar::new().symlink("link", &target).hard_link("x", "link/victim").done();
        place.refused(&tar);
    }
    // Or to a directory of the layer of that name.
    let name = outside.to_str().unwrap();
    let tar = Tar::new()
        .pax(&[("path", name.as_bytes())])
        .dir("x")
        .symlink("link", name)
        .symlink("up", &up(&outside))
        .file("link/a", "in")
        .file("up/b", "in")
        .done();
    let layer = place.unpack(&tar).unwrap();
    assert!(layer.fs().join(&name[1..]).join("a").exists());
    assert!(layer.fs().join(&name[1..]).join("b").exists());
}

#[test]
fn a_last_component_that_is_a_link_is_replaced() {
    let place = Place::new();
    let victim = place.victim();
    let target = victim.to_str().unwrap();
    for kind in [b'0', b'5', b'6'] {
        let tar =
            Tar::new().symlink("x", target).entry(Head { mode: 0o777, ..Head::new("x", kind) }, b"").done();
        let layer = place.unpack(&tar).unwrap();
        assert!(!fs::symlink_metadata(layer.fs().join("x")).unwrap().is_symlink());
    }
    // The time, owner and attributes of the link itself are set, not of what it leads to.
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.bad", &b"1"[..])])
        .entry(Head { link: target.into(), owner: (1, 1), mtime: 1, ..Head::new("y", b'2') }, b"")
        .done();
    let before = fs::metadata(&victim).unwrap();
    place.unpack(&tar).unwrap();
    let after = fs::metadata(&victim).unwrap();
    assert_eq!((before.uid(), before.mtime()), (after.uid(), after.mtime()));
}

#[test]
fn hard_links_out_of_the_root() {
    let place = Place::new();
    let victim = place.victim();
    let target = victim.to_str().unwrap();
    place.refused(&Tar::new().pax(&[("linkpath", target.as_bytes())]).hard_link("x", "").done());
    place.refused(&Tar::new().hard_link("x", "../../../victim").done());
    place.refused(&Tar::new().hard_link("x", "").done());
    place.refused(&Tar::new().dir("d").hard_link("x", "d").done());
    // A hard link to a symbolic link is the link, and writing to its name writes nowhere else.
    let tar = Tar::new()
        .symlink("link", target)
        .hard_link("hard", "link")
        .file("hard", "replaced")
        .symlink("link2", target)
        .hard_link("hard2", "link2")
        .done();
    let layer = place.unpack(&tar).unwrap();
    assert_eq!(fs::read_to_string(layer.fs().join("hard")).unwrap(), "replaced");
    assert!(fs::symlink_metadata(layer.fs().join("hard2")).unwrap().is_symlink());
}

#[test]
fn whiteouts_and_opaque_marks_through_links() {
    let place = Place::new();
    let outside = place.outside();
    fs::write(place.dir.path().join("victim"), VICTIM).unwrap();
    let target = outside.to_str().unwrap();
    for name in ["link/.wh.x", "link/.wh..wh..opq"] {
        place.refused(&Tar::new().symlink("link", target).file(name, "").done());
    }
}

#[test]
fn replacing_a_tree_follows_no_links() {
    let place = Place::new();
    fs::write(place.outside().join("keep"), "").unwrap();
    let tar = Tar::new()
        .symlink("d/link", place.outside().to_str().unwrap())
        .hard_link("d/sub/link", "d/link")
        .file("d", "now a file")
        .done();
    let options = UnpackOptions::default();
    place.store.unpack_layer(&Digest::sha256(&tar), Compression::None, tar.as_slice(), &options).unwrap();
    assert!(place.outside().join("keep").exists());
}

#[test]
fn a_directory_replaced_by_a_link_is_not_followed_at_the_end() {
    let place = Place::new();
    let mode = fs::metadata(place.outside()).unwrap().mode();
    let target = place.outside().to_str().unwrap().to_owned();
    let tar = Tar::new()
        .entry(Head { mode: 0o4777, owner: (1, 1), ..Head::new("d", b'5') }, b"")
        .file("d/x", "x")
        .symlink("d", &target)
        .done();
    place.unpack(&tar).unwrap();
    assert_eq!(fs::metadata(place.outside()).unwrap().mode(), mode);
    // A cached parent that is no longer one.
    let tar = Tar::new().file("d/x", "x").symlink("d", &target).file("d/y", "y").done();
    Place::new().refused(&tar);
}

#[test]
fn overlay_attributes_are_recorded_and_not_set() {
    if !testing::is_root() {
        return skip("needs root");
    }
    let place = Place::new();
    let names = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "user.overlay.whiteout",
        "security.selinux",
        "trusted.other",
        "strange",
        "",
    ];
    let records: Vec<(String, &[u8])> =
        names.iter().map(|name| (format!("SCHILY.xattr.{name}"), &b"y"[..])).collect();
    let records: Vec<(&str, &[u8])> = records.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    for kind in [b'0', b'5', b'2'] {
        let tar =
            Tar::new().pax(&records).entry(Head { link: b"t".into(), ..Head::new("x", kind) }, b"").done();
        let layer = place.unpack(&tar).unwrap();
        let mut list = [0_u8; 1024];
        let length = rustix::fs::llistxattr(layer.fs().join("x"), &mut list).unwrap();
        assert_eq!(length, 0, "{}", list[..length].escape_ascii());
        let recorded: Vec<_> = layer.unmade().unwrap().into_iter().map(|line| line.why).collect();
        let expected = names.map(|name| Why::Xattr { name: name.into(), value: "79".into() });
        assert_eq!(recorded, expected);
    }
}

#[test]
fn long_header_records_are_refused_before_they_are_read() {
    let place = Place::new();
    for kind in [b'x', b'L', b'K', b'g'] {
        // The data isn't even there.
        let tar = Tar::new().raw(&Head { size: MAX_RECORD + 1, ..Head::new("x", kind) }.block()).done();
        let error = place.refused(&tar);
        assert!(error.contains("1 MiB"), "{error}");
        let tar = Tar::new().raw(&Head { size: u64::MAX >> 1, ..Head::new("x", kind) }.block()).done();
        assert!(place.refused(&tar).contains("1 MiB"));
    }
}

/// Zeros without an end.
fn endless(head: &[u8]) -> impl Read + '_ {
    head.chain(std::io::repeat(0))
}

fn refuse_endless(head: &[u8], options: &UnpackOptions) -> String {
    let (_dir, store) = store();
    let result = store.unpack_layer(&Digest::sha256("x"), Compression::None, endless(head), options);
    let Err(StoreError::Unpack { source, .. }) = result else { panic!("{result:?}") };
    assert!(matches!(source, UnpackError::Limit { .. }), "{source}");
    source.to_string()
}

#[test]
fn endless_streams_end() {
    let options = UnpackOptions { max_bytes: 10_000_000, ..UnpackOptions::default() };
    // After the end, in a file, and in something that isn't known to have data.
    refuse_endless(b"", &options);
    refuse_endless(&Head { size: 1 << 60, ..Head::new("f", b'0') }.block(), &options);
    refuse_endless(&Head { size: 9_000_000, ..Head::new("f", b'0') }.block(), &options);
}

#[test]
fn decompression_bombs_end() {
    let (_dir, store) = store();
    let options = UnpackOptions { max_bytes: 10_000_000, ..UnpackOptions::default() };
    let zeros = || std::io::repeat(0).take(100_000_000);
    let mut gzip = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(zeros(), flate2::Compression::fast());
    encoder.read_to_end(&mut gzip).unwrap();
    let zstd = zstd::encode_all(zeros(), 1).unwrap();
    for (compression, bytes) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
        let result = store.unpack_layer(&Digest::sha256("x"), compression, bytes.as_slice(), &options);
        let Err(StoreError::Unpack { source, .. }) = result else { panic!("{result:?}") };
        assert!(source.to_string().contains("10000000 uncompressed bytes"), "{source}");
    }
}

#[test]
fn a_huge_zstd_window_is_refused() {
    let (_dir, store) = store();
    // Magic number, a frame header with a window of 2^41 bytes, one empty last block (RFC 8878, 3.1.1).
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    let options = UnpackOptions::default();
    let result = store.unpack_layer(&Digest::sha256(""), Compression::Zstd, &frame[..], &options);
    assert!(matches!(result, Err(StoreError::Unpack { .. })), "{result:?}");
}

#[test]
fn too_many_entries_names_and_levels() {
    let place = Place::new();
    let many = (0..50).fold(Tar::new(), |tar, number| tar.file(&format!("f{number}"), "")).done();
    let dirs = (0..50).fold(Tar::new(), |tar, number| tar.dir(&format!("d{number}"))).done();
    let deep = Tar::new().pax(&[("path", "d/".repeat(300).as_bytes())]).dir("x").done();
    let options = UnpackOptions { max_entries: 49, max_directory_bytes: 100, ..UnpackOptions::default() };
    for (tar, what) in [(&many, "49 entries"), (&dirs, "100 bytes of directory names"), (&deep, "too deep")] {
        let result =
            place.store.unpack_layer(&Digest::sha256(tar), Compression::None, tar.as_slice(), &options);
        let Err(StoreError::Unpack { source, .. }) = result else { panic!("{result:?}") };
        assert!(source.to_string().contains(what), "{source}");
    }
}

/// Each link leads to the end of what was made through the one before it.
#[test]
fn depth_through_links_is_counted() {
    let place = Place::new();
    let path = "d/".repeat(200);
    let tar = Tar::new()
        .pax(&[("path", path.as_bytes())])
        .dir("x")
        .symlink("a", &path)
        .pax(&[("path", format!("a/{path}").as_bytes())])
        .dir("x")
        .symlink("b", &format!("a/{path}"))
        .pax(&[("path", format!("b/{path}").as_bytes())])
        .dir("x")
        .done();
    place.refused(&tar);
}

#[test]
fn sparse_bombs() {
    let place = Place::new();
    let sparse = |size: u64, pieces: &[(u64, u64)], stored: u64| {
        let mut block = Head { size: stored, ..Head::new("sparse", b'S') }.block();
        block[257..265].copy_from_slice(b"ustar  \0");
        block[329..345].fill(0);
        for (index, number) in pieces.iter().flat_map(|(a, b)| [*a, *b]).enumerate() {
            block[386 + index * 12..398 + index * 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
        }
        block[483..495].copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
        checksummed(block)
    };
    let big = Tar::new().raw(&sparse(1 << 60, &[(0, 512)], 512)).raw(&[0; 512]).done();
    assert!(place.refused(&big).contains("bytes in files"));
    let outside = Tar::new().raw(&sparse(600, &[(512, 512)], 512)).raw(&[0; 512]).done();
    assert!(place.refused(&outside).contains("inconsistent"));
    let overlapping = Tar::new().raw(&sparse(4096, &[(512, 512), (600, 512)], 1024)).raw(&[0; 1024]).done();
    assert!(place.refused(&overlapping).contains("inconsistent"));
    // Continuation blocks without an end.
    let mut first = sparse(1 << 30, &[(0, 0)], 0);
    first[482] = 1;
    let mut more = [0; 512];
    (0..42).for_each(|index| more[index * 12..index * 12 + 12].copy_from_slice(b"00000000000\0"));
    more[504] = 1;
    let endless = more.repeat(20_000);
    let tar = Tar::new().raw(&checksummed(first)).raw(&endless).done();
    assert!(place.refused(&tar).contains("too many pieces"));
}

#[test]
fn pax_sparse_maps_that_lie() {
    let place = Place::new();
    let sparse = |records: &[(&str, &[u8])], data: &[u8]| {
        place.refused(&Tar::new().pax(records).entry(Head::new("x", b'0'), data).done())
    };
    let one_zero: [(&str, &[u8]); 3] = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", &b"0"[..]),
        ("GNU.sparse.realsize", &b"100"[..]),
    ];
    sparse(&one_zero, b"");
    sparse(&one_zero, &[b'9'; 512]);
    sparse(&one_zero, &[b'9'; 2 << 20]);
    sparse(&one_zero, &[&b"18446744073709551615\n"[..], &[b'0'; 491]].concat());
    sparse(&one_zero, &[&b"1\n0\n5000\n"[..], &[0; 503]].concat());
    sparse(&[("GNU.sparse.size", &b"100"[..]), ("GNU.sparse.map", &b"0,1,2"[..])], b"x");
    sparse(&[("GNU.sparse.map", &b"0,1"[..])], b"x");
    sparse(&[("GNU.sparse.major", &b"2"[..]), ("GNU.sparse.size", &b"1"[..])], b"x");
    // The name of a sparse file is checked too.
    let records: [(&str, &[u8]); 3] = [
        ("GNU.sparse.name", &b"../../x"[..]),
        ("GNU.sparse.size", &b"1"[..]),
        ("GNU.sparse.map", &b"0,1"[..]),
    ];
    assert!(sparse(&records, b"x").contains("`..`"));
}

#[test]
fn sizes_that_overflow() {
    let place = Place::new();
    for size in [u64::MAX, u64::MAX - 511, 1 << 63, (64 << 30) + 1] {
        place.refused(&Tar::new().raw(&Head { size, ..Head::new("f", b'0') }.block()).done());
        let value = size.to_string();
        place.refused(&Tar::new().pax(&[("size", value.as_bytes())]).file("f", "").done());
        place.refused(&Tar::new().raw(&Head { size, ..Head::new("f", b'Z') }.block()).done());
    }
    // What has no data has no size, whatever its header says.
    let layer = place.unpack(
        &Tar::new().raw(&Head { size: 1 << 40, ..Head::new("d", b'5') }.block()).file("f", "x").done(),
    );
    assert!(layer.unwrap().fs().join("f").exists());
}

#[test]
fn damaged_headers_and_unknown_types() {
    let place = Place::new();
    let mut wrong = Head::new("x", b'0').block();
    wrong[0] = b'y';
    assert!(place.refused(&Tar::new().raw(&wrong).done()).contains("not a tar"));
    assert!(place.refused(&Tar::new().file("a", "").raw(&wrong).done()).contains("checksum"));
    let error = place.refused(&Tar::new().file("a", "").entry(Head::new("b", b'Z'), b"").done());
    assert!(error.contains("`b`") && error.contains("'Z'"), "{error}");
    for records in [&b"5 a=b\n"[..], b"99 a=b\n", b"xx"] {
        place.refused(&Tar::new().entry(Head::new("x", b'x'), records).file("a", "").done());
    }
    place.refused(
        &Tar::new().entry(Head::new("x", b'x'), &record("mtime", &b"soon"[..])).file("a", "").done(),
    );
    place.refused(&Tar::new().entry(Head::new("./", b'0'), b"").done());
    place.refused(&Tar::new().symlink("x", "").done());
}

#[test]
fn owners_that_are_none() {
    if !testing::is_root() {
        return skip("needs root");
    }
    let place = Place::new();
    let tar = Tar::new()
        .pax(&[("uid", &b"4294967295"[..]), ("gid", &b"18446744073709551615"[..])])
        .entry(Head { mode: 0o6755, ..Head::new("f", b'0') }, b"")
        .done();
    let layer = place.unpack(&tar).unwrap();
    let why = Why::Owner { uid: 4_294_967_295, gid: u64::MAX, mode: 0o6755 };
    assert_eq!(layer.unmade().unwrap()[0].why, why);
    assert_eq!(fs::metadata(layer.fs().join("f")).unwrap().mode() & 0o7777, 0o755);
}

/// Damage at random in a tar that has a bit of everything: whatever comes of it, nothing outside changes, nothing
/// panics, and what is accepted is sound.
#[test]
fn damage_at_random_does_no_harm() {
    let place = Place::new();
    let target = place.victim().to_str().unwrap().to_owned();
    let tar = Tar::new()
        .dir("d")
        .pax(&[("path", &b"d/long"[..]), ("mtime", &b"1.5"[..]), ("SCHILY.xattr.user.x", &b"1"[..])])
        .file("x", "content")
        .symlink("d/link", &target)
        .symlink("d/up", "../../../../../../../../..")
        .hard_link("d/hard", "d/link")
        .file("d/up/x", "y")
        .file("d/.wh.gone", "")
        .file("d/.wh..wh..opq", "")
        .entry(Head::new("L", b'L'), b"some/long/name\0")
        .file("cut", "z")
        .pax(&[
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", &b"0"[..]),
            ("GNU.sparse.realsize", &b"3000"[..]),
        ])
        .entry(Head::new("sparse", b'0'), &[&b"1\n100\n5\n"[..], &[0; 504], b"abcde"].concat())
        .done();
    // The undamaged one is fine.
    place.unpack(&tar).unwrap();
    let mut state = 0x9e37_79b9_u32;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        usize::try_from(state).unwrap() % below
    };
    let options = UnpackOptions { max_bytes: 1 << 20, ..UnpackOptions::default() };
    let mut accepted = 0;
    for _ in 0..300 {
        let mut damaged = tar.clone();
        for _ in 0..=random(3) {
            damage(&mut damaged, &mut random);
        }
        let diff_id = Digest::sha256(&damaged);
        let result = place.store.unpack_layer(&diff_id, Compression::None, damaged.as_slice(), &options);
        assert_eq!(fs::read_to_string(place.victim()).unwrap(), VICTIM);
        assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 3);
        if result.is_ok() {
            accepted += 1;
            fsutil::remove_tree(&place.store.trash_layer(&diff_id).unwrap()).unwrap();
        }
    }
    assert!(accepted > 5, "nothing but the checksum was tested");
}

/// Changes a byte, moves a block, or cuts the end off, and makes all checksums right again.
fn damage(tar: &mut Vec<u8>, random: &mut impl FnMut(usize) -> usize) {
    let at = random(tar.len());
    let interesting = [0, b'0', b'1', b'2', b'5', b'7', b'/', b'.', b'L', b'x', b'S', 0xff, 0x80];
    match random(6) {
        0 => tar.truncate(at),
        1 => {
            let block = tar[at.min(tar.len() - 512) / 512 * 512..][..512].to_vec();
            let to = random(tar.len()) / 512 * 512;
            tar.splice(to..to, block);
        }
        _ => tar[at] = interesting[random(interesting.len())],
    }
    if tar.len() < 512 {
        tar.resize(512, 0);
    }
    for start in (0..tar.len() - 511).step_by(512) {
        let block: [u8; 512] = tar[start..start + 512].try_into().unwrap();
        if block[257..262] == *b"ustar" {
            tar[start..start + 512].copy_from_slice(&checksummed(block));
        }
    }
}
