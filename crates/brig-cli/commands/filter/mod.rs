//! `--filter` of lists, in docker's words: of several values for one key one must hold, of labels all, and of different
//! keys each.

pub(super) mod containers;
pub(super) mod events;
pub(super) mod images;

use std::collections::BTreeMap;

use regex::Regex;

/// The most memory that a regular expression may take, compiled, in bytes.
const MAX_EXPRESSION: usize = 1 << 20;

/// `KEY=VALUE`
pub(super) fn key_and_value(text: &str) -> Result<(&str, &str), String> {
    let (key, value) = text.split_once('=').ok_or("a filter is KEY=VALUE")?;
    Ok((key.trim(), value.trim()))
}

/// Whether there is such a label: `key`, or `key=value`.
pub(super) fn has_label(labels: &BTreeMap<String, String>, label: &str) -> bool {
    match label.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
        None => labels.contains_key(label),
    }
}

/// docker's words for a truth.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err("it is true or false".into()),
    }
}

/// A regular expression, whose search takes time in proportion to the text.
fn expression(text: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(text).size_limit(MAX_EXPRESSION).build();
    built.map_err(|error| format!("not a regular expression: {error}"))
}

/// Whether the filters hold, where `same` says which are of one key and `all` which must hold each for itself.
pub(super) fn admit<F>(
    filters: &[F],
    same: impl Fn(&F, &F) -> bool,
    all: impl Fn(&F) -> bool,
    holds: impl Fn(&F) -> bool,
) -> bool {
    filters.iter().all(|filter| match all(filter) {
        true => holds(filter),
        false => filters.iter().any(|other| same(filter, other) && holds(other)),
    })
}

/// Whether two filters are of one key.
pub(super) fn same_variant<F>(one: &F, other: &F) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// A pattern with `*` and `?`, which don't stand for `/`. Each `*` is tried at most once a character, so that no pattern
/// takes long.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where the last `*` is, and up to where it has taken text.
    let mut star: Option<(usize, usize)> = None;
    while place < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(wanted) if *wanted == text[place] || (*wanted == b'?' && text[place] != b'/') => {
                (at, place) = (at + 1, place + 1);
            }
            _ => match star {
                Some((back, taken)) if text[taken] != b'/' => {
                    star = Some((back, taken + 1));
                    (at, place) = (back + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_references() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("busy*", "busy/box", false),
            ("*/app:v?", "example.com/app:v1", true),
            ("*/app:v?", "example.com/x/app:v1", false),
            ("*/*/app:v?", "example.com/x/app:v1", true),
            ("app", "app2", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let hostile = "*a".repeat(2000);
        assert!(!matches(hostile.as_bytes(), "a".repeat(1999).as_bytes()));
    }

    #[test]
    fn expressions_are_bounded() {
        assert!(expression("^web-[0-9]+$").is_ok());
        assert!(expression("(").is_err());
        assert!(expression("(a{1000}){1000}").is_err());
    }

    #[test]
    fn labels_by_key_or_with_value() {
        let labels = BTreeMap::from([("tier".into(), "front=1".into())]);
        for (label, expected) in [("tier", true), ("tier=front=1", true), ("tier=", false), ("other", false)]
        {
            assert_eq!(has_label(&labels, label), expected, "{label}");
        }
    }
}
