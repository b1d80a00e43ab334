//! Platforms, `os/architecture[/variant]`, with the older spellings of wasm mapped to `wasi/wasm`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on (image-spec `image-index.md`, `platform`).
///
/// Deserialises from a descriptor's `platform` object as it stands; [`Platform::normalized`] gives the spelling that
/// comparisons use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOOS, or `wasi`.
    pub os: String,
    /// GOARCH, or `wasm`.
    pub architecture: String,
    /// The CPU variant, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system (Windows).
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why a string isn't a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{input}` is not a platform: expected `os/architecture[/variant]`, such as `linux/amd64` or `wasi/wasm`"
)]
pub struct PlatformError {
    input: String,
}

impl Platform {
    /// A platform without a variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None, os_version: None }
    }

    /// The Linux platform of this machine.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            "x86" => "386",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture)
    }

    /// `wasi/wasm`.
    pub fn wasi() -> Self {
        Self::new("wasi", "wasm")
    }

    /// The spelling that comparisons use: `wasi/wasm32`, `wasip1/wasm`, `Wasip2/wasm` and `linux/wasm` are all
    /// `wasi/wasm`; `x86_64` is `amd64`; `aarch64` and `arm64/v8` are `arm64`.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let os = self.os.to_ascii_lowercase();
        let architecture = self.architecture.to_ascii_lowercase();
        if matches!(architecture.as_str(), "wasm" | "wasm32") {
            return Self::wasi();
        }
        let (architecture, variant) = match (architecture.as_str(), self.variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", Some("v1") | None) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", Some("v8" | "8") | None) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("i386" | "i686" | "x86", variant) => ("386", variant),
            (other, variant) => (other, variant),
        };
        Self {
            os,
            architecture: architecture.into(),
            variant: variant.map(Into::into),
            os_version: self.os_version.clone(),
        }
    }

    /// Whether code for this platform is WebAssembly.
    pub fn is_wasm(&self) -> bool {
        matches!(self.architecture.to_ascii_lowercase().as_str(), "wasm" | "wasm32")
    }

    /// Whether an image for `self` satisfies a request for `wanted`.
    ///
    /// A request without a variant takes any, except on amd64: code for `v2` and up stops with an illegal instruction
    /// on a CPU without it, so it has to be asked for, and a request for a level takes the lower ones too.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        let (have, want) = (self.normalized(), wanted.normalized());
        if have.os != want.os || have.architecture != want.architecture {
            return false;
        }
        match (have.amd64_level(), want.amd64_level()) {
            (Some(have), Some(want)) => have <= want,
            _ => have.variant == want.variant || (want.variant.is_none() && want.architecture != "amd64"),
        }
    }

    /// The microarchitecture level of amd64 code, from 1.
    fn amd64_level(&self) -> Option<u8> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("amd64", None) => Some(1),
            ("amd64", Some(variant)) => variant.strip_prefix('v')?.parse().ok(),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let error = || PlatformError { input: crate::excerpt::excerpt(input, 200) };
        let mut parts = input.split('/');
        let (Some(os), Some(architecture)) = (parts.next(), parts.next()) else { return Err(error()) };
        let variant = parts.next();
        let valid = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if parts.next().is_some() || !valid(os) || !valid(architecture) || !variant.is_none_or(valid) {
            return Err(error());
        }
        let platform = Self { variant: variant.map(Into::into), ..Self::new(os, architecture) };
        Ok(platform.normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_spellings_of_wasm_are_one_platform() {
        for text in ["wasi/wasm", "wasi/wasm32", "wasip1/wasm", "Wasip1/wasm", "linux/wasm", "wasip2/wasm"] {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), "wasi/wasm", "{text}");
            assert!(platform.is_wasm());
        }
    }

    #[test]
    fn variants_narrow_a_request() {
        let v7: Platform = "linux/arm/v7".parse().unwrap();
        assert!(v7.satisfies(&"linux/arm".parse().unwrap()));
        assert!(!v7.satisfies(&"linux/arm/v6".parse().unwrap()));
        let arm64: Platform = "linux/aarch64".parse().unwrap();
        assert!(arm64.satisfies(&"linux/arm64/v8".parse().unwrap()));
    }

    #[test]
    fn a_higher_level_of_amd64_has_to_be_asked_for() {
        let satisfies =
            |have: &str, want: &str| have.parse::<Platform>().unwrap().satisfies(&want.parse().unwrap());
        assert!(satisfies("linux/amd64/v1", "linux/amd64"));
        assert!(!satisfies("linux/amd64/v3", "linux/amd64"));
        assert!(satisfies("linux/amd64/v3", "linux/amd64/v3"));
        assert!(satisfies("linux/amd64", "linux/amd64/v3"));
        assert!(!satisfies("linux/amd64/v4", "linux/amd64/v3"));
        assert!(!satisfies("linux/amd64/odd", "linux/amd64"));
        assert!(!satisfies("linux/amd64", "linux/arm64"));
        assert!(!satisfies("windows/amd64", "linux/amd64"));
        assert!(satisfies("wasip1/wasm", "wasi/wasm32"));
    }

    #[test]
    fn descriptors_hold_platforms_as_objects() {
        let text = r#"{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["x"]}"#;
        let platform: Platform = serde_json::from_str(text).unwrap();
        assert_eq!(platform.os_version.as_deref(), Some("10.0.1"));
        assert!(serde_json::to_string(&platform).unwrap().contains(r#""os.version":"10.0.1""#));
    }

    #[test]
    fn what_is_not_a_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/am d64", "linux/arm/", "a/b\n"]
        {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
