//! Digests of files.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// What stands before the digits.
const PREFIX: &str = "blake3:";

/// A blake3 digest of a file's bytes, written as `blake3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Digest([u8; blake3::OUT_LEN]);

impl Digest {
    /// Names a hash that was computed elsewhere.
    #[must_use]
    pub fn blake3(hash: &blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }

    /// The digest of a text.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self::blake3(&blake3::hash(text))
    }

    /// The digits alone.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{PREFIX}{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let hash = text
            .strip_prefix(PREFIX)
            .and_then(|hex| blake3::Hash::from_hex(hex).ok());
        hash.map(|hash| Self::blake3(&hash))
            .ok_or_else(|| format!("not a blake3 digest: {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let digest = Digest::of(b"a disk");
        let text = String::from(digest);
        assert!(text.starts_with("blake3:") && text.len() == 71, "{text}");
        assert_eq!(Digest::try_from(text.clone()), Ok(digest));
        assert!(Digest::try_from(text.replace("blake3", "sha256")).is_err());
        assert!(Digest::try_from(text[..70].to_owned()).is_err());
    }
}
