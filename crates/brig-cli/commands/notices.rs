//! What is said once a root: what wasn't asked for and isn't given (invariant 9).

use brig_engine::ContainerInfo;
use brig_engine::blocking::Engine;

use crate::output;

/// What the default network is.
pub(crate) fn say_network_once(engine: &Engine, container: &ContainerInfo) {
    if container.spec.network == "none" && engine.first_time("network-none") {
        let what = match container.spec.kind.as_str() {
            "wasm" => "it has no network",
            _ => "it has a private loopback and no other network",
        };
        output::note(&format!("brig: {what}; `--network host` shares yours (said once)"));
    }
}

/// Which walls a wasm container goes without where user namespaces are forbidden.
pub(crate) fn say_walls_once(engine: &Engine, container: &ContainerInfo) {
    if container.spec.kind == "wasm"
        && !engine.can_make_namespaces()
        && engine.first_time("no-user-namespaces")
    {
        output::note(
            "brig: this host allows no user namespaces: the wasm container runs behind landlock and seccomp alone, \
             without the image's own files; `brig doctor` tells more (said once)",
        );
    }
}
