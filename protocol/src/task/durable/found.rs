//! What another peer knows of a task.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{PeerId, TaskId};
use crate::output::{TaskError, TaskResult};
use crate::task::TaskState;
use crate::time::duration_us;

/// What another peer knows of a task that was asked for here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Which task.
    #[serde(rename = "t")]
    pub task: TaskId,
    /// What its user calls it.
    #[serde(rename = "n", default)]
    pub name: String,
    /// Where it is in its life.
    #[serde(rename = "s")]
    pub state: TaskState,
    /// Who says so: its home, or its guardian. A large output can be fetched from there.
    #[serde(rename = "h")]
    pub holder: PeerId,
    /// Time since it was accepted.
    #[serde(rename = "a", with = "duration_us")]
    pub age: Duration,
    /// Its result or why it has none, once it has ended.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Result<TaskResult, TaskError>>,
    /// Whoever says so cannot say whether it was ever acknowledged: to who hands it in again this is no acknowledgement.
    #[serde(rename = "u", default, skip_serializing_if = "core::ops::Not::not")]
    pub unpromised: bool,
}

impl Found {
    /// Whether somebody else may know more.
    pub(crate) fn is_hearsay(&self) -> bool {
        self.unpromised || self.is_damaged()
    }

    /// Whether all that is known is that the record cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.result, Some(Err(TaskError::RecordDamaged { .. })))
    }
}
