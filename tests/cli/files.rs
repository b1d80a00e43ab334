//! A container's files: `cp` and `diff`, for both kinds, running or stopped.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use brig_testing::image::{self, LayerBuilder, Platform};
use brig_testing::{Guest, ORDINARY_USER, TestEnv, need, need_root, need_rootless};

use super::{env, load, with_busybox};

/// One container that runs, and one that was only created.
fn both(env: &TestEnv) -> [&'static str; 2] {
    let _ = env.brig(&["run", "-d", "--name", "running", "busybox", "sleep", "600"]).success();
    let _ = env.brig(&["create", "--name", "stopped", "busybox", "true"]).success();
    ["running", "stopped"]
}

/// The content of a file in a container.
#[track_caller]
fn read(env: &TestEnv, path: &str) -> String {
    let to = env.work().join("read-back");
    let _ = env.brig(&["cp", path, to.to_str().unwrap()]).success();
    fs::read_to_string(to).unwrap()
}

#[test]
fn the_rules_of_cp_into_a_container() {
    let env = need!(with_busybox());
    env.write("file", "content");
    fs::create_dir_all(env.work().join("dir/below")).unwrap();
    fs::write(env.work().join("dir/below/f"), "deep").unwrap();
    for name in both(&env) {
        let cp = |from: &str, to: &str| env.brig(&["cp", from, &format!("{name}:{to}")]);
        let has = |path: &str| read(&env, &format!("{name}:{path}"));
        // A file: to a name, over a file, into a directory.
        let _ = cp("file", "/root/new").success().prints("");
        let _ = cp("file", "/etc/passwd").success();
        let _ = cp("file", "/tmp").success();
        assert_eq!([has("/root/new"), has("/etc/passwd"), has("/tmp/file")], ["content"; 3]);
        let _ = cp("file", "/root/none/").fails().says("no such directory");
        let _ = cp("file", "/root/none/x").fails().says("/root/none");
        // A directory: to a name, into a directory, its content.
        let _ = cp("dir", "/srv").success();
        let _ = cp("dir", "/srv").success();
        let _ = cp("dir/.", "/tmp").success();
        assert_eq!([has("/srv/below/f"), has("/srv/dir/below/f"), has("/tmp/below/f")], ["deep"; 3]);
        let _ = cp("dir", "/etc/passwd").fails().says("cannot copy a directory to a file");
        let _ = cp("missing", "/tmp").fails().says("missing");
        // Over a link to a file: the file.
        let _ = cp("file", "/root/over").success();
        // What is copied is root's, and says nothing where nobody looks.
        let tar = env.brig(&["cp", &format!("{name}:/root/new"), "-"]).success();
        assert!(tar.stdout.contains("\0new\0") && tar.stdout.contains("content"), "{}", tar.stdout);
    }
    let _ = env.brig(&["cp", "running:/a", "stopped:/b"]).fails().says("between containers");
    let _ = env.brig(&["cp", "a", "b"]).fails().says("CONTAINER:PATH");
    let _ = env.brig(&["cp", "nobody:/a", "b"]).fails().says("nobody");
    let _ = env.brig(&["start", "-a", "stopped"]).success();
}

#[test]
fn what_was_copied_is_told_on_a_terminal() {
    let env = need!(with_busybox());
    env.write("file", "content");
    let _ = env.brig(&["create", "--name", "made", "busybox", "true"]).success();
    let into = env.command(&["cp", "file", "made:/root"]).run_on_terminal("").success();
    let _ = into.shows("Successfully copied 3.07kB to made:/root");
    let out = env.command(&["cp", "made:/root/file", "out"]).run_on_terminal("").success();
    let _ = out.shows("Successfully copied 3.07kB to out");
    let quiet = env.command(&["cp", "-q", "made:/root/file", "out"]).run_on_terminal("").success();
    let _ = quiet.prints("");
    let _ = env.brig(&["cp", "made:/root/file", "out"]).success().prints("");
}

#[test]
fn the_rules_of_cp_out_of_a_container() {
    let env = need!(with_busybox());
    for name in both(&env) {
        let out = env.work().join(format!("out-{name}"));
        fs::create_dir(&out).unwrap();
        let cp = |flags: &[&str], from: &str, to: &str| {
            let (from, to) = (format!("{name}:{from}"), out.join(to));
            let mut args = vec!["cp"];
            args.extend_from_slice(flags);
            args.extend_from_slice(&[&from, to.to_str().unwrap()]);
            env.brig(&args)
        };
        let _ = cp(&[], "/etc/os-release", "").success();
        let _ = cp(&[], "/etc/os-release", "other").success();
        let _ = cp(&[], "etc", "all").success();
        let _ = cp(&[], "/etc", "").success();
        let _ = cp(&[], "/etc/.", "").success();
        for path in ["os-release", "other", "all/os-release", "etc/os-release"] {
            assert!(fs::read_to_string(out.join(path)).unwrap().contains("brig-test"), "{path}");
        }
        let _ = cp(&[], "/etc", "other").fails().says("cannot copy a directory to a file");
        let _ = cp(&[], "/etc/os-release", "none/").fails().says("no such directory");
        let _ = cp(&[], "/etc/os-release", "none/x").fails().says("none");
        let _ = cp(&[], "/no/such", "x").fails().says("could not find the file `/no/such`");
        // A link is one, unless it is to be followed.
        env.write("target", "of the link");
        symlink("/tmp/target", env.work().join(format!("l-{name}"))).unwrap();
        let _ = env.brig(&["cp", &format!("l-{name}"), &format!("{name}:/root/l")]).success();
        let _ = env.brig(&["cp", "target", &format!("{name}:/tmp/")]).success();
        let _ = cp(&[], "/root/l", "link").success();
        assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("/tmp/target"));
        let _ = cp(&["-L"], "/root/l", "").success();
        assert_eq!(fs::read_to_string(out.join("l")).unwrap(), "of the link");
    }
}

#[test]
fn a_tar_goes_in_and_out() {
    let env = need!(with_busybox());
    let tar = env.work().join("in.tar");
    let mut builder = tar::Builder::new(fs::File::create(&tar).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o640);
    header.set_uid(12);
    header.set_gid(34);
    let long = "n".repeat(250);
    builder.append_data(&mut header, format!("a/{long}"), &b"hi"[..]).unwrap();
    let tar = builder.into_inner().map(|_| fs::read(tar).unwrap()).unwrap();
    for name in both(&env) {
        let to = format!("{name}:/tmp");
        let _ = env.command(&["cp", "-a", "-", &to]).stdin(tar.clone()).run().success();
        let _ = env.command(&["cp", "-", &format!("{name}:/etc/passwd")]).stdin(tar.clone()).run().fails();
        let _ = env.command(&["cp", "-", &to]).stdin("no tar").run().fails().says("tar");
        let out = env.work().join(name);
        let _ = env.brig(&["cp", "-a", &format!("{name}:/tmp/a"), out.to_str().unwrap()]).success();
        let meta = fs::metadata(out.join(&long)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.len()), (0o640, 2));
        if brig_testing::is_root() {
            assert_eq!((meta.uid(), meta.gid()), (12, 34));
        }
        // Without -a it becomes the container's root's.
        let _ = env.command(&["cp", "-", &to]).stdin(tar.clone()).run().success();
        let _ = env.brig(&["cp", "-a", &format!("{name}:/tmp/a/."), out.to_str().unwrap()]).success();
        assert_eq!(fs::metadata(out.join(&long)).unwrap().uid(), fs::metadata(env.work()).unwrap().uid());
    }
}

#[test]
fn a_tar_cant_leave_the_container() {
    let env = need!(with_busybox());
    for (number, name) in ["../../../../../../brig-out", "x/../../brig-out"].into_iter().enumerate() {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        let mut tar = header.as_bytes().to_vec();
        tar.push(b'x');
        tar.resize(2048, 0);
        for container in if number == 0 { both(&env) } else { ["running", "stopped"] } {
            let call = env.command(&["cp", "-", &format!("{container}:/tmp")]).stdin(tar.clone()).run();
            let _ = call.fails().says("leads out");
        }
    }
    assert!(!Path::new("/brig-out").exists());
}

/// CVE-2018-15664: a process in the container makes a directory a link and back, all the time.
#[test]
fn links_that_change_lead_nowhere() {
    let env = need!(with_busybox());
    let secret = env.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("f"), "of the host").unwrap();
    let before = fs::metadata(&secret).unwrap();
    let script = format!(
        "mkdir -p /w/d; echo inside > /w/d/f; while :; do mv /w/d /w/x; ln -s {} /w/d; rm /w/d; mv /w/x /w/d; done",
        secret.display()
    );
    let _ = env.brig(&["run", "-d", "--name", "evil", "busybox", "sh", "-c", &script]).success();
    env.write("mark", "a mark");
    let mut done = [0, 0];
    for round in 0..100 {
        let out = env.work().join("out");
        let _ = fs::remove_file(&out);
        let copied = env.brig(&["cp", "-L", "evil:/w/d/f", out.to_str().unwrap()]);
        if copied.code() == 0 {
            assert_eq!(fs::read_to_string(&out).unwrap(), "inside\n", "round {round}");
            done[0] += 1;
        }
        done[1] += usize::from(env.brig(&["cp", "mark", "evil:/w/d/"]).code() == 0);
    }
    let _ = env.brig(&["rm", "-f", "evil"]).success();
    assert!(done[0] > 0 && done[1] > 0, "nothing was copied at all: {done:?}");
    let after = fs::metadata(&secret).unwrap();
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(secret.join("f")).unwrap(), "of the host");
}

#[test]
fn an_images_links_lead_into_the_container() {
    let env = need!(with_busybox());
    let secret = env.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("f"), "of the host").unwrap();
    let to = secret.to_str().unwrap();
    let up = format!("../../../../../../../..{to}");
    let files = LayerBuilder::new().symlink("absolute", to).symlink("relative", &up);
    load(&env, &image::busybox().unwrap().files(files).build(), "busybox");
    env.write("mark", "a mark");
    for name in both(&env) {
        for link in ["absolute", "relative"] {
            for path in [format!("{name}:/{link}/f"), format!("{name}:/{link}/")] {
                let _ = env.brig(&["cp", "-L", &path, "out"]).fails().says("could not find");
            }
            let _ = env.brig(&["cp", "mark", &format!("{name}:/{link}/new")]).fails();
            // A link that leads nowhere: what it points to is to be made, in the container.
            let _ = env.brig(&["cp", "mark", &format!("{name}:/{link}")]).fails().says("could not find");
        }
    }
    assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    assert!(!env.work().join("out").exists());
}

#[test]
fn everything_that_a_file_has_goes_round() {
    need!(need_root());
    let env = need!(with_busybox());
    let make = "mkdir -m 1710 /t; cd /t; dd if=/dev/zero of=sparse bs=1 count=1 seek=100M 2>/dev/null; \
                mkfifo pipe; mknod null c 1 3; echo x > one; ln one two; ln -s one link; chown 7:8 one; \
                chmod 4711 one; chown -h 9:9 link; touch -d @1000000000 one; touch -d @1000000001 /t";
    let _ = env.brig(&["run", "--name", "made", "busybox", "sh", "-c", make]).success();
    let out = env.work().join("t");
    let _ = env.brig(&["cp", "-a", "made:/t", out.to_str().unwrap()]).success();
    let set = std::process::Command::new("setfattr")
        .args(["-n", "user.colour", "-v", "blue"])
        .arg(out.join("sparse"))
        .status();
    let attributes = set.is_ok_and(|status| status.success());
    let _ = env.brig(&["create", "--name", "back", "busybox", "true"]).success();
    let _ = env.brig(&["cp", "-a", out.to_str().unwrap(), "back:/"]).success();
    let again = env.work().join("again");
    let _ = env.brig(&["cp", "-a", "back:/t", again.to_str().unwrap()]).success();
    for name in ["", "sparse", "pipe", "null", "one", "two", "link"] {
        let of = |dir: &Path| {
            let meta = fs::symlink_metadata(dir.join(name)).unwrap();
            (meta.mode(), meta.uid(), meta.gid(), meta.rdev(), meta.mtime(), meta.mtime_nsec())
        };
        assert_eq!(of(&out), of(&again), "{name}");
    }
    let meta = |name: &str| fs::symlink_metadata(again.join(name)).unwrap();
    assert_eq!(
        (meta("one").uid(), meta("one").mode() & 0o7777, meta("one").mtime()),
        (7, 0o4711, 1_000_000_000)
    );
    assert_eq!((meta("").mode() & 0o7777, meta("").mtime()), (0o1710, 1_000_000_001));
    assert_eq!(meta("one").ino(), meta("two").ino());
    assert_eq!(meta("link").uid(), 9);
    assert_eq!(meta("sparse").len(), (100 << 20) + 1);
    assert!(meta("sparse").blocks() < 1000);
    if attributes {
        let shown =
            std::process::Command::new("getfattr").arg("-d").arg(again.join("sparse")).output().unwrap();
        assert!(String::from_utf8_lossy(&shown.stdout).contains("user.colour=\"blue\""));
    }
    // Without -a nothing is given away: neither the owner nor set-id bits.
    let plain = env.work().join("plain");
    let _ = env.brig(&["cp", "back:/t/one", plain.to_str().unwrap()]).success();
    let meta = fs::metadata(plain).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o711));
}

#[test]
fn volumes_and_read_only_roots() {
    let env = need!(with_busybox());
    let data = env.work().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("f"), "of the volume").unwrap();
    env.write("new", "new");
    let volume = format!("{}:/v", data.display());
    let options = ["--read-only", "-v", &volume];
    let _ = env
        .brig(&[&["run", "-d", "--name", "running"][..], &options, &["busybox", "sleep", "600"]].concat())
        .success();
    let _ =
        env.brig(&[&["create", "--name", "stopped"][..], &options, &["busybox", "true"]].concat()).success();
    for name in ["running", "stopped"] {
        assert_eq!(read(&env, &format!("{name}:/v/f")), "of the volume");
        let _ = env.brig(&["cp", "new", &format!("{name}:/v/{name}")]).success();
        assert_eq!(fs::read_to_string(data.join(name)).unwrap(), "new");
        let _ = env.brig(&["cp", "new", &format!("{name}:/root/x")]).fails().says("Read-only");
    }
}

#[test]
fn what_differs_is_listed() {
    let env = need!(with_busybox());
    let files = LayerBuilder::new()
        .dir("d/", 0o755)
        .file("d/gone", 0o644, "1")
        .file("d/changed", 0o644, "1")
        .file("d/same", 0o644, "1")
        .dir("d/deep/", 0o755)
        .file("d/deep/f", 0o644, "1")
        .dir("replaced/", 0o755)
        .file("replaced/old", 0o644, "1")
        .dir("untouched/", 0o755);
    let image = image::busybox().unwrap().files(files).build();
    load(&env, &image, "layered");
    let script = "rm /d/gone; echo 2 > /d/changed; echo x > /d/deep/new; rm -r /replaced; mkdir /replaced; \
                  touch /replaced/new; mkdir -p /added/below; ln -s /etc /added/link; : >> /d/same";
    let _ = env.brig(&["run", "--name", "changed", "layered", "sh", "-c", script]).success();
    let expected = "A /added\nA /added/below\nA /added/link\nC /d\nC /d/changed\nC /d/deep\nA /d/deep/new\n\
                    D /d/gone\nC /replaced\nA /replaced/new\nD /replaced/old\n";
    let _ = env.brig(&["diff", "changed"]).success().prints(expected);
    let json = env.brig(&["--format", "json", "diff", "changed"]).success().json();
    assert_eq!(json[0]["Path"], "/added", "{json}");
    let _ = env.brig(&["create", "--name", "fresh", "layered", "true"]).success();
    let _ = env.brig(&["diff", "fresh"]).success().prints("");
    let _ = env.brig(&["run", "--name", "ran", "layered", "true"]).success();
    let _ = env.brig(&["diff", "ran"]).success().prints("");
}

#[test]
fn a_wasm_containers_files() {
    let env = env();
    let wasm = need!(Guest::LOOP.module());
    let image = image::wasm_compat(&wasm, Platform::wasi())
        .files(LayerBuilder::new().dir("etc/", 0o755).file("etc/motd", 0o644, "hello"));
    load(&env, &image.build(), "app");
    let data = env.work().join("data");
    fs::create_dir(&data).unwrap();
    env.write("new", "new");
    let volume = format!("{}:/v", data.display());
    let _ = env.brig(&["run", "-d", "--name", "running", "-v", &volume, "app"]).success();
    let _ = env.brig(&["create", "--name", "stopped", "-v", &volume, "app"]).success();
    for name in ["running", "stopped"] {
        assert_eq!(read(&env, &format!("{name}:/etc/motd")), "hello");
        let _ = env.brig(&["cp", "new", &format!("{name}:/etc/new")]).success();
        assert_eq!(read(&env, &format!("{name}:/etc/new")), "new");
        let _ = env.brig(&["cp", "new", &format!("{name}:/v/{name}")]).success();
        assert_eq!(fs::read_to_string(data.join(name)).unwrap(), "new");
        assert_eq!(read(&env, &format!("{name}:/v/{name}")), "new");
        let _ = env.brig(&["diff", name]).success().prints("C /etc\nA /etc/new\n");
    }
    // A bare module has no files but those of its volumes.
    env.write("guest.wasm", &wasm);
    let _ = env.brig(&["create", "--name", "bare", "-v", &volume, "./guest.wasm"]).success();
    assert_eq!(read(&env, "bare:/v/running"), "new");
    let _ = env.brig(&["cp", "bare:/etc", "x"]).fails().says("volumes");
}

#[test]
fn an_ordinary_users_containers_files() {
    need!(need_rootless());
    let env = env();
    let brig = |args: &[&str]| env.brig_as_user(ORDINARY_USER, args);
    env.write_for_user(ORDINARY_USER, "busybox.tar", need!(image::busybox()).build().oci_archive(None));
    let _ = brig(&["load", "-q", "-i", "busybox.tar", "--tag", "busybox"]).success();
    env.write_for_user(ORDINARY_USER, "in", "mine");
    let script = "mkdir /root/d; echo x > /root/d/closed; chmod 0 /root/d/closed /root/d; rm /etc/os-release; sleep 600";
    let _ = brig(&["run", "-d", "--name", "running", "busybox", "sh", "-c", script]).success();
    super::eventually("it has removed a file", || {
        brig(&["diff", "running"]).success().stdout.contains("D /etc/os-release")
    });
    let _ = brig(&["create", "--name", "stopped", "busybox", "true"]).success();
    for name in ["running", "stopped"] {
        let _ = brig(&["cp", "in", &format!("{name}:/root/in")]).success();
        let _ = brig(&["cp", &format!("{name}:/root"), &format!("out-{name}")]).success();
        let file = env.user_home(ORDINARY_USER).join(format!("out-{name}/in"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(fs::metadata(&file).unwrap().uid(), ORDINARY_USER);
    }
    let expected = "C /etc\nD /etc/os-release\nC /root\nA /root/d\nA /root/d/closed\nA /root/in\n";
    let _ = brig(&["diff", "running"]).success().prints(expected);
    // wasm is no different.
    let wasm = need!(Guest::LOOP.module());
    let files = LayerBuilder::new().dir("etc/", 0o755).file("etc/motd", 0o644, "hello");
    let archive = image::wasm_compat(&wasm, Platform::wasi()).files(files).build().oci_archive(None);
    env.write_for_user(ORDINARY_USER, "app.tar", archive);
    let _ = brig(&["load", "-q", "-i", "app.tar", "--tag", "app"]).success();
    let _ = brig(&["run", "-d", "--name", "looping", "app"]).success();
    let _ = brig(&["create", "--name", "made", "app"]).success();
    for name in ["looping", "made"] {
        let _ = brig(&["cp", "in", &format!("{name}:/etc/in")]).success();
        let _ = brig(&["cp", &format!("{name}:/etc/."), &format!("out-{name}")]).success();
        let file = env.user_home(ORDINARY_USER).join(format!("out-{name}/in"));
        assert_eq!(fs::read_to_string(file).unwrap(), "mine");
        let _ = brig(&["diff", name]).success().prints("C /etc\nA /etc/in\n");
    }
}

#[test]
fn what_is_exported_can_be_imported() {
    let env = need!(with_busybox());
    let data = env.work().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("of-the-volume"), "").unwrap();
    let volume = format!("{}:/v", data.display());
    let make = "echo kept > /root/mark; ln /root/mark /root/two; ln -s mark /root/link; rm /etc/os-release; sleep 600";
    let _ =
        env.brig(&["run", "-d", "--name", "running", "-v", &volume, "busybox", "sh", "-c", make]).success();
    super::eventually("the file is removed", || {
        env.brig(&["diff", "running"]).success().stdout.contains("D ")
    });
    let running = env.work().join("running.tar");
    let _ = env.brig(&["export", "-o", running.to_str().unwrap(), "running"]).success().prints("");
    let _ = env.brig(&["stop", "-t", "0", "running"]).success();
    let stopped = env.work().join("stopped.tar");
    let _ = env.brig(&["export", "-o", stopped.to_str().unwrap(), "running"]).success();
    assert!(fs::read(&running).unwrap() == fs::read(&stopped).unwrap(), "running or not makes a difference");
    assert!(!env.brig(&["export", "running"]).success().stdout.is_empty());
    let mut archive = tar::Archive::new(fs::File::open(&running).unwrap());
    let names: Vec<_> = archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
    let has = |name: &str| names.iter().any(|path| path == Path::new(name));
    assert!(has("root/mark") && has("v") && has("proc"), "{names:?}");
    assert!(!has("v/of-the-volume") && !has("etc/os-release") && !has("proc/self") && !has("dev/null"));
    let _ = env.command(&["export", "running"]).run_on_terminal("").fails().shows("terminal");

    let change = ["-c", "CMD [\"cat\", \"/root/mark\"]", "-c", "ENV PATH=/bin", "-m", "by hand"];
    let import = [&["import"][..], &change, &[running.to_str().unwrap(), "imported:v1"]].concat();
    let id = env.brig(&import).success().line().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    let _ = env.brig(&["run", "--rm", "imported:v1"]).success().prints("kept\n");
    let _ = env.brig(&["run", "--rm", &id[7..19], "cat", "/root/link"]).success().prints("kept\n");
    // From standard input, compressed, without a name.
    let gzip = std::process::Command::new("gzip").arg("-kc").arg(&running).output().unwrap().stdout;
    let id = env.command(&["import", "-"]).stdin(gzip).run().success().line().to_owned();
    let _ = env.brig(&["run", "--rm", &id, "/bin/cat", "/root/two"]).success().prints("kept\n");
    let _ = env.command(&["import", "-", "x"]).stdin("no tar".repeat(200)).run().fails().says("not a tar");
    let _ = env.brig(&["import", "https://example.com/x.tar"]).fails().says("download it first");
    let _ = env.brig(&["import", "missing.tar"]).fails().says("missing.tar");
    let _ = env.brig(&["import", "-c", "RUN x", running.to_str().unwrap()]).fails().says("RUN x");
    let _ = env.brig(&["fsck"]).success();
}

/// The names in the uppermost layer of an image, with their headers' modes.
fn upper_layer(env: &TestEnv, name: &str) -> Vec<(String, u32)> {
    let details = env.brig(&["image", "inspect", name]).success().json();
    let digest =
        details[0]["Layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    let blob = env.root().join("blobs").join(digest.replace(':', "/"));
    let unzipped =
        std::process::Command::new("gzip").arg("-dc").stdin(fs::File::open(blob).unwrap()).output();
    let mut archive = tar::Archive::new(std::io::Cursor::new(unzipped.unwrap().stdout));
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, entry.header().mode().unwrap())
    });
    entries.collect()
}

#[test]
fn a_container_becomes_an_image() {
    let env = need!(with_busybox());
    let files = LayerBuilder::new()
        .dir("d/", 0o755)
        .file("d/gone", 0o644, "1")
        .file("d/kept", 0o644, "1")
        .dir("o/", 0o755)
        .file("o/old", 0o644, "1");
    let image = image::busybox().unwrap().files(files).env(&["PATH=/bin", "KEPT=yes"]).cmd(&["true"]).build();
    load(&env, &image, "base");
    let script = "rm /d/gone; rm -r /o; mkdir /o; echo new > /o/new; echo x > /one; ln /one /two; chmod 4750 /one; \
                  mkfifo /pipe; ln -s one /link; : >> /d/kept; sleep 600";
    let _ = env.brig(&["run", "-d", "--name", "worker", "base", "sh", "-c", script]).success();
    super::eventually("it is done", || env.brig(&["diff", "worker"]).success().stdout.contains("/pipe"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let change =
        ["-c", "CMD [\"sh\", \"-c\", \"ls /d /o; cat /two; echo $KEPT $MORE\"]", "-c", "ENV MORE=too"];
    let flags = ["-a", "me", "-m", "by hand"];
    let commit = [&["commit"][..], &flags, &change, &["worker", "made:v1"]].concat();
    let id = env.brig(&commit).success().line().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    let _ = env.brig(&["exec", "worker", "true"]).success();
    let _ = env.brig(&["run", "--rm", "made:v1"]).success().prints("/d:\nkept\n\n/o:\nnew\nx\nyes too\n");

    let layer = upper_layer(&env, "made:v1");
    let names: Vec<_> = layer.iter().map(|(name, _)| name.trim_end_matches('/')).collect();
    let expected = ["d", "d/.wh.gone", "link", "o", "o/.wh..wh..opq", "o/new", "one", "pipe", "two"];
    assert_eq!(names, expected);
    assert_eq!(layer[6].1 & 0o7777, 0o4750);

    let format = ["history", "--format", "{{.ID}} {{.Comment}}", "made:v1"];
    let history = env.brig(&format).success();
    assert_eq!(history.stdout.lines().next(), Some(&*format!("{} by hand", &id[7..19])));
    let table = env.brig(&["history", "made:v1"]).success();
    let lines: Vec<_> = table.stdout.lines().collect();
    assert!(lines[1].starts_with(&id[7..19]) && lines[1].contains("by hand"), "{}", table.stdout);
    assert!(lines[2..].iter().all(|line| line.starts_with("<missing>")), "{}", table.stdout);
    let quiet = env.brig(&["history", "-q", "--no-trunc", "made:v1"]).success();
    assert_eq!(quiet.stdout.lines().next(), Some(id.as_str()));

    // A commit of a commit, of a stopped container, without a name.
    let _ = env
        .brig(&["run", "--name", "second", "made:v1", "sh", "-c", "rm /o/new; echo 2 > /second"])
        .success();
    let second = env.brig(&["commit", "second"]).success().line().to_owned();
    let _ =
        env.brig(&["run", "--rm", &second, "sh", "-c", "ls /o; cat /second /two"]).success().prints("2\nx\n");
    // Without a change, the layer is empty, and the image runs.
    let _ = env.brig(&["create", "--name", "same", "made:v1"]).success();
    let _ = env.brig(&["commit", "same", "same"]).success();
    assert_eq!(upper_layer(&env, "same"), []);
    let _ = env.brig(&["run", "--rm", "same"]).success();
    let _ = env.brig(&["commit", "-c", "COPY a b", "same"]).fails().says("COPY a b");
    let _ = env.brig(&["commit", "same", "Bad Name"]).fails();
    let _ = env.brig(&["fsck"]).success();

    // Others read it.
    let registry = env.registry();
    let name = registry.reference("made:v1");
    let _ = env.brig(&["tag", "made:v1", &name]).success();
    let _ = env.brig(&["push", "-q", &name]).success();
    let _ = env.brig(&["rmi", "-f", &name, "made:v1"]).success();
    let _ = env.brig(&["run", "--rm", "--pull", "always", &name]).success().shows("yes too");
}

#[test]
fn what_was_committed_is_read_by_others() {
    let env = need!(with_busybox());
    let skopeo = need!(brig_testing::need_tool("skopeo"));
    let _ = env
        .brig(&["run", "--name", "worker", "busybox", "sh", "-c", "rm /etc/os-release; echo x > /x"])
        .success();
    let _ = env.brig(&["commit", "worker", "made"]).success();
    let source = format!("oci:{}:docker.io/library/made:latest", env.root().display());
    let target = format!("oci:{}:made", env.work().join("copy").display());
    let _ = env.program(skopeo, &["copy", "-q", &source, &target]).run().success();
    let umoci = need!(brig_testing::need_tool("umoci"));
    let image = format!("{}:made", env.work().join("copy").display());
    let bundle = env.work().join("bundle");
    let _ = env
        .program(umoci, &["unpack", "--rootless", "--image", &image, bundle.to_str().unwrap()])
        .run()
        .success();
    assert_eq!(fs::read_to_string(bundle.join("rootfs/x")).unwrap(), "x\n");
    assert!(!bundle.join("rootfs/etc/os-release").exists() && bundle.join("rootfs/etc/passwd").exists());
}

#[test]
fn a_wasm_container_becomes_an_image() {
    let env = env();
    let wasm = need!(Guest::FILES.module());
    let files = LayerBuilder::new().dir("etc/", 0o755).file("etc/motd", 0o644, "hello");
    load(&env, &image::wasm_compat(&wasm, Platform::wasi()).files(files).build(), "app");
    let _ = env.brig(&["run", "--name", "writer", "app", "write", "/etc/new", "text"]).success();
    let _ = env.brig(&["commit", "writer", "made"]).success();
    let _ = env.brig(&["run", "--rm", "made", "read", "/etc/new"]).success().shows("text");
    let exported = env.work().join("out.tar");
    let _ = env.brig(&["export", "-o", exported.to_str().unwrap(), "writer"]).success();
    let mut archive = tar::Archive::new(fs::File::open(exported).unwrap());
    let found =
        archive.entries().unwrap().any(|entry| entry.unwrap().path().unwrap() == Path::new("etc/new"));
    assert!(found);
    env.write("guest.wasm", &wasm);
    let _ = env.brig(&["create", "--name", "bare", "./guest.wasm"]).success();
    let _ = env.brig(&["commit", "bare", "x"]).fails().says("bare file");
}

#[test]
fn an_ordinary_users_container_becomes_an_image() {
    need!(need_rootless());
    let env = env();
    let brig = |args: &[&str]| env.brig_as_user(ORDINARY_USER, args);
    env.write_for_user(ORDINARY_USER, "busybox.tar", need!(image::busybox()).build().oci_archive(None));
    let _ = brig(&["load", "-q", "-i", "busybox.tar", "--tag", "busybox"]).success();
    let script = "echo x > /root/closed; chmod 0 /root/closed; rm /etc/os-release; rm -r /home; mkdir /home; sleep 600";
    let _ = brig(&["run", "-d", "--name", "worker", "busybox", "sh", "-c", script]).success();
    super::eventually("it is done", || brig(&["diff", "worker"]).success().stdout.contains("C /home"));
    let _ = brig(&["commit", "worker", "made"]).success();
    let _ = brig(&["rm", "-f", "worker"]).success();
    let script = "cat /root/closed; ls /home; test ! -e /etc/os-release; stat -c %u:%a /root/closed";
    let _ = brig(&["run", "--rm", "made", "sh", "-c", script]).success().prints("x\n0:0\n");
    let _ = brig(&["create", "--name", "again", "made"]).success();
    let _ = brig(&["export", "-o", "out.tar", "again"]).success();
    let _ = brig(&["import", "out.tar", "imported"]).success();
    let _ = brig(&["run", "--rm", "imported", "/bin/cat", "/root/closed"]).success().prints("x\n");
}

#[test]
fn what_is_mounted_over_a_file_is_written_in_place() {
    let env = need!(with_busybox());
    let file = env.write("mounted", "old");
    env.write("new", "new");
    let volume = format!("{}:/etc/mounted", file.display());
    let _ = env.brig(&["run", "-d", "--name", "running", "-v", &volume, "busybox", "sleep", "600"]).success();
    let _ = env.brig(&["cp", "new", "running:/etc/mounted"]).success();
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    let _ = env.brig(&["exec", "running", "cat", "/etc/mounted"]).success().prints("new");
    // Kernel files aren't a container's.
    let _ = env.brig(&["cp", "running:/proc/self", "x"]).fails().says("/proc/self");
    let _ = env.brig(&["diff", "running"]).success().prints("");
}

#[test]
fn a_start_waits_for_a_copy() {
    let env = need!(with_busybox());
    let _ = env.brig(&["create", "--name", "made", "busybox", "cat", "/tmp/late"]).success();
    env.write("late", "in time\n");
    let (brig, root, run) = (env!("CARGO_BIN_EXE_brig"), env.root(), env.run_root());
    let call = format!("{brig} --root {} --run-root {} cp - made:/tmp", root.display(), run.display());
    let copy = env.program("sh", &["-c", &format!("(sleep 1.5; tar c late) | {call}")]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Two mounts of one writable layer would see different files.
    let _ = env.brig(&["start", "-a", "made"]).success().prints("in time\n");
    let _ = copy.wait().success();
}
