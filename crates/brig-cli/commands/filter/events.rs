//! `events --filter`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use brig_engine::Event;

use super::{has_label, key_and_value, same_variant};

/// A filter of `events`.
#[derive(Clone, Debug)]
pub(crate) enum EventFilter {
    Container(String),
    Event(String),
    Image(String),
    Label(String),
    Type(String),
    Volume(String),
    Network(String),
    Scope(String),
    /// What brig has no events of.
    Nothing,
}

impl FromStr for EventFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = key_and_value(text)?;
        let value = value.to_owned();
        Ok(match key {
            "container" => Self::Container(value),
            "event" => Self::Event(value),
            "image" => Self::Image(value),
            "label" => Self::Label(value),
            "network" => Self::Network(value),
            "scope" => Self::Scope(value),
            "type" => Self::Type(value),
            "volume" => Self::Volume(value),
            "config" | "daemon" | "node" | "plugin" | "secret" | "service" => Self::Nothing,
            _ => {
                let keys = "config, container, daemon, event, image, label, network, node, plugin, scope, secret, \
                            service, type and volume";
                return Err(format!("the filters are {keys}"));
            }
        })
    }
}

/// Where the labels of a container are looked up, by its id.
type Labels<'a> = &'a dyn Fn(&str) -> BTreeMap<String, String>;

/// The filters of one `events`.
pub(crate) struct EventFilters<'a> {
    filters: &'a [EventFilter],
    labels: Labels<'a>,
}

impl fmt::Debug for EventFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EventFilters").field(&self.filters).finish()
    }
}

impl<'a> EventFilters<'a> {
    /// With where labels come from.
    pub(crate) fn new(filters: &'a [EventFilter], labels: Labels<'a>) -> Self {
        Self { filters, labels }
    }

    /// Whether an event passes.
    pub(crate) fn admit(&self, event: &Event) -> bool {
        super::admit(
            self.filters,
            same_variant,
            |filter| matches!(filter, EventFilter::Label(_)),
            |filter| self.holds(filter, event),
        )
    }

    fn holds(&self, filter: &EventFilter, event: &Event) -> bool {
        let is_of = |kind: &str, name: &str| event.kind == kind && is_named(event, name);
        match filter {
            EventFilter::Container(name) => is_of("container", name),
            EventFilter::Volume(name) => is_of("volume", name),
            EventFilter::Network(name) => is_of("network", name),
            // `health_status` stands for `health_status: healthy`.
            EventFilter::Event(action) => {
                event.action == *action
                    || event.action.split_once(": ").is_some_and(|(head, _)| head == action)
            }
            EventFilter::Image(image) => is_of_image(event, image),
            EventFilter::Label(label) => {
                let container = || event.kind == "container" && has_label(&(self.labels)(&event.id), label);
                has_label(&event.attributes, label) || container()
            }
            EventFilter::Scope(scope) => scope == "local",
            EventFilter::Type(kind) => event.kind == *kind,
            EventFilter::Nothing => false,
        }
    }
}

/// By the beginning of an id or name, as docker has it.
fn is_named(event: &Event, name: &str) -> bool {
    event.id.starts_with(name) || event.attributes.get("name").is_some_and(|own| own.starts_with(name))
}

/// An image's own events, and those of containers made from it; with or without the tag.
fn is_of_image(event: &Event, image: &str) -> bool {
    let named = if event.kind == "image" { Some(&event.id) } else { event.attributes.get("image") };
    let names = named.into_iter().chain(event.attributes.get("name").filter(|_| event.kind == "image"));
    names.flat_map(|name| [name.clone(), brig_engine::familiar(name)]).any(|name| {
        let without_tag = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map(|(head, _)| head);
        name == image || without_tag == Some(image) || image.strip_suffix(":latest") == Some(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        vec![
            Event::container("start", "aa11")
                .with("name", "web")
                .with("image", "docker.io/library/busybox:latest"),
            Event::container("health_status: healthy", "bb22")
                .with("name", "db")
                .with("image", "host:5000/db:v1"),
            Event::image("pull", "docker.io/library/busybox:latest"),
        ]
    }

    #[test]
    fn events_pass_by_type_action_name_image_and_label() {
        let labels = |id: &str| match id {
            "aa11" => BTreeMap::from([("tier".to_owned(), "front".to_owned())]),
            _ => BTreeMap::new(),
        };
        for (filters, expected) in [
            (&[][..], "start health_status: healthy pull"),
            (&["type=container"], "start health_status: healthy"),
            (&["type=container", "type=image"], "start health_status: healthy pull"),
            (&["event=start", "event=pull"], "start pull"),
            (&["event=start", "type=image"], ""),
            (&["event=health_status"], "health_status: healthy"),
            (&["container=aa"], "start"),
            (&["container=db"], "health_status: healthy"),
            (&["image=busybox"], "start pull"),
            (&["image=busybox:latest", "type=image"], "pull"),
            (&["image=host:5000/db"], "health_status: healthy"),
            (&["label=tier=front"], "start"),
            (&["label=tier", "label=other"], ""),
            (&["scope=local", "type=image"], "pull"),
            (&["scope=swarm"], ""),
            (&["daemon=x"], ""),
            (&["volume=x"], ""),
        ] {
            let filters: Vec<EventFilter> = filters.iter().map(|text| text.parse().unwrap()).collect();
            let filters = EventFilters::new(&filters, &labels);
            let events = events();
            let actions: Vec<_> =
                events.iter().filter(|one| filters.admit(one)).map(|one| one.action.as_str()).collect();
            assert_eq!(actions.join(" "), expected, "{filters:?}");
        }
        assert!("colour=red".parse::<EventFilter>().is_err());
    }
}
