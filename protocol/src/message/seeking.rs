//! Asking around for a task.

use serde::{Deserialize, Serialize};

use super::unsaid::is_zero;
use crate::id::TaskId;
use crate::task::durable::Found;

/// A user of the sender, or of a neighbour of it, asks for a task by its id, which nobody else can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seek {
    /// Matches the answer to the question.
    #[serde(rename = "q")]
    pub ticket: u64,
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// Times it may be passed on; at most [`crate::config::SEEK_HOPS`].
    #[serde(rename = "h", default, skip_serializing_if = "is_zero")]
    pub hops: u8,
}

/// The answer to a [`Seek`]; whoever does not know is silent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundHere {
    /// Of the question.
    #[serde(rename = "q")]
    pub ticket: u64,
    /// What is known.
    #[serde(rename = "f")]
    pub found: Found,
}
