//! The options of the driver `local`: a volume that is a directory of the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The directory that a volume with these options shows, if it isn't its own. Of what docker's `local` can mount, this is
/// what takes nobody who keeps it mounted: `type=none,o=bind,device=DIRECTORY`.
pub(super) fn device(options: &BTreeMap<String, String>) -> Result<Option<PathBuf>> {
    if options.is_empty() {
        return Ok(None);
    }
    if let Some(name) = options.keys().find(|name| !["type", "o", "device"].contains(&name.as_str())) {
        return Err(Error::invalid("volume option", name, format!("invalid option: \"{name}\"")));
    }
    let get = |name: &str| options.get(name).filter(|value| !value.is_empty());
    let needed = |name: &'static str| {
        let missing = || Error::invalid("volume options", "", format!("missing required option: \"{name}\""));
        get(name).ok_or_else(missing)
    };
    let (typ, device) = (needed("type")?, needed("device")?);
    if !matches!(typ.as_str(), "none" | "bind") {
        return Err(unsupported(format!("a volume of type `{typ}`")));
    }
    match get("o").map(String::as_str) {
        Some("bind" | "rbind") => {}
        other => {
            return Err(unsupported(format!("a volume with the mount options `{}`", other.unwrap_or(""))));
        }
    }
    if !Path::new(device).is_absolute() {
        return Err(Error::invalid(
            "volume option",
            format!("device={device}"),
            "it has to be an absolute path",
        ));
    }
    Ok(Some(PathBuf::from(device)))
}

fn unsupported(what: String) -> Error {
    let reason = "a volume is a directory: its own, or with `type=none,o=bind,device=DIRECTORY` one of the host's; \
                  mount other things on the host, and give their directory";
    Error::Unsupported { what, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device_of(text: &str) -> Result<Option<PathBuf>> {
        let pairs = text.split_whitespace().map(|pair| pair.split_once('=').unwrap());
        device(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn a_directory_of_the_host_and_nothing_else() {
        assert_eq!(device_of("").unwrap(), None);
        for text in ["type=none o=bind device=/a", "device=/a type=bind o=rbind"] {
            assert_eq!(device_of(text).unwrap(), Some("/a".into()), "{text}");
        }
        for (text, problem) in [
            ("size=1", "invalid option: \"size\""),
            ("o=bind device=/a", "missing required option: \"type\""),
            ("type=none o=bind", "missing required option: \"device\""),
            ("type=none o=bind device=", "missing required option: \"device\""),
            ("type=tmpfs device=tmpfs", "a volume of type `tmpfs`"),
            ("type=nfs device=:/a o=addr=1.2.3.4", "a volume of type `nfs`"),
            ("type=none device=/a", "with the mount options ``"),
            ("type=none device=/a o=bind,ro", "with the mount options `bind,ro`"),
            ("type=none device=a o=bind", "an absolute path"),
        ] {
            let error = device_of(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
