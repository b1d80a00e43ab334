//! Network devices of the host's that come into a container.

use super::{Context, PlanError, namespaces};

const FIELD: &str = "linux.netDevices";
/// `IFNAMSIZ` of `linux/if.h`, without the end of the string.
const MAX_NAME: usize = 15;

/// `linux.netDevices`: what each is called on the host, and in the container.
pub(super) fn net_devices(context: &Context<'_>) -> Result<Vec<(String, String)>, PlanError> {
    let mut devices = Vec::new();
    for (name, device) in context.linux.net_devices().iter().flatten() {
        let new = device.name().as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        if !is_name(name) || name.contains('%') {
            return Err(invalid(name));
        }
        if !is_name(new) || new.contains('%') && !is_template(new) {
            return Err(invalid(new));
        }
        devices.push((name.clone(), new.to_owned()));
    }
    devices.sort_unstable();
    if devices.is_empty() {
        return Ok(devices);
    }
    if !context.namespaces.has(namespaces::NETWORK) {
        return Err(PlanError::unsupported(FIELD, "they need a network namespace that isn't their own"));
    }
    if context.options.host.rootless {
        return Err(PlanError::unsupported(FIELD, "only root can move the host's devices"));
    }
    Ok(devices)
}

fn invalid(name: &str) -> PlanError {
    PlanError::Invalid { field: FIELD, value: name.to_owned(), reason: "is no name of a device" }
}

/// As the kernel has it.
fn is_name(name: &str) -> bool {
    let dots = name == "." || name == "..";
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
    !name.is_empty() && name.len() <= MAX_NAME && !dots && !name.contains(bad)
}

/// A name to which the kernel adds a number.
fn is_template(name: &str) -> bool {
    name.matches('%').count() == 1 && name.contains("%d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernel_s() {
        for name in ["eth0", "a.100", "fifteen-letters", "eth%d"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:1", "a b", "sixteen--letters"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_template("eth%d"));
        for name in ["eth%s", "%d%d", "eth%", "%%d"] {
            assert!(!is_template(name), "{name}");
        }
    }
}
