//! The names of things: peers, meshes, tasks and blobs.
//!
//! **Invariant:** each is a fixed number of bytes, so an id from a stranger costs what an honest one costs.

use core::fmt::{self, Display as _};
use core::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not in the id's alphabet.
    #[error("`{text}` is not a {kind}: expected {expected}")]
    Malformed {
        /// What was read.
        text: String,
        /// Which kind of id was wanted.
        kind: &'static str,
        /// The form it should have.
        expected: &'static str,
    },
}

fn malformed(text: &str, kind: &'static str, expected: &'static str) -> IdError {
    // A pasted file must not end up in an error line.
    IdError::Malformed { text: text.chars().take(80).collect(), kind, expected }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    HEXLOWER.encode_display(bytes).fmt(f)
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let fits = text.len() == 2 * N;
    (fits && HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes).is_ok()).then_some(bytes)
}

/// Ids are text where a person may read them (JSON, TOML) and bytes on the wire (CBOR).
macro_rules! serde_as_text_or_bytes {
    ($name:ident, $len:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    serde_bytes::ByteArray::<$len>::deserialize(deserializer).map(|bytes| Self(bytes.into_array()))
                }
            }
        }
    };
}

/// A peer: its Ed25519 public key. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 32]);

serde_as_text_or_bytes!(PeerId, 32);

/// The first bytes of a [`PeerId`]: enough to tell peers of one mesh apart where a mistake costs a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; 8]);

serde_as_text_or_bytes!(ShortId, 8);

impl fmt::Display for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl FromStr for ShortId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| malformed(text, "short peer id", "16 hexadecimal digits"))
    }
}

impl ShortId {
    /// The same as a number: in the same order, and compared at once.
    pub(crate) fn number(&self) -> u64 {
        u64::from_be_bytes(self.0)
    }
}

impl PeerId {
    /// No peer: a message that names it leaves out what its receiver knows.
    pub const UNSAID: Self = Self([0; 32]);

    /// Whether this is left out of a message.
    pub(crate) fn is_unsaid(&self) -> bool {
        *self == Self::UNSAID
    }

    pub(crate) fn unsaid() -> Self {
        Self::UNSAID
    }

    /// Its first bytes.
    pub fn abridged(&self) -> ShortId {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        ShortId(first)
    }

    /// The first eight digits, enough for a person to tell peers of one mesh apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer:{}", self.short())
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| malformed(text, "peer id", "64 hexadecimal digits"))
    }
}

/// A mesh: the Ed25519 public key that signs its member certificates. Shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshId(pub [u8; 32]);

serde_as_text_or_bytes!(MeshId, 32);

impl MeshId {
    /// The first eight digits.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mesh:{}", self.short())
    }
}

impl FromStr for MeshId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| malformed(text, "mesh id", "64 hexadecimal digits"))
    }
}

/// A task: 16 bytes of BLAKE3 over its home peer and what makes it unique there. Shown in base58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub [u8; 16]);

serde_as_text_or_bytes!(TaskId, 16);

impl TaskId {
    /// The id of the task that `home` knows under `key`: the same key always names the same task.
    pub fn derive(home: PeerId, key: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("shoal task id v1");
        hasher.update(&home.0);
        hasher.update(key);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.0).into_string())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task:{self}")
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut id = [0; 16];
        match bs58::decode(text).onto(&mut id) {
            Ok(16) => Ok(Self(id)),
            Ok(_) | Err(_) => Err(malformed(text, "task id", "22 base58 characters")),
        }
    }
}

/// A blob: the BLAKE3 hash of its content. Shown as `b3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 32]);

serde_as_text_or_bytes!(BlobId, 32);

impl BlobId {
    /// The id of these bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// `b3:` and the first eight digits.
    pub fn short(&self) -> String {
        self.to_string().chars().take(11).collect()
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b3:")?;
        hex(&self.0, f)
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for BlobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("b3:")
            .and_then(parse_hex)
            .map(Self)
            .ok_or_else(|| malformed(text, "blob id", "`b3:` and 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_reads_back_what_it_prints() {
        let peer = PeerId([7; 32]);
        let mesh = MeshId([8; 32]);
        let task = TaskId::derive(peer, b"key");
        let blob = BlobId::of(b"content");

        assert_eq!(peer.to_string().parse(), Ok(peer));
        assert_eq!(mesh.to_string().parse(), Ok(mesh));
        assert_eq!(task.to_string().parse(), Ok(task));
        assert_eq!(blob.to_string().parse(), Ok(blob));
    }

    #[test]
    fn malformed_ids_are_errors() {
        assert!("b3:12".parse::<BlobId>().is_err());
        assert!("+1".repeat(32).parse::<PeerId>().is_err());
        assert!("é".repeat(32).parse::<PeerId>().is_err());
        assert!("0OIl".parse::<TaskId>().is_err());
        assert!(bs58::encode([1; 17]).into_string().parse::<TaskId>().is_err());
    }
}
