//! Digests of files.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// A blake3 digest of a file's bytes: `blake3:` and 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// Names a hash that was computed elsewhere.
    #[must_use]
    pub fn blake3(hash: &blake3::Hash) -> Self {
        Self(format!("blake3:{}", hash.to_hex()))
    }

    /// The digest of a text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self::blake3(&blake3::hash(text))
    }

    /// The text, with its prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
