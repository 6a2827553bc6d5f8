//! Tasks that outlive their peer: what is kept of them, where, and how it is found again.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::TaskState;
use crate::config::RETENTION_DEFAULT;
use crate::id::{PeerId, TaskId};
use crate::output::{TaskError, TaskResult};
use crate::time::duration_us;

/// Where a task is kept before its submission is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In memory: `shoal run`, whose user is there and may ask again.
    #[default]
    Memory,
    /// On the disk of its home.
    Disk,
    /// On the disks of its home and of a guardian elsewhere, either of which may be lost.
    Guarded,
}

impl Durability {
    /// What `--durable N` means: copies on disk.
    pub fn of_copies(copies: u8) -> Option<Self> {
        match copies {
            0 => Some(Self::Memory),
            1 => Some(Self::Disk),
            2 => Some(Self::Guarded),
            _ => None,
        }
    }
}

/// How a task is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Where.
    pub durability: Durability,
    /// A result is kept this long after the end; at most [`crate::config::RETENTION_MAX`]. A task that has no deadline and
    /// no end ends as failed after this long.
    #[serde(with = "duration_us")]
    pub retention: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { durability: Durability::Memory, retention: RETENTION_DEFAULT }
    }
}

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
}
