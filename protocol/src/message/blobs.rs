//! Who has which bytes, and how long they are to stay there.
//!
//! **Not here:** the bytes. They come over streams of their own.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{BlobId, TaskId};
use crate::residency::Labels;
use crate::time::duration_us;

/// Looking for blobs; whoever has none of them is silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which; at most [`crate::blobs::BLOBS_PER_MESSAGE_MAX`].
    #[serde(rename = "b")]
    pub blobs: Vec<BlobId>,
}

/// The answer to a [`Want`]: what of it the sender holds as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Have {
    /// Which; at most [`crate::blobs::BLOBS_PER_MESSAGE_MAX`].
    #[serde(rename = "b")]
    pub blobs: Vec<Held>,
}

/// A blob that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    #[serde(rename = "i")]
    pub blob: BlobId,
    /// Its size.
    #[serde(rename = "b")]
    pub bytes: u64,
    /// What its owners say of it.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// What home wants of an output that stayed where it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Of which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// It is to stay so long from now; no longer at all, if that is nothing.
    #[serde(rename = "f", with = "duration_us")]
    pub lease: Duration,
}
