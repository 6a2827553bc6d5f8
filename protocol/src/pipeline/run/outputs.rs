//! Outputs that nobody will read any more are let go; those that are lost are made again.

use std::collections::BTreeSet;

use super::{NodeState, Run, inline_bytes};
use crate::id::{PeerId, TaskId};
use crate::pipeline::graph::{NodeId, Take};
use crate::pipeline::record::NodeRecord;

impl Run {
    /// What is written of a node that has ended and whose output somebody may still read.
    pub(in crate::pipeline) fn record_of(&self, id: NodeId) -> Option<NodeRecord> {
        let Some(NodeState::Done(done)) = self.nodes.get(id as usize) else { return None };
        Some(NodeRecord {
            exit_code: done.exit_code,
            output: done.output.clone()?,
            executor: done.executor,
            run_us: done.run_us,
            runs: self.runs_of(id),
            remembered: done.remembered,
            held_as: done.held_as,
            labels: done.labels.clone(),
        })
    }

    /// Whether its record is known to be on disk.
    pub(in crate::pipeline) fn is_recorded(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id as usize), Some(NodeState::Done(done)) if done.recorded)
    }

    /// Lets go of outputs that nobody will read any more, of those that `id` has read; results stay.
    pub(in crate::pipeline) fn let_go(&mut self, id: NodeId) -> Vec<(NodeId, Option<(PeerId, TaskId)>)> {
        let after = self.graph.node(id).map(|node| node.after.clone()).unwrap_or_default();
        let mut freed = Vec::new();
        for earlier in after {
            let is_final = |id: &NodeId| self.nodes.get(*id as usize).is_some_and(NodeState::is_final);
            let Some(node) = self.graph.node(earlier) else { continue };
            if node.readers.is_empty() || !node.before.iter().all(is_final) {
                continue;
            }
            if let Some(NodeState::Done(done)) = self.nodes.get_mut(earlier as usize)
                && let Some(output) = done.output.take()
            {
                self.bytes -= inline_bytes(Some(&output));
                freed.push((earlier, done.held_as.map(|task| (done.executor, task))));
            }
        }
        freed
    }

    /// The same of a node that may not have ended.
    pub(in crate::pipeline) fn let_go_if_final(&mut self, id: NodeId) -> Vec<(NodeId, Option<(PeerId, TaskId)>)> {
        if self.nodes.get(id as usize).is_some_and(NodeState::is_final) { self.let_go(id) } else { Vec::new() }
    }

    fn has_let_go(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id as usize), Some(NodeState::Done(done)) if done.output.is_none())
    }

    /// Those whose outputs say whether a node is run: it is asked anew when that is made again.
    fn judged_by(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let when = self.stage_of(id).and_then(|stage| stage.when.as_ref());
        let when = when.filter(|when| when.output_starts_with.is_some());
        let stage = when.and_then(|when| self.index_of(&when.stage));
        stage.map(|stage| self.graph.nodes_of(stage)).into_iter().flatten()
    }

    /// Has these made again, and everything for that whose output was let go. The nodes that are open again.
    pub(in crate::pipeline) fn make_again(&mut self, lost: Vec<NodeId>) -> Vec<NodeId> {
        let (mut to_reset, mut reset) = (lost, BTreeSet::new());
        while let Some(id) = to_reset.pop() {
            let is_done = matches!(self.nodes.get(id as usize), Some(NodeState::Done(_)));
            if !is_done || !reset.insert(id) {
                continue;
            }
            let takes = self.graph.node(id).map(|node| node.takes.as_slice()).unwrap_or_default();
            let taken = takes.iter().filter_map(|take| match take {
                Take::Output(earlier) => Some(*earlier),
                Take::Input { .. } => None,
            });
            to_reset.extend(taken.filter(|earlier| self.has_let_go(*earlier)));
            to_reset.extend(self.judged_by(id).filter(|earlier| self.has_let_go(*earlier)));
        }
        for id in &reset {
            if let Some(NodeState::Done(done)) = self.nodes.get(*id as usize) {
                self.bytes -= inline_bytes(done.output.as_ref());
            }
            self.set(*id, NodeState::Waiting);
            if let Some(course) = self.courses.get_mut(*id as usize) {
                // What others said of it was of no use.
                course.asked = true;
            }
        }
        self.count_missing();
        reset.into_iter().collect()
    }
}
