//! Other people's registries and tools.

use std::path::PathBuf;
use std::time::Duration;

use brig_testing::debian::{debian, debian_tar, skopeo_copy, skopeo_inspect};
use brig_testing::image;
use brig_testing::{
    DebianRegistry, Output, Registry, TestEnv, Unavailable, need, need_containers, need_root, need_tool,
};

use super::{env, load};

/// podman with a store of its own in the test's directory.
///
/// On a host whose cgroups are v1 with a bare v2 hierarchy beside them it refuses to start: there it gets a mount
/// namespace in which the v2 hierarchy isn't mounted.
fn podman(env: &TestEnv, args: &[&str]) -> Result<Output, Unavailable> {
    need_root()?;
    let (podman, unshare) = (need_tool("podman")?, need_tool("unshare")?);
    let path = |name: &str| env.path().join("podman").join(name).display().to_string();
    let config = env.write(
        "containers.conf",
        "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         [containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
    );
    let script =
        "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified; exec \"$0\" \"$@\"";
    let (root, run_root) = (path("root"), path("run"));
    let podman = podman.display().to_string();
    let mut all =
        vec!["-m", "--propagation", "private", "sh", "-c", script, &podman, "--storage-driver", "vfs"];
    all.extend(["--root", &root, "--runroot", &run_root]);
    all.extend_from_slice(args);
    let call = env.program(unshare, &all).env("CONTAINERS_CONF", config).timeout(Duration::from_secs(120));
    Ok(call.run())
}

/// The Debian of mmdebstrap as an image in Debian's registry, brought there by skopeo.
fn debian_in_a_registry(env: &TestEnv) -> Result<(DebianRegistry, String), Unavailable> {
    debian_tar()?;
    let registry = DebianRegistry::start()?;
    let layout = env.work().join("debian");
    debian()?.build().write_layout(&layout, Some("latest")).expect("write the layout");
    let name = registry.reference("library/debian:bookworm");
    skopeo_copy(&format!("oci:{}:latest", layout.display()), &format!("docker://{name}"))?;
    Ok((registry, name))
}

#[test]
fn a_debian_from_debians_registry() {
    need!(need_containers());
    let env = env();
    let (registry, name) = need!(debian_in_a_registry(&env));
    let _ = env.command(&["pull", "-q", &name]).timeout(Duration::from_secs(300)).run().success();
    let release = env.brig(&["run", "--rm", &name, "cat", "/etc/os-release"]).success();
    assert!(release.stdout.contains("ID=debian"), "{}", release.stdout);
    let call = env.command(&["run", "--rm", "-it", &name, "bash"]);
    let _ = call.run_on_terminal("echo $((6*7)); exit 4\n").exits(4).shows("42");
    let script = "echo kept > /root/mark && dpkg -l | grep -c ^ii && su nobody -s /bin/sh -c id";
    let _ = env.brig(&["run", "--name", "keeper", &name, "sh", "-c", script]).success().shows("nogroup");
    let _ = env.brig(&["start", "-a", "keeper"]).success();
    let _ = env.brig(&["rm", "keeper"]).success();
    let _ = env.brig(&["run", "--rm", &name, "cat", "/root/mark"]).fails();

    // What brig pulled, skopeo reads in the store.
    let stored = format!("oci:{}:{name}", env.root().display());
    let in_store = need!(skopeo_inspect(&stored, false));
    let original = need!(skopeo_inspect(&format!("docker://{name}"), false));
    assert_eq!(in_store["Digest"], original["Digest"]);

    // And under another name, pushed by brig, skopeo and podman take it.
    let copy = registry.reference("copies/debian:by-brig");
    let _ = env.brig(&["tag", &name, &copy]).success();
    let _ = env.brig(&["push", "-q", &copy]).success();
    let pushed = need!(skopeo_inspect(&format!("docker://{copy}"), false));
    assert_eq!(pushed["Digest"], original["Digest"]);
    let args = ["run", "--rm", "--tls-verify=false", "--network", "none", &copy, "cat", "/etc/os-release"];
    let _ = need!(podman(&env, &args)).success().shows("ID=debian");
}

#[test]
fn podman_runs_what_brig_pushed() {
    need!(need_root());
    let env = env();
    let registry = Registry::start();
    let name = registry.reference("lib/busybox:by-brig");
    load(&env, &need!(image::busybox()).build(), &name);
    let _ = env.brig(&["push", "-q", &name]).success();
    let args = ["run", "--rm", "--tls-verify=false", "--network", "none", &name, "echo", "from podman"];
    let _ = need!(podman(&env, &args)).success().prints("from podman\n");
}

#[test]
fn skopeo_reads_an_index_in_the_store() {
    let env = env();
    let wasm = brig_testing::Guest::TINY.module().unwrap();
    let registry = Registry::start();
    let built = need!(image::linux_and_wasm(&wasm));
    let name = built.push(&registry, "both:v1");
    let _ = env.brig(&["pull", "-q", "--all-platforms", &name]).success();
    let stored = format!("oci:{}:{name}", env.root().display());
    let raw = need!(skopeo_inspect(&stored, true));
    assert_eq!(raw["manifests"].as_array().unwrap().len(), 2, "{raw}");
}

#[test]
fn skopeo_takes_what_brig_saved_into_debians_registry_and_brig_pulls_it_back() {
    let registry = need!(DebianRegistry::start());
    let env = env();
    let wasm = need!(brig_testing::Guest::HELLO.module());
    load(&env, &image::wasm_artifact(&wasm).build(), "example.com/hello:v1");
    let archive: PathBuf = env.work().join("saved.tar");
    let _ = env.brig(&["save", "-o", archive.to_str().unwrap(), "example.com/hello:v1"]).success();
    let name = registry.reference("wasm/hello:v1");
    need!(skopeo_copy(&format!("oci-archive:{}", archive.display()), &format!("docker://{name}")));
    let _ = env.brig(&["run", "--rm", &name]).success().prints("hello from wasm\n");
}

#[test]
fn debians_registry_takes_a_push_of_every_kind() {
    let registry = need!(DebianRegistry::start());
    let env = env();
    let wasm = brig_testing::Guest::TINY.module().unwrap();
    for (name, image) in [
        ("artifact", image::wasm_artifact(&wasm).build()),
        ("runwasi", image::runwasi(&wasm).build()),
        ("both", need!(image::linux_and_wasm(&wasm))),
        ("docker", need!(image::busybox()).docker_schema2().build()),
    ] {
        let reference = registry.reference(&format!("kinds/{name}:v1"));
        load(&env, &image, &reference);
        let _ = env.brig(&["push", "-q", &reference]).success().prints("");
        let _ = env.brig(&["rmi", &reference]).success();
        let pulled = env.brig(&["pull", "--all-platforms", &reference]).success();
        assert!(pulled.stdout.contains(&image.digest().to_string()), "{name}: {}", pulled.stdout);
    }
}
