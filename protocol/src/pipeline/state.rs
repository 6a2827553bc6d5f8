//! Where a pipeline and its stages are, in the words that people read.

use serde::{Deserialize, Serialize};

/// Where a pipeline is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PipelineState {
    /// It is being written down.
    Accepted,
    /// It is under way.
    Running,
    /// All of it has ended well.
    Done,
    /// A stage failed it.
    Failed,
    /// Its user withdrew it.
    Cancelled,
}

impl PipelineState {
    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Where a stage is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageState {
    /// For other stages, or for somebody who can run it.
    Waiting,
    /// Some of its tasks are handed out, or have ended.
    Running,
    /// All its tasks have ended.
    Done,
    /// It was not to be run.
    Skipped,
    /// It has failed, and the pipeline by it.
    Failed,
}
