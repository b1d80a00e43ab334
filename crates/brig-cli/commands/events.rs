//! `events`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use brig_engine::{Event, Result, Timestamp};
use clap::Args;
use serde_json::{Value, json};

use super::Context;
use super::filter::events::{EventFilter, EventFilters};
use super::values::moment;
use crate::format::{self, Format};
use crate::output;
use crate::template::Data;

/// Print what happened, and what happens
#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Show only some: container, event, image, label or type; docker's others hold for none
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<EventFilter>,
    /// Only what came since a time (RFC 3339, or seconds since 1970) or within a duration (10m)
    #[arg(long)]
    since: Option<String>,
    /// Stop at a time (RFC 3339, or seconds since 1970), or at what came a duration ago (10m; now)
    #[arg(long)]
    until: Option<String>,
}

impl Events {
    pub(crate) fn execute(self, context: &Context) -> Result<ExitCode> {
        if let Some(Format::Columns(_)) = context.globals.format {
            return Err(format::no_table());
        }
        let engine = context.engine()?;
        let since = self.since.as_deref().map(moment).transpose()?;
        let until = match self.until.as_deref() {
            Some("now") => Some(Timestamp::now()),
            until => until.map(moment).transpose()?,
        };
        // An event tells of no labels: the container does, while it is there.
        let labels =
            |id: &str| engine.container(id).map(|container| container.spec.labels).unwrap_or_default();
        let filters = EventFilters::new(&self.filter, &labels);
        for event in engine.events(since, until)? {
            let event = event?;
            if filters.admit(&event) {
                print(context, &event)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(context: &Context, event: &Event) -> Result<()> {
    match &context.globals.format {
        Some(Format::Json) => output::json_line(&document(event)),
        Some(Format::Template(given) | Format::Columns(given)) => {
            let (fields, json) = (fields(event), document(event));
            let data = Data { json: Some(&json), ..Data::document(&fields) };
            let text = given.template().execute(data).map_err(|error| given.failed(&error))?;
            output::line(&text)
        }
        None | Some(Format::Table) => output::line(&line(event)),
    }
}

/// docker's line: `time type action id (key=value, …)`.
fn line(event: &Event) -> String {
    let attributes: Vec<_> = event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{} {} {} {}{attributes}", event.time, event.kind, event.action, event.id)
}

/// docker's JSON.
fn document(event: &Event) -> Value {
    let mut document = json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "local",
        "time": event.time.as_second(),
        "timeNano": nanoseconds(event.time),
    });
    // What docker had before it had the actor, of the kinds that had it then.
    if matches!(event.kind.as_str(), "container" | "image") {
        document["status"] = event.action.as_str().into();
        document["id"] = event.id.as_str().into();
        document["from"] = from(event).into();
    }
    document
}

/// The same by the names that docker's templates have.
fn fields(event: &Event) -> Value {
    json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "Scope": "local",
        "Time": event.time.as_second(),
        "TimeNano": nanoseconds(event.time),
        "Status": event.action,
        "ID": event.id,
        "From": from(event),
    })
}

fn from(event: &Event) -> String {
    let image = |attributes: &BTreeMap<String, String>| attributes.get("image").cloned();
    image(&event.attributes).unwrap_or_default()
}

/// Of the years until 2262, which is as far as docker's number goes.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}
