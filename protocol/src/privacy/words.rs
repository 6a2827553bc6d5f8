//! What a peer and a keeper say to each other: one question on a stream of its own, one answer, and the end of both.
//!
//! ```text
//! OPENING · u32 length · Ask ─►     ◄─ u32 length · Answer       lengths are big endian
//! ```
//!
//! **Invariant:** the first byte is above any that a request for a blob begins with, so that streams of both kinds are told
//! apart, and a peer of an earlier version refuses this one as a request it cannot read.

use serde::{Deserialize, Serialize};

use super::query::{Noise, Query};
use super::refused::Refused;
use super::release::Release;
use crate::task::spec::Payload;

/// The first bytes of such a stream.
pub const OPENING: [u8; 4] = *b"stat";
/// A question; rows of more than [`ROWS_INLINE_MAX`] bytes are named as blobs.
pub const ASK_BYTES_MAX: usize = 64 * 1_024;
/// An answer of as many figures as there may be.
pub const ANSWER_BYTES_MAX: usize = 256 * 1_024;
/// Rows that are sent along.
pub const ROWS_INLINE_MAX: usize = 32 * 1_024;
/// Payloads that rows may come in.
pub const PAYLOADS_MAX: usize = 32;

/// A request for a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Of which data set.
    #[serde(rename = "s")]
    pub dataset: String,
    /// What is asked.
    #[serde(rename = "q")]
    pub query: Query,
    /// With which noise.
    #[serde(rename = "n")]
    pub noise: Noise,
    /// The rows, one payload after the other; those that the declaration names, where there is none.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Payload>,
}

/// What a keeper says to it.
pub type Answer = Result<Release, Refused>;
