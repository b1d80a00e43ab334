//! One line of a log. The shape that the supervisor writes is read by looking at its two ends; whatever else is JSON
//! of these fields, too: records with `attrs` among it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{LogRecord, LogStream};
use crate::time::Timestamp;

const BEGIN: &[u8] = br#"{"log":""#;
const OUT: &[u8] = br#"","stream":"stdout","time":""#;
const ERR: &[u8] = br#"","stream":"stderr","time":""#;
const END: &[u8] = b"\"}\n";
/// `2026-01-02T03:04:05.000000006Z`
const TIME: usize = 30;

/// Reads lines, and keeps what the next one may need again.
#[derive(Debug, Default)]
pub(super) struct Parser {
    text: String,
    /// Records that were written together have one time.
    time: Option<([u8; TIME], Timestamp)>,
}

impl Parser {
    /// The record of this line, if it is one.
    pub(super) fn parse<'a>(&'a mut self, line: &'a [u8]) -> Option<LogRecord<'a>> {
        match self.known_shape(line) {
            Some((stream, time)) => {
                Some(LogRecord { text: Cow::Borrowed(&self.text), stream, attrs: BTreeMap::new(), time })
            }
            None => serde_json::from_slice(line).ok(),
        }
    }

    fn known_shape(&mut self, line: &[u8]) -> Option<(LogStream, Timestamp)> {
        let inner = line.strip_prefix(BEGIN)?.strip_suffix(END)?;
        let (inner, time) = inner.split_last_chunk::<TIME>()?;
        let (text, stream) = match inner.strip_suffix(OUT) {
            Some(text) => (text, LogStream::Stdout),
            None => (inner.strip_suffix(ERR)?, LogStream::Stderr),
        };
        unescape(text, &mut self.text)?;
        Some((stream, self.time(time)?))
    }

    fn time(&mut self, text: &[u8; TIME]) -> Option<Timestamp> {
        if let Some((last, time)) = &self.time
            && last == text
        {
            return Some(*time);
        }
        let time = std::str::from_utf8(text).ok()?.parse().ok()?;
        self.time = Some((*text, time));
        Some(time)
    }
}

/// The text inside of a JSON string. `None` where it isn't one, and for surrogates, which the supervisor never writes.
fn unescape(escaped: &[u8], text: &mut String) -> Option<()> {
    text.clear();
    let mut rest = std::str::from_utf8(escaped).ok()?;
    while let Some(at) = memchr::memchr2(b'\\', b'"', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(at);
        text.push_str(plain);
        let kind = escape.strip_prefix('\\')?.chars().next()?;
        let (character, length) = match kind {
            'n' => ('\n', 2),
            '"' | '\\' | '/' => (kind, 2),
            't' => ('\t', 2),
            'r' => ('\r', 2),
            'b' => ('\u{8}', 2),
            'f' => ('\u{c}', 2),
            'u' => {
                let digits = escape.get(2..6).filter(|digits| !digits.starts_with('+'))?;
                (char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, 6)
            }
            _ => return None,
        };
        text.push(character);
        rest = escape.get(length..)?;
    }
    text.push_str(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{{\"log\":\"{text}\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}}\n")
            .into()
    }

    #[test]
    fn the_known_shape_says_what_json_says() {
        for text in [
            "",
            "plain\\n",
            "\\\"\\\\\\/\\b\\f\\n\\r\\t",
            "\\u0000\\u001b[1mü€😀\\u20ac",
            "a\\\",\\\"stream\\\":\\\"stdout\\\",\\\"time\\\":\\\"",
        ] {
            let line = line(text);
            let mut parser = Parser::default();
            assert!(parser.known_shape(&line).is_some(), "{text}");
            let expected: LogRecord<'_> = serde_json::from_slice(&line).unwrap();
            assert_eq!(parser.parse(&line), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_shapes_are_json() {
        for (text, expected) in [
            (r#"{"time":"2026-01-02T03:04:05Z","stream":"stdout","log":"a"}"#, Some("a")),
            (
                "{\"log\":\"\\ud83d\\ude00\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n",
                Some("😀"),
            ),
            (
                "{\"log\":\"a\",\"stream\":\"stdout\",\"attrs\":{\"a\":\"b\"},\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n",
                Some("a"),
            ),
            (r#"{"log":"a","stream":"stdlog","time":"2026-01-02T03:04:05Z"}"#, None),
            ("{\"log\":\"a\"b\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n", None),
            (
                "{\"log\":\"\\u+12f\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n",
                None,
            ),
            ("{\"log\":\"\\x\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05.000000006Z\"}\n", None),
            ("{\"log\":\"half", None),
            ("", None),
        ] {
            let mut parser = Parser::default();
            let record = parser.parse(text.as_bytes());
            assert_eq!(record.as_ref().map(|record| record.text.as_ref()), expected, "{text}");
        }
    }
}
