//! Volumes: by name, anonymous, of images; with both kinds of containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use brig_testing::image::{self, LayerBuilder};
use brig_testing::{Guest, ORDINARY_USER, Signal, TestEnv, need, need_root, need_rootless};

use super::{env, eventually, load, with_busybox};

/// The names of all volumes.
fn volumes(env: &TestEnv) -> Vec<String> {
    let output = env.brig(&["volume", "ls", "-q"]).success();
    output.stdout.lines().map(str::to_owned).collect()
}

/// Where a volume's files are.
fn data(env: &TestEnv, name: &str) -> PathBuf {
    env.root().join("volumes").join(name).join("_data")
}

/// What a program in a container prints.
#[track_caller]
fn shell(env: &TestEnv, flags: &[&str], image: &str, script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(flags);
    args.extend_from_slice(&[image, "sh", "-c", script]);
    env.brig(&args).success().stdout
}

#[test]
fn the_verbs_do_what_dockers_do() {
    let env = env();
    let _ = env.brig(&["volume", "create", "b"]).success().prints("b\n");
    let _ = env.brig(&["volume", "create", "--label", "tier=x", "-d", "local", "a"]).success().prints("a\n");
    // One that is there stays as it is.
    let _ = env.brig(&["volume", "create", "--label", "tier=y", "a"]).success().prints("a\n");
    let _ = env.brig(&["volume", "ls"]).success().prints("DRIVER    VOLUME NAME\nlocal     a\nlocal     b\n");
    let _ = env.brig(&["volume", "ls", "-q", "--filter", "label=tier=x"]).success().prints("a\n");
    let _ = env.brig(&["volume", "ls", "-q", "-f", "name=b"]).success().prints("b\n");
    let _ = env.brig(&["volume", "ls", "-q", "-f", "driver=nfs"]).success().prints("");
    let _ = env.brig(&["volume", "ls", "-q", "-f", "dangling=false"]).success().prints("");
    let _ = env.brig(&["volume", "ls", "-f", "colour=red"]).fails().says("the filters are dangling");
    let template = "{{.Name}} {{.Scope}} {{.Labels}} {{.Label \"tier\"}}";
    let _ =
        env.brig(&["volume", "ls", "--format", template]).success().prints("a local tier=x x\nb local  \n");
    let inspect = env.brig(&["volume", "inspect", "a"]).success().json();
    assert_eq!(inspect[0]["Name"], "a");
    assert_eq!(inspect[0]["Labels"]["tier"], "x");
    assert_eq!(inspect[0]["Mountpoint"], data(&env, "a").to_str().unwrap());
    assert!(inspect[0]["Options"].is_null() && inspect[0]["CreatedAt"].is_string());
    let _ = env.brig(&["volume", "inspect", "-f", "{{.Driver}}", "b"]).success().prints("local\n");
    let _ = env.brig(&["inspect", "--type", "volume", "-f", "{{.Name}}", "b"]).success().prints("b\n");
    let _ = env.brig(&["volume", "inspect", "no"]).fails().says("get no: no such volume");
    let _ = env.brig(&["volume", "rm", "a", "no"]).fails().prints("a\n").says("get no: no such volume");
    let _ = env.brig(&["volume", "rm", "-f", "no"]).success();
    let _ = env.brig(&["volume", "create", "-d", "nfs", "x"]).fails().says("plugin \"nfs\" not found");
    let _ = env
        .brig(&["volume", "create", "-o", "type=nfs", "-o", "device=:/x", "x"])
        .fails()
        .says("of type `nfs`");
    let _ = env.brig(&["volume", "create", "a/b"]).fails().says("includes invalid characters");
    let _ = env.brig(&["volume", "rm", "../b"]).fails().says("no such volume");
    assert_eq!(volumes(&env), ["b"]);
    let events = env.brig(&["events", "--since", "1h", "--until", "now", "--filter", "type=volume"]);
    let events = events.success().stdout;
    for event in ["volume create b (driver=local)", "volume destroy a (driver=local)"] {
        assert!(events.contains(event), "{events}");
    }
}

#[test]
fn unnamed_ones_are_pruned_and_named_ones_with_all() {
    let env = env();
    let unnamed = env.brig(&["volume", "create"]).success().stdout.trim().to_owned();
    assert!(unnamed.len() == 64 && unnamed.bytes().all(|byte| byte.is_ascii_hexdigit()), "{unnamed}");
    let _ = env.brig(&["volume", "create", "a"]).success();
    let _ = env.brig(&["volume", "create", "--label", "keep", "b"]).success();
    let _ = env.brig(&["volume", "prune"]).fails().says("--force");
    let _ = env.brig(&["volume", "prune", "-f", "--filter", "until=1h"]).fails().says("label!=");
    let pruned = env.brig(&["volume", "prune", "-f"]).success();
    assert_eq!(
        pruned.stdout,
        format!("Deleted Volumes:\n{unnamed}\n\nTotal reclaimed space: 0B\n")
            .replace("0B", &size(&pruned.stdout))
    );
    let _ = env.brig(&["volume", "prune", "-f"]).success().prints("Total reclaimed space: 0B\n");
    let _ = env.brig(&["volume", "prune", "-af", "--filter", "label!=keep"]).success();
    assert_eq!(volumes(&env), ["b"]);
}

/// What was said to be freed: an empty directory takes a block on some file systems.
fn size(text: &str) -> String {
    text.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_named_volume_outlives_containers_and_isnt_removed_while_it_is_used() {
    let env = need!(with_busybox());
    shell(&env, &["-v", "data:/d"], "busybox", "echo kept > /d/f");
    assert_eq!(
        shell(&env, &["-v", "data:/d:ro"], "busybox", "cat /d/f; touch /d/g 2>/dev/null || echo no"),
        "kept\nno\n"
    );
    let mount = "type=volume,src=data,dst=/d,readonly";
    assert_eq!(
        shell(&env, &["--mount", mount], "busybox", "cat /d/f; touch /d/g 2>/dev/null || echo no"),
        "kept\nno\n"
    );
    let id = env.brig(&["create", "--name", "user", "-v", "data:/d", "busybox", "true"]).success().stdout;
    let _ = env
        .brig(&["volume", "rm", "data"])
        .fails()
        .says(&format!("remove data: volume is in use - [{}]", id.trim()));
    let _ = env.brig(&["volume", "rm", "-f", "data"]).fails().says("volume is in use");
    let _ = env.brig(&["volume", "prune", "-af"]).success();
    let _ = env.brig(&["ps", "-aq", "--no-trunc", "--filter", "volume=data"]).success().prints(&id);
    let format = "{{.Mounts}} {{.LocalVolumes}}";
    let _ = env.brig(&["ps", "-a", "--format", format]).success().prints("data 1\n");
    let _ = env.brig(&["volume", "ls", "-q", "-f", "dangling=false"]).success().prints("data\n");
    let mounts = &env.brig(&["inspect", "user"]).success().json()[0]["Mounts"];
    let expected = serde_json::json!([{
        "Type": "volume", "Name": "data", "Source": data(&env, "data"), "Destination": "/d",
        "Driver": "local", "Mode": "", "RW": true, "Propagation": "",
    }]);
    assert_eq!(*mounts, expected);
    let _ = env.brig(&["rm", "-v", "user"]).success();
    assert_eq!(fs::read_to_string(data(&env, "data").join("f")).unwrap(), "kept\n");
    let _ = env.brig(&["volume", "rm", "data"]).success().prints("data\n");
    assert!(!data(&env, "data").exists());
}

/// `busybox` with files in `/srv`, which it makes a volume of.
fn with_srv() -> Result<TestEnv, brig_testing::Unavailable> {
    let env = with_busybox()?;
    let layer = LayerBuilder::new()
        .dir("srv", 0o750)
        .file("srv/file", 0o640, b"of the image")
        .dir("srv/deep", 0o755)
        .symlink("srv/link", "/etc/passwd")
        .symlink("alias", "/srv");
    let image = image::busybox()?.files(layer);
    load(&env, &image.config("Volumes", serde_json::json!({ "/srv": {} })).build(), "srv");
    Ok(env)
}

#[test]
fn a_new_volume_gets_what_the_image_has_there() {
    let env = need!(with_srv());
    shell(&env, &["-v", "v:/srv"], "srv", "test -f /srv/file && echo mine > /srv/file");
    let dir = data(&env, "v");
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o750);
    assert_eq!(fs::metadata(dir.join("file")).unwrap().permissions().mode() & 0o7777, 0o640);
    assert!(dir.join("deep").is_dir());
    // As a link, and not what it leads to.
    assert_eq!(fs::read_link(dir.join("link")).unwrap(), PathBuf::from("/etc/passwd"));
    // Once only.
    assert_eq!(shell(&env, &["-v", "v:/srv"], "srv", "cat /srv/file"), "mine\n");
    assert_eq!(shell(&env, &["-v", "v:/elsewhere"], "busybox", "cat /elsewhere/file"), "mine\n");
    // Not where that is said, and through a link where there is one.
    assert_eq!(shell(&env, &["-v", "w:/srv:nocopy"], "srv", "ls /srv"), "");
    assert_eq!(shell(&env, &["--mount", "src=x,dst=/srv,volume-nocopy"], "srv", "ls /srv"), "");
    assert_eq!(shell(&env, &["-v", "y:/alias"], "srv", "cat /alias/file"), "of the image");
    let _ =
        env.brig(&["run", "--rm", "-v", "z:/srv/file", "srv", "true"]).fails().says("file exists /srv/file");
}

#[test]
fn killed_creators_leave_whole_volumes_or_none() {
    let env = need!(with_busybox());
    let files = (0..200).fold(LayerBuilder::new().dir("srv", 0o755), |layer, number| {
        layer.file(&format!("srv/f{number}"), 0o644, vec![1; 2000])
    });
    load(&env, &need!(image::busybox()).files(files).build(), "srv");
    let create = ["create", "-v", "v:/srv", "-v", "/more", "srv", "true"];
    let start = std::time::Instant::now();
    let _ = env.brig(&create).success();
    let whole = start.elapsed();
    let remove_all = || {
        for id in env.brig(&["ps", "-aq"]).success().stdout.lines() {
            let _ = env.brig(&["rm", "-fv", id]).success();
        }
        let _ = env.brig(&["volume", "rm", "-f", "v"]).success();
        // Those of containers that were never made went by themselves.
        assert_eq!(volumes(&env), Vec::<String>::new());
    };
    remove_all();
    for moment in 0..20 {
        let running = env.command(&create).spawn();
        std::thread::sleep(whole * moment / 20);
        running.signal(Signal::KILL);
        let _ = running.wait();
        let count = shell(&env, &["-v", "v:/srv"], "srv", "ls /srv | wc -l");
        assert_eq!(count.trim(), "200", "after {moment} twentieths");
        remove_all();
    }
}

#[test]
fn the_images_volumes_are_anonymous_and_go_where_that_is_asked_for() {
    let env = need!(with_srv());
    assert_eq!(shell(&env, &[], "srv", "cat /srv/file; touch /srv/x"), "of the image");
    assert_eq!(volumes(&env), Vec::<String>::new());
    let _ = env
        .brig(&["run", "--name", "web", "-v", "/more", "srv", "sh", "-c", "touch /srv/mine /more/mine"])
        .success();
    let names = volumes(&env);
    assert_eq!(names.len(), 2, "{names:?}");
    let config = &env.brig(&["inspect", "web"]).success().json()[0]["Config"]["Volumes"];
    assert_eq!(*config, serde_json::json!({ "/more": {}, "/srv": {} }));
    let _ = env.brig(&["start", "-a", "web"]).success();
    for name in &names {
        assert!(data(&env, name).join("mine").exists());
    }
    // Without -v they stay.
    let _ = env.brig(&["rm", "web"]).success();
    assert_eq!(volumes(&env), names);
    let _ = env.brig(&["volume", "prune", "-f"]).success();
    let _ = env.brig(&["create", "--name", "web", "srv", "true"]).success();
    assert_eq!(volumes(&env).len(), 1);
    let _ = env.brig(&["rm", "-v", "web"]).success();
    assert_eq!(volumes(&env), Vec::<String>::new());
    // Something else there takes its place.
    let _ = env.brig(&["create", "--name", "web", "-v", "named:/srv", "srv", "true"]).success();
    assert_eq!(volumes(&env), ["named"]);
    // Nothing is left of a container that can't be made.
    let _ = env.brig(&["create", "--name", "web", "srv", "true"]).fails().says("in use");
    assert_eq!(volumes(&env), ["named"]);
}

#[test]
fn volumes_of_a_detached_container_go_with_it() {
    let env = need!(with_srv());
    let _ = env.brig(&["run", "-d", "--rm", "--name", "web", "srv", "sleep", "600"]).success();
    assert_eq!(volumes(&env).len(), 1);
    let _ = env.brig(&["kill", "web"]).success();
    // Nobody has looked: its supervisor has done that.
    let all = env.root().join("volumes");
    eventually("its volume is gone", || fs::read_dir(&all).unwrap().next().is_none());
    let args = ["events", "--since", "1h", "--until", "now", "--filter", "type=volume"];
    let events = env.brig(&args).success().stdout;
    let actions: Vec<_> = events.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(actions, ["create", "mount", "unmount", "destroy"]);
    // One that another container uses stays, and so do named ones.
    let _ = env.brig(&["create", "--name", "first", "-v", "named:/n", "srv", "true"]).success();
    let _ = env.brig(&["run", "--rm", "--volumes-from", "first", "-v", "/own", "busybox", "true"]).success();
    assert_eq!(fs::read_dir(&all).unwrap().count(), 2);
    // The last one to use it takes it along.
    let first = ["run", "-d", "--rm", "--name", "last", "--volumes-from", "first", "busybox", "sleep", "600"];
    let _ = env.brig(&first).success();
    let _ = env.brig(&["rm", "-v", "first"]).success();
    assert_eq!(fs::read_dir(&all).unwrap().count(), 2);
    let _ = env.brig(&["kill", "last"]).success();
    eventually("the anonymous one is gone", || fs::read_dir(&all).unwrap().count() == 1);
    assert!(all.join("named").exists());
}

#[test]
fn events_tell_what_uses_a_volume() {
    let env = need!(with_srv());
    let _ =
        env.brig(&["run", "--name", "web", "-v", "named:/n:ro", "--restart", "on-failure:1", "srv", "false"]);
    let id = env.brig(&["inspect", "-f", "{{.Id}}", "web"]).success().stdout;
    eventually("it has ended twice", || {
        env.brig(&["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "web"]).success().stdout
            == "exited 1\n"
    });
    let of = |filter: &str| {
        let args =
            ["events", "--since", "1h", "--until", "now", "--filter", filter, "--format", "{{json .}}"];
        let lines = env.brig(&args).success().stdout;
        lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let events = of("volume=named");
    let actions: Vec<_> = events.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "mount", "unmount", "mount", "unmount"]);
    assert_eq!(
        events[1]["Actor"],
        serde_json::json!({ "ID": "named", "Attributes": {
            "container": id.trim(), "destination": "/n", "driver": "local", "propagation": "", "read/write": "false",
        } })
    );
    assert_eq!(
        events[2]["Actor"]["Attributes"],
        serde_json::json!({ "container": id.trim(), "driver": "local" })
    );
    // The image's own, too.
    let mounts = of("event=mount");
    assert_eq!(mounts.len(), 4);
    assert!(mounts.iter().any(|event| event["Actor"]["Attributes"]["destination"] == "/srv"));
    assert_eq!(of("type=volume").len(), 10);
}

#[test]
fn a_volume_may_be_a_directory_of_the_host() {
    let env = need!(with_srv());
    let host = env.work().join("host");
    let device = format!("device={}", host.display());
    let _ = env.brig(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "v"]).success();
    // Looked for when it is mounted.
    let failed = env.brig(&["run", "--rm", "-v", "v:/srv", "srv", "true"]).fails();
    assert_eq!(failed.code(), 125);
    fs::create_dir(&host).unwrap();
    assert_eq!(shell(&env, &["-v", "v:/srv"], "srv", "ls /srv; echo mine > /srv/f"), "");
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "mine\n");
    assert_eq!(
        shell(&env, &["-v", "v:/srv:ro"], "srv", "cat /srv/f; touch /srv/g 2>&- || echo no"),
        "mine\nno\n"
    );
    let inspected = &env.brig(&["volume", "inspect", "v"]).success().json()[0];
    assert_eq!(inspected["Options"]["type"], "none");
    assert_eq!(fs::read(data(&env, "v").join("f")).unwrap(), b"mine\n");
    let module = env.write("files.wasm", need!(Guest::FILES.module()));
    let args = ["run", "--rm", "-v", "v:/data", module.to_str().unwrap(), "read", "/data/f"];
    let _ = env.brig(&args).success().prints("mine\n");
    let _ = env.brig(&["create", "--name", "web", "-v", "v:/data", "srv", "true"]).success();
    let _ = env.brig(&["cp", "web:/data/f", "-"]).success().shows("mine");
    let _ = env.brig(&["rm", "-v", "web"]).success();
    // By a mount; and an anonymous one, which goes without what it shows.
    let mount = format!("target=/d,volume-opt=type=none,volume-opt=o=bind,volume-opt={device}");
    assert_eq!(shell(&env, &["--mount", &mount], "busybox", "cat /d/f"), "mine\n");
    let _ = env
        .brig(&["run", "--mount", "target=/d,volume-opt=type=tmpfs,volume-opt=device=tmpfs", "busybox"])
        .fails()
        .says("of type `tmpfs`");
    let _ = env.brig(&["volume", "rm", "v"]).success();
    assert_eq!(volumes(&env), Vec::<String>::new());
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "mine\n");
}

#[test]
fn volumes_from_another_container() {
    let env = need!(with_srv());
    let host = env.work().join("host");
    fs::create_dir(&host).unwrap();
    let bind = format!("{}:/host", host.display());
    let _ =
        env.brig(&["create", "--name", "first", "-v", "named:/named", "-v", &bind, "srv", "true"]).success();
    shell(
        &env,
        &["--volumes-from", "first"],
        "busybox",
        "echo 1 > /named/f; echo 2 > /host/f; echo 3 > /srv/f",
    );
    assert_eq!(fs::read_to_string(host.join("f")).unwrap(), "2\n");
    let read = "cat /named/f /host/f /srv/f; touch /srv/g /host/g /named/g 2>/dev/null || echo no";
    assert_eq!(shell(&env, &["--volumes-from", "first:ro"], "busybox", read), "1\n2\n3\nno\n");
    // A flag of its own comes first.
    assert_eq!(shell(&env, &["--volumes-from", "first", "-v", "other:/named"], "busybox", "ls /named"), "");
    let _ = env.brig(&["run", "--volumes-from", "nobody", "busybox"]).fails().says("nobody");
    let _ = env.brig(&["run", "--volumes-from", "first:xx", "busybox"]).fails().says("invalid mode: xx");
    // An anonymous one that two use goes with the second.
    let _ = env.brig(&["create", "--name", "second", "--volumes-from", "first", "busybox", "true"]).success();
    let _ = env.brig(&["rm", "-v", "first"]).success();
    assert_eq!(volumes(&env).len(), 3);
    let _ = env.brig(&["rm", "-v", "second"]).success();
    assert_eq!(volumes(&env), ["named", "other"]);
}

#[test]
fn binds_by_mount_must_be_there_and_others_are_made() {
    let env = need!(with_busybox());
    let missing = env.work().join("missing");
    let mount = format!("type=bind,src={},dst=/x", missing.display());
    let told = format!("bind source path does not exist: {}", missing.display());
    let _ = env.brig(&["run", "--rm", "--mount", &mount, "busybox", "true"]).fails().says(&told);
    assert!(!missing.exists());
    let volume = format!("{}:/x", missing.display());
    shell(&env, &["-v", &volume], "busybox", "touch /x/f");
    assert!(missing.join("f").exists());
    let read_only = format!("{mount},ro,bind-propagation=rslave");
    let told = shell(&env, &["--mount", &read_only], "busybox", "ls /x; touch /x/g 2>/dev/null || echo no");
    assert_eq!(told, "f\nno\n");
    let tmpfs = "type=tmpfs,dst=/t,tmpfs-size=65536,tmpfs-mode=1711";
    let told = shell(&env, &["--mount", tmpfs], "busybox", "stat -c %a /t; grep ' /t ' /proc/mounts");
    assert!(told.starts_with("1711\n") && told.contains("size=64k"), "{told}");
    let _ = env.brig(&["create", "--name", "web", "--mount", &read_only, "busybox", "true"]).success();
    let mounts = &env.brig(&["inspect", "web"]).success().json()[0]["Mounts"][0];
    assert_eq!(
        (&mounts["Type"], &mounts["Propagation"], &mounts["RW"]),
        (&"bind".into(), &"rslave".into(), &false.into())
    );
    for (flag, problem) in [
        ("dst=x", "mount path must be absolute"),
        ("type=bind,dst=/x", "field Source must not be empty"),
        ("src=a", "target is required"),
        ("type=bind,src=/tmp,dst=/x,bind-propagation=rnone", "invalid propagation: rnone"),
    ] {
        let refused = env.brig(&["run", "--mount", flag, "busybox"]).fails();
        assert_eq!(refused.code(), 125);
        let _ = refused.says(problem);
    }
    let _ = env.brig(&["run", "-v", "a:/x", "-v", "b:/x/", "busybox"]).fails().says("Duplicate mount point");
    assert_eq!(volumes(&env), Vec::<String>::new());
}

#[test]
fn files_become_the_users_where_that_is_asked_for() {
    need!(need_root());
    let env = need!(with_busybox());
    shell(&env, &["-v", "v:/v"], "busybox", "mkdir /v/d; touch /v/d/f");
    shell(&env, &["-v", "v:/v:U", "-u", "1234:4321"], "busybox", "touch /v/d/f /v/mine");
    for name in ["", "d", "d/f", "mine"] {
        let meta = fs::metadata(data(&env, "v").join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (1234, 4321), "{name}");
    }
}

#[test]
fn a_linux_and_a_wasm_container_share_a_volume() {
    let env = need!(with_busybox());
    let module = env.write("files.wasm", need!(Guest::FILES.module()));
    let module = module.to_str().unwrap();
    let _ = env.brig(&["run", "-d", "--name", "linux", "-v", "v:/v", "busybox", "sleep", "600"]).success();
    let _ = env.brig(&["run", "--rm", "-v", "v:/data", module, "write", "/data/f", "of wasm"]).success();
    let _ = env.brig(&["exec", "linux", "cat", "/v/f"]).success().prints("of wasm");
    let _ = env.brig(&["exec", "linux", "sh", "-c", "echo of linux > /v/g"]).success();
    let _ = env
        .brig(&["run", "--rm", "-v", "v:/data:ro", module, "read", "/data/g"])
        .success()
        .prints("of linux\n");
    // The volumes of a wasm image are filled, too.
    let wasm = fs::read(module).unwrap();
    let image = image::wasm_compat(&wasm, image::Platform::wasi());
    load(&env, &image.config("Volumes", serde_json::json!({ "/data": {} })).build(), "wasm");
    let _ = env.brig(&["run", "--rm", "-v", "w:/data", "wasm", "ls", "/data"]).success();
    assert!(data(&env, "w").join("greeting").exists());
    let _ = env.brig(&["volume", "rm", "w"]).success();
    let _ = env.brig(&["run", "--rm", "wasm", "ls", "/data"]).success().shows("greeting");
    // An anonymous one, and what is of another container.
    let _ = env
        .brig(&["run", "--rm", "--volumes-from", "linux", module, "read", "/v/g"])
        .success()
        .prints("of linux\n");
    let _ = env.brig(&["run", "--rm", "-v", "/data", module, "write", "/data/f", "x"]).success();
    assert_eq!(volumes(&env), ["v"]);
}

#[test]
fn an_ordinary_user_has_volumes_too() {
    need!(need_rootless());
    let env = env();
    let layer = LayerBuilder::new().dir("srv", 0o700).file("srv/file", 0o600, b"of the image");
    let image =
        need!(image::busybox()).files(layer).config("Volumes", serde_json::json!({ "/srv": {} })).build();
    let archive = env.write_for_user(ORDINARY_USER, "load.tar", image.oci_archive(None));
    let brig = |args: &[&str]| env.brig_as_user(ORDINARY_USER, args);
    let _ = brig(&["load", "-q", "-i", archive.to_str().unwrap(), "--tag", "srv"]).success();
    let _ = brig(&["run", "--rm", "-v", "v:/srv:U", "srv", "sh", "-c", "cat /srv/file; echo mine > /srv/g"])
        .success()
        .prints("of the image");
    let _ = brig(&["run", "--rm", "-v", "v:/x", "srv", "cat", "/x/g"]).success().prints("mine\n");
    let _ = brig(&["volume", "ls", "-q"]).success().prints("v\n");
    let _ = brig(&["volume", "rm", "v"]).success();
}

#[test]
fn what_volumes_take_is_in_the_overview() {
    let env = env();
    let _ = env.brig(&["volume", "create", "a"]).success();
    fs::write(data(&env, "a").join("f"), vec![1; 100_000]).unwrap();
    let format = "{{.Type}} {{.TotalCount}} {{.Active}}";
    let overview = env.brig(&["system", "df", "--format", format]).success().stdout;
    assert!(overview.contains("Local Volumes 1 0\n"), "{overview}");
    let verbose = env.brig(&["system", "df", "-v"]).success().stdout;
    assert!(verbose.contains("VOLUME NAME   LINKS"), "{verbose}");
    let _ = env.brig(&["volume", "create"]).success();
    let _ = env.brig(&["system", "prune", "-f", "--volumes"]).success();
    assert_eq!(volumes(&env), ["a"]);
}
