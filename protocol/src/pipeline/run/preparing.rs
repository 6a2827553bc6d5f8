//! What a task reads, and what stands in the way of handing it out.

use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::ending::REST;
use super::{Done, NodeState, Run, inline_bytes};
use crate::config::INLINE_BYTES_MAX;
use crate::id::PeerId;
use crate::pipeline::error::PipelineError;
use crate::pipeline::graph::{Node, NodeId, Take};
use crate::pipeline::spec::Stage;
use crate::residency::Labels;
use crate::task::spec::{Patience, Payload, TaskSpec};
use crate::time::Time;

/// A holder of an output that is gone has this long to come back before the output is made again.
const HOLDER_PATIENCE: Duration = Duration::from_secs(10);

/// A task that may be handed out, or what stands in its way.
#[derive(Debug, PartialEq)]
pub(in crate::pipeline) enum Prepared {
    Task(Box<TaskSpec>),
    /// Whoever holds some of its input is gone; they may come back.
    HolderGone(Duration),
    /// These outputs must be made again.
    OutputsLost(Vec<NodeId>),
    Failed(PipelineError),
}

impl Run {
    /// The task a node is, with what it reads.
    pub(in crate::pipeline) fn prepare(
        &mut self,
        now: Time,
        id: NodeId,
        me: PeerId,
        is_here: &dyn Fn(PeerId) -> bool,
    ) -> Prepared {
        let Some((node, stage)) = self.graph.node(id).zip(self.stage_of(id)) else {
            return Prepared::OutputsLost(Vec::new());
        };
        let inputs = match self.inputs_of(node) {
            Ok(inputs) => inputs,
            Err(lost) => return Prepared::OutputsLost(lost),
        };
        let gone: Vec<NodeId> = self.held_by_who_is_gone(node, me, is_here);
        let mut task = stage.task.clone();
        task.inputs = joined(inputs);
        task.labels.join(&self.labels_of(node));
        task.deadline = self.deadline_in(now);
        task.patience = Patience::Endless;
        if task.policy.peer.is_none()
            && let Some(near) = self.peer_near(stage, me).filter(|peer| is_here(*peer))
        {
            task.policy.peer = Some(near);
        }
        if let Err(error) = task.check()
            && stage.export.is_none()
        {
            return Prepared::Failed(PipelineError::Inputs { stage: self.name_of(id), why: error.to_string() });
        }
        let Some(course) = self.courses.get_mut(id as usize) else { return Prepared::OutputsLost(Vec::new()) };
        if gone.is_empty() {
            course.holder_gone_since = None;
            return Prepared::Task(Box::new(task));
        }
        let since = *course.holder_gone_since.get_or_insert(now);
        if now.since(since) < HOLDER_PATIENCE {
            "a peer that holds its input is gone".clone_into(&mut course.note);
            return Prepared::HolderGone(REST);
        }
        course.holder_gone_since = None;
        Prepared::OutputsLost(gone)
    }

    /// Everything a node reads; or the nodes whose output is not there any more.
    fn inputs_of(&self, node: &Node) -> Result<Vec<Payload>, Vec<NodeId>> {
        let mut inputs = Vec::with_capacity(node.takes.len());
        let mut lost = Vec::new();
        for take in &node.takes {
            match take {
                Take::Input { input, element } => {
                    let found = self.spec.inputs.get(*input as usize).and_then(|it| it.elements.get(*element as usize));
                    inputs.extend(found.cloned());
                }
                Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                    Some(NodeState::Done(done)) => match &done.output {
                        Some(output) => inputs.push(output.clone()),
                        None => lost.push(*earlier),
                    },
                    // Of what was skipped nothing is read.
                    Some(NodeState::Skipped) => {}
                    Some(_) | None => lost.push(*earlier),
                },
            }
        }
        if lost.is_empty() { Ok(inputs) } else { Err(lost) }
    }

    /// What is said of everything a node reads.
    pub(super) fn labels_of(&self, node: &Node) -> Labels {
        let mut all = Labels::default();
        for take in &node.takes {
            let labels = match take {
                Take::Input { input, element } => {
                    self.spec.inputs.get(*input as usize).and_then(|it| it.labels.get(*element as usize))
                }
                Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                    Some(NodeState::Done(done)) => Some(&done.labels),
                    Some(_) | None => None,
                },
            };
            labels.into_iter().for_each(|labels| all.join(labels));
        }
        all
    }

    fn held_by_who_is_gone(&self, node: &Node, me: PeerId, is_here: &dyn Fn(PeerId) -> bool) -> Vec<NodeId> {
        let is_gone = |id: &NodeId| match self.nodes.get(*id as usize) {
            Some(NodeState::Done(done)) => match &done.output {
                Some(Payload::Blob(blob)) => blob.holder != me && !is_here(blob.holder),
                Some(Payload::Inline(_)) | None => false,
            },
            Some(_) | None => false,
        };
        let outputs = node.takes.iter().filter_map(|take| match take {
            Take::Output(id) => Some(*id),
            Take::Input { .. } => None,
        });
        outputs.filter(is_gone).collect()
    }

    /// What a node reads that may be lost: blobs that others hold, and those that came home, of which a crash may have left nothing.
    pub(super) fn inputs_that_may_be_lost(&self, id: NodeId, may_be: impl Fn(&Done) -> bool) -> Vec<NodeId> {
        let takes = self.graph.node(id).map(|node| node.takes.as_slice()).unwrap_or_default();
        let foreign = takes.iter().filter_map(|take| match take {
            Take::Output(earlier) => match self.nodes.get(*earlier as usize) {
                Some(NodeState::Done(done)) if matches!(done.output, Some(Payload::Blob(_))) && may_be(done) => {
                    Some(*earlier)
                }
                Some(_) | None => None,
            },
            Take::Input { .. } => None,
        });
        foreign.collect()
    }

    /// Where the first element of what a stage is to be near to is, or was made.
    fn peer_near(&self, stage: &Stage, me: PeerId) -> Option<PeerId> {
        let near = stage.near.as_ref()?;
        if let Some(input) = self.spec.inputs.iter().find(|input| input.name == *near) {
            return match input.elements.first()? {
                Payload::Inline(_) => Some(me),
                Payload::Blob(blob) => Some(blob.holder),
            };
        }
        let index = (0u32..).zip(&self.spec.stages).find(|(_, other)| other.name == *near)?.0;
        match self.nodes.get(self.graph.nodes_of(index).start as usize)? {
            NodeState::Done(done) => Some(done.executor),
            _ => None,
        }
    }
}

/// What follows each other in memory is one payload: a reduction over a thousand small outputs is a task like any other.
fn joined(inputs: Vec<Payload>) -> Vec<Payload> {
    let small: u64 = inputs.iter().map(|input| inline_bytes(Some(input))).sum();
    let is_single = inputs.iter().filter(|input| matches!(input, Payload::Inline(_))).count() < 2;
    if is_single || small > INLINE_BYTES_MAX {
        return inputs;
    }
    let mut joined: Vec<Payload> = Vec::new();
    let mut pending = BytesMut::new();
    for input in inputs {
        match input {
            Payload::Inline(bytes) => pending.extend_from_slice(&bytes),
            blob @ Payload::Blob(_) => {
                if !pending.is_empty() {
                    joined.push(Payload::Inline(pending.split().freeze()));
                }
                joined.push(blob);
            }
        }
    }
    if !pending.is_empty() {
        joined.push(Payload::Inline(Bytes::from(pending)));
    }
    joined
}
