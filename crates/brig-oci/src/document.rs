//! Manifests, indexes and configs: validated views of bytes that are kept as they came.
//!
//! Own structs rather than `oci_spec::image`'s, since those read `os.version` under another name, take any digest
//! algorithm, and refuse docker's documents where they leave a field out (see `docs/architecture.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::excerpt::excerpt;
use crate::media_type;
use crate::platform::Platform;

/// The largest manifest, index or config that brig reads: 4 MiB, the least a registry should accept for a manifest
/// (distribution-spec, "Pushing manifests").
pub const MAX_DOCUMENT_SIZE: u64 = 4 * 1024 * 1024;
/// The most manifests in an index, and the most layers in a manifest, that brig takes.
const MAX_DESCRIPTORS: usize = 2048;

/// A content descriptor (image-spec `descriptor.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// Arbitrary metadata.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What the content runs on; in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }

    /// A descriptor without annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }
}

/// An image manifest, OCI or docker schema 2 (image-spec `manifest.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, where the document says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of an artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Another manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Arbitrary metadata.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index, OCI or docker's manifest list (image-spec `image-index.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type, where the document says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Arbitrary metadata.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The part of an image's config that says how to run it (image-spec `config.md`, `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// User and group, as names or numbers: `user[:group]`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Environment, `NAME=value`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, deserialize_with = "text_or_list", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the program where there is no entry point.
    #[serde(default, deserialize_with = "text_or_list", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The working directory.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Directories to make volumes of.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// Ports that the program listens on, `80/tcp`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that stops the program: a name or a number.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// How to find out whether the program works: docker's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<ImageHealthcheck>,
}

/// docker's `Healthcheck`. Times are nanoseconds; 0 is docker's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageHealthcheck {
    /// `NONE`, or `CMD` and a program with arguments, or `CMD-SHELL` and a line.
    #[serde(deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Between two looks.
    pub interval: i64,
    /// How long one may take.
    pub timeout: i64,
    /// How long after the start failures don't count.
    pub start_period: i64,
    /// Between two looks in that time.
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    pub retries: i64,
}

/// An image configuration, OCI or docker schema 2 (image-spec `config.md`). Fields that brig doesn't read stay in the
/// original bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// GOARCH, or `wasm`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// GOOS, or `wasi`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// The CPU variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RunConfig,
    /// The layers, by the digests of their uncompressed tars.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
}

/// The layers of a config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// The digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// The platform the config claims.
    pub fn platform(&self) -> Platform {
        Platform { variant: self.variant.clone(), ..Platform::new(&self.os, &self.architecture) }
    }

    /// Reads a config, OCI or docker.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        check_size(bytes)?;
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { what: "image config", source })
    }
}

/// Why bytes aren't a manifest, index or config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More than [`MAX_DOCUMENT_SIZE`].
    #[error("the document has {size} bytes, more than the 4 MiB that brig reads")]
    TooLarge {
        /// Its size, in bytes.
        size: u64,
    },
    /// Not JSON, or a field has the wrong type.
    #[error("the {what} is not valid")]
    Json {
        /// Manifest, index or config.
        what: &'static str,
        /// Where and how.
        #[source]
        source: serde_json::Error,
    },
    /// It could be read as two kinds of document (CVE-2021-41190).
    #[error(
        "the document holds both `{first}` and `{second}`: it could be read as a manifest or as an index"
    )]
    Ambiguous {
        /// A manifest's field.
        first: &'static str,
        /// An index's field.
        second: &'static str,
    },
    /// The media type inside isn't the one outside.
    #[error("the document calls itself `{inside}`, but it was announced as `{outside}`")]
    MediaTypeMismatch {
        /// The document's `mediaType`.
        inside: String,
        /// What the descriptor or the `Content-Type` header said.
        outside: String,
    },
    /// Docker schema 1, whose layers can't be verified.
    #[error(
        "this is a docker schema 1 manifest, which is deprecated and can't be verified: push the image again with a current tool"
    )]
    Schema1,
    /// A type that brig doesn't read.
    #[error("`{media_type}` is neither an image manifest nor an image index")]
    UnknownType {
        /// The type.
        media_type: String,
    },
    /// It calls itself one kind of document and holds the other (CVE-2021-41190).
    #[error("the document is announced as `{media_type}`, but holds `{field}`")]
    WrongShape {
        /// What it is announced as, or calls itself.
        media_type: String,
        /// The field that doesn't belong.
        field: &'static str,
    },
    /// The schema version isn't 2.
    #[error("the document has schema version {version}; brig reads version 2")]
    SchemaVersion {
        /// What it says.
        version: u64,
    },
    /// Too many layers or manifests.
    #[error("the document lists {count} {what}, more than the {MAX_DESCRIPTORS} that brig takes")]
    TooMany {
        /// Layers or manifests.
        what: &'static str,
        /// How many.
        count: usize,
    },
}

/// A manifest or an index, with the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    raw: Vec<u8>,
    media_type: String,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Image(Box<Manifest>),
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index. `announced` is the media type that a descriptor or a `Content-Type` header gave;
    /// without it, the document's own `mediaType` or its shape decides.
    pub fn parse(raw: impl Into<Vec<u8>>, announced: Option<&str>) -> Result<Self, DocumentError> {
        let raw = raw.into();
        check_size(&raw)?;
        let probe: Probe = serde_json::from_slice(&raw)
            .map_err(|source| DocumentError::Json { what: "manifest or index", source })?;
        let media_type = probe.media_type(announced)?;
        let body = if media_type::is_index(&media_type) {
            let index: Index = serde_json::from_slice(&raw)
                .map_err(|source| DocumentError::Json { what: "index", source })?;
            check_count("manifests", index.manifests.len())?;
            Body::Index(index)
        } else {
            let manifest: Manifest = serde_json::from_slice(&raw)
                .map_err(|source| DocumentError::Json { what: "manifest", source })?;
            check_count("layers", manifest.layers.len())?;
            Body::Image(Box::new(manifest))
        };
        Ok(Self { raw, media_type, body })
    }

    /// The bytes as they came.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// A descriptor of the document, by SHA-256.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::of(&self.media_type, &self.raw)
    }

    /// The manifest, if it is one.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.body {
            Body::Image(manifest) => Some(manifest),
            Body::Index(_) => None,
        }
    }

    /// The index, if it is one.
    pub fn index(&self) -> Option<&Index> {
        match &self.body {
            Body::Image(_) => None,
            Body::Index(index) => Some(index),
        }
    }

    /// Every blob or manifest that the document refers to and can't be used without.
    pub fn children(&self) -> Vec<&Descriptor> {
        match &self.body {
            Body::Image(manifest) => std::iter::once(&manifest.config).chain(&manifest.layers).collect(),
            Body::Index(index) => index.manifests.iter().collect(),
        }
    }
}

/// One platform's image: the descriptor of its manifest, the manifest, and the config's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The config as it came.
    pub config: Vec<u8>,
}

impl Image {
    /// The config as an image configuration; `None` where the manifest says that it is something else (an artifact).
    pub fn image_config(&self) -> Result<Option<ImageConfig>, DocumentError> {
        if !media_type::is_image_config(&self.manifest.config.media_type) {
            return Ok(None);
        }
        ImageConfig::parse(&self.config).map(Some)
    }
}

/// The fields that tell manifests and indexes apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Probe {
    fn media_type(&self, announced: Option<&str>) -> Result<String, DocumentError> {
        self.refuse_ambiguity()?;
        let announced = announced
            .map(|text| text.split(';').next().unwrap_or(text).trim())
            // Registries and layouts that don't know better say one of these.
            .filter(|text| {
                !matches!(*text, "" | "application/json" | "text/plain" | "application/octet-stream")
            });
        let schema1 =
            |text: &str| matches!(text, media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED);
        if self.schema_version == Some(1) || announced.is_some_and(schema1) {
            return Err(DocumentError::Schema1);
        }
        let inside = self.media_type.as_deref();
        let media_type = match (inside, announced) {
            (Some(inside), Some(outside)) if inside != outside => {
                return Err(DocumentError::MediaTypeMismatch {
                    inside: excerpt(inside, 200),
                    outside: excerpt(outside, 200),
                });
            }
            (Some(known), _) | (None, Some(known)) => known,
            (None, None) if self.manifests.is_some() => media_type::OCI_INDEX,
            (None, None) => media_type::OCI_MANIFEST,
        };
        if !media_type::is_index(media_type) && !media_type::is_manifest(media_type) {
            return Err(DocumentError::UnknownType { media_type: excerpt(media_type, 200) });
        }
        self.check_shape(media_type)?;
        Ok(media_type.into())
    }

    /// Other programs may go by the fields where brig goes by the type; they must see the same document.
    fn check_shape(&self, media_type: &str) -> Result<(), DocumentError> {
        let wrong = |field| DocumentError::WrongShape { media_type: media_type.into(), field };
        match self.schema_version {
            Some(version) if version != 2 => return Err(DocumentError::SchemaVersion { version }),
            _ => {}
        }
        if self.fs_layers.is_some() {
            return Err(wrong("fsLayers"));
        }
        match (media_type::is_index(media_type), &self.layers, &self.config, &self.manifests) {
            (true, Some(_), _, _) => Err(wrong("layers")),
            (true, _, Some(_), _) => Err(wrong("config")),
            (false, _, _, Some(_)) => Err(wrong("manifests")),
            _ => Ok(()),
        }
    }

    fn refuse_ambiguity(&self) -> Result<(), DocumentError> {
        if self.manifests.is_none() {
            return Ok(());
        }
        if self.layers.is_some() {
            return Err(DocumentError::Ambiguous { first: "layers", second: "manifests" });
        }
        if self.config.is_some() {
            return Err(DocumentError::Ambiguous { first: "config", second: "manifests" });
        }
        Ok(())
    }
}

fn check_size(bytes: &[u8]) -> Result<(), DocumentError> {
    let size = bytes.len() as u64;
    if size > MAX_DOCUMENT_SIZE {
        return Err(DocumentError::TooLarge { size });
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize) -> Result<(), DocumentError> {
    if count > MAX_DESCRIPTORS {
        return Err(DocumentError::TooMany { what, count });
    }
    Ok(())
}

/// Go writes an empty list or map as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Docker takes one string for a list of one.
fn text_or_list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrList {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(TextOrList::Text(text)) => vec![text],
        Some(TextOrList::List(list)) => list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":2}}"#)
    }

    fn manifest(fields: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{}{fields}}}"#, descriptor(media_type::OCI_CONFIG))
    }

    fn index(fields: &str) -> String {
        format!(r#"{{"schemaVersion":2,"manifests":[{}]{fields}}}"#, descriptor(media_type::OCI_MANIFEST))
    }

    fn parse(text: &str, announced: Option<&str>) -> Result<Document, DocumentError> {
        Document::parse(text.as_bytes(), announced)
    }

    #[test]
    fn the_bytes_stay_as_they_came() {
        let text = format!(" {}\n", manifest(r#", "layers" : [], "unknown":{"a":[1,2]}"#));
        let document = parse(&text, None).unwrap();
        assert_eq!(document.raw(), text.as_bytes());
        assert_eq!(document.descriptor(), Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes()));
        assert_eq!(document.children().len(), 1);
    }

    #[test]
    fn the_type_is_announced_written_inside_or_seen() {
        let docker = manifest(&format!(r#","mediaType":"{}""#, media_type::DOCKER_MANIFEST));
        for (text, announced, expected) in [
            (manifest(""), None, media_type::OCI_MANIFEST),
            (index(""), None, media_type::OCI_INDEX),
            (manifest(""), Some("application/json; charset=utf-8"), media_type::OCI_MANIFEST),
            (docker.clone(), Some("text/plain"), media_type::DOCKER_MANIFEST),
            (docker, Some(media_type::DOCKER_MANIFEST), media_type::DOCKER_MANIFEST),
            (index(""), Some(media_type::DOCKER_LIST), media_type::DOCKER_LIST),
            (manifest(""), Some("application/vnd.oci.image.manifest.v1+json; a=b"), media_type::OCI_MANIFEST),
        ] {
            assert_eq!(parse(&text, announced).unwrap().media_type(), expected, "{text} {announced:?}");
        }
    }

    #[test]
    fn a_document_is_one_thing_only() {
        let both = index(&format!(r#","config":{}"#, descriptor(media_type::OCI_CONFIG)));
        for text in [index(r#","layers":[]"#), both, manifest(r#","manifests":[]"#)] {
            assert!(matches!(parse(&text, None), Err(DocumentError::Ambiguous { .. })), "{text}");
        }
        let as_index = Some(media_type::OCI_INDEX);
        assert!(matches!(
            parse(&manifest(""), as_index),
            Err(DocumentError::WrongShape { field: "config", .. })
        ));
        let as_manifest = Some(media_type::OCI_MANIFEST);
        assert!(matches!(
            parse(&index(""), as_manifest),
            Err(DocumentError::WrongShape { field: "manifests", .. })
        ));
        let old = manifest(r#","fsLayers":[]"#);
        assert!(matches!(parse(&old, None), Err(DocumentError::WrongShape { field: "fsLayers", .. })));
        let inside = manifest(&format!(r#","mediaType":"{}""#, media_type::OCI_MANIFEST));
        let outside = Some(media_type::DOCKER_MANIFEST);
        assert!(matches!(parse(&inside, outside), Err(DocumentError::MediaTypeMismatch { .. })));
        // What Go writes for nothing isn't something.
        assert!(parse(&index(r#","layers":null"#), None).is_ok());
    }

    #[test]
    fn what_can_not_be_verified_or_read_is_refused() {
        for (text, announced) in
            [(r#"{"schemaVersion":1}"#, None), ("{}", Some(media_type::DOCKER_SCHEMA1_SIGNED))]
        {
            assert!(matches!(parse(text, announced), Err(DocumentError::Schema1)), "{text}");
        }
        let third = manifest("").replace(":2,\"config", ":3,\"config");
        assert!(matches!(parse(&third, None), Err(DocumentError::SchemaVersion { version: 3 })));
        let html = Some("text/html");
        assert!(matches!(parse(&manifest(""), html), Err(DocumentError::UnknownType { .. })));
        for text in ["", "[]", "null", "{", "{}", r#"{"schemaVersion":2}"#, r#"{"schemaVersion":-2}"#] {
            assert!(parse(text, None).is_err(), "{text}");
        }
        for broken in [
            manifest("").replace("sha256", "md5"),
            manifest("").replace(r#""size":2"#, r#""size":-2"#),
            manifest("").replace(r#""size":2"#, r#""size":2.5"#),
            manifest(r#","config":{}"#),
            manifest(r#","layers":{}"#),
            manifest(r#","schemaVersion":1"#),
        ] {
            assert!(matches!(parse(&broken, None), Err(DocumentError::Json { .. })), "{broken}");
        }
    }

    #[test]
    fn documents_are_bounded() {
        let limit = usize::try_from(MAX_DOCUMENT_SIZE).unwrap();
        let spaces = |length: usize| manifest("") + &" ".repeat(length - manifest("").len());
        assert!(parse(&spaces(limit), None).is_ok());
        assert!(matches!(parse(&spaces(limit + 1), None), Err(DocumentError::TooLarge { .. })));
        let layer = descriptor(media_type::OCI_LAYER);
        let layers =
            |count: usize| manifest(&format!(r#","layers":[{}]"#, vec![layer.as_str(); count].join(",")));
        assert_eq!(parse(&layers(MAX_DESCRIPTORS), None).unwrap().children().len(), MAX_DESCRIPTORS + 1);
        let many = parse(&layers(MAX_DESCRIPTORS + 1), None);
        assert!(matches!(many, Err(DocumentError::TooMany { what: "layers", .. })));
        // Nesting ends in an error, not on the stack.
        let deep = format!(r#","x":{}{}"#, "[".repeat(500_000), "]".repeat(500_000));
        drop(parse(&manifest(&deep), None));
        assert!(
            ImageConfig::parse(
                format!("{{\"config\":{{\"Volumes\":{{\"a\":{}", "[".repeat(500_000)).as_bytes()
            )
            .is_err()
        );
    }

    #[test]
    fn dockers_configs_are_read() {
        let text = r#"{
            "architecture":"amd64","os":"linux","variant":null,"created":"2024-01-01T00:00:00Z","history":[{}],
            "config":{"User":"","Env":null,"Entrypoint":"/bin/sh","Cmd":["a","b"],"Volumes":{"/data":{}},
                "ExposedPorts":null,"Labels":null,"StopSignal":"SIGTERM","WorkingDir":"/w",
                "Healthcheck":{"Test":["CMD","true"]},"Shell":["/bin/bash"],"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":["sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"]}}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.platform().to_string(), "linux/amd64");
        assert_eq!(config.config.entrypoint, ["/bin/sh"]);
        assert_eq!(config.config.cmd, ["a", "b"]);
        assert!(config.config.volumes.contains_key("/data") && config.config.env.is_empty());
        assert_eq!(config.rootfs.diff_ids.len(), 1);
        for little in
            ["{}", r#"{"config":null,"rootfs":null}"#, r#"{"rootfs":{"type":null,"diff_ids":null}}"#]
        {
            assert!(ImageConfig::parse(little.as_bytes()).is_ok(), "{little}");
        }
        assert!(ImageConfig::parse(br#"{"config":{"Entrypoint":{}}}"#).is_err());
    }

    #[test]
    fn an_artifacts_config_is_no_image_config() {
        let document = parse(&manifest(""), None).unwrap();
        let mut image = Image {
            descriptor: document.descriptor(),
            manifest: document.manifest().unwrap().clone(),
            config: b"{}".to_vec(),
        };
        assert!(image.image_config().unwrap().is_some());
        image.manifest.config.media_type = media_type::WASM_CONFIG.into();
        assert!(image.image_config().unwrap().is_none());
    }
}
