//! The life of a task: `requester.rs` at its home peer, `executor.rs` where it runs.
//!
//! ```text
//! accepted ─► placing ─► fetching ─► queued ─► running ─► done | failed | cancelled
//!                ▲__________|__________|_________|   executor died or said no: next attempt epoch
//! ```

pub(crate) mod deadlines;
pub mod durable;
pub mod epoch;
pub mod executor;
pub(crate) mod home;
pub mod problem;
pub mod receipt;
pub mod report;
pub mod requester;
mod schedule;
pub mod spec;
pub mod verification;

use serde::{Deserialize, Serialize};

/// Where a task is in its life, as its home peer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Taken from the user.
    Accepted,
    /// An executor is being found.
    Placing,
    /// The executor fetches its module or input.
    Fetching,
    /// It waits for a core.
    Queued,
    /// It runs.
    Running,
    /// It has a result, also when the module exited with an error.
    Done,
    /// It has none, for a stated reason.
    Failed,
    /// Its user withdrew it.
    Cancelled,
}

impl TaskState {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}
