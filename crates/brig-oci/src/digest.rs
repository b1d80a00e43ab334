//! Content digests, validated when parsed, and the hashers that produce them.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

use crate::excerpt::excerpt;

/// A hash algorithm that content may be addressed by (image-spec `descriptor.md`, "Registered Algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which every implementation must support.
    Sha256,
    /// SHA-512, which implementations may support.
    Sha512,
}

impl Algorithm {
    /// The name before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal characters stand after the colon.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// A hasher of this algorithm.
    pub fn hasher(self) -> Hasher {
        match self {
            Self::Sha256 => Hasher::Sha256(Sha256::new()),
            Self::Sha512 => Hasher::Sha512(Sha512::new()),
        }
    }
}

/// A content digest, `algorithm:hex`.
///
/// The hexadecimal part is lower case and has exactly the algorithm's length, so neither part can hold a path
/// separator: both are safe as path components.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

/// Why a string isn't a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no colon.
    #[error("`{input}` is not a digest: expected `algorithm:hex`, such as `sha256:…`")]
    NoAlgorithm {
        /// What was given.
        input: String,
    },
    /// The algorithm isn't one that brig verifies.
    #[error("`{input}` uses an unsupported digest algorithm: sha256 and sha512 are supported")]
    UnsupportedAlgorithm {
        /// What was given.
        input: String,
    },
    /// The part after the colon isn't lower-case hexadecimal of the right length.
    #[error(
        "`{input}` is not a valid digest: expected {expected} lower-case hexadecimal characters after the colon"
    )]
    InvalidHex {
        /// What was given.
        input: String,
        /// How many characters the algorithm needs.
        expected: usize,
    },
}

impl Digest {
    /// The digest of `bytes` by SHA-256.
    pub fn sha256(bytes: impl AsRef<[u8]>) -> Self {
        let mut hasher = Algorithm::Sha256.hasher();
        hasher.update(bytes.as_ref());
        hasher.finish()
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve hexadecimal characters, as lists show them.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }

    /// Whether `bytes` have this digest.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        let mut hasher = self.algorithm.hasher();
        hasher.update(bytes);
        hasher.finish() == *self
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        // Error text must not carry an unbounded remote string.
        let shown = || excerpt(input, 200);
        let Some((name, hex)) = input.split_once(':') else {
            return Err(DigestError::NoAlgorithm { input: shown() });
        };
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::UnsupportedAlgorithm { input: shown() }),
        };
        let valid = hex.len() == algorithm.hex_len()
            && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !valid {
            return Err(DigestError::InvalidHex { input: shown(), expected: algorithm.hex_len() });
        }
        Ok(Self { algorithm, hex: hex.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A running hash of one of the supported algorithms.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that was taken in.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest { algorithm: Algorithm::Sha256, hex: hex(&hasher.finalize()) },
            Self::Sha512(hasher) => Digest { algorithm: Algorithm::Sha512, hex: hex(&hasher.finalize()) },
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        };
        f.debug_tuple("Hasher").field(&algorithm).finish()
    }
}

fn hex(bytes: &[u8]) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_OBJECT: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    #[test]
    fn the_empty_object_has_the_digest_the_specification_gives() {
        assert_eq!(Digest::sha256("{}").to_string(), EMPTY_OBJECT);
        assert!(EMPTY_OBJECT.parse::<Digest>().unwrap().matches(b"{}"));
    }

    #[test]
    fn sha512_is_told_apart() {
        let mut hasher = Algorithm::Sha512.hasher();
        hasher.update(b"{}");
        let digest = hasher.finish();
        assert_eq!(digest.hex().len(), 128);
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        for input in [
            "",
            "sha256",
            "sha256:",
            "sha256:../../../../etc/passwd",
            "sha256:44136FA355B3678A1146AD16F7E8649E94FB4FC21FE77E8310C060F61CAAFF8A",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a0",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha512:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "SHA256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8é",
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\n",
            "../sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ] {
            assert!(input.parse::<Digest>().is_err(), "{input}");
        }
    }

    #[test]
    fn json_holds_digests_as_strings() {
        let digest: Digest = serde_json::from_str(&format!("\"{EMPTY_OBJECT}\"")).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{EMPTY_OBJECT}\""));
        // An escape keeps the parser from lending the text.
        let escaped = EMPTY_OBJECT.replace(':', "\\u003a");
        assert_eq!(serde_json::from_str::<Digest>(&format!("\"{escaped}\"")).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:x\"").is_err());
        assert!(serde_json::from_str::<Digest>("null").is_err());
    }

    #[test]
    fn an_error_shows_a_tame_part_of_the_input() {
        let error = format!("\x1b[2J{}", "x".repeat(10_000)).parse::<Digest>().unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\x1b'), "{error}");
    }
}
