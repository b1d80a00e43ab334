//! Ids and generated names.

use crate::error::{Error, Result};

/// 64 random hexadecimal characters, as docker's ids are.
pub(crate) fn new_id() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::from)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name in docker's manner, `adjective_surname`, from the bytes of an id: the same id gives the same name, and
/// `attempt` gives another one where the name is taken.
pub(crate) fn generated(id: &str, attempt: usize) -> String {
    let seed =
        id.bytes().fold(attempt.wrapping_mul(7919), |sum, b| sum.wrapping_mul(31).wrapping_add(b.into()));
    let adjective = ADJECTIVES[seed % ADJECTIVES.len()];
    let surname = SURNAMES[(seed / ADJECTIVES.len()) % SURNAMES.len()];
    match attempt {
        0..=5 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{}", seed % 1000),
    }
}

/// Whether docker would take `name`: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn is_valid(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric();
    name.len() >= 2
        && name.len() <= 200
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|b| word(b) || matches!(b, b'_' | b'.' | b'-'))
}

/// Refuses what isn't a name.
pub(crate) fn check(name: &str) -> Result<()> {
    if is_valid(name) {
        return Ok(());
    }
    let problem = "use at least two of a-z A-Z 0-9 _ . -, and begin with a letter or digit";
    Err(Error::invalid("container name", name, problem))
}

const ADJECTIVES: [&str; 48] = [
    "able", "agile", "amber", "bold", "brave", "brisk", "calm", "civil", "clear", "clever", "cosy", "crisp",
    "deep", "eager", "early", "fair", "firm", "fleet", "fond", "frank", "free", "fresh", "glad", "grand",
    "handy", "hardy", "keen", "kind", "light", "lively", "loyal", "lucid", "merry", "mild", "neat", "noble",
    "prime", "proud", "quick", "quiet", "rapid", "ready", "sharp", "solid", "sound", "steady", "swift",
    "warm",
];

/// Seafarers, explorers, and people of computing.
const SURNAMES: [&str; 48] = [
    "amundsen",
    "anning",
    "baret",
    "barents",
    "bering",
    "bligh",
    "booth",
    "bowditch",
    "cabot",
    "carpenter",
    "clarke",
    "cook",
    "davis",
    "dijkstra",
    "drake",
    "earhart",
    "eriksson",
    "flinders",
    "franklin",
    "goddard",
    "hamilton",
    "harrison",
    "hopper",
    "hudson",
    "johnson",
    "kay",
    "kernighan",
    "knuth",
    "lamport",
    "liskov",
    "lovelace",
    "magellan",
    "mercator",
    "nansen",
    "noether",
    "perlman",
    "pytheas",
    "ritchie",
    "ross",
    "scoresby",
    "shackleton",
    "tasman",
    "tharp",
    "thompson",
    "turing",
    "vespucci",
    "wilkes",
    "zheng",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_64_hexadecimal_characters_and_differ() {
        let (a, b) = (new_id().unwrap(), new_id().unwrap());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
        assert!(is_valid(&generated(&a, 0)));
        assert_ne!(generated(&a, 0), generated(&a, 1));
    }

    #[test]
    fn names_follow_dockers_rule() {
        for (name, valid) in [
            ("web", true),
            ("a_b.c-1", true),
            ("a", false),
            ("-a", false),
            ("a/b", false),
            ("", false),
            ("..", false),
        ] {
            assert_eq!(is_valid(name), valid, "{name}");
        }
    }
}
