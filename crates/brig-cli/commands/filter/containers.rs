//! `ps --filter`.

use std::str::FromStr;

use brig_engine::{ContainerInfo, Error, HealthStatus, Result, Timestamp};
use regex::Regex;

use super::{expression, has_label, key_and_value, parse_bool, same_variant};

const STATES: [&str; 7] = ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

/// A filter of `ps`.
#[derive(Clone, Debug)]
pub(crate) enum ContainerFilter {
    Ancestor(String),
    Before(String),
    Exited(i32),
    /// A port, which no container exposes while there are no networks with addresses.
    Expose,
    Health(String),
    Id(Regex),
    /// A swarm's containers are tasks; brig's never are.
    IsTask(bool),
    Label(String),
    Name(Regex),
    Network(String),
    /// A port, which no container publishes while there are no networks with addresses.
    Publish,
    Since(String),
    Status(String),
    Volume(String),
}

impl FromStr for ContainerFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = key_and_value(text)?;
        let one_of = |words: &[&str]| match words.contains(&value) {
            true => Ok(value.to_owned()),
            false => Err(format!("`{key}` is one of {}", words.join(", "))),
        };
        Ok(match key {
            "ancestor" => Self::Ancestor(value.into()),
            "before" => Self::Before(value.into()),
            "exited" => Self::Exited(value.parse().map_err(|_| "an exit code is a number")?),
            "expose" => check_ports(value).map(|()| Self::Expose)?,
            "health" => Self::Health(one_of(&HEALTH)?),
            "id" => Self::Id(expression(value)?),
            "is-task" => Self::IsTask(parse_bool(value)?),
            "label" => Self::Label(value.into()),
            "name" => Self::Name(expression(value)?),
            "network" => Self::Network(value.into()),
            "publish" => check_ports(value).map(|()| Self::Publish)?,
            "since" => Self::Since(value.into()),
            "status" => Self::Status(one_of(&STATES)?),
            "volume" => Self::Volume(value.into()),
            _ => {
                let keys = "ancestor, before, exited, expose, health, id, is-task, label, name, network, publish, since, \
                            status and volume";
                return Err(format!("the filters are {keys}"));
            }
        })
    }
}

/// `80`, `80/tcp` or `8000-8010/udp`.
fn check_ports(text: &str) -> Result<(), String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse::<u16>().ok();
    match (port(first), port(last), protocol) {
        (Some(first), Some(last), "tcp" | "udp" | "sctp") if first <= last => Ok(()),
        _ => {
            Err("a port is a number up to 65535, maybe with `/tcp`, `/udp` or `/sctp`, or a range of them"
                .into())
        }
    }
}

/// The filters of one `ps`.
#[derive(Debug)]
pub(crate) struct ContainerFilters<'a> {
    filters: Vec<(&'a ContainerFilter, Option<Timestamp>)>,
}

impl<'a> ContainerFilters<'a> {
    /// Looks up what `before` and `since` name.
    pub(crate) fn new(filters: &'a [ContainerFilter], all: &[ContainerInfo]) -> Result<Self> {
        let known = |filter: &'a ContainerFilter| {
            let moment = match filter {
                ContainerFilter::Before(name) | ContainerFilter::Since(name) => Some(created_at(all, name)?),
                _ => None,
            };
            Ok((filter, moment))
        };
        Ok(Self { filters: filters.iter().map(known).collect::<Result<_>>()? })
    }

    /// Whether one asks for containers that don't run, so that `-a` needn't be given.
    pub(crate) fn are_of_all_states(&self) -> bool {
        self.filters.iter().any(|(filter, _)| matches!(filter, ContainerFilter::Status(_)))
    }

    /// Whether a container passes.
    pub(crate) fn admit(&self, container: &ContainerInfo) -> bool {
        super::admit(
            &self.filters,
            |(one, _), (other, _)| same_variant(*one, *other),
            |(filter, _)| matches!(filter, ContainerFilter::Label(_)),
            |(filter, moment)| holds(filter, *moment, container),
        )
    }
}

/// Of the container with this name or id, or whose id begins so.
fn created_at(all: &[ContainerInfo], name: &str) -> Result<Timestamp> {
    let named = all.iter().find(|one| one.spec.name == name || one.spec.id == name);
    let found = named.or_else(|| all.iter().find(|one| !name.is_empty() && one.spec.id.starts_with(name)));
    let found = found.ok_or_else(|| Error::ContainerNotFound { name: name.into(), root: None })?;
    Ok(found.spec.created_at)
}

fn holds(filter: &ContainerFilter, moment: Option<Timestamp>, container: &ContainerInfo) -> bool {
    let (spec, state) = (&container.spec, &container.state);
    match filter {
        ContainerFilter::Ancestor(image) => is_of_image(container, image),
        ContainerFilter::Before(_) => moment.is_some_and(|moment| spec.created_at < moment),
        ContainerFilter::Since(_) => moment.is_some_and(|moment| spec.created_at > moment),
        ContainerFilter::Exited(code) => {
            !state.state.is_active() && state.exit.as_ref().is_some_and(|exit| i32::from(exit.code) == *code)
        }
        ContainerFilter::Expose | ContainerFilter::Publish => false,
        ContainerFilter::Health(wanted) => health(container) == wanted,
        ContainerFilter::Id(expression) => expression.is_match(&spec.id),
        ContainerFilter::IsTask(task) => !task,
        ContainerFilter::Label(label) => has_label(&spec.labels, label),
        // docker's names begin with a slash, which its users leave out.
        ContainerFilter::Name(expression) => {
            expression.is_match(&spec.name) || expression.is_match(&format!("/{}", spec.name))
        }
        ContainerFilter::Network(network) => spec.network == *network,
        ContainerFilter::Status(status) => state.state.docker() == status,
        ContainerFilter::Volume(volume) => {
            let is_it = |path: &str| path == volume;
            spec.mounts.iter().any(|mount| {
                mount.volume.as_deref().is_some_and(is_it)
                    || mount.source.to_str().is_some_and(is_it)
                    || is_it(&mount.target)
            })
        }
    }
}

/// docker's word; `none` where nobody looks.
fn health(container: &ContainerInfo) -> &'static str {
    match container.state.health.as_ref().map(|health| health.status) {
        None => "none",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    }
}

/// By reference, or by the beginning of an image id.
fn is_of_image(container: &ContainerInfo, image: &str) -> bool {
    let own = &container.spec.image;
    let familiar = brig_engine::familiar(&own.reference);
    let hex = image.strip_prefix("sha256:").unwrap_or(image);
    let is_id = hex.len() >= 4 && own.id.strip_prefix("sha256:").is_some_and(|id| id.starts_with(hex));
    let is_latest = image.strip_suffix(":latest").is_some_and(|name| name == familiar);
    own.reference == image || familiar == image || is_latest || is_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_dockers_filters_are_read() {
        for text in [
            "ancestor=busybox",
            "before=x",
            "exited=0",
            "exited=137",
            "expose=80",
            "expose=80-90/udp",
            "health=none",
            "id=^ab",
            "is-task=false",
            "label=a",
            "label=a=b",
            "name=^/web-[12]$",
            "network=host",
            "publish=53/udp",
            "since=x",
            "status=restarting",
            "status=removing",
            "volume=/data",
            " name = x ",
        ] {
            assert!(text.parse::<ContainerFilter>().is_ok(), "{text}");
        }
    }

    #[test]
    fn wrong_filters_say_which_there_are() {
        for (text, problem) in [
            ("name", "KEY=VALUE"),
            ("colour=red", "the filters are ancestor"),
            ("status=happy", "created, restarting"),
            ("health=fine", "starting, healthy"),
            ("exited=many", "a number"),
            ("name=(", "not a regular expression"),
            ("publish=99999", "a port is"),
            ("publish=90-80", "a port is"),
            ("expose=80/quic", "a port is"),
            ("is-task=maybe", "true or false"),
        ] {
            let error = text.parse::<ContainerFilter>().unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
