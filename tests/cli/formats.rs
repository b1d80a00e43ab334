//! `--format` and `--filter` of lists, documents and events.

use brig_testing::image::{self, ImageBuilder, LayerBuilder};
use brig_testing::{Guest, TestEnv, need};

use super::{env, load, with_busybox};

/// A store with one small image that needs nothing of the host, and two containers of it.
fn with_containers() -> TestEnv {
    let env = env();
    let files = LayerBuilder::new().file("app", 0o755, "x");
    let image = ImageBuilder::linux().files(files).entrypoint(&["/app"]).label("tier", "front");
    load(&env, &image.build(), "example.com/small:v1");
    for (name, more) in [("one", "--network=none"), ("two", "-v/tmp:/data")] {
        let _ = env
            .brig(&["create", "--name", name, more, "-l", "com.example.my-tier=x", "example.com/small:v1"])
            .success();
    }
    env
}

#[test]
fn templates_pick_from_lists() {
    let env = with_containers();
    for (args, expected) in [
        (&["ps", "-a", "--format", "{{.Names}}"][..], "two\none\n"),
        (&["ps", "-a", "--format", r"{{.Names}}\t{{.State}}"], "two\tcreated\none\tcreated\n"),
        (
            &["ps", "-a", "--format", r"table {{.Names}}\t{{.Image}}"],
            "NAMES     IMAGE\ntwo       example.com/small:v1\none       example.com/small:v1\n",
        ),
        (&["ps", "--format", r"table {{.ID}}\t{{.Names}}"], "CONTAINER ID   NAMES\n"),
        (&["ps", "--format", "{{.Names}}"], ""),
        (&["ps", "-l", "--format", "table {{.Label \"com.example.my-tier\"}}"], "my tier\nx\n"),
        (
            &[
                "ps",
                "-l",
                "--format",
                "{{upper .Names}} {{.Labels}} {{.Mounts}} {{.Networks}} {{.LocalVolumes}}",
            ],
            "TWO com.example.my-tier=x,tier=front /tmp none 0\n",
        ),
        (
            &[
                "ps",
                "-l",
                "--format",
                "{{if eq .State \"created\"}}new{{else}}old{{end}} {{.Kind}} {{.ExitCode}}|{{.Ports}}|",
            ],
            "new linux ||\n",
        ),
        (
            &["--format", "{{range split .Image \"/\"}}<{{.}}>{{end}}", "container", "ls", "-l"],
            "<example.com><small:v1>\n",
        ),
        (
            &["images", "--format", "{{.Repository}}:{{.Tag}} {{.Platform | len}} {{.Containers}}"],
            "example.com/small:v1 11 N/A\n",
        ),
        (&["images", "--format", "table {{.Repository}}"], "REPOSITORY\nexample.com/small\n"),
        (&["image", "ls", "--format", "{{.Label \"tier\"}}"], "front\n"),
    ] {
        let _ = env.brig(args).success().prints(expected);
    }
    let id = env.brig(&["ps", "-lq"]).success().line().to_owned();
    assert_eq!(id.len(), 12);
    let _ = env.brig(&["ps", "-lq", "--format", "{{.Names}}"]).success().prints(&format!("{id}\n"));
    let long = env.brig(&["ps", "-lq", "--no-trunc"]).success().line().to_owned();
    assert!(long.starts_with(&id) && long.len() == 64, "{long}");
    let _ =
        env.brig(&["ps", "-l", "--no-trunc", "--format", "{{.ID}}"]).success().prints(&format!("{long}\n"));
}

#[test]
fn templates_pick_from_documents() {
    let env = with_containers();
    for (args, expected) in [
        (
            &["inspect", "-f", "{{.Name}} {{.State.Status}} {{.State.ExitCode}}", "one", "two"][..],
            "/one created 0\n/two created 0\n",
        ),
        (&["inspect", "--format", "{{json .State.Running}}", "one"], "false\n"),
        (
            &["container", "inspect", "-f", "{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}", "two"],
            "/tmp:/data\n",
        ),
        (
            &["inspect", "-f", "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "one"],
            "none\n",
        ),
        (
            &[
                "inspect",
                "-f",
                "{{index .Config.Labels \"com.example.my-tier\"}}|{{.Config.Labels.nope}}",
                "one",
            ],
            "x|<no value>\n",
        ),
        (
            &[
                "inspect",
                "-f",
                "{{range $name, $end := .NetworkSettings.Networks}}{{$name}}={{$end.IPAddress}};{{end}}",
                "one",
            ],
            "none=;\n",
        ),
        (
            &[
                "inspect",
                "-f",
                "{{.HostConfig.RestartPolicy.Name}} {{.State.StartedAt}} {{.HostConfig.Privileged}}",
                "one",
            ],
            "no 0001-01-01T00:00:00Z false\n",
        ),
        (&["inspect", "-f", r"{{.Name}}\t", "one"], "/one\\t\n"),
        (
            &[
                "image",
                "inspect",
                "-f",
                "{{json .RepoTags}} {{len .RootFS.Layers}} {{.Config.Labels.tier}}",
                "example.com/small:v1",
            ],
            "[\"example.com/small:v1\"] 1 front\n",
        ),
        (&["inspect", "--type", "image", "-f", "{{.Kind}}", "example.com/small:v1"], "linux\n"),
        (&["inspect", "-s", "--type=container", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "one"], "0 1\n"),
        (
            &["version", "-f", "{{.Client.Version}}={{.Server.Version}}"],
            concat!(env!("CARGO_PKG_VERSION"), "=", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        (&["info", "-f", "{{.Containers}} {{.ContainersRunning}} {{.Images}}"], "2 0 1\n"),
        (
            &["system", "df", "--format", "{{.Type}} {{.TotalCount}}"],
            "Images 1\nContainers 2\nLocal Volumes 0\nCompiled Code 0\n",
        ),
        (&["fsck", "--format", "{{.References}} {{len .Problems}}"], "1 0\n"),
    ] {
        let _ = env.brig(args).success().prints(expected);
    }
    let _ = env.brig(&["inspect", "-f", "{{.Id}}", "nothing"]).exits(1).prints("\n").says("nothing");
    let both = env.brig(&["inspect", "-f", "json", "one", "example.com/small:v1"]).success().json();
    assert_eq!(both.as_array().unwrap().len(), 2, "{both}");
    assert_eq!(env.brig(&["inspect", "--format=json", "one"]).success().stdout.lines().count(), 1);
    let version = env.brig(&["version", "--format", "json"]).success().json();
    assert_eq!(version["Client"]["Version"], version["Server"]["Version"]);
}

#[test]
fn wrong_templates_and_types_are_refused() {
    let env = with_containers();
    for (args, code, problem) in [
        (
            &["ps", "-a", "--format", "{{.Nope}}"][..],
            1,
            "can't evaluate field Nope; the fields are Command, CreatedAt",
        ),
        (&["ps", "--format", "table {{.Nope}}"], 1, "can't evaluate field Nope"),
        (&["ps", "--format", "{{.ID"], 2, "template: :1: unclosed action"),
        (&["images", "--format", "{{json}}"], 1, "wrong number of args for json"),
        (&["inspect", "-f", "{{.State.Nope}}", "one"], 1, "at <.State.Nope>: can't evaluate field Nope"),
        (&["inspect", "-f", "table {{.Id}}", "one"], 1, "this isn't a list"),
        (&["inspect", "-f", "{{.Id}}", "--format", "json", "one"], 2, "cannot be used with"),
        (&["inspect", "--type", "plugin", "one"], 2, "possible values"),
        (&["inspect", "--type", "image", "one"], 1, "no such image"),
        (&["events", "--format", "table {{.ID}}", "--until", "0s"], 1, "this isn't a list"),
        (&["rm", "--format", "{{.ID}}", "one"], 2, "prints no fields"),
        (&["run", "--format", "{{.ID}}", "example.com/small:v1"], 125, "prints no fields"),
        (&["images", "--tree"], 1, "--tree"),
        (&["container", "prune", "--format", "{{.ID}}"], 2, "prints no fields"),
    ] {
        let _ = env.brig(args).exits(code).says(problem);
    }
}

#[test]
fn containers_are_filtered() {
    let env = with_containers();
    let third = ["create", "--name", "three", "--network=host", "-l", "tier=back", "example.com/small:v1"];
    let _ = env.brig(&third).success();
    let id = env.brig(&["ps", "-aq", "-f", "name=^one$"]).success().line().to_owned();
    for (filters, expected) in [
        (&["name=^t(wo|hree)$"][..], "three two"),
        (&["name=^/one"], "one"),
        (&["name=^one$", "name=hre"], "three one"),
        (&[&format!("id={id}")], "one"),
        (&[&format!("id=^{id}")], "one"),
        (&[&format!("id={}", &id[1..])], "one"),
        (&["label=tier=front"], "two one"),
        (&["label=tier=front", "label=com.example.my-tier", "name=o"], "two one"),
        (&["before=two"], "one"),
        (&["since=one"], "three two"),
        (&["since=one", "before=three"], "two"),
        (&["volume=/data"], "two"),
        (&["volume=/tmp"], "two"),
        (&["network=host"], "three"),
        (&["network=none", "network=host"], "three two one"),
        (&["publish=80"], ""),
        (&["expose=80-90/tcp"], ""),
        (&["health=none"], "three two one"),
        (&["health=healthy"], ""),
        (&["is-task=false"], "three two one"),
        (&["is-task=true"], ""),
        (&["status=created", "status=removing"], "three two one"),
        (&["status=restarting"], ""),
        (&["ancestor=example.com/small:v1", "name=two"], "two"),
    ] {
        let mut args = vec!["ps", "-a", "--format", "{{.Names}}"];
        args.extend(filters.iter().flat_map(|filter| ["-f", filter]));
        let listed = env.brig(&args).success().stdout.lines().collect::<Vec<_>>().join(" ");
        assert_eq!(listed, expected, "{filters:?}");
    }
    let _ = env.brig(&["ps", "-f", "before=nobody"]).exits(1).says("no such container: `nobody`");
    let _ = env.brig(&["ps", "-f", "name=("]).exits(2).says("not a regular expression");
    let _ = env.brig(&["images", "-f", "since=nothing"]).exits(1).says("no such image");
    for (filter, expected) in [
        ("label=tier=front", 1),
        ("label=tier=x", 0),
        ("dangling=true", 0),
        ("until=1h", 1),
        ("until=1136073845", 0),
    ] {
        let listed = env.brig(&["images", "-q", "-f", filter]).success();
        assert_eq!(listed.stdout.lines().count(), expected, "{filter}");
    }
}

#[test]
fn events_are_filtered_and_formatted() {
    let env = with_containers();
    let events = |args: &[&str]| {
        let all = [&["events", "--since", "1h", "--until", "0s"], args].concat();
        env.brig(&all).success()
    };
    let _ = events(&["--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}"])
        .prints("image load <no value>\ncontainer create one\ncontainer create two\n");
    let _ = events(&["-f", "type=container", "-f", "container=two", "--format", "{{.Action}} {{.Scope}}"])
        .prints("create local\n");
    let _ = events(&["-f", "image=example.com/small", "--format", "{{.Type}}"])
        .prints("image\ncontainer\ncontainer\n");
    let _ = events(&["-f", "label=com.example.my-tier=x", "-f", "event=create", "--format", "{{.From}}"])
        .prints("example.com/small:v1\nexample.com/small:v1\n");
    let lines = events(&["-f", "container=one", "--format", "json"]).json_lines();
    let [event] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&event["Action"], &event["status"]), (&"create".into(), &"create".into()));
    assert_eq!(event["Actor"]["Attributes"]["name"], "one", "{event}");
    assert!(event["timeNano"].as_i64().unwrap() / 1_000_000_000 == event["time"].as_i64().unwrap());
    let template = events(&["-f", "container=one", "--format", "{{json .}}"]).json_lines();
    assert_eq!(template, lines);
    let _ = env.brig(&["events", "-f", "colour=red"]).exits(2).says("the filters are");
}

#[test]
fn sizes_are_those_of_files() {
    let env = need!(with_busybox());
    let script = "dd if=/dev/zero of=/zeros bs=1000 count=12 2>/dev/null";
    let _ = env.brig(&["run", "--name", "writer", "busybox", "sh", "-c", script]).success();
    let size = env.brig(&["ps", "-l", "--format", "{{.Size}}"]).success();
    assert!(size.stdout.starts_with("12kB (virtual "), "{}", size.stdout);
    let table = env.brig(&["ps", "-as"]).success();
    assert!(table.stdout.contains("SIZE") && table.stdout.contains("12kB (virtual "), "{}", table.stdout);
    let _ = env.brig(&["inspect", "-s", "-f", "{{.SizeRw}}", "writer"]).success().prints("12000\n");
    assert!(env.brig(&["inspect", "writer"]).success().json()[0]["SizeRw"].is_null());
}

#[test]
fn containers_of_wasm_are_listed_as_others() {
    let env = with_containers();
    let module = need!(Guest::HELLO.module());
    load(&env, &image::wasm_artifact(&module).build(), "example.com/hello:wasm");
    let _ = env.brig(&["run", "--name", "guest", "-l", "tier=back", "example.com/hello:wasm"]).success();
    let _ = env
        .brig(&["ps", "-l", "--format", "{{.Names}} {{.Kind}} {{.State}} {{.ExitCode}} {{.Label \"tier\"}}"])
        .success()
        .prints("guest wasm exited 0 back\n");
    let shown = env.brig(&["ps", "-l", "--format", "{{.Size}}"]).success();
    assert!(shown.line().starts_with("0B (virtual ") && shown.line().ends_with("kB)"), "{}", shown.stdout);
    let _ = env
        .brig(&[
            "ps",
            "-a",
            "-f",
            "ancestor=example.com/hello:wasm",
            "-f",
            "exited=0",
            "--format",
            "{{.Names}}",
        ])
        .success()
        .prints("guest\n");
    let _ = env
        .brig(&["inspect", "-s", "-f", "{{.Kind}} {{.SizeRootFs}} {{.State.ExitCode}}", "guest"])
        .success()
        .prints(&format!("wasm {} 0\n", module.len()));
    let actions = ["events", "--since=1h", "--until=0s", "-f", "container=guest", "--format", "{{.Action}}"];
    let _ = env.brig(&actions).success().prints("create\nstart\ndie\n");
}

#[test]
fn a_narrow_terminal_shortens_what_it_must() {
    let env = with_containers();
    let name = "a-container-with-a-name-that-is-longer-than-most";
    let _ = env.brig(&["create", "--name", name, "example.com/small:v1"]).success();
    let shown = env.command(&["ps", "-a"]).run_on_terminal("").success();
    let row = shown.stdout.lines().nth(1).unwrap_or_default().trim_end().to_owned();
    assert!(row.contains("a-contai…") || row.contains("a-conta…"), "{row}");
    let whole = env.command(&["ps", "-a", "--no-trunc"]).run_on_terminal("").success();
    assert!(whole.stdout.contains(name), "{}", whole.stdout);
    let piped = env.brig(&["ps", "-a"]).success();
    assert!(piped.stdout.contains(name), "{}", piped.stdout);
    let template = env.command(&["ps", "-a", "--format", "table {{.Names}} {{.ID}} {{.Image}} {{.Status}}"]);
    let template = template.run_on_terminal("").success();
    assert!(template.stdout.contains(name), "{}", template.stdout);
}
