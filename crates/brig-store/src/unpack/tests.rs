//! What layers become, on real file systems and in real overlays.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use brig_oci::Digest;
use brig_oci::media_type::Compression;

use super::*;
use crate::fsutil;
use crate::testing::tar_builder::{Head, Tar, checksummed};
use crate::testing::{self, skip, store};
use crate::{Layer, MountOptions, Store, StoreError};

fn unpack(store: &Store, tar: &[u8]) -> Layer {
    try_unpack(store, tar).unwrap()
}

fn try_unpack(store: &Store, tar: &[u8]) -> crate::Result<Layer> {
    store.unpack_layer(&Digest::sha256(tar), Compression::None, tar, &UnpackOptions::default())
}

fn read(layer: &Layer, path: &str) -> String {
    fs::read_to_string(layer.fs().join(path)).unwrap()
}

#[test]
fn files_directories_links_and_times() {
    let (_dir, store) = store();
    let tar = Tar::new()
        .entry(Head { mode: 0o700, mtime: 5, ..Head::new("./", b'5') }, b"")
        .entry(Head { mode: 0o1777, mtime: 7, ..Head::new("d/", b'5') }, b"")
        .entry(Head { mode: 0o4755, ..Head::new("d/f", b'0') }, b"content")
        .symlink("d/s", "/no/where")
        .hard_link("d/h", "d/f")
        .hard_link("d/hs", "d/s")
        .file("implicit/x/y", "deep")
        .entry(Head::new("fifo", b'6'), b"")
        .done();
    let layer = unpack(&store, &tar);
    let fs_dir = layer.fs();
    let meta = |path: &str| fs::symlink_metadata(fs_dir.join(path)).unwrap();
    assert_eq!((meta("").mode() & 0o7777, meta("").mtime()), (0o700, 5));
    assert_eq!((meta("d").mode() & 0o7777, meta("d").mtime()), (0o1777, 7));
    assert_eq!((meta("d/f").mode() & 0o7777, meta("d/f").mtime()), (0o4755, 1_700_000_000));
    assert_eq!(fs::read_link(fs_dir.join("d/s")).unwrap(), Path::new("/no/where"));
    assert_eq!(meta("d/s").mtime(), 1_700_000_000);
    assert_eq!(meta("d/h").ino(), meta("d/f").ino());
    assert_eq!(meta("d/hs").ino(), meta("d/s").ino());
    assert_eq!((meta("implicit/x").mode() & 0o7777, meta("implicit/x").mtime()), (0o755, 0));
    assert!(meta("fifo").file_type().is_fifo());
    let meta = layer.meta().unwrap();
    assert_eq!((meta.names, meta.bytes), (9, 7 + 7 + 4));
    assert_eq!(meta.tar_bytes, tar.len() as u64);
    assert_eq!(store.fsck(false).unwrap().problems, []);
}

#[test]
fn all_compressions_and_padding_after_the_end() {
    let (_dir, store) = store();
    let mut tar = Tar::new().file("f", &"x".repeat(1_000_000)).done();
    tar.resize(tar.len() + 70_000, 0);
    let diff_id = Digest::sha256(&tar);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    // Two gzip members, as pigz and eStargz write them, and two zstd frames.
    let (front, back) = tar.split_at(700_001);
    let gzipped = [gzip(front), gzip(back)].concat();
    // As zstd:chunked has them (RFC 8878, 3.1.2).
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0toc.";
    let frames = [
        zstd::encode_all(front, 1).unwrap(),
        skippable.to_vec(),
        zstd::encode_all(back, 1).unwrap(),
        skippable.to_vec(),
    ]
    .concat();
    for (compression, bytes) in
        [(Compression::None, &tar), (Compression::Gzip, &gzipped), (Compression::Zstd, &frames)]
    {
        let layer = store
            .unpack_layer(&diff_id, compression, bytes.as_slice(), &UnpackOptions::default())
            .unwrap_or_else(|error| panic!("{compression:?}: {error}"));
        assert_eq!(fs::metadata(layer.fs().join("f")).unwrap().len(), 1_000_000);
        fsutil::remove_tree(&store.trash_layer(&diff_id).unwrap()).unwrap();
    }
}

#[test]
fn owners_devices_capabilities_and_nanoseconds() {
    if !testing::is_root() {
        return skip("owners and devices need root");
    }
    let (_dir, store) = store();
    // VFS_CAP_REVISION_2 with the effective bit and CAP_NET_RAW (linux/capability.h).
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new()
        .pax(&[
            ("mtime", &b"12.345678901"[..]),
            ("uid", &b"3000000"[..]),
            ("SCHILY.xattr.security.capability", &capability[..]),
            ("SCHILY.xattr.user.note", &b"a\nb=c"[..]),
        ])
        .entry(Head { owner: (0, 7), mode: 0o2755, ..Head::new("f", b'0') }, b"x")
        .entry(Head { owner: (8, 9), ..Head::new("d", b'5') }, b"")
        .entry(Head { owner: (8, 9), link: b"f".to_vec(), ..Head::new("s", b'2') }, b"")
        .entry(Head { device: (1, 3), mode: 0o666, owner: (1, 2), ..Head::new("null", b'3') }, b"")
        .entry(Head { device: (7, 0), ..Head::new("loop", b'4') }, b"")
        .done();
    let layer = unpack(&store, &tar);
    let meta = |path: &str| fs::symlink_metadata(layer.fs().join(path)).unwrap();
    let file = meta("f");
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (3_000_000, 7, 0o2755));
    assert_eq!((file.mtime(), file.mtime_nsec()), (12, 345_678_901));
    assert_eq!((meta("d").uid(), meta("d").gid()), (8, 9));
    assert_eq!((meta("s").uid(), meta("s").gid()), (8, 9));
    assert!(meta("null").file_type().is_char_device());
    assert_eq!((meta("null").rdev(), meta("null").mode() & 0o777), (rustix::fs::makedev(1, 3), 0o666));
    assert!(meta("loop").file_type().is_block_device());
    let xattr = |name: &str| {
        let mut value = [0_u8; 64];
        let length = rustix::fs::getxattr(layer.fs().join("f"), name, &mut value).unwrap();
        value[..length].to_vec()
    };
    assert_eq!(xattr("security.capability"), capability);
    assert_eq!(xattr("user.note"), b"a\nb=c");
    assert_eq!(layer.unmade().unwrap(), []);
}

#[test]
fn long_names_in_all_forms() {
    let (_dir, store) = store();
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let mut prefixed = Head::new("name", b'0').block();
    prefixed[345..355].copy_from_slice(b"the/prefix");
    let tar = Tar::new()
        .entry(Head::new("././@LongLink", b'L'), format!("{long}\0").as_bytes())
        .file("cut", "gnu")
        .pax(&[("path", "é/pax".as_bytes())])
        .file("cut", "pax")
        .entry(Head::new("././@LongLink", b'K'), &[b'x'; 300])
        .symlink("link", "cut")
        .raw(&checksummed(prefixed))
        .done();
    let layer = unpack(&store, &tar);
    assert_eq!(read(&layer, &long), "gnu");
    assert_eq!(read(&layer, "é/pax"), "pax");
    assert_eq!(fs::read_link(layer.fs().join("link")).unwrap().as_os_str().len(), 300);
    assert_eq!(read(&layer, "the/prefix/name"), "");
}

#[test]
fn later_entries_replace_earlier_ones() {
    let (_dir, store) = store();
    let tar = Tar::new()
        .file("a", "first")
        .file("a", "second")
        .file("dir/x", "x")
        .file("dir/sub/y", "y")
        .file("dir", "now a file")
        .file("b", "file")
        .dir("b")
        .file("b/z", "z")
        .symlink("s", "a")
        .file("s", "not through the link")
        .dir("keep")
        .file("keep/k", "k")
        .entry(Head { mode: 0o711, ..Head::new("keep", b'5') }, b"")
        .hard_link("self", "a")
        .hard_link("self", "self")
        .done();
    let layer = unpack(&store, &tar);
    assert_eq!(read(&layer, "a"), "second");
    assert_eq!(read(&layer, "dir"), "now a file");
    assert_eq!(read(&layer, "b/z"), "z");
    assert_eq!(read(&layer, "s"), "not through the link");
    assert_eq!(read(&layer, "keep/k"), "k");
    assert_eq!(fs::metadata(layer.fs().join("keep")).unwrap().permissions().mode() & 0o777, 0o711);
    // The counts are right after all that.
    assert_eq!(store.fsck(false).unwrap().problems, []);
}

#[test]
fn parents_through_links_of_the_layer_itself() {
    let (_dir, store) = store();
    let tar = Tar::new()
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .file("lib/a", "a")
        .file("abs/sub/b", "b")
        .done();
    let layer = unpack(&store, &tar);
    assert_eq!(read(&layer, "usr/lib/a"), "a");
    assert_eq!(read(&layer, "usr/lib/sub/b"), "b");
    assert_eq!(fs::metadata(layer.fs().join("usr/lib/sub")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn old_gnu_sparse_files() {
    let (_dir, store) = store();
    let mut block = Head { size: 1024, ..Head::new("sparse", b'S') }.block();
    block[257..265].copy_from_slice(b"ustar  \0");
    block[329..345].fill(0);
    for (index, number) in [0_u64, 512, 1_048_576, 512].into_iter().enumerate() {
        block[386 + index * 12..398 + index * 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    }
    block[483..495].copy_from_slice(format!("{:011o}\0", 2_000_000).as_bytes());
    let tar =
        Tar::new().raw(&checksummed(block)).raw(&[b'a'; 512]).raw(&[b'b'; 512]).file("after", "x").done();
    let layer = unpack(&store, &tar);
    let bytes = fs::read(layer.fs().join("sparse")).unwrap();
    assert_eq!(bytes.len(), 2_000_000);
    assert_eq!(
        (bytes[511], bytes[512], bytes[1_048_576], bytes[1_049_087], bytes[1_049_088]),
        (b'a', 0, b'b', b'b', 0)
    );
    assert_eq!(read(&layer, "after"), "x");
}

/// What GNU tar writes, in its formats, with holes and attributes: it finds no difference to what we made of it.
#[test]
fn gnu_tar_agrees() {
    if !testing::is_root() || Command::new("tar").arg("--version").output().is_err() {
        return skip("needs root and GNU tar");
    }
    let source = tempfile::tempdir().unwrap();
    let script = "mkdir -p a/b 'sp ace' && echo hello > a/b/f && ln a/b/f a/hard && ln -s ../x a/sym && mkfifo p &&
        mknod null c 1 3 && chown 5:6 a/b/f && chmod 4711 a/b/f && chmod 1770 a && touch -d '1999-01-01 0:0:0.5' a/b &&
        truncate -s 5M holes && printf x | dd of=holes bs=1 seek=3000000 conv=notrunc status=none &&
        truncate -s 1M empty-holes &&
        mkdir -p $(printf 'long%.0s' $(seq 40)) && echo x > $(printf 'long%.0s' $(seq 40))/$(printf 'name%.0s' $(seq 50))";
    assert!(Command::new("sh").args(["-c", script]).current_dir(source.path()).status().unwrap().success());
    for arguments in [
        &["--format=gnu"][..],
        &["--format=gnu", "-S"],
        &["--format=posix", "--xattrs"],
        &["--format=posix", "-S"],
        &["--format=posix", "-S", "--sparse-version=0.0"],
        &["--format=posix", "-S", "--sparse-version=0.1"],
    ] {
        let (_dir, store) = store();
        let output = Command::new("tar")
            .args(arguments)
            .args(["-c", "."])
            .current_dir(source.path())
            .output()
            .unwrap();
        assert!(output.status.success());
        let layer = unpack(&store, &output.stdout);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &output.stdout).unwrap();
        let compared =
            Command::new("tar").arg("-df").arg(file.path()).arg("-C").arg(layer.fs()).output().unwrap();
        assert!(compared.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&compared.stdout));
        assert_eq!(store.fsck(false).unwrap().problems, []);
        if arguments.contains(&"-S") {
            let blocks = fs::metadata(layer.fs().join("holes")).unwrap().blocks();
            assert!(blocks * 512 < 1_000_000, "{arguments:?}: holes are filled");
        }
    }
}

/// Three layers in which everything that hides something is used.
fn hiding_layers() -> [Vec<u8>; 3] {
    [
        Tar::new()
            .file("gone", "1")
            .file("dir-gone/x", "1")
            .file("opaque/old", "1")
            .file("opaque2/old", "1")
            .file("again/old", "1")
            .file("again2/old", "1")
            .file("both", "1")
            .file("stays", "1")
            .done(),
        Tar::new()
            .file(".wh.gone", "")
            .file(".wh.dir-gone", "")
            // The marker after and before the content, and without an entry for the directory.
            .dir("opaque")
            .file("opaque/new", "2")
            .file("opaque/.wh..wh..opq", "")
            .file("opaque2/.wh..wh..opq", "")
            .file("opaque2/new", "2")
            // A whiteout beside a new directory of the same name, in both orders.
            .file(".wh.again", "")
            .file("again/new", "2")
            .file("again2/new", "2")
            .file(".wh.again2", "")
            .file("both", "2")
            .file(".wh.both", "")
            .file(".wh..wh.plnk/12.34", "")
            .file(".wh..wh.aufs", "")
            .done(),
        Tar::new().file("top", "3").file("dir-gone/back", "3").done(),
    ]
}

const MERGED: &str = "again/new again2/new both dir-gone/back opaque/new opaque2/new stays top";

fn check_stack(stack: &[Layer]) {
    let paths: Vec<_> = stack.iter().map(Layer::fs).collect();
    let stack = crate::LayerStack::new(&paths, None).unwrap();
    let gone = "gone dir-gone/x opaque/old opaque2/old again/old again2/old .wh.gone .wh..wh.aufs";
    for path in MERGED.split(' ') {
        assert!(stack.open(path).unwrap().is_some(), "{path}");
    }
    for path in gone.split(' ') {
        assert!(stack.open(path).unwrap().is_none(), "{path}");
    }
    assert_eq!(stack.read("both", 9).unwrap().unwrap(), b"2");
}

/// Mounts by the plan and lists all files.
fn mounted(
    store: &Store,
    stack: &[Layer],
    options: MountOptions,
    unshare: &str,
    who: Option<u32>,
) -> Option<String> {
    use std::os::unix::process::CommandExt;
    let work = store.root().join("test");
    for name in ["upper", "work", "merged"] {
        let path = work.join(name);
        fs::create_dir_all(&path).unwrap();
        if let Some(who) = who {
            std::os::unix::fs::chown(&path, Some(who), Some(who)).unwrap();
        }
    }
    let (upper, work_dir) = (work.join("upper"), work.join("work"));
    let plan = store.mount_plan(stack, Some((&upper, &work_dir)), options);
    let lowers =
        plan.relative_lowers().iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>().join(":");
    let script = format!(
        "cd {} && mount -t overlay overlay -o lowerdir={lowers},upperdir={},workdir={},{} {m} && cd {m} && \
         echo 4 > opaque/written && rm stays && find . -type f -printf '%P\\n' | sort | tr '\\n' ' '",
        plan.base.display(),
        upper.display(),
        work_dir.display(),
        plan.options.join(","),
        m = work.join("merged").display(),
    );
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command.args([unshare, "--propagation", "private", "sh", "-c", script]);
        if let Some(who) = who {
            command.uid(who).gid(who);
        }
        command.output().unwrap()
    };
    let lowers = format!("lowerdir={0}:{0}2", store.empty_layer().display());
    let attributes = if who.is_some() { ",userxattr" } else { "" };
    let merged = work.join("merged");
    let probe = run(&format!("mount -t overlay overlay -o {lowers}{attributes} {}", merged.display()));
    if !probe.status.success() {
        skip(&format!("overlay can't be mounted: {}", String::from_utf8_lossy(&probe.stderr)));
        return None;
    }
    let output = run(&script);
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn expected_mounted() -> String {
    MERGED.replace(" stays", "").replace("opaque2", "opaque/written opaque2") + " "
}

#[test]
fn an_overlay_shows_what_the_image_means() {
    if !testing::is_root() {
        return skip("needs root");
    }
    let (_dir, store) = store();
    let layers = hiding_layers().map(|tar| unpack(&store, &tar).diff_id().clone());
    let stack = store.stack(&layers).unwrap();
    check_stack(&stack);
    assert_eq!(store.fsck(false).unwrap().problems, []);
    for options in [MountOptions::default(), MountOptions { volatile: true, ..MountOptions::default() }] {
        let Some(list) = mounted(&store, &stack, options, "-m", None) else { return };
        assert_eq!(list, expected_mounted());
        // The writable top is read as the kernel wrote it.
        let paths: Vec<_> = stack.iter().map(Layer::fs).collect();
        let view = crate::LayerStack::new(&paths, Some(&store.root().join("test/upper"))).unwrap();
        assert_eq!(view.read("opaque/written", 9).unwrap().unwrap(), b"4\n");
        assert!(view.open("stays").unwrap().is_none());
        assert!(view.open("top").unwrap().is_some());
        fsutil::remove_tree(&store.root().join("test")).unwrap();
    }
}

/// The same as an ordinary user, in a user namespace.
#[test]
fn an_overlay_of_an_ordinary_user_shows_the_same() {
    if let Some(dir) = testing::child_dir() {
        let store = Store::open(&dir.join("store")).unwrap();
        let layers = hiding_layers().map(|tar| unpack(&store, &tar).diff_id().clone());
        let stack = store.stack(&layers).unwrap();
        assert!(stack[1].meta().unwrap().user_attributes);
        check_stack(&stack);
        assert_eq!(store.fsck(false).unwrap().problems, []);
        return;
    }
    if !testing::is_root() {
        return skip("needs root, to become an ordinary user");
    }
    let dir = testing::ordinary_dir();
    testing::as_ordinary_user("unpack::tests::an_overlay_of_an_ordinary_user_shows_the_same", dir.path());
    let store = Store::open(&dir.path().join("store")).unwrap();
    let stack = store.stack(&hiding_layers().map(Digest::sha256)).unwrap();
    let options = MountOptions { user_xattr: true, volatile: false };
    if let Some(list) = mounted(&store, &stack, options, "-Urm", Some(testing::ORDINARY)) {
        assert_eq!(list, expected_mounted());
    }
}

#[test]
fn what_an_ordinary_user_cannot_make_is_recorded() {
    const TEST: &str = "unpack::tests::what_an_ordinary_user_cannot_make_is_recorded";
    let Some(dir) = testing::child_dir() else {
        if !testing::is_root() {
            return skip("needs root, to become an ordinary user");
        }
        return testing::as_ordinary_user(TEST, testing::ordinary_dir().path());
    };
    let store = Store::open(&dir).unwrap();
    let tar = Tar::new()
        .entry(Head { owner: (7, 8), mode: 0o4755, ..Head::new("owned", b'0') }, b"x")
        .entry(Head { mode: 0o4755, ..Head::new("rooted", b'0') }, b"x")
        .entry(Head { device: (1, 3), mode: 0o666, ..Head::new("null", b'3') }, b"")
        .pax(&[("SCHILY.xattr.security.capability", &b"cap"[..]), ("SCHILY.xattr.user.fine", &b"1"[..])])
        .file("capable", "x")
        .pax(&[("path", &b"\xff"[..])])
        .entry(Head { owner: (1, 1), ..Head::new("x", b'0') }, b"")
        // A directory that its own maker may not enter, with something in it.
        .entry(Head { mode: 0o000, owner: (3, 3), ..Head::new("closed", b'5') }, b"")
        .file("closed/inner/file", "x")
        .done();
    let layer = unpack(&store, &tar);
    let owner = |uid, gid, mode| Why::Owner { uid, gid, mode };
    let text = |path: &str| PathText::Text(path.into());
    let unmade: Vec<_> = layer.unmade().unwrap().into_iter().map(|line| (line.path, line.why)).collect();
    let device = Why::Device { kind: "char".into(), major: 1, minor: 3, uid: 0, gid: 0, mode: 0o666 };
    let xattr = Why::Xattr { name: "security.capability".into(), value: "636170".into() };
    assert_eq!(
        unmade,
        [
            (text("owned"), owner(7, 8, 0o4755)),
            (text("null"), device),
            (text("capable"), xattr),
            (PathText::Bytes(vec![0xff]), owner(1, 1, 0o644)),
            (text("closed"), owner(3, 3, 0)),
        ]
    );
    let mode = |path: &str| fs::symlink_metadata(layer.fs().join(path)).unwrap().mode() & 0o7777;
    // Setuid to somebody else than the image says would be wrong.
    assert_eq!((mode("owned"), mode("rooted"), mode("closed")), (0o755, 0o4755, 0));
    assert_eq!(layer.meta().unwrap().unmade, 5);
    assert_eq!(store.fsck(false).unwrap().problems, []);
    let report = store.gc(&|| Ok(crate::InUse::default()), &crate::GcOptions::default()).unwrap();
    assert_eq!(report.layers.len(), 1);
    assert_eq!(fs::read_dir(store.layers_dir()).unwrap().count(), 2, "only the empty layers stay");
}

#[test]
fn a_layer_is_unpacked_once_by_many_at_once() {
    let (_dir, store) = store();
    let tar = Tar::new().file("f", &"x".repeat(100_000)).done();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| unpack(&store, &tar));
        }
    });
    assert_eq!(fs::read_dir(store.layers_dir()).unwrap().count(), 3);
    assert_eq!(store.fsck(false).unwrap().leftovers, [] as [PathBuf; 0]);
}

#[test]
fn wrong_content_leaves_nothing() {
    let (_dir, store) = store();
    let tar = Tar::new().file("f", "x").done();
    let other = Digest::sha256("other");
    let options = UnpackOptions::default();
    let error = store.unpack_layer(&other, Compression::None, tar.as_slice(), &options).unwrap_err();
    assert!(matches!(&error, StoreError::DiffIdMismatch { .. }));
    assert!(error.to_string().contains(&Digest::sha256(&tar).to_string()));
    for (compression, bytes) in [
        (Compression::None, &b"this is not a tar archive, but something else"[..]),
        (Compression::None, &[b'x'; 2000]),
        (Compression::Gzip, b"this is not gzip"),
        (Compression::Zstd, b"this is not zstd"),
        (Compression::None, &tar[..600]),
    ] {
        let result = store.unpack_layer(&other, compression, bytes, &options);
        assert!(matches!(result, Err(StoreError::Unpack { .. })), "{compression:?}");
    }
    assert_eq!(fs::read_dir(store.layers_dir()).unwrap().count(), 2);
    assert_eq!(store.fsck(false).unwrap().leftovers, [] as [PathBuf; 0]);
}

#[test]
fn a_layer_that_a_power_cut_tore_is_unpacked_again() {
    let (_dir, store) = store();
    let tar = Tar::new().file("f", "x").done();
    let from_another_boot = |layer: &Layer| {
        let meta = crate::LayerMeta { boot_id: "another boot".into(), ..layer.meta().unwrap() };
        let path = layer.fs().parent().unwrap().join("meta.json");
        fs::write(path, serde_json::to_vec(&meta).unwrap()).unwrap();
    };
    let layer = unpack(&store, &tar);
    from_another_boot(&layer);
    fs::write(layer.fs().join("f"), "").unwrap();
    assert_eq!(store.layer(layer.diff_id()).unwrap(), None);
    let layer = unpack(&store, &tar);
    assert_eq!(read(&layer, "f"), "x");
    // One that it spared is looked at once.
    from_another_boot(&layer);
    let synced = layer.fs().parent().unwrap().join("synced");
    assert!(!synced.exists());
    assert!(store.layer(layer.diff_id()).unwrap().is_some());
    assert!(synced.exists());
    // And one that was on the disk not at all.
    let other = unpack(&store, &Tar::new().file("g", "x").done());
    store.sync().unwrap();
    from_another_boot(&other);
    fs::remove_file(other.fs().join("g")).unwrap();
    assert!(store.layer(other.diff_id()).unwrap().is_some());
}

#[test]
fn repeated_and_opaque_layers_in_a_stack() {
    let (_dir, store) = store();
    let tars = [
        Tar::new().file("a", "1").done(),
        Tar::new().file("b", "2").done(),
        Tar::new().file(".wh..wh..opq", "").file("c", "3").done(),
    ];
    let [a, b, c] = tars.map(|tar: Vec<u8>| unpack(&store, &tar).diff_id().clone());
    let names = |ids: &[Digest]| -> Vec<Digest> {
        store.stack(ids).unwrap().iter().map(|layer| layer.diff_id().clone()).collect()
    };
    assert_eq!(names(&[a.clone(), b.clone(), a.clone()]), [b.clone(), a.clone()]);
    assert_eq!(names(&[a.clone(), c.clone(), b.clone()]), [c, b]);
    assert!(matches!(store.stack(&[Digest::sha256("no")]), Err(StoreError::LayerNotFound { .. })));
    let stack = store.stack(&[a]).unwrap();
    let plan = store.mount_plan(&stack, None, MountOptions { user_xattr: true, volatile: true });
    assert_eq!(plan.lowers, [stack[0].fs(), store.empty_layer()]);
    assert_eq!(plan.options, ["index=off", "userxattr"]);
    assert!(plan.relative_lowers().iter().all(|path| path.is_relative() && path.as_os_str().len() <= 138));
    assert_eq!(store.mount_plan(&[], None, MountOptions::default()).lowers.len(), 2);
}
