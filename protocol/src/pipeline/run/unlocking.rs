//! What waits for what: once the last is there, a task may run, or is skipped.

use super::{Done, NodeState, Run};
use crate::pipeline::graph::{Graph, NodeId, Take};
use crate::pipeline::spec::When;
use crate::task::spec::Payload;

impl Run {
    /// Those for whom this was the last to wait for.
    pub(super) fn unlocked_by(&mut self, id: NodeId) -> Vec<NodeId> {
        let followers = self.graph.node(id).map(|node| node.before.clone()).unwrap_or_default();
        let mut unlocked = Vec::new();
        for follower in followers {
            if let Some(missing) = self.missing.get_mut(follower as usize) {
                *missing = missing.saturating_sub(1);
                if *missing == 0 {
                    unlocked.push(follower);
                }
            }
        }
        unlocked
    }

    /// Decides of each whether it is run, and of those that follow from it when it is not.
    pub(super) fn judge_all(&mut self, mut free: Vec<NodeId>) {
        while let Some(id) = free.pop() {
            if self.nodes.get(id as usize).is_none_or(|state| *state != NodeState::Waiting) {
                continue;
            }
            if self.is_wanted(id) {
                self.set(id, NodeState::Ready);
            } else {
                self.set(id, NodeState::Skipped);
                free.extend(self.unlocked_by(id));
            }
        }
    }

    /// Whether a node is to be run, everything it waits for having ended.
    fn is_wanted(&self, id: NodeId) -> bool {
        let Some((node, stage)) = self.graph.node(id).zip(self.stage_of(id)) else { return false };
        if stage.when.as_ref().is_some_and(|when| !self.holds(when)) {
            return false;
        }
        let is_skipped = |take: &Take| match take {
            Take::Input { .. } => false,
            Take::Output(earlier) => matches!(self.nodes.get(*earlier as usize), Some(NodeState::Skipped)),
        };
        let element_skipped = stage.map.is_some() && node.takes.first().is_some_and(is_skipped);
        let all_skipped = !node.takes.is_empty() && node.takes.iter().all(is_skipped);
        !element_skipped && !all_skipped
    }

    /// Which stage has this name.
    pub(super) fn index_of(&self, name: &str) -> Option<u32> {
        (0u32..).zip(&self.spec.stages).find(|(_, stage)| stage.name == name).map(|(index, _)| index)
    }

    /// Whether a condition holds. Of a stage that was skipped nothing holds.
    fn holds(&self, when: &When) -> bool {
        let Some(index) = self.index_of(&when.stage) else { return false };
        let mut ends = self.graph.nodes_of(index).map(|id| self.nodes.get(id as usize));
        let mut skipped = false;
        let met = ends.all(|state| match state {
            Some(NodeState::Done(done)) => meets(when, done),
            Some(_) | None => {
                skipped = true;
                false
            }
        });
        !skipped && met != when.not
    }

    /// Reckons anew what everything that has not begun waits for.
    pub(super) fn count_missing(&mut self) {
        let mut free = Vec::new();
        for id in 0..self.nodes.len() as u32 {
            let Some(node) = self.graph.node(id) else { continue };
            let is_open = |id: &&NodeId| self.nodes.get(**id as usize).is_some_and(|state| !state.is_final());
            let count = node.after.iter().filter(is_open).count() as u32;
            if let Some(missing) = self.missing.get_mut(id as usize) {
                *missing = count;
            }
            match (self.nodes.get(id as usize), count) {
                (Some(NodeState::Ready | NodeState::Resting | NodeState::Recalling), 1..) => {
                    self.set(id, NodeState::Waiting);
                }
                (Some(NodeState::Waiting), 0) => free.push(id),
                _ => {}
            }
        }
        self.judge_all(free);
    }
}

fn meets(when: &When, done: &Done) -> bool {
    let code = when.exit_code.is_none_or(|code| code == done.exit_code);
    let output = when.output_starts_with.as_ref().is_none_or(|beginning| match &done.output {
        Some(Payload::Inline(bytes)) => bytes.starts_with(beginning.as_bytes()),
        Some(Payload::Blob(_)) | None => false,
    });
    code && output
}

/// Nodes on the longest way from each to an end.
pub(super) fn ranks(graph: &Graph) -> Vec<u32> {
    let mut ranks = vec![0; graph.nodes.len()];
    for stage in graph.order.iter().rev() {
        for id in graph.nodes_of(*stage) {
            let before = graph.node(id).map(|node| node.before.as_slice()).unwrap_or_default();
            let longest =
                before.iter().filter_map(|next| ranks.get(*next as usize)).max().map_or(0, |rank: &u32| rank + 1);
            if let Some(rank) = ranks.get_mut(id as usize) {
                *rank = longest;
            }
        }
    }
    ranks
}
