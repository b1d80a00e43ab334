//! Linux or wasm: decided from index, manifest and config, before any process exists (invariant 1).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{ImageConfig, Manifest};
use crate::media_type;
use crate::platform::Platform;

/// What kind of container an image becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A namespace-isolated Linux container.
    Linux,
    /// A WASI module or component under wasmtime.
    Wasm,
}

impl Kind {
    /// `linux` or `wasm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Wasm => "wasm",
        }
    }

    /// The kind that a runtime's name asks for: brig's own, or one of docker's and containerd's.
    pub fn from_runtime_name(name: &str) -> Option<Self> {
        match name {
            "linux" | "runc" | "crun" | "youki" => Some(Self::Linux),
            "wasm" | "wasmtime" | "crun-wasm" => Some(Self::Wasm),
            _ => match name.strip_prefix("io.containerd.")?.split('.').next()? {
                "runc" => Some(Self::Linux),
                "wasmtime" | "wasmedge" | "wasmer" | "wamr" | "wasm" | "spin" => Some(Self::Wasm),
                _ => None,
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind, and the sentence that says why, for `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindChoice {
    /// The kind.
    pub kind: Kind,
    /// Why.
    pub reason: String,
}

impl KindChoice {
    /// Decides from a manifest and, where there is one, its image config. The annotations of crun and youki are
    /// honoured, but none is needed.
    pub fn from_image(manifest: &Manifest, config: Option<&ImageConfig>) -> Self {
        let wasm = |reason: String| Self { kind: Kind::Wasm, reason };
        if media_type::is_wasm_config(&manifest.config.media_type) {
            return wasm(format!("the config is `{}`", manifest.config.media_type));
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| media_type::is_wasm_layer(&layer.media_type))
        {
            return wasm(format!("a layer is `{}`", layer.media_type));
        }
        if let Some(platform) = config.map(ImageConfig::platform).filter(Platform::is_wasm) {
            return wasm(format!("the config's platform is `{platform}`"));
        }
        let labels = config.map(|config| &config.config.labels);
        for annotations in std::iter::once(&manifest.annotations).chain(labels) {
            if let Some(reason) = annotated(annotations) {
                return wasm(reason);
            }
        }
        let reason = match config {
            Some(config) => format!("the config's platform is `{}`", config.platform()),
            None => "nothing marks it as wasm".into(),
        };
        Self { kind: Kind::Linux, reason }
    }
}

/// crun's and youki's marks.
fn annotated(annotations: &std::collections::BTreeMap<String, String>) -> Option<String> {
    for (key, values) in [
        ("run.oci.handler", &["wasm", "wasm-smart", "wasmtime", "wasmedge", "wasmer", "wamr"][..]),
        ("module.wasm.image/variant", &["compat", "compat-smart"][..]),
    ] {
        if let Some(value) = annotations.get(key).filter(|value| values.contains(&value.as_str())) {
            return Some(format!("the annotation `{key}` is `{value}`"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Descriptor;

    fn manifest(config: &str, layers: &[&str]) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: None,
            artifact_type: None,
            config: Descriptor::of(config, b"{}"),
            layers: layers.iter().map(|layer| Descriptor::of(layer, b"")).collect(),
            subject: None,
            annotations: Default::default(),
        }
    }

    fn config(json: &str) -> ImageConfig {
        ImageConfig::parse(json.as_bytes()).unwrap()
    }

    fn kind(manifest: &Manifest, config: Option<&ImageConfig>) -> Kind {
        let choice = KindChoice::from_image(manifest, config);
        assert!(!choice.reason.is_empty());
        choice.kind
    }

    #[test]
    fn runtimes_by_the_names_that_others_use() {
        for (name, kind) in [
            ("runc", Some(Kind::Linux)),
            ("io.containerd.runc.v2", Some(Kind::Linux)),
            ("wasm", Some(Kind::Wasm)),
            ("io.containerd.wasmtime.v1", Some(Kind::Wasm)),
            ("io.containerd.wasmedge.v1", Some(Kind::Wasm)),
            ("io.containerd.spin.v2", Some(Kind::Wasm)),
            ("crun-wasm", Some(Kind::Wasm)),
            ("io.containerd.kata.v2", None),
            ("io.containerd.", None),
            ("", None),
        ] {
            assert_eq!(Kind::from_runtime_name(name), kind, "{name}");
        }
    }

    #[test]
    fn every_wasm_format_is_seen_and_linux_is_the_rest() {
        let (linux, wasi) = (
            config(r#"{"os":"linux","architecture":"amd64"}"#),
            config(r#"{"os":"wasip1","architecture":"wasm"}"#),
        );
        let tar = media_type::OCI_LAYER_GZIP;
        assert_eq!(kind(&manifest(media_type::OCI_CONFIG, &[tar]), Some(&linux)), Kind::Linux);
        assert_eq!(kind(&manifest("application/vnd.unknown", &[]), None), Kind::Linux);
        assert_eq!(kind(&manifest(media_type::OCI_CONFIG, &[tar]), Some(&wasi)), Kind::Wasm);
        for wasm in [media_type::WASM_CONFIG, media_type::WASM_TO_OCI_CONFIG, media_type::SOLO_CONFIG] {
            assert_eq!(kind(&manifest(wasm, &[media_type::WASM]), None), Kind::Wasm, "{wasm}");
        }
        assert_eq!(
            kind(&manifest(media_type::OCI_CONFIG, &[media_type::RUNWASI_LAYER]), Some(&linux)),
            Kind::Wasm
        );
    }

    #[test]
    fn annotations_and_labels_are_honoured() {
        let linux = config(r#"{"os":"linux","architecture":"amd64"}"#);
        let mut annotated = manifest(media_type::OCI_CONFIG, &[]);
        annotated.annotations.insert("run.oci.handler".into(), "wasm".into());
        assert_eq!(kind(&annotated, Some(&linux)), Kind::Wasm);
        annotated.annotations.insert("run.oci.handler".into(), "krun".into());
        assert_eq!(kind(&annotated, Some(&linux)), Kind::Linux);
        let labelled = config(r#"{"config":{"Labels":{"module.wasm.image/variant":"compat-smart"}}}"#);
        assert_eq!(kind(&manifest(media_type::OCI_CONFIG, &[]), Some(&labelled)), Kind::Wasm);
    }
}
