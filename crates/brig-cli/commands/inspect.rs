//! What docker's `inspect` has beyond what brig knows: its fields with the values that are true here, so that scripts and
//! templates written for docker find them.

use brig_engine::ContainerInfo;
use serde_json::{Map, Value, json};

/// When docker says that something hasn't happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A container's document with docker's other fields.
pub(super) fn container(mut document: Value, container: &ContainerInfo) -> Value {
    complete(&mut document, container_fields(container));
    document["State"] = never_for_null(document["State"].take(), &["StartedAt", "FinishedAt"]);
    document
}

/// An image's document with docker's other fields.
pub(super) fn image(mut document: Value) -> Value {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let (reference, digest) = (text("Reference"), text("Digest"));
    let name = brig_engine::familiar(&reference);
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (name.clone(), "latest".to_owned()),
    };
    // A name by digest has no tag; an image that was found by its id has no name here.
    let is_tagged = !reference.contains('@') && !reference.starts_with("sha256:");
    let tags = if is_tagged { vec![format!("{repository}:{tag}")] } else { Vec::new() };
    let repository = repository.split('@').next().unwrap_or_default().to_owned();
    let fields = json!({
        "RepoTags": tags,
        "RepoDigests": if is_tagged { vec![format!("{repository}@{digest}")] } else { Vec::new() },
        "Parent": "",
        "Comment": "",
        "Author": "",
        "DockerVersion": "",
        "RootFS": { "Type": "layers", "Layers": document["DiffIds"] },
        "Metadata": {},
        "Config": { "Labels": null, "Env": null, "Cmd": null, "Entrypoint": null, "User": "", "WorkingDir": "", "ExposedPorts": null, "Volumes": null },
    });
    complete(&mut document, fields);
    document
}

fn container_fields(container: &ContainerInfo) -> Value {
    let spec = &container.spec;
    json!({
        "AppArmorProfile": "",
        "Driver": "overlay",
        "ExecIDs": null,
        "GraphDriver": { "Name": "overlay", "Data": {} },
        "HostnamePath": "",
        "HostsPath": "",
        "MountLabel": "",
        "ProcessLabel": "",
        "ResolvConfPath": "",
        "RestartCount": 0,
        "State": { "Health": null, "Restarting": false },
        "Config": config_fields(),
        "HostConfig": host_fields(spec.kind.as_str()),
        "NetworkSettings": network_fields(spec.network.as_str()),
    })
}

fn config_fields() -> Value {
    json!({
        "AttachStderr": false,
        "AttachStdin": false,
        "AttachStdout": false,
        "Domainname": "",
        "Entrypoint": null,
        "ExposedPorts": {},
        "Healthcheck": null,
        "OnBuild": null,
        "StdinOnce": false,
        "StopTimeout": null,
        "Volumes": null,
    })
}

fn host_fields(kind: &str) -> Value {
    json!({
        "Binds": null,
        "CapAdd": null,
        "CapDrop": null,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuShares": 0,
        "CpusetCpus": "",
        "Devices": [],
        "Dns": [],
        "ExtraHosts": null,
        "GroupAdd": null,
        "Init": null,
        "IpcMode": "private",
        "Links": null,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "NanoCpus": 0,
        "OomScoreAdj": 0,
        "PidMode": "",
        "PortBindings": {},
        "Privileged": false,
        "PublishAllPorts": false,
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "Runtime": kind,
        "ShmSize": 67_108_864,
        "Sysctls": null,
        "Tmpfs": {},
        "UTSMode": "",
        "Ulimits": null,
        "UsernsMode": "",
        "VolumesFrom": null,
    })
}

fn network_fields(network: &str) -> Value {
    let end = json!({ "Aliases": null, "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "MacAddress": "", "NetworkID": "" });
    json!({
        "Bridge": "",
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "MacAddress": "",
        "Networks": { network: end },
        "Ports": {},
        "SandboxID": "",
    })
}

/// Adds the fields that aren't there, at all depths.
fn complete(document: &mut Value, fields: Value) {
    let (Value::Object(document), Value::Object(fields)) = (document, fields) else { return };
    for (name, value) in fields {
        match document.get_mut(&name) {
            Some(there) => complete(there, value),
            None => drop(document.insert(name, value)),
        }
    }
}

fn never_for_null(state: Value, names: &[&str]) -> Value {
    let Value::Object(state) = state else { return state };
    let time = |(name, value): (String, Value)| {
        let never = value.is_null() && names.contains(&name.as_str());
        (name, if never { NEVER.into() } else { value })
    };
    Value::Object(state.into_iter().map(time).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_added_and_never_replaced() {
        let mut document = json!({"A": 1, "B": {"C": null}, "D": "text"});
        complete(&mut document, json!({"A": 0, "B": {"C": 3, "E": []}, "D": {"F": 1}, "G": ""}));
        assert_eq!(document, json!({"A": 1, "B": {"C": null, "E": []}, "D": "text", "G": ""}));
    }

    #[test]
    fn images_have_dockers_names() {
        for (reference, tags, digests) in [
            ("docker.io/library/busybox:latest", json!(["busybox:latest"]), json!(["busybox@sha256:d"])),
            ("host:5000/a/b:v1", json!(["host:5000/a/b:v1"]), json!(["host:5000/a/b@sha256:d"])),
            ("sha256:0123", json!([]), json!([])),
        ] {
            let document = image(json!({"Reference": reference, "Digest": "sha256:d", "DiffIds": ["x"]}));
            assert_eq!((&document["RepoTags"], &document["RepoDigests"]), (&tags, &digests), "{reference}");
            assert_eq!(document["RootFS"]["Layers"], json!(["x"]));
        }
    }
}
