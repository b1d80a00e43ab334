//! What can go wrong with an answer.

use std::time::Duration;

/// One way to break an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Answer with this status, and with a distribution error as its body.
    Status(u16),
    /// Announce the whole length, send this many bytes of the body, and close the connection.
    Truncate(usize),
    /// Send this many bytes of the body, then nothing, and keep the connection open.
    Stall(usize),
    /// Send the body at this many bytes a second.
    Slow(usize),
    /// Wait before the answer.
    Delay(Duration),
    /// Flip one bit in the middle of the body.
    Corrupt,
    /// Announce no length, and send the body and then zeros without end.
    Endless,
    /// Announce and send this many bytes more than the body has.
    Longer(usize),
    /// Redirect (307) to this URL with the request's path appended.
    Redirect(String),
    /// Say another `Docker-Content-Digest` than the content has.
    WrongDigest,
    /// Ignore `Range`: answer 200 and the whole body.
    NoRange,
    /// Announce this content type instead.
    ContentType(String),
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    in_path: String,
    left: Option<u32>,
}

impl Rule {
    /// A fault of every request, for good.
    pub fn always(fault: Fault) -> Self {
        Self { fault, method: None, in_path: String::new(), left: None }
    }

    /// Only requests with this text in their path, such as `/blobs/` or a digest.
    #[must_use]
    pub fn path(mut self, text: impl Into<String>) -> Self {
        self.in_path = text.into();
        self
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.into());
        self
    }

    /// Only the first `count` requests that match.
    #[must_use]
    pub fn times(mut self, count: u32) -> Self {
        self.left = Some(count);
        self
    }

    /// The fault, when the rule is for this request; uses it up by one.
    pub(super) fn apply(&mut self, method: &str, path: &str) -> Option<Fault> {
        let matches = self.left != Some(0)
            && self.method.as_deref().is_none_or(|wanted| wanted == method)
            && path.contains(&self.in_path);
        if !matches {
            return None;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Some(self.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_used_up() {
        let mut rule = Rule::always(Fault::Corrupt).method("GET").path("/blobs/").times(2);
        assert_eq!(rule.apply("HEAD", "/v2/a/blobs/x"), None);
        assert_eq!(rule.apply("GET", "/v2/a/manifests/x"), None);
        assert_eq!(rule.apply("GET", "/v2/a/blobs/x"), Some(Fault::Corrupt));
        assert_eq!(rule.apply("GET", "/v2/a/blobs/x"), Some(Fault::Corrupt));
        assert_eq!(rule.apply("GET", "/v2/a/blobs/x"), None);
    }
}
