//! Foreign text in messages.

/// At most `limit` characters of `text`, on one line and without control characters: it may come from a registry, and
/// it ends up on a terminal.
pub(crate) fn excerpt(text: &str, limit: usize) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut excerpt: String = text.chars().take(limit).map(shown).collect();
    if text.chars().nth(limit).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_bounded_and_tame() {
        assert_eq!(excerpt("a\x1b[31m\n", 100), "a\u{fffd}[31m\u{fffd}");
        assert_eq!(excerpt("abcd", 3), "abc…");
        assert_eq!(excerpt("äöü", 3), "äöü");
    }
}
