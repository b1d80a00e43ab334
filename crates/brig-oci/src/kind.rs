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
            "linux" | "runc" | "crun" | "youki" | "io.containerd.runc.v2" => Some(Self::Linux),
            "wasm" | "wasmtime" => Some(Self::Wasm),
            _ => {
                let engine = name.strip_prefix("io.containerd.")?.split('.').next()?;
                matches!(engine, "wasmtime" | "wasmedge" | "wasmer" | "wamr" | "wasm").then_some(Self::Wasm)
            }
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
