//! What pipelines have the rest of the peer do: write, hand out, cancel, let go of, remember.

use core::time::Duration;

use super::graph::NodeId;
use super::memo::{Known, MemoKey};
use super::spec::PipelineId;
use crate::id::{PeerId, TaskId};
use crate::privacy::{Export, Refused};
use crate::store::Change;
use crate::task::spec::TaskSpec;

/// What was to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// A pipeline that was handed in.
    Taken(PipelineId),
    /// The end of one of its tasks.
    Node(PipelineId, NodeId),
    /// Its own end.
    Ended(PipelineId),
    /// What nobody waits for.
    Nothing,
}

/// What the peer is to do for pipelines.
#[derive(Debug)]
pub(crate) enum Order {
    /// Write this.
    Write(Vec<Change>, Written),
    /// A task of a user is not wanted any more.
    Cancel(TaskId),
    /// The output that this peer holds for a task is not needed any more.
    LetGo { holder: PeerId, task: TaskId },
    /// Its keepers are to remember this.
    Remember(MemoKey, Known),
}

/// What came of a stage that is a release.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) keeper: PeerId,
    pub(crate) took: Duration,
    pub(crate) result: Result<String, Refused>,
}

/// A task to be handed to the requester.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) pipeline: PipelineId,
    pub(crate) node: NodeId,
    pub(crate) name: String,
    pub(crate) spec: TaskSpec,
    /// What others may know its output by, unless they were asked already.
    pub(crate) memo: Option<MemoKey>,
    /// It is no task, but this.
    pub(crate) export: Option<Export>,
}
