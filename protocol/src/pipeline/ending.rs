//! The end of a pipeline, well or not, and the end of what is remembered of it.
//!
//! **Invariant:** nobody is told that a pipeline has ended before that is on disk.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::NodeId;
use super::held::{Ended, Phase};
use super::order::{Order, Written};
use super::spec::PipelineId;
use super::state::PipelineState;
use super::{Around, Due, ENDED_MAX, PipelineError, Pipelines, keeper, record};
use crate::output::{Outbox, Output};
use crate::time::micros;

impl Pipelines {
    /// A user withdraws a pipeline.
    pub(crate) fn cancel(&mut self, around: Around<'_>, pipeline: PipelineId, out: &mut Outbox) {
        if self.held.get(&pipeline).is_some_and(|held| held.run().is_some()) {
            self.end(around, pipeline, Some(PipelineError::Cancelled), out);
        }
    }

    pub(super) fn end(
        &mut self,
        around: Around<'_>,
        pipeline: PipelineId,
        error: Option<PipelineError>,
        out: &mut Outbox,
    ) {
        let Some(held) = self.held.get_mut(&pipeline) else { return };
        let (Phase::Storing(run) | Phase::Open(run)) = &held.phase else { return };
        for (task, node) in run.running() {
            self.by_task.remove(&task);
            self.due.clear(&Due::Wake(pipeline, node));
            self.orders.push_back(Order::Cancel(task));
        }
        (0..run.nodes.len() as u32).for_each(|node| self.due.clear(&Due::Wake(pipeline, node)));
        self.keys.retain(|(of, _), _| *of != pipeline);
        self.recalls.retain(|_, recall| {
            recall.waiting.retain(|(of, _)| *of != pipeline);
            !recall.waiting.is_empty()
        });
        let is_done = error.is_none();
        let results = if is_done { run.results() } else { BTreeMap::new() };
        let kept: BTreeSet<NodeId> = results.keys().flat_map(|stage| run.graph.nodes_of(*stage)).collect();
        let (gone, recorded): (Vec<NodeId>, Vec<NodeId>) = run.done_nodes().partition(|node| !kept.contains(node));
        let mut spec = run.spec.clone();
        spec.inputs.iter_mut().for_each(|input| input.elements.clear());
        let retention = u64::try_from(held.retention.as_millis()).unwrap_or(u64::MAX);
        let ended = Ended {
            error,
            total_us: micros(run.age(around.now)),
            until_unix_ms: around.unix_ms.saturating_add(retention),
            tallies: run.tallies(),
            bytes: run.result_bytes(&results),
            results,
            recorded,
            gone,
            spec,
        };
        ended.gone.iter().for_each(|node| out.push(Output::Forget { task: keeper(pipeline, *node) }));
        out.push(Output::Forget { task: pipeline });
        for (holder, task) in run.held_elsewhere() {
            self.orders.push_back(Order::LetGo { holder, task });
        }
        held.input_bytes = 0;
        let before = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
        if let Phase::Storing(run) | Phase::Open(run) = before {
            held.phase = Phase::Ending(run, Box::new(ended));
        }
        self.stirred.remove(&pipeline);
        self.due.clear(&Due::Lifetime(pipeline));
        self.due.set(Due::Forget(pipeline), around.now + held.retention);
        self.write_end(pipeline);
    }

    /// Writes the end, and with it the results that are not known to be on disk: an end without them is none.
    pub(super) fn write_end(&mut self, pipeline: PipelineId) {
        let Some(held) = self.held.get(&pipeline) else { return };
        let Phase::Ending(run, ended) = &held.phase else { return };
        let missing = ended.recorded.iter().filter(|node| !run.is_recorded(**node));
        let results = missing.filter_map(|node| Some(record::put_node(pipeline, *node, &run.record_of(*node)?)));
        let gone = ended.gone.iter().map(|node| record::delete_node(pipeline, *node));
        let end = record::put_pipeline(pipeline, &held.record(ended));
        self.orders.push_back(Order::Write(results.chain(gone).chain([end]).collect(), Written::Ended(pipeline)));
    }

    pub(super) fn end_is_written(&mut self, pipeline: PipelineId, out: &mut Outbox) {
        let Some(held) = self.held.get_mut(&pipeline) else { return };
        let before = core::mem::replace(&mut held.phase, Phase::Ended(Box::new(Ended::nothing())));
        let Phase::Ending(_, ended) = before else {
            held.phase = before;
            return;
        };
        let (state, note) = (ended.state(), ended.error.as_ref().map(ToString::to_string));
        held.phase = Phase::Ended(ended);
        let word = match state {
            PipelineState::Done => "done",
            PipelineState::Cancelled => "cancelled",
            PipelineState::Failed | PipelineState::Accepted | PipelineState::Running => "failed",
        };
        self.tell(pipeline, None, word, note, out);
        out.push(Output::PipelineEnded { pipeline });
        self.forget_the_oldest(out);
    }

    fn forget_the_oldest(&mut self, out: &mut Outbox) {
        let ended = self.by_turn.values().filter(|id| self.held.get(id).is_some_and(|held| held.run().is_none()));
        let ended: Vec<PipelineId> = ended.copied().collect();
        let over = ended.len().saturating_sub(ENDED_MAX);
        for id in ended.into_iter().take(over) {
            self.forget(id, out);
        }
    }

    pub(super) fn forget(&mut self, pipeline: PipelineId, out: &mut Outbox) {
        let Some(held) = self.held.remove(&pipeline) else { return };
        self.by_turn.remove(&held.turn);
        self.stirred.remove(&pipeline);
        for due in [Due::Lifetime(pipeline), Due::Forget(pipeline), Due::Rewrite(pipeline)] {
            self.due.clear(&due);
        }
        out.push(Output::Forget { task: pipeline });
        let mut changes = vec![record::delete_pipeline(pipeline)];
        if let Phase::Ended(ended) | Phase::Ending(_, ended) = held.phase {
            for node in ended.recorded {
                out.push(Output::Forget { task: keeper(pipeline, node) });
                changes.push(record::delete_node(pipeline, node));
            }
        }
        self.orders.push_back(Order::Write(changes, Written::Nothing));
    }
}
