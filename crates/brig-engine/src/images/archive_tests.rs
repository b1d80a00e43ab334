//! Archives and layouts, honest and hostile.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn tar(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

fn open(bytes: &[u8]) -> Result<Archive> {
    Archive::stream("test.tar".into(), &mut &*bytes, &std::env::temp_dir())
}

fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
}

fn link(builder: &mut tar::Builder<Vec<u8>>, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, name, target).unwrap();
}

#[test]
fn files_and_dockers_links_are_found() {
    let long = "directory/".repeat(30) + "file";
    let archive = open(&tar(|builder| {
        add(builder, "one/layer.tar", b"layer");
        link(builder, "two/layer.tar", "../one/layer.tar");
        add(builder, &long, b"long");
        let records = [("path", &b"by/pax"[..]), ("size", b"3")];
        builder.append_pax_extensions(records).unwrap();
        add(builder, "other", b"pax");
    }))
    .unwrap();
    assert_eq!(archive.document("two/layer.tar").unwrap().unwrap(), b"layer");
    assert_eq!(archive.document(&long).unwrap().unwrap(), b"long");
    assert_eq!(archive.document("by/pax").unwrap().unwrap(), b"pax");
    assert_eq!(archive.document("three").unwrap(), None);
}

#[test]
fn links_in_a_circle_lead_nowhere() {
    let archive = open(&tar(|builder| {
        link(builder, "a", "b");
        link(builder, "b", "a");
    }))
    .unwrap();
    assert_eq!(archive.document("a").unwrap(), None);
}

#[test]
fn compressed_archives_are_read() {
    let plain = tar(|builder| add(builder, "a", b"content"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd] {
        assert_eq!(open(&bytes).unwrap().document("a").unwrap().unwrap(), b"content");
        let cut = open(&bytes[..bytes.len() / 2]).unwrap_err();
        assert!(cut.to_string().contains("test.tar"), "{cut}");
    }
    let xz = open(b"\xfd7zXZ\0and so on").unwrap_err();
    assert!(xz.to_string().contains("unxz"), "{xz}");
}

#[test]
fn what_grows_without_end_is_refused() {
    let endless = spool(io::repeat(0), Path::new("bomb.tar.gz"), &std::env::temp_dir(), 1 << 20).unwrap_err();
    assert!(endless.to_string().contains("bomb.tar.gz"), "{endless}");
}

#[test]
fn header_records_have_a_bound_and_sizes_must_fit() {
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_cksum();
        let error = open(header.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
    }
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(u64::MAX);
    header.set_cksum();
    let error = open(header.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("in the middle of an entry"), "{error}");
    let error = open(b"no tar at all").unwrap_err();
    assert!(error.to_string().contains("in the middle of a header"), "{error}");
    let error = open(&[b'x'; 1024]).unwrap_err();
    assert!(error.to_string().contains("not a tar archive"), "{error}");
}

/// A layout in a directory of its own.
fn layout(test: &str, check: impl FnOnce(&Path, &Archive)) {
    let dir = std::env::temp_dir().join(format!("brig-layout-{test}-{}", std::process::id()));
    fs::create_dir_all(dir.join("blobs")).unwrap();
    check(&dir, &Archive::open(Some(&dir), &std::env::temp_dir()).unwrap());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn names_that_leave_a_layout_are_refused() {
    layout("names", |_, archive| {
        for name in ["../etc/passwd", "/etc/passwd", "a//b", "blobs/../../x"] {
            assert!(archive.document(name).is_err(), "{name}");
        }
        assert_eq!(archive.document("blobs/none").unwrap(), None);
    });
}

#[test]
fn only_regular_files_of_a_layout_are_read_and_no_link_is_followed() {
    layout("files", |dir, archive| {
        fs::write(dir.join("plain"), "text").unwrap();
        symlink("/etc/passwd", dir.join("link")).unwrap();
        symlink("/etc", dir.join("etc")).unwrap();
        let fifo = (rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR);
        rustix::fs::mknodat(rustix::fs::CWD, dir.join("fifo"), fifo.0, fifo.1, 0).unwrap();
        assert_eq!(archive.document("plain").unwrap().unwrap(), b"text");
        for (name, problem) in [
            ("link", "is a symbolic link"),
            ("etc/passwd", "is a symbolic link"),
            ("fifo", "not a regular file"),
            ("blobs", "not a regular file"),
        ] {
            let error = archive.document(name).unwrap_err();
            assert!(error.to_string().contains(problem), "{name}: {error}");
        }
    });
}
