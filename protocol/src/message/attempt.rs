//! One attempt at a task: its name, where it stands, and how it ended.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::LoadDigest;
use super::unsaid::is_zero;
use crate::id::TaskId;
use crate::task::TaskState;
use crate::task::receipt::SignedReceipt;
use crate::task::report::RunReport;
use crate::time::duration_us;

/// One attempt at one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskRef {
    /// The task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// The attempt; only the latest may commit. See [`crate::task::epoch`].
    #[serde(rename = "e")]
    pub epoch: u64,
}

/// Where a long attempt stands; short ones end before anybody would read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Fetching, queued or running.
    #[serde(rename = "s")]
    pub state: TaskState,
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which attempt.
    #[serde(rename = "t")]
    pub attempt: TaskRef,
    /// Which build was run: a home that has started anew since does not know.
    #[serde(rename = "b", default, skip_serializing_if = "is_zero")]
    pub variant: u8,
    /// How the run ended.
    #[serde(rename = "r")]
    pub report: RunReport,
    /// Speed of the executor's core relative to the reference core, so that home learns the work.
    #[serde(rename = "v")]
    pub speed: f64,
    /// Time fetching and preparing took at the executor.
    #[serde(rename = "p", default, with = "duration_us", skip_serializing_if = "Duration::is_zero")]
    pub prepare: Duration,
    /// Time it waited in the executor's queue.
    #[serde(rename = "w", default, with = "duration_us", skip_serializing_if = "Duration::is_zero")]
    pub queued: Duration,
    /// Fresh load.
    #[serde(rename = "l")]
    pub load: LoadDigest,
    /// What its executor signed of it, where its answer is to be checked.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SignedReceipt>,
}
