//! The functions of Go's templates and docker's beside them.

use std::cmp::Ordering;

use serde_json::Value;

use super::evaluate::Steps;
use super::format;
use super::value::{Item, kind};

const NAMES: [&str; 26] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne",
    "not", "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

/// Whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name) || name == "urlquery"
}

/// The functions that docker doesn't apply to the headings of a table.
pub(super) fn leaves_headings(name: &str) -> bool {
    matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate")
}

type Made<'a> = Result<Item<'a>, String>;

/// Calls a function other than `and` and `or`.
pub(super) fn call<'a>(name: &str, arguments: &[Item<'a>], steps: &mut Steps) -> Made<'a> {
    let text = |text: String| Ok(Item::made(text));
    match (name, arguments) {
        ("json", [value]) => text(value.value().to_string()),
        ("lower", [value]) => text(string(value)?.to_lowercase()),
        ("upper", [value]) => text(string(value)?.to_uppercase()),
        ("title", [value]) => text(title(string(value)?)),
        ("split", [value, separator]) => split(string(value)?, string(separator)?, steps),
        ("join", [list, separator]) => text(join(list, string(separator)?, steps)?),
        ("pad", [value, before, behind]) => pad(string(value)?, number(before)?, number(behind)?, steps),
        ("truncate", [value, length]) => truncate(string(value)?, number(length)?),
        ("print", values) => text(format::sprint(values)),
        ("println", values) => text(format::sprintln(values)),
        ("printf", [form, values @ ..]) => text(format::sprintf(string(form)?, values, steps)?),
        ("html", values) => text(html(&format::sprint(values))),
        ("js", values) => text(js(&format::sprint(values))),
        ("urlquery", values) => text(urlquery(&format::sprint(values))),
        ("len", [value]) => len(value),
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) if bounds.len() <= 3 => slice(value, bounds),
        ("not", [value]) => Ok(Item::made(!value.is_true())),
        ("eq", [first, others @ ..]) if !others.is_empty() => equals_any(first, others),
        ("ne", [one, other]) => Ok(Item::made(!equal(one, other)?)),
        ("lt", [one, other]) => Ok(Item::made(order(one, other)? == Ordering::Less)),
        ("le", [one, other]) => Ok(Item::made(order(one, other)? != Ordering::Greater)),
        ("gt", [one, other]) => Ok(Item::made(order(one, other)? == Ordering::Greater)),
        ("ge", [one, other]) => Ok(Item::made(order(one, other)? != Ordering::Less)),
        ("call", _) => Err("call of what is no function".into()),
        (name, arguments) => {
            Err(format!("wrong number of args for {name}: want {} got {}", wanted(name), arguments.len()))
        }
    }
}

fn wanted(name: &str) -> &'static str {
    match name {
        "json" | "lower" | "upper" | "title" | "len" | "not" => "1",
        "split" | "join" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => "2",
        "pad" => "3",
        "eq" => "at least 2",
        "slice" => "1 to 4",
        _ => "at least 1",
    }
}

fn string<'i>(item: &'i Item<'_>) -> Result<&'i str, String> {
    match item.value() {
        Value::String(text) => Ok(text),
        value => Err(format!("wrong type for value; expected string; got {}", kind(value))),
    }
}

fn number(item: &Item<'_>) -> Result<i64, String> {
    let value = item.value();
    value.as_i64().ok_or_else(|| format!("wrong type for value; expected int; got {}", kind(value)))
}

fn size(number: i64) -> Result<usize, String> {
    usize::try_from(number).map_err(|_| format!("a size can't be {number}"))
}

/// The first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut in_word = false;
    let mut titled = String::with_capacity(text.len());
    for character in text.chars() {
        match in_word {
            true => titled.push(character),
            false => titled.extend(character.to_uppercase()),
        }
        in_word = match character.is_ascii() {
            true => character.is_ascii_alphanumeric() || character == '_',
            false => !character.is_whitespace(),
        };
    }
    titled
}

fn split<'a>(text: &str, separator: &str, steps: &mut Steps) -> Made<'a> {
    // An element is dearer than its bytes.
    let pieces = if separator.is_empty() { text.chars().count() } else { text.matches(separator).count() };
    steps.take(pieces.saturating_mul(32))?;
    let parts: Vec<Value> = match separator {
        "" => text.chars().map(|character| character.to_string().into()).collect(),
        separator => text.split(separator).map(Into::into).collect(),
    };
    Ok(Item::made(parts))
}

fn join(list: &Item<'_>, separator: &str, steps: &mut Steps) -> Result<String, String> {
    let wrong = |value: &Value| format!("wrong type for value; expected []string; got {}", kind(value));
    match list.value() {
        Value::Null => Ok(String::new()),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().ok_or_else(|| wrong(item)));
            let texts = texts.collect::<Result<Vec<_>, _>>()?;
            let length: usize = texts.iter().map(|text| text.len()).sum();
            steps.take(length.saturating_add(separator.len().saturating_mul(texts.len())))?;
            Ok(texts.join(separator))
        }
        value => Err(wrong(value)),
    }
}

fn pad<'a>(text: &str, before: i64, behind: i64, steps: &mut Steps) -> Made<'a> {
    if text.is_empty() {
        return Ok(Item::made(""));
    }
    let (before, behind) = (size(before)?, size(behind)?);
    steps.take(before.saturating_add(behind))?;
    Ok(Item::made(format!("{}{text}{}", " ".repeat(before), " ".repeat(behind))))
}

/// So many bytes; fewer where they would end within a character.
fn truncate<'a>(text: &str, length: i64) -> Made<'a> {
    let length = size(length)?;
    Ok(Item::made(&text[..text.floor_char_boundary(length)]))
}

fn len<'a>(value: &Item<'_>) -> Made<'a> {
    match value.value() {
        Value::String(text) => Ok(Item::made(text.len())),
        Value::Array(items) => Ok(Item::made(items.len())),
        Value::Object(map) => Ok(Item::made(map.len())),
        Value::Null => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", kind(other))),
    }
}

fn index<'a>(value: &Item<'a>, keys: &[Item<'a>]) -> Made<'a> {
    let mut found = value.clone();
    for key in keys {
        found = match (found.value(), key.value()) {
            (Value::Array(items), Value::Number(number)) => {
                let place = number.as_u64().and_then(|place| usize::try_from(place).ok());
                let inside = place.filter(|place| *place < items.len());
                inside
                    .and_then(|place| found.element(place))
                    .ok_or(format!("index out of range: {number}"))?
            }
            (Value::String(text), Value::Number(number)) => {
                let place = number.as_u64().and_then(|place| usize::try_from(place).ok());
                let byte = place.and_then(|place| text.as_bytes().get(place));
                Item::made(*byte.ok_or(format!("index out of range: {number}"))?)
            }
            (Value::Object(_), Value::String(key)) => found.entry(key),
            (Value::Null, _) => return Err("index of untyped nil".into()),
            (Value::Array(_) | Value::String(_), key) => {
                return Err(format!("cannot index slice/array with type {}", kind(key)));
            }
            (Value::Object(_), key) => {
                return Err(format!("value has type {}; should be string", kind(key)));
            }
            (other, _) => return Err(format!("can't index item of type {}", kind(other))),
        };
    }
    Ok(found)
}

fn slice<'a>(value: &Item<'a>, bounds: &[Item<'a>]) -> Made<'a> {
    let length = match value.value() {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Null => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", kind(other))),
    };
    let bounds: Vec<i64> = bounds.iter().map(number).collect::<Result<_, _>>()?;
    let bound = |index: usize, or: usize| match bounds.get(index) {
        Some(number) => usize::try_from(*number)
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or(format!("index out of range: {number}")),
        None => Ok(or),
    };
    let (start, end) = (bound(0, 0)?, bound(1, length)?);
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match value.value() {
        Value::Array(items) => Ok(Item::made(items[start..end].to_vec())),
        Value::String(text) => text.get(start..end).map(Item::made).ok_or("slice within a character".into()),
        _ => Ok(Item::Missing),
    }
}

fn equals_any<'a>(first: &Item<'_>, others: &[Item<'_>]) -> Made<'a> {
    for other in others {
        if equal(first, other)? {
            return Ok(Item::made(true));
        }
    }
    Ok(Item::made(false))
}

fn equal(one: &Item<'_>, other: &Item<'_>) -> Result<bool, String> {
    match (one.value(), other.value()) {
        (Value::Null, other) => Ok(other.is_null()),
        (_, Value::Null) => Ok(false),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("incomparable type for comparison".into())
        }
        (one, other) if kind(one) == kind(other) => Ok(one == other),
        _ => Err("incompatible types for comparison".into()),
    }
}

fn order(one: &Item<'_>, other: &Item<'_>) -> Result<Ordering, String> {
    let (one, other) = (one.value(), other.value());
    if kind(one) != kind(other) {
        return Err("incompatible types for comparison".into());
    }
    let found = match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64().zip(other.as_f64()).and_then(|(one, other)| one.partial_cmp(&other)),
        },
        _ => None,
    };
    found.ok_or_else(|| "invalid type for comparison".into())
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0' => escaped.push('\u{FFFD}'),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            character => escaped.push(character),
        }
    }
    escaped
}

fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(character))),
            control if control.is_control() => escaped.push_str(&format!("\\u{:04X}", u32::from(control))),
            character => escaped.push(character),
        }
    }
    escaped
}

fn urlquery(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            b' ' => escaped.push('+'),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
