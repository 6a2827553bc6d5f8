//! The body of a frame: a version, and what is said in that version.
//!
//! **Not here:** the length before it. That is the transport's.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cbor::{self, CborError};
use crate::config::MESSAGE_BYTES_MAX;

/// Version of the wire protocol; the first byte of every frame.
pub const VERSION: u8 = 1;

/// Why a frame is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Nothing in it.
    #[error("an empty frame")]
    Empty,
    /// Longer than any frame may be.
    #[error("a frame of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// A version this peer does not speak.
    #[error("protocol version {theirs}; this peer speaks {VERSION}")]
    OtherVersion {
        /// The version byte of the frame.
        theirs: u8,
    },
    /// Not a message of this version.
    #[error(transparent)]
    Body(#[from] CborError),
}

/// The body of a frame that carries `value`.
pub(super) fn encode_body<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = vec![VERSION];
    body.extend(cbor::encode(value));
    body
}

pub(super) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    if body.len() > MESSAGE_BYTES_MAX {
        return Err(DecodeError::TooLarge(body.len()));
    }
    match body.split_first() {
        None => Err(DecodeError::Empty),
        Some((&VERSION, body)) => Ok(cbor::decode(body)?),
        Some((&theirs, _)) => Err(DecodeError::OtherVersion { theirs }),
    }
}

/// The first frame each side sends. Who it is has been shown in the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Drawn at each start, so that a restart is not taken for a second connection of the same run.
    #[serde(rename = "b", default)]
    pub run: u64,
    /// Version of the software, for people.
    #[serde(rename = "v", default)]
    pub software: String,
}

impl Hello {
    /// The body of the frame that carries this.
    pub fn encode(&self) -> Vec<u8> {
        encode_body(self)
    }

    /// Reads the body of a first frame.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        decode_body(body)
    }
}
