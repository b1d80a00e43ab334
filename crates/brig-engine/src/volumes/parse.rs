//! `--mount` in docker's syntax: a line of comma separated values, each `key=value`.

use std::collections::BTreeMap;
use std::path::Path;

use brig_runtime::record::MountsBelow;

use super::options::{MountFlag, Volume, VolumeSource};
use super::{check_driver, check_name};

/// What mounts below a mount may do.
const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

type Result<T> = std::result::Result<T, String>;

/// Whether it is a word for how mounts are passed on.
pub(super) fn is_propagation(word: &str) -> bool {
    PROPAGATIONS.contains(&word)
}

/// A path in the container: absolute, and not its root; cleaned as docker does.
pub(super) fn target(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(format!("invalid mount path: '{path}' mount path must be absolute"));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err("invalid specification: destination can't be '/'".into());
    }
    Ok(format!("/{}", parts.join("/")))
}

/// The fields of a `--mount`.
#[derive(Debug, Default)]
pub(super) struct MountFields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    /// Options of one type of mount, by what the type is called in docker's message.
    of_bind: bool,
    of_volume: bool,
    of_tmpfs: bool,
    of_image: bool,
    propagation: Option<String>,
    below: Recursion,
    create_source: bool,
    labels: BTreeMap<String, String>,
    driver_options: BTreeMap<String, String>,
    no_copy: bool,
    /// podman's, of images.
    writable: Option<bool>,
    subpath: Option<String>,
    size: Option<u64>,
    mode: Option<u32>,
}

/// `bind-recursive`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Recursion {
    #[default]
    Enabled,
    Disabled,
    Writable,
    ReadOnly,
}

impl MountFields {
    /// Reads the fields.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut fields = Self::default();
        for field in values(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_lowercase(), None),
            };
            fields.take(&field, &key, value)?;
        }
        Ok(fields)
    }

    fn take(&mut self, field: &str, key: &str, value: Option<&str>) -> Result<()> {
        let flag = || value.map_or(Ok(true), |value| bool_of(key, value));
        match key {
            "readonly" | "ro" => {
                self.read_only = flag()?;
                return Ok(());
            }
            "rw" => {
                (self.of_image, self.writable) = (true, Some(flag()?));
                return Ok(());
            }
            "volume-nocopy" => {
                (self.of_volume, self.no_copy) = (true, flag()?);
                return Ok(());
            }
            "bind-create-src" => {
                (self.of_bind, self.create_source) = (true, flag()?);
                return Ok(());
            }
            "bind-nonrecursive" => {
                self.of_bind = true;
                self.below = if flag()? { Recursion::Disabled } else { self.below };
                return Ok(());
            }
            _ => {}
        }
        let value = value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match key {
            "type" => self.kind = Some(value.to_lowercase()),
            "source" | "src" => self.source = Some(value.to_owned()),
            "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
            // Of Docker Desktop's file sharing; elsewhere docker takes them and does nothing.
            "consistency" => {}
            "bind-propagation" if is_propagation(value) => {
                (self.of_bind, self.propagation) = (true, Some(value.to_owned()));
            }
            "bind-propagation" => return Err(format!("invalid propagation: {value}")),
            "volume-driver" => {
                self.of_volume = true;
                check_driver(Some(value)).map_err(|error| error.to_string())?;
            }
            "tmpfs-size" => (self.of_tmpfs, self.size) = (true, Some(size(value)?)),
            "tmpfs-mode" => (self.of_tmpfs, self.mode) = (true, Some(mode(value)?)),
            "image-subpath" => (self.of_image, self.subpath) = (true, Some(subpath(value)?)),
            "bind-recursive" => (self.of_bind, self.below) = (true, recursion(value)?),
            "volume-subpath" => (self.of_volume, self.subpath) = (true, Some(subpath(value)?)),
            "volume-label" => {
                self.of_volume = true;
                self.labels.extend(pair(value));
            }
            "volume-opt" => {
                self.of_volume = true;
                self.driver_options.extend(pair(value));
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    /// What the fields ask for, together.
    pub(super) fn finish(self) -> Result<MountFlag> {
        let kind = self.kind.clone().unwrap_or_else(|| "volume".into());
        self.check_mixed(&kind)?;
        self.check_recursion()?;
        let given = self.target.as_deref().filter(|target| !target.is_empty()).ok_or("target is required")?;
        let in_kind = |problem: String| format!("invalid mount config for type \"{kind}\": {problem}");
        let target = target(given).map_err(in_kind)?;
        let source = self.source.clone().filter(|source| !source.is_empty());
        match kind.as_str() {
            "bind" => {
                let source = source.ok_or_else(|| in_kind("field Source must not be empty".into()))?;
                if !source.starts_with(['/', '.']) {
                    let problem = format!("invalid mount path: '{source}' mount path must be absolute");
                    return Err(in_kind(problem));
                }
                let source = std::path::absolute(Path::new(&source)).map_err(|error| error.to_string())?;
                Ok(self.volume(VolumeSource::Host(source), target))
            }
            "volume" => {
                let named = |name: String| check_name(&name).map(|()| VolumeSource::Named(name));
                let source = source.map_or(Ok(VolumeSource::Anonymous), named);
                Ok(self.volume(source.map_err(|error| in_kind(error.to_string()))?, target))
            }
            "tmpfs" if source.is_some() => Err(in_kind("field Source must not be specified".into())),
            "tmpfs" => Ok(MountFlag::Tmpfs { target, options: self.tmpfs_options() }),
            "image" => {
                let source = source.ok_or_else(|| in_kind("field Source must not be empty".into()))?;
                Ok(self.image(source, target))
            }
            "cluster" | "npipe" => Err(format!("mounts of type {kind} are not supported here")),
            _ => Err(format!("mount type unknown: \"{kind}\"; the types are bind, volume, image and tmpfs")),
        }
    }

    fn check_mixed(&self, kind: &str) -> Result<()> {
        let options = [
            ("bind", self.of_bind),
            ("volume", self.of_volume),
            ("tmpfs", self.of_tmpfs),
            ("image", self.of_image),
        ];
        for (of, given) in options {
            if given && kind != of {
                return Err(format!("cannot mix '{of}-*' options with mount type '{kind}'"));
            }
        }
        Ok(())
    }

    /// docker's rules for the two that are about what is read-only.
    fn check_recursion(&self) -> Result<()> {
        let word = match self.below {
            Recursion::Enabled | Recursion::Disabled => return Ok(()),
            Recursion::Writable => "writable",
            Recursion::ReadOnly => "readonly",
        };
        let needs = |what: &str| {
            Err(format!("option 'bind-recursive={word}' requires '{what}' to be specified in conjunction"))
        };
        if !self.read_only {
            return needs("readonly");
        }
        if self.below == Recursion::ReadOnly && self.propagation.as_deref() != Some("rprivate") {
            return needs("bind-propagation=rprivate");
        }
        Ok(())
    }

    fn volume(self, source: VolumeSource, target: String) -> MountFlag {
        MountFlag::Volume(Volume {
            read_only: self.read_only,
            no_copy: self.no_copy,
            must_exist: !self.create_source,
            propagation: self.propagation,
            subpath: self.subpath,
            labels: self.labels,
            driver_options: self.driver_options,
            below: match self.below {
                Recursion::Enabled | Recursion::ReadOnly => MountsBelow::Same,
                Recursion::Disabled => MountsBelow::Hidden,
                Recursion::Writable => MountsBelow::Writable,
            },
            ..Volume::new(source, target)
        })
    }

    /// An image's files are what they are, unless podman's `rw` says otherwise.
    fn image(self, source: String, target: String) -> MountFlag {
        MountFlag::Volume(Volume {
            read_only: self.read_only || self.writable != Some(true),
            no_copy: true,
            subpath: self.subpath,
            ..Volume::new(VolumeSource::Image(source), target)
        })
    }

    fn tmpfs_options(&self) -> String {
        let size = self.size.map(|size| format!("size={size}"));
        let mode = self.mode.map(|mode| format!("mode={mode:o}"));
        let read_only = self.read_only.then(|| "ro".to_owned());
        [read_only, size, mode].into_iter().flatten().collect::<Vec<_>>().join(",")
    }
}

/// A path in a volume or an image. docker's rule: it can't lead out of it by its own words.
fn subpath(value: &str) -> Result<String> {
    let mut depth = 0_usize;
    for part in value.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return Err(no_subpath(value)),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    if value.is_empty() || value.starts_with('/') { Err(no_subpath(value)) } else { Ok(value.to_owned()) }
}

/// One without a name is none.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
}

fn recursion(value: &str) -> Result<Recursion> {
    match value {
        "enabled" => Ok(Recursion::Enabled),
        "disabled" => Ok(Recursion::Disabled),
        "writable" => Ok(Recursion::Writable),
        "readonly" => Ok(Recursion::ReadOnly),
        _ => Err(format!(
            "invalid value for bind-recursive: {value} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
        )),
    }
}

fn no_subpath(value: &str) -> String {
    format!("subpath must be a relative path within the volume: '{value}'")
}

/// As Go reads them.
fn bool_of(key: &str, value: &str) -> Result<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

/// docker's: a number of bytes, maybe with a unit.
fn size(value: &str) -> Result<u64> {
    let invalid = || format!("invalid value for tmpfs-size: {value}");
    let lower = value.to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

fn mode(value: &str) -> Result<u32> {
    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("invalid value for tmpfs-mode: {value}"))
}

/// The values of a line, of which each may be in quotes.
fn values(line: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    let mut rest = line;
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                if rest[..end].contains('"') {
                    return Err("a quote within a value: quotes go around `key=value`".into());
                }
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(values),
            None => return Err("a comma is missing behind a quote".into()),
        }
    }
}

/// A value up to its closing quote, and what follows; two quotes stand for one.
fn quoted_value(mut rest: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    loop {
        let end = rest.find('"').ok_or("a quote isn't closed")?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => return Ok((value, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn volume(text: &str) -> Volume {
        match text.parse().unwrap() {
            MountFlag::Volume(volume) => volume,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mounts_as_docker_writes_them() {
        let bind = volume("type=bind,src=/a,dst=/b/../c,readonly,bind-propagation=rslave");
        assert_eq!(bind.source, VolumeSource::Host("/a".into()));
        assert_eq!((bind.target.as_str(), bind.read_only, bind.must_exist), ("/c", true, true));
        assert_eq!(bind.propagation.as_deref(), Some("rslave"));
        let named = volume("source=data,Target=/b,ro=false,volume-nocopy=true");
        assert_eq!(named.source, VolumeSource::Named("data".into()));
        assert!(!named.read_only && named.no_copy);
        assert_eq!(volume("type=volume,destination=/b").source, VolumeSource::Anonymous);
        let comma = volume(r#"type=bind,"source=/a,""b""",target=/c"#);
        assert_eq!(comma.source, VolumeSource::Host(r#"/a,"b""#.into()));
        let part = volume("source=data,target=/b,volume-subpath=a/b,volume-label=x=y=z,volume-label=w");
        assert_eq!(part.subpath.as_deref(), Some("a/b"));
        assert_eq!(part.labels, BTreeMap::from([("x", "y=z"), ("w", "")].map(|(k, v)| (k.into(), v.into()))));
        let driven = volume(r#"target=/b,volume-opt=type=none,"volume-opt=o=a,b=c",volume-opt=device=/d"#);
        let options = [("type", "none"), ("o", "a,b=c"), ("device", "/d")];
        assert_eq!(driven.driver_options, options.map(|(k, v)| (k.into(), v.into())).into());
        let image = volume("type=image,source=busybox,target=/i,image-subpath=etc/./x");
        assert_eq!(image.source, VolumeSource::Image("busybox".into()));
        assert!(image.read_only && image.subpath.as_deref() == Some("etc/./x"));
        assert!(volume("type=image,source=a,destination=/i,rw=false").read_only);
        assert!(!volume("type=image,source=a,destination=/i,rw=true").read_only);
        let tmpfs: MountFlag = "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770".parse().unwrap();
        assert_eq!(tmpfs, MountFlag::Tmpfs { target: "/t".into(), options: "size=1048576,mode=1770".into() });
    }

    #[test]
    fn binds_say_what_is_below_them() {
        let bind = |more: &str| volume(&format!("type=bind,src=/a,dst=/b,{more}"));
        for (text, below) in [
            ("bind-recursive=enabled", MountsBelow::Same),
            ("bind-recursive=disabled", MountsBelow::Hidden),
            ("bind-nonrecursive", MountsBelow::Hidden),
            ("bind-nonrecursive=false", MountsBelow::Same),
            ("bind-recursive=writable,ro", MountsBelow::Writable),
            ("ro,bind-recursive=readonly,bind-propagation=rprivate", MountsBelow::Same),
        ] {
            let bind = bind(text);
            assert_eq!((bind.below, bind.must_exist), (below, true), "{text}");
        }
        assert!(!bind("bind-create-src").must_exist);
        assert!(bind("bind-create-src=false").must_exist);
    }

    #[test]
    fn wrong_mounts_say_what_is_wrong() {
        for (text, problem) in [
            ("", "must be a key=value pair"),
            ("type=bind,src=/a", "target is required"),
            ("type=bind,target=/a", "type \"bind\": field Source must not be empty"),
            ("type=bind,src=a,target=/a", "mount path must be absolute"),
            ("target=a", "mount path must be absolute"),
            ("target=/", "destination can't be '/'"),
            ("src=a/b,target=/a", "use absolute path"),
            ("type=tmpfs,src=/a,target=/b", "type \"tmpfs\": field Source must not be specified"),
            ("type=moon,target=/b", "mount type unknown: \"moon\""),
            ("type=image,target=/b", "type \"image\": field Source must not be empty"),
            ("type=image,src=a,target=/b,image-subpath=/c", "subpath must be a relative path"),
            ("type=image,src=a,target=/b,image-subpath=c/../../d", "subpath must be a relative path"),
            ("type=image,src=a,target=/b,volume-nocopy", "cannot mix 'volume-*' options"),
            ("target=/b,rw=true", "cannot mix 'image-*' options with mount type 'volume'"),
            ("target=/b,volume-subpath=/c", "subpath must be a relative path"),
            ("type=bind,src=/a,target=/b,volume-opt=o=bind", "cannot mix 'volume-*' options"),
            ("type=tmpfs,target=/b,volume-label=a=b", "cannot mix 'volume-*' options"),
            ("target=/b,bind-create-src", "cannot mix 'bind-*' options"),
            (
                "type=bind,src=/a,target=/b,bind-recursive=maybe",
                "invalid value for bind-recursive: maybe (must be",
            ),
            ("type=bind,src=/a,target=/b,bind-recursive=writable", "requires 'readonly' to be specified"),
            ("type=bind,src=/a,target=/b,bind-recursive=readonly", "requires 'readonly' to be specified"),
            ("type=bind,src=/a,target=/b,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
            ("type=cluster,src=a,target=/b", "not supported"),
            (
                "type=bind,src=/a,target=/b,volume-nocopy",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("target=/b,bind-propagation=shared", "cannot mix 'bind-*' options with mount type 'volume'"),
            ("target=/b,bind-propagation=far", "invalid propagation: far"),
            ("target=/b,readonly=maybe", "invalid value for readonly: maybe"),
            ("target=/b,colour=red", "unexpected key 'colour' in 'colour=red'"),
            ("target=/b,src", "invalid field 'src' must be a key=value pair"),
            ("type=tmpfs,target=/b,tmpfs-size=much", "invalid value for tmpfs-size: much"),
            ("type=tmpfs,target=/b,tmpfs-size=99999999999t", "invalid value for tmpfs-size"),
            ("type=tmpfs,target=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
            ("target=/b,volume-driver=nfs", "plugin \"nfs\" not found"),
            (r#""target=/b"#, "isn't closed"),
            (r#""target=/b"x"#, "comma is missing"),
            (r#"target="/b""#, "quotes go around"),
        ] {
            let error: Error = text.parse::<MountFlag>().unwrap_err();
            assert!(error.to_string().contains(problem), "{text}: {error}");
        }
    }
}
