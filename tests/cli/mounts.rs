//! What `--mount` can mount beside directories and whole volumes.

use std::fs;

use brig_testing::image::{self, LayerBuilder};
use brig_testing::{Guest, ORDINARY_USER, TestEnv, Unavailable, need, need_rootless};

use super::{env, load, with_busybox};

/// A home with `busybox`, and with `data`, an image of two layers that no program is in.
fn with_data() -> Result<TestEnv, Unavailable> {
    let env = with_busybox()?;
    load(&env, &data(), "data");
    Ok(env)
}

fn data() -> image::Image {
    let below = LayerBuilder::new()
        .dir("srv", 0o755)
        .file("srv/old", 0o644, b"below")
        .file("srv/gone", 0o644, b"below")
        .file("top", 0o644, b"top");
    let above = LayerBuilder::new()
        .dir("srv", 0o755)
        .whiteout("srv/gone")
        .file("srv/new", 0o644, b"above")
        .symlink("srv/out", "/etc/passwd")
        .symlink("srv/up", "../../../../../../top");
    image::ImageBuilder::linux().files(below).files(above).build()
}

/// How many unpacked layers the store has.
fn layers(env: &TestEnv) -> usize {
    let names = fs::read_dir(env.root().join("layers")).unwrap();
    names.filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with("sha256")).count()
}

/// What a program in a container prints.
#[track_caller]
fn shell(env: &TestEnv, flags: &[&str], script: &str) -> String {
    let args = [&["run", "--rm"][..], flags, &["busybox", "sh", "-c", script]].concat();
    env.brig(&args).success().stdout
}

#[test]
fn an_image_is_mounted_read_only() {
    let env = need!(with_data());
    let script = "ls /i/srv; cat /i/srv/new; touch /i/x 2>/dev/null || echo no";
    let flag = ["--mount", "type=image,source=data,target=/i"];
    assert_eq!(shell(&env, &flag, script), "new\nold\nout\nup\naboveno\n");
    // One of a single layer, the container's own image, and twice the same.
    let flags =
        ["--mount", "type=image,src=busybox,dst=/a", "--mount", "type=image,src=busybox,dst=/a/tmp,ro"];
    let script = "touch /mine; test -x /a/bin/busybox && test -x /a/tmp/bin/busybox && test ! -e /a/mine";
    assert_eq!(shell(&env, &flags, script), "");
    let _ = env.brig(&["create", "--name", "web", flag[0], flag[1], "busybox", "true"]).success();
    let mount = &env.brig(&["inspect", "web"]).success().json()[0]["Mounts"][0];
    assert_eq!((&mount["Type"], &mount["Name"]), (&"image".into(), &"data".into()));
    assert_eq!((&mount["Destination"], &mount["RW"]), (&"/i".into(), &false.into()));
    let _ = env.brig(&["ps", "-a", "--format", "{{.Mounts}}"]).success().prints("data\n");
    for (flag, problem) in [
        ("type=image,source=data,target=/i,image-subpath=../x", "subpath must be a relative path"),
        ("type=image,target=/i", "field Source must not be empty"),
    ] {
        let _ = env.brig(&["run", "--mount", flag, "busybox"]).fails().says(problem);
    }
}

#[test]
fn a_part_of_an_image_never_leads_out_of_it() {
    let env = need!(with_data());
    let mount = |path: &str| format!("type=image,source=data,target=/i,image-subpath={path}");
    assert_eq!(
        shell(&env, &["--mount", &mount("srv")], "cat /i/old; touch /i/x 2>&-|| echo no"),
        "belowno\n"
    );
    assert_eq!(shell(&env, &["--mount", &mount("srv/new")], "cat /i"), "above");
    // A link leads to the image's own files, or nowhere.
    assert_eq!(shell(&env, &["--mount", &mount("srv/up")], "cat /i"), "top");
    for path in ["srv/out", "missing"] {
        let failed = env.brig(&["run", "--mount", &mount(path), "busybox", "cat", "/i"]).fails();
        assert_eq!(failed.code(), 125, "{path}");
        let _ = failed.says("No such file or directory");
    }
}

#[test]
fn what_is_written_to_an_image_goes_with_the_container() {
    let env = need!(with_data());
    let mount = "type=image,source=data,destination=/i,rw=true";
    let script = "cat /i/srv/mine 2>/dev/null; echo mine > /i/srv/mine; rm -f /i/srv/old; ls /i/srv";
    let left = "mine\nnew\nout\nup\n";
    let args = ["run", "--name", "web", "--mount", mount, "busybox", "sh", "-c", script];
    let _ = env.brig(&args).success().prints(left);
    // A start finds it again, another container doesn't.
    let _ = env.brig(&["start", "-a", "web"]).success().prints(&format!("mine\n{left}"));
    let _ = env.brig(&["cp", "web:/i/srv/mine", "-"]).success().shows("mine");
    assert_eq!(shell(&env, &["--mount", mount], "ls /i/srv"), "new\nold\nout\nup\n");
    assert_eq!(shell(&env, &["--volumes-from", "web"], "ls /i/srv"), "new\nold\nout\nup\n");
    let id = env.brig(&["inspect", "-f", "{{.Id}}", "web"]).success().stdout;
    let dir = env.root().join("containers").join(id.trim());
    assert!(dir.join("images/0/upper/srv/mine").exists());
    let _ = env.brig(&["rm", "web"]).success();
    assert!(!dir.exists());
}

#[test]
fn a_mounted_image_stays_as_long_as_its_container() {
    let env = need!(with_data());
    let mount = "type=image,source=data,target=/i";
    let _ = env.brig(&["create", "--name", "web", "--mount", mount, "busybox", "cat", "/i/top"]).success();
    let _ = env.brig(&["rmi", "data"]).fails().says("is used by container web");
    let _ = env.brig(&["image", "prune", "-af"]).success();
    let _ = env.brig(&["rmi", "-f", "data"]).success();
    let _ = env.brig(&["start", "-a", "web"]).success().prints("top");
    assert!(layers(&env) >= 2);
    let inherited = ["--volumes-from", "web"];
    assert_eq!(shell(&env, &inherited, "cat /i/top"), "top");
    let _ = env.brig(&["rm", "web"]).success();
    let _ = env.brig(&["image", "prune", "-af"]).success();
    let _ = env.brig(&["fsck"]).success();
    assert_eq!(layers(&env), 0, "layers of nobody's are left");
}

#[test]
fn a_missing_image_is_pulled_as_pull_says() {
    let env = need!(with_busybox());
    let registry = env.registry();
    let reference = data().push(&registry, "data:1");
    let mount = format!("type=image,source={reference},target=/i");
    let args =
        |pull: &'static str| ["run", "--rm", "--pull", pull, "--mount", &mount, "busybox", "cat", "/i/top"];
    let _ = env.brig(&args("never")).fails().says(&reference);
    let told = env.brig(&args("missing")).success().prints("top");
    assert!(told.stderr.contains(&format!("Unable to find image '{reference}' locally")), "{}", told.stderr);
    let told = env.brig(&args("missing")).success().prints("top");
    assert!(!told.stderr.contains("Unable"), "{}", told.stderr);
}

#[test]
fn wasm_containers_have_images_too() {
    let env = need!(with_data());
    let module = env.write("files.wasm", need!(Guest::FILES.module()));
    let module = module.to_str().unwrap();
    let run = |mount: &str, args: &[&str]| {
        env.brig(&[&["run", "--rm", "--mount", mount, module][..], args].concat())
    };
    let _ = run("type=image,source=data,target=/i", &["read", "/i/srv/new"]).success().prints("above");
    let part = "type=image,source=data,target=/i,image-subpath=srv";
    let _ = run(part, &["read", "/i/old"]).success().prints("below");
    let _ = run(part, &["write", "/i/x", "x"]).fails();
    let written = "type=image,source=data,target=/i,image-subpath=srv,rw=true";
    let _ =
        env.brig(&["run", "--name", "web", "--mount", written, module, "write", "/i/x", "of wasm"]).success();
    let _ = env.brig(&["cp", "web:/i/x", "-"]).success().shows("of wasm");
    let _ = env.brig(&["cp", "web:/i/old", "-"]).success().shows("below");
    // An artifact has no files.
    load(&env, &image::wasm_artifact(&Guest::TINY.module().unwrap()).build(), "artifact");
    let _ = run("type=image,source=artifact,target=/i", &["read", "/i"]).fails().says("without files");
}

#[test]
fn an_ordinary_user_mounts_images_too() {
    need!(need_rootless());
    let env = env();
    let brig = |args: &[&str]| env.brig_as_user(ORDINARY_USER, args);
    for (name, image) in [("busybox", need!(image::busybox()).build()), ("data", data())] {
        let archive = env.write_for_user(ORDINARY_USER, "load.tar", image.oci_archive(None));
        let _ = brig(&["load", "-q", "-i", archive.to_str().unwrap(), "--tag", name]).success();
    }
    // What is below a directory may hide something of it.
    for option in ["bind-recursive=disabled", "bind-nonrecursive"] {
        let mount = format!("type=bind,source=/usr,target=/u,{option}");
        let _ = brig(&["run", "--rm", "--mount", &mount, "busybox"]).fails().says("bind-recursive=disabled");
    }
    for (options, script, printed) in [
        ("", "cat /i/srv/new; ls /i/srv/gone 2>&- || echo no", "aboveno\n"),
        (",image-subpath=srv", "cat /i/new; touch /i/x 2>&- || echo no", "aboveno\n"),
        (",rw=true", "echo mine > /i/srv/new; cat /i/srv/new", "mine\n"),
    ] {
        let mount = format!("type=image,source=data,target=/i{options}");
        let _ = brig(&["run", "--rm", "--mount", &mount, "busybox", "sh", "-c", script])
            .success()
            .prints(printed);
    }
}

#[test]
fn a_part_of_a_volume_never_leads_out_of_it() {
    let env = need!(with_busybox());
    let script = "mkdir -p /v/sub/deep; echo mine > /v/sub/deep/f; ln -s /etc /v/out; ln -s sub/deep /v/in";
    assert_eq!(shell(&env, &["-v", "data:/v"], script), "");
    let mount = |path: &str| format!("type=volume,source=data,target=/w,volume-subpath={path}");
    assert_eq!(shell(&env, &["--mount", &mount("sub/deep")], "cat /w/f; echo more > /w/g"), "mine\n");
    assert_eq!(shell(&env, &["--mount", &mount("in/g")], "cat /w"), "more\n");
    assert_eq!(
        shell(&env, &["--mount", &format!("{},ro", mount("in"))], "ls /w; touch /w/x 2>&- || echo no"),
        "f\ng\nno\n"
    );
    // A link leads to the volume's own files, or nowhere.
    for path in ["out", "missing"] {
        let failed = env.brig(&["run", "--rm", "--mount", &mount(path), "busybox", "true"]).fails();
        assert_eq!(failed.code(), 125, "{path}");
        let _ = failed.says("No such file or directory");
    }
    let _ = env.brig(&["run", "--mount", &mount("../x"), "busybox"]).fails().says("must be a relative path");
    let module = env.write("files.wasm", need!(Guest::FILES.module()));
    let args = ["run", "--rm", "--mount", &mount("sub"), module.to_str().unwrap(), "read", "/w/deep/f"];
    let _ = env.brig(&args).success().prints("mine\n");
}

#[test]
fn labels_are_those_of_a_volume_that_is_made() {
    let env = need!(with_busybox());
    let labels = |name: &str| {
        env.brig(&["volume", "inspect", "-f", "{{json .Labels}}", name]).success().stdout.trim().to_owned()
    };
    let mount = "source=data,target=/v,volume-driver=local,volume-label=a=1,volume-label=b";
    assert_eq!(shell(&env, &["--mount", mount], ""), "");
    assert_eq!(labels("data"), r#"{"a":"1","b":""}"#);
    assert_eq!(shell(&env, &["--mount", "source=data,target=/v,volume-label=c=2"], ""), "");
    assert_eq!(labels("data"), r#"{"a":"1","b":""}"#);
    let _ = env.brig(&["create", "--mount", "target=/v,volume-label=d=3", "busybox"]).success();
    let name = env.brig(&["volume", "ls", "-q", "--filter", "label=d=3"]).success().stdout;
    assert!(labels(name.trim()).contains("com.docker.volume.anonymous"));
}

#[test]
fn a_source_is_made_where_that_is_asked_for() {
    let env = need!(with_busybox());
    let source = env.root().join("made/here");
    let mount = format!("type=bind,source={},target=/v", source.display());
    let _ = env.brig(&["run", "--mount", &mount, "busybox"]).fails().says("source path does not exist");
    assert!(!source.exists());
    let mount = format!("{mount},bind-create-src");
    assert_eq!(shell(&env, &["--mount", &mount], "echo x > /v/f; ls /v"), "f\n");
    assert!(source.join("f").exists());
}

#[test]
fn what_is_mounted_below_a_bind_is_as_it_is_asked_for() {
    need!(brig_testing::need_root());
    let unshare = need!(brig_testing::need_tool("unshare"));
    let env = need!(with_busybox());
    let module = env.write("files.wasm", need!(Guest::FILES.module()));
    let source = env.root().join("../source");
    fs::create_dir_all(source.join("below")).unwrap();
    let source = source.canonicalize().unwrap();
    // A file system below the source, in a mount namespace of its own.
    let script = "mount -t tmpfs none \"$0/below\"; echo seen > \"$0/below/f\"; exec \"$@\"";
    let run = |options: &str, args: &[&str]| {
        let mount = format!("type=bind,source={},target=/v,{options}", source.display());
        let before = ["-m", "--propagation", "private", "sh", "-c", script, source.to_str().unwrap()];
        let brig = [env!("CARGO_BIN_EXE_brig"), "run", "--rm", "--mount", &mount];
        env.program(&unshare, &[&before[..], &brig[..], args].concat())
            .env("BRIG_ROOT", env.root())
            .env("BRIG_RUN_ROOT", env.run_root())
            .run()
    };
    let script =
        "ls /v/below; touch /v/x 2>&- || echo no; touch /v/below/x 2>&- || echo not below; rm -f /v/x";
    for (options, printed) in [
        ("bind-recursive=enabled", "f\n"),
        ("ro", "f\nno\nnot below\n"),
        ("ro,bind-recursive=readonly,bind-propagation=rprivate", "f\nno\nnot below\n"),
        ("ro,bind-recursive=writable", "f\nno\n"),
        ("ro,bind-recursive=disabled", "no\nnot below\n"),
        ("ro,bind-nonrecursive=true", "no\nnot below\n"),
    ] {
        let _ = run(options, &["busybox", "sh", "-c", script]).success().prints(printed);
    }
    let module = module.to_str().unwrap();
    let _ = run("bind-recursive=enabled", &[module, "read", "/v/below/f"]).success().prints("seen\n");
    let _ = run("bind-recursive=disabled", &[module, "read", "/v/below/f"]).fails();
    let _ = run("ro,bind-recursive=writable", &[module, "read", "/v/below/f"]).fails().says("as a whole");
}
