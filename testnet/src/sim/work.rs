//! What tasks of a script turn out to be, and what their runs write.

use core::time::Duration;

use shoal_protocol::TaskId;
use shoal_protocol::message::TaskRef;

/// What a task of the script turns out to be when it is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    /// On a reference core.
    pub(super) run: Duration,
    /// Nothing: its own id, so that results can be told apart.
    pub(super) output_bytes: Option<u64>,
}

/// What the run of a kept task writes: who made it. An end can then be told to be that of the attempt it is said to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// By which attempt.
    pub attempt: TaskRef,
    /// Where.
    pub index: usize,
}

impl Made {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let numbers = [self.attempt.epoch, self.index as u64].map(u64::to_le_bytes);
        [self.attempt.task.0.as_slice(), numbers.as_flattened()].concat()
    }

    /// Reads what a run wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (task, bytes) = bytes.split_first_chunk()?;
        let (epoch, bytes) = bytes.split_first_chunk()?;
        // A mark may follow.
        let (index, _) = bytes.split_first_chunk()?;
        let attempt = TaskRef { task: TaskId(*task), epoch: u64::from_le_bytes(*epoch) };
        Some(Self { attempt, index: usize::try_from(u64::from_le_bytes(*index)).ok()? })
    }
}
