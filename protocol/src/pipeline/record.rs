//! What stands on disk of a pipeline.
//!
//! | key | record | written |
//! |---|---|---|
//! | `p` · id | [`PipelineRecord`] | when it is taken on, and when it has ended |
//! | `n` · id · number of the node | [`NodeRecord`] | when a task of it has ended; deleted when its output must be made again, and at the end unless it is a result |
//!
//! **Invariant:** dates stand here only, and are read as ages (`task/durable/record.rs`).

use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::PipelineError;
use super::graph::NodeId;
use super::run::Done;
use super::spec::{PipelineId, PipelineSpec};
use crate::id::{PeerId, TaskId};
use crate::residency::Labels;
use crate::store::{self, Change};
use crate::task::spec::Payload;
use crate::time::duration_us;

const PIPELINE: u8 = b'p';
const NODE: u8 = b'n';

/// A pipeline, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PipelineRecord {
    #[serde(rename = "n")]
    pub(super) name: String,
    /// Once it has ended, without the bytes of its inputs.
    #[serde(rename = "s")]
    pub(super) spec: PipelineSpec,
    #[serde(rename = "a")]
    pub(super) accepted_unix_ms: u64,
    #[serde(rename = "r", with = "duration_us")]
    pub(super) retention: Duration,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<EndRecord>,
}

/// How a pipeline ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EndRecord {
    /// Nothing where it is done.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<PipelineError>,
    #[serde(rename = "t")]
    pub(super) total_us: u64,
    /// Everything of it is forgotten then.
    #[serde(rename = "u")]
    pub(super) until_unix_ms: u64,
    /// What was done, a stage each.
    #[serde(rename = "s")]
    pub(super) tallies: Vec<Tally>,
}

/// What was done for one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    #[serde(rename = "n")]
    pub(super) tasks: u32,
    #[serde(rename = "d")]
    pub(super) done: u32,
    #[serde(rename = "k", default)]
    pub(super) skipped: u32,
    #[serde(rename = "m", default)]
    pub(super) remembered: u32,
    /// Times its tasks were handed out.
    #[serde(rename = "x", default)]
    pub(super) runs: u32,
    #[serde(rename = "r", default)]
    pub(super) run_us: u64,
    #[serde(rename = "b", default)]
    pub(super) output_bytes: u64,
    /// The code of its last task that exited.
    #[serde(rename = "c", default)]
    pub(super) exit_code: Option<u32>,
    /// Who ran them; some of them, where they are many.
    #[serde(rename = "p", default)]
    pub(super) peers: Vec<PeerId>,
}

/// How a task of a pipeline ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    #[serde(rename = "x")]
    pub(super) exit_code: u32,
    #[serde(rename = "o")]
    pub(super) output: Payload,
    #[serde(rename = "p")]
    pub(super) executor: PeerId,
    #[serde(rename = "r")]
    pub(super) run_us: u64,
    #[serde(rename = "n")]
    pub(super) runs: u32,
    #[serde(rename = "m", default, skip_serializing_if = "core::ops::Not::not")]
    pub(super) remembered: bool,
    /// As which task its output is held elsewhere.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub(super) held_as: Option<TaskId>,
    /// What is said of its output.
    #[serde(rename = "lb", default, skip_serializing_if = "Labels::is_empty")]
    pub(super) labels: Labels,
}

impl NodeRecord {
    /// The end as it goes on from here.
    pub(super) fn done(self) -> Done {
        Done {
            exit_code: self.exit_code,
            output_bytes: self.output.bytes(),
            output: Some(self.output),
            executor: self.executor,
            labels: self.labels,
            run_us: self.run_us,
            remembered: self.remembered,
            recorded: true,
            held_as: self.held_as,
        }
    }
}

/// What a key is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Pipeline(PipelineId),
    Node(PipelineId, NodeId),
}

/// Reads a key; nothing where it is none of a pipeline.
pub(super) fn read_key(key: &[u8]) -> Option<Key> {
    let (kind, rest) = key.split_first()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    match (*kind, rest) {
        (PIPELINE, []) => Some(Key::Pipeline(TaskId(*id))),
        (NODE, node) => Some(Key::Node(TaskId(*id), NodeId::from_be_bytes(node.try_into().ok()?))),
        _ => None,
    }
}

/// Whether a record is of a pipeline.
pub(crate) fn is_of_a_pipeline(key: &[u8]) -> bool {
    read_key(key).is_some()
}

fn pipeline_key(id: PipelineId) -> Vec<u8> {
    [&[PIPELINE], id.0.as_slice()].concat()
}

fn node_key(id: PipelineId, node: NodeId) -> Vec<u8> {
    [&[NODE], id.0.as_slice(), &node.to_be_bytes()].concat()
}

fn put<T: Serialize>(key: Vec<u8>, value: &T) -> Change {
    let bytes = store::encode(&key, value);
    Change::Put { key, bytes }
}

pub(super) fn put_pipeline(id: PipelineId, record: &PipelineRecord) -> Change {
    put(pipeline_key(id), record)
}

pub(super) fn put_node(id: PipelineId, node: NodeId, record: &NodeRecord) -> Change {
    put(node_key(id, node), record)
}

pub(super) fn delete_node(id: PipelineId, node: NodeId) -> Change {
    Change::Delete { key: node_key(id, node) }
}

pub(super) fn delete_pipeline(id: PipelineId) -> Change {
    Change::Delete { key: pipeline_key(id) }
}
