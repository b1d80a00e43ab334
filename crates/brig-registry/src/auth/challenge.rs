//! `WWW-Authenticate`: several headers, several challenges in each (RFC 9110, section 11.6.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The most challenges that are read from one answer, and the most parameters of one: a real answer has one or two of
/// the former and three or four of the latter.
const MAX_CHALLENGES: usize = 16;
const MAX_PARAMETERS: usize = 32;
/// The longest header that is read, in bytes.
const MAX_HEADER: usize = 8 * 1024;

/// One way in that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case.
    pub(crate) scheme: String,
    /// Names in lower case, values without their quotes.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// All challenges of an answer, in its order. What can't be read is left out: a challenge that isn't understood
    /// can't be answered either, and the caller names the schemes that it saw.
    pub(crate) fn all(headers: &HeaderMap) -> Vec<Self> {
        let mut found = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            if let Some(text) = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER) {
                Parser { rest: text }.challenges(&mut found);
            }
        }
        found
    }

    /// A parameter's value.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn challenges(mut self, found: &mut Vec<Challenge>) {
        let before = found.len();
        loop {
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            let Some(token) = self.take(is_token_char) else { return };
            let token = token.to_ascii_lowercase();
            if let Some(value) = self.value() {
                // A parameter belongs to the challenge before it; one before any scheme is noise.
                match found[before..].last_mut() {
                    Some(challenge) if challenge.parameters.len() < MAX_PARAMETERS => {
                        challenge.parameters.push((token, value));
                    }
                    _ => {}
                }
                continue;
            }
            if found.len() >= MAX_CHALLENGES {
                return;
            }
            found.push(Challenge { scheme: token, parameters: Vec::new() });
            self.skip_token68();
        }
    }

    /// `= value`, where one follows.
    fn value(&mut self) -> Option<String> {
        let after = self.rest.trim_start_matches([' ', '\t']).strip_prefix('=')?;
        self.rest = after.trim_start_matches([' ', '\t']);
        if let Some(quoted) = self.rest.strip_prefix('"') {
            return Some(self.quoted(quoted));
        }
        // Registries in the wild leave the quotes away from URLs, which aren't tokens.
        let unquoted = self.take(|c| c != ',' && !c.is_ascii_whitespace()).unwrap_or_default();
        Some(unquoted.to_owned())
    }

    fn quoted(&mut self, text: &'a str) -> String {
        let mut value = String::new();
        let mut characters = text.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &text[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.rest = "";
        value
    }

    /// The base64 blob that some schemes (Negotiate) put in the place of parameters.
    fn skip_token68(&mut self) {
        let text = self.rest.trim_start_matches(' ');
        if text.len() == self.rest.len() {
            return;
        }
        let body = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        let after = body.trim_start_matches('=');
        let ends = after.is_empty() || after.trim_start_matches(' ').starts_with(',');
        if body.len() < text.len() && ends {
            self.rest = after;
        }
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(what);
    }

    fn take(&mut self, what: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.rest.find(|c| !what(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::all(&headers)
    }

    #[test]
    fn the_one_that_registries_send() {
        let all = parse(&[
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
        ]);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].scheme, "bearer");
        assert_eq!(all[0].parameter("realm"), Some("https://auth.example/token"));
        assert_eq!(all[0].parameter("scope"), Some("repository:a/b:pull,push"));
    }

    #[test]
    fn several_in_one_header_and_several_headers() {
        let all =
            parse(&[r#"Basic realm="a, \"b\"", Bearer realm = https://x/y?z=1 , service=s"#, "Negotiate"]);
        let schemes: Vec<_> = all.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "negotiate"]);
        assert_eq!(all[0].parameter("realm"), Some(r#"a, "b""#));
        assert_eq!(all[1].parameter("realm"), Some("https://x/y?z=1"));
        assert_eq!(all[1].parameter("service"), Some("s"));
    }

    #[test]
    fn a_token68_is_not_a_parameter() {
        let all = parse(&["Negotiate YWJj==, Basic realm=x"]);
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].parameter("realm"), Some("x"));
    }

    #[test]
    fn nonsense_ends_and_is_bounded() {
        for text in ["", ",,,", "=", "\"", "a=", "Bearer realm=\"unterminated", "Bearer \\", "é"] {
            parse(&[text]);
        }
        let many = "a, ".repeat(1000);
        assert_eq!(parse(&[&many]).len(), MAX_CHALLENGES);
    }

    #[test]
    fn any_text_is_survived() {
        let parts = ["Bearer", " ", "realm", "=", "\"", "\\", ",", "Basic", "abc==", "\t", "~", "x"];
        let mut state = 1_usize;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    parts[(state >> 33) % parts.len()]
                })
                .collect();
            parse(&[&text]);
        }
    }
}
