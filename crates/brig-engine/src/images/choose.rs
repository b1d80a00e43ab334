//! Which of an index's images to take (invariant 1).

use brig_oci::{Descriptor, Index, Kind, Platform, media_type};

/// What the caller asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--platform`.
    pub platform: Option<Platform>,
    /// `--runtime`.
    pub kind: Option<Kind>,
}

/// An image of an index, and the sentence that says why it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice<'a> {
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) reason: String,
}

/// Takes the first image of the platform asked for; without one, this machine's Linux, or else wasm.
pub(crate) fn choose<'a>(index: &'a Index, wanted: &Wanted) -> Option<Choice<'a>> {
    let images: Vec<&Descriptor> = index.manifests.iter().filter(|d| is_image(d)).collect();
    for (platform, why) in preferences(wanted) {
        if let Some(descriptor) = best(&images, &platform) {
            return Some(Choice { descriptor, reason: format!("{why} {platform}") });
        }
    }
    // An index of one image that doesn't say its platform: its config will.
    match images.as_slice() {
        [only] if only.platform.is_none() => {
            Some(Choice { descriptor: only, reason: "it is the only image of its index".into() })
        }
        _ => None,
    }
}

/// The platforms that an index has images for.
pub(crate) fn platforms(index: &Index) -> Vec<Platform> {
    index.manifests.iter().filter(|d| is_image(d)).filter_map(|d| d.platform.clone()).collect()
}

fn preferences(wanted: &Wanted) -> Vec<(Platform, &'static str)> {
    let (host, wasi) = (Platform::host(), Platform::wasi());
    match (&wanted.platform, wanted.kind) {
        (Some(platform), _) => vec![(platform.clone(), "--platform asks for")],
        // A compat image may stand in the index as a Linux one.
        (None, Some(Kind::Wasm)) => {
            vec![
                (wasi, "--runtime asks for wasm, and the index has"),
                (host, "the index has no wasm image, only"),
            ]
        }
        (None, Some(Kind::Linux)) => vec![(host, "--runtime asks for linux, and this machine is")],
        (None, None) => {
            vec![(host, "this machine is"), (wasi, "the index has no image for this machine, but one for")]
        }
    }
}

/// Prefers an image without a CPU variant: it runs on every one.
fn best<'a>(images: &[&'a Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let matching = || {
        images
            .iter()
            .copied()
            .filter(|d| d.platform.as_ref().is_some_and(|platform| platform.satisfies(wanted)))
    };
    let plain = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.normalized().variant.is_none());
    matching().find(plain).or_else(|| matching().next())
}

/// Leaves out BuildKit's attestations (platform `unknown/unknown`) and nested indexes.
fn is_image(descriptor: &Descriptor) -> bool {
    media_type::is_manifest(&descriptor.media_type)
        && !descriptor.annotations.contains_key("vnd.docker.reference.type")
        && descriptor.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
}

#[cfg(test)]
mod tests {
    use brig_oci::Document;

    use super::*;

    fn index(platforms: &[&str]) -> Index {
        let manifests = platforms.iter().map(|text| {
            let platform: Platform = text.parse().unwrap();
            Descriptor {
                platform: Some(platform),
                ..Descriptor::of(media_type::OCI_MANIFEST, text.as_bytes())
            }
        });
        Index {
            schema_version: 2,
            media_type: Some(media_type::OCI_INDEX.into()),
            manifests: manifests.collect(),
            annotations: Default::default(),
        }
    }

    fn chosen(platforms: &[&str], wanted: &Wanted) -> Option<String> {
        let index = index(platforms);
        let document = Document::parse(serde_json::to_vec(&index).unwrap(), None).unwrap();
        let choice = choose(document.index().unwrap(), wanted)?;
        choice.descriptor.platform.as_ref().map(ToString::to_string)
    }

    #[test]
    fn linux_first_then_wasm_unless_told_otherwise() {
        let host = Platform::host().to_string();
        let both = ["wasi/wasm", host.as_str(), "linux/s390x"];
        let wasm = Wanted { kind: Some(Kind::Wasm), ..Wanted::default() };
        let by_platform = Wanted { platform: Some("wasi/wasm32".parse().unwrap()), ..Wanted::default() };
        assert_eq!(chosen(&both, &Wanted::default()).as_deref(), Some(host.as_str()));
        assert_eq!(chosen(&both, &wasm).as_deref(), Some("wasi/wasm"));
        assert_eq!(chosen(&both, &by_platform).as_deref(), Some("wasi/wasm"));
        assert_eq!(chosen(&["wasi/wasm"], &Wanted::default()).as_deref(), Some("wasi/wasm"));
        assert_eq!(chosen(&["linux/s390x"], &Wanted::default()), None);
    }

    #[test]
    fn an_attestation_is_never_taken() {
        let mut index = index(&["wasi/wasm"]);
        index.manifests[0]
            .annotations
            .insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        assert_eq!(choose(&index, &Wanted::default()), None);
    }
}
