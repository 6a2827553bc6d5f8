//! What a peer keeps on disk, as its driver's store sees it: keys and bytes.
//!
//! ```text
//! Output::Persist{ticket, changes} ─► the driver's store: one atomic batch, fsynced (many tickets in one fsync)
//!                                      ├─► Input::Persisted{ticket}
//!                                      └─► Input::PersistFailed{ticket, reason}: nothing of the batch is there
//! Input::Restored{records, boot, …} ◄─ everything that is on disk, once, before any other fact
//!
//! record = u8 version · CBOR · the first 8 bytes of BLAKE3(key · version · CBOR)
//! ```
//!
//! **Invariant:** batches become durable in the order of their tickets; of a batch, all or nothing is found after a
//! crash. A record that was changed, cut or put under another key is never read as a good one.
//! **Not here:** files, and what the records mean. Those are the driver's `store` and `task/durable/record.rs`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::cbor;
use crate::sabotage::{self, Bug};

/// Version of the records; their first byte.
pub const VERSION: u8 = 1;
/// Bytes of the checksum that ends each record: one damaged record in 2⁶⁴ is taken for a good one.
const CHECKSUM_BYTES: usize = 8;

/// One batch of changes; answered once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// From now on these bytes stand under this key, whatever stood there before.
    Put {
        /// The key: at most [`KEY_BYTES_MAX`].
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
        /// The record, by [`encode`].
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// Nothing stands under this key any more; it is no error if nothing did.
    Delete {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Vec<u8>,
    },
}

/// A kind and a task's id; room for more.
pub const KEY_BYTES_MAX: usize = 64;

/// Why bytes from disk are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Changed, cut, or of another key.
    #[error("the record is damaged: {0}")]
    Damaged(String),
    /// Written by a newer version of the software.
    #[error("the record has version {theirs}, this software reads up to {VERSION}")]
    NewerVersion {
        /// The version it has.
        theirs: u8,
    },
}

impl RecordError {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) => {
                "check the disk; the tasks whose records are good go on, a damaged one must be submitted again"
            }
            Self::NewerVersion { .. } => "start the version of shoald that wrote it, or a later one",
        }
    }
}

/// The bytes of a record that is to stand under `key`.
pub fn encode<T: Serialize>(key: &[u8], value: &T) -> Vec<u8> {
    seal(key, &cbor::encode(value))
}

/// The bytes of a record of this content, whatever it is: for whoever tries what a peer makes of that.
pub fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend(content);
    let checksum = checksum(key, &bytes);
    bytes.extend(checksum);
    bytes
}

/// Reads a record that stood under `key`.
pub fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, RecordError> {
    let Some((content, found)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(RecordError::Damaged(format!("{} bytes are too few", bytes.len())));
    };
    if checksum(key, content) != *found && !sabotage::is(Bug::SkipChecksum) {
        return Err(RecordError::Damaged("its checksum does not fit".into()));
    }
    match content.split_first() {
        Some((&VERSION, body)) => cbor::decode(body).map_err(|error| RecordError::Damaged(error.to_string())),
        Some((&theirs, _)) if theirs > VERSION => Err(RecordError::NewerVersion { theirs }),
        Some((theirs, _)) => Err(RecordError::Damaged(format!("there is no version {theirs}"))),
        None => Err(RecordError::Damaged("it is empty".into())),
    }
}

/// Of the key as well: a good record in the wrong place is not a good one.
fn checksum(key: &[u8], content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new_derive_key("shoal record v1");
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(content);
    let mut checksum = [0; CHECKSUM_BYTES];
    hasher.finalize_xof().fill(&mut checksum);
    checksum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_has_the_bytes_it_always_had_and_reads_back() {
        let bytes = encode(b"tk", &(7u8, "shoal"));

        assert_eq!(bytes[..9], [VERSION, 0x82, 7, 0x65, b's', b'h', b'o', b'a', b'l']);
        assert_eq!(bytes.len(), 9 + CHECKSUM_BYTES);
        assert_eq!(decode(b"tk", &bytes), Ok((7u8, "shoal".to_owned())));
    }

    #[test]
    fn a_record_under_another_key_is_damaged() {
        let bytes = encode(b"a", &1u8);

        assert!(matches!(decode::<u8>(b"b", &bytes), Err(RecordError::Damaged(_))));
    }

    #[test]
    fn a_record_of_a_newer_version_is_told_from_a_damaged_one() {
        let mut bytes = vec![VERSION + 1, 0];
        bytes.extend(checksum(b"k", &bytes));

        assert_eq!(decode::<u8>(b"k", &bytes), Err(RecordError::NewerVersion { theirs: VERSION + 1 }));
    }

    proptest! {
        #[test]
        fn a_damaged_or_cut_record_is_never_read(value in proptest::collection::vec(any::<u8>(), 0..64), at: usize, bit in 0..8u8) {
            let good = encode(b"key", &value);
            let mut flipped = good.clone();
            let at = at % good.len();
            flipped[at] ^= 1 << bit;

            prop_assert!(decode::<Vec<u8>>(b"key", &flipped).is_err());
            prop_assert!(decode::<Vec<u8>>(b"key", &good[..at]).is_err());
        }
    }
}
