//! Values, and what Go would make of them: truth, text, kinds.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::Value;

use super::format;

/// The objects that are maps in docker's types, by the field that leads to them: of those, a key that isn't there is no
/// value, where a field of a struct that isn't there is a mistake.
const MAPS: [&str; 18] = [
    "Annotations",
    "Attributes",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Spec",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
    "Metadata",
    "DeviceRequests",
    "UsageData",
];

/// Whether the object in this field is a map.
fn is_map(field: &str) -> bool {
    MAPS.contains(&field)
}

/// A value in the course of an evaluation. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) enum Item<'a> {
    /// What there isn't: a key of a map.
    Missing,
    /// A part of the data; whether it is a map.
    Data(&'a Value, bool),
    /// What a function made.
    Made(Rc<Value>),
}

impl<'a> Item<'a> {
    pub(super) fn made(value: impl Into<Value>) -> Self {
        Self::Made(Rc::new(value.into()))
    }

    /// The value; `null` for what isn't there.
    pub(super) fn value(&self) -> &Value {
        match self {
            Self::Missing => &Value::Null,
            Self::Data(value, _) => value,
            Self::Made(value) => value,
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Data(_, true))
    }

    /// Go's truth: not zero, not empty.
    pub(super) fn is_true(&self) -> bool {
        match self.value() {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !self.is_open() || !map.is_empty(),
        }
    }

    /// The field, or the key of a map. `None` where a struct has none such.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Missing => Some(Self::Missing),
            Self::Data(Value::Object(map), open) => match map.get(name) {
                Some(value) => Some(Self::Data(value, is_map(name))),
                None => open.then_some(Self::Missing),
            },
            Self::Made(value) => value.get(name).map(|value| Self::made(value.clone())),
            Self::Data(..) => None,
        }
    }

    /// An element of a list.
    pub(super) fn element(&self, index: usize) -> Option<Self> {
        match self {
            Self::Missing => None,
            Self::Data(value, _) => value.get(index).map(|value| Self::Data(value, false)),
            Self::Made(value) => value.get(index).map(|value| Self::made(value.clone())),
        }
    }

    /// `index map key`: the zero value for a key that isn't there, which of texts is the empty one.
    pub(super) fn entry(&self, key: &str) -> Self {
        let Value::Object(map) = self.value() else { return Self::Missing };
        match self.field(key) {
            Some(found) if map.contains_key(key) => found,
            _ if map.values().all(Value::is_string) => Self::made(""),
            _ => Self::Missing,
        }
    }

    /// As an action prints it.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Missing => Cow::Borrowed("<no value>"),
            item => match item.value() {
                Value::String(text) => Cow::Borrowed(text),
                value => Cow::Owned(format::plain(value)),
            },
        }
    }

    /// Go's name of the type.
    pub(super) fn kind(&self) -> &'static str {
        kind(self.value())
    }
}

/// Go's name of the type of a value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
